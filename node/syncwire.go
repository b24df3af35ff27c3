package node

import (
	"github.com/ipfs/go-cid"
)

// Bounds of sync messages. Tips and wants beyond them are left out by the
// sender; the next round has room for them.
const (
	maxTopic  = 128
	maxTips   = 1024
	maxWant   = 256
	maxMarks  = 64
	maxBlocks = 4096
	maxBlock  = 17 << 20 // a block of 16 MiB and its seal
)

const syncVersion = 1

type syncKind uint8

const (
	syncTips   syncKind = 1
	syncWant   syncKind = 2
	syncBlocks syncKind = 3
)

// syncMessage is a message of /dmls/sync/1:
//
//	struct {
//	  uint8 version = 1;
//	  uint8 kind;
//	  opaque topic<V>;
//	  select (kind) {
//	    case tips:   opaque cid<V>[];       // tips of the frames held
//	                 opaque landmark<V>[];  // some in their past
//	                 opaque lacking<V>[];   // in their past, and not held
//	    case want:   opaque cid<V>[];       // blocks asked for by name
//	    case blocks: uint8 answers;         // the kind that is answered
//	                 uint8 more;            // 1: ask again, there is more
//	                 opaque block<V>[];     // in topological order
//	  };
//	} SyncMessage;
//
// Tips is always answered by Blocks, empty if nothing is missing.
type syncMessage struct {
	kind      syncKind
	topic     string
	cids      []cid.Cid
	landmarks []cid.Cid
	lacking   []cid.Cid
	answers   syncKind
	more      bool
	blocks    [][]byte
}

func (m *syncMessage) marshal() []byte {
	size := 16 + len(m.topic) + (4+cidSize)*(len(m.cids)+len(m.landmarks)+len(m.lacking))
	for _, b := range m.blocks {
		size += 4 + len(b)
	}
	w := writer{b: make([]byte, 0, size)}
	w.u8(syncVersion)
	w.u8(uint8(m.kind))
	w.bytes([]byte(m.topic))
	if m.kind != syncBlocks {
		w.cids(m.cids)
		if m.kind == syncTips {
			w.cids(m.landmarks)
			w.cids(m.lacking)
		}
		return w.b
	}
	w.u8(uint8(m.answers))
	if m.more {
		w.u8(1)
	} else {
		w.u8(0)
	}
	w.list(m.blocks)
	return w.b
}

// parseSyncMessage reads a message. The blocks share memory with b.
func parseSyncMessage(b []byte) (*syncMessage, error) {
	r := reader{b: b}
	if v := r.u8(); v != syncVersion {
		r.fail("sync version %d", v)
	}
	m := &syncMessage{kind: syncKind(r.u8()), topic: string(r.bytes(maxTopic))}
	switch m.kind {
	case syncTips:
		m.cids = r.cids(maxTips)
		m.landmarks = r.cids(maxMarks)
		m.lacking = r.cids(maxWant)
	case syncWant:
		m.cids = r.cids(maxWant)
	case syncBlocks:
		m.answers = syncKind(r.u8())
		if m.answers != syncTips && m.answers != syncWant {
			r.fail("answer to kind %d", m.answers)
		}
		more := r.u8()
		if more > 1 {
			r.fail("flag %d", more)
		}
		m.more = more == 1
		m.blocks = r.list(maxBlocks, maxBlock)
	default:
		r.fail("sync kind %d", m.kind)
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return m, nil
}
