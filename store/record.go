package store

import (
	"encoding/binary"
	"fmt"

	"github.com/dmlsd/dmls/group"
)

// Keys in badger, by their first byte. Record keys keep their order.
const (
	spaceMeta    = 'm' // format, state, canary
	spaceRecord  = 'r' // || key
	spacePart    = 'p' // || uint16 length of key || key || uint32 index from 1
	spaceNode    = 'n' // || uint8 level || uint64 index: the erasure tree
	spaceJournal = 'j' // || uint32 index from 0
)

var (
	keyFormat = []byte("mformat") // uint16, see formatVersion
	keyState  = []byte("mstate")  // see state
	keyCanary = []byte("mcanary") // sealed under the root key: tells a foreign root
	keySeal   = []byte("mseal")   // uint32 pieces || 32 bytes hash: the journal counts
)

const (
	formatVersion = 2
	formatNoTree  = 1 // all keys derived from one root key; Open upgrades it
	maxKey        = 1024
	// partSize cuts stored values, so that each piece is below badger's
	// threshold for the value log, which would keep it longest.
	partSize = 256 << 10
)

// userMeta of a record in badger.
const metaCut = 0x80 // the value goes on in parts

func recordKey(key string) []byte {
	return append([]byte{spaceRecord}, key...)
}

func partKey(key string, index int) []byte {
	b := make([]byte, 0, 7+len(key))
	b = append(b, spacePart)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	return binary.BigEndian.AppendUint32(b, uint32(index))
}

func journalKey(index int) []byte {
	return binary.BigEndian.AppendUint32([]byte{spaceJournal}, uint32(index))
}

// wrap says how the key of a record is found.
type wrap uint8

const (
	wrapNone wrap = iota // Public: not encrypted
	wrapByID             // by the key id: derived from the root key or in the erasure tree
)

const headerVersion = 1

// header begins each stored record:
//
//	struct {
//	  uint8 version;   // 1
//	  uint8 class;     // group.Class
//	  uint8 wrap;
//	  uint64 key_id;   // 0 for Public, else never used twice in a store
//	  uint64 length;   // bytes of body, of which at most partSize follow here
//	} Header;          // 19 bytes
type header struct {
	class  group.Class
	wrap   wrap
	keyID  uint64
	length uint64
}

const headerSize = 19

func (h header) append(b []byte) []byte {
	b = append(b, headerVersion, byte(h.class), byte(h.wrap))
	b = binary.BigEndian.AppendUint64(b, h.keyID)
	return binary.BigEndian.AppendUint64(b, h.length)
}

// parts is the number of pieces that follow the first one.
func (h header) parts() int {
	if h.length == 0 {
		return 0
	}
	return int((h.length - 1) / partSize)
}

func parseHeader(b []byte) (header, []byte, error) {
	if len(b) < headerSize {
		return header{}, nil, fmt.Errorf("%w: a record of %d bytes has no header", ErrCorrupt, len(b))
	}
	h := header{
		class:  group.Class(b[1]),
		wrap:   wrap(b[2]),
		keyID:  binary.BigEndian.Uint64(b[3:]),
		length: binary.BigEndian.Uint64(b[11:]),
	}
	body := b[headerSize:]
	switch {
	case b[0] > headerVersion || h.wrap > wrapByID:
		return header{}, nil, fmt.Errorf("%w (record version %d, wrapping %d)", ErrNewerFormat, b[0], h.wrap)
	case b[0] != headerVersion || h.class < group.Public || h.class > group.History,
		(h.class == group.Public) != (h.wrap == wrapNone),
		uint64(len(body)) != min(h.length, partSize):
		return header{}, nil, fmt.Errorf("%w: a record's header does not fit the record", ErrCorrupt)
	}
	return h, body, nil
}

// state is written with every batch.
//
//	struct {
//	  uint64 gen;          // of the root key
//	  uint64 seq;          // number of the batch
//	  uint64 next_key_id;
//	  uint64 young;        // ids from here on are derived from the root key
//	  uint8 levels;        // of the erasure tree, 0: it is empty
//	  uint8 tidy;          // 1: the tree holds the keys of all records, and no others
//	} State;               // 34 bytes; in format 1 the first 24
type state struct {
	gen     uint64
	seq     uint64
	nextKey uint64
	young   uint64
	levels  int
	tidy    bool
}

func (s state) marshal() []byte {
	b := make([]byte, 0, stateSize)
	for _, v := range []uint64{s.gen, s.seq, s.nextKey, s.young} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	tidy := byte(0)
	if s.tidy {
		tidy = 1
	}
	return append(b, byte(s.levels), tidy)
}

const (
	stateSize       = 34
	stateSizeNoTree = 24
)

// parseState reads the state of a format. In the format without a tree every
// key is derived: all of them are young, and the first erasure takes those of
// the records that are there into the tree.
func parseState(format int, b []byte) (state, error) {
	want := stateSize
	if format == formatNoTree {
		want = stateSizeNoTree
	}
	if len(b) != want {
		return state{}, fmt.Errorf("%w: the state record has %d bytes, not %d", ErrCorrupt, len(b), want)
	}
	s := state{
		gen:     binary.BigEndian.Uint64(b),
		seq:     binary.BigEndian.Uint64(b[8:]),
		nextKey: binary.BigEndian.Uint64(b[16:]),
	}
	if format == formatNoTree {
		return s, nil
	}
	s.young, s.levels, s.tidy = binary.BigEndian.Uint64(b[24:]), int(b[32]), b[33] == 1
	if s.young > s.nextKey || s.levels > maxLevels || b[33] > 1 {
		return state{}, fmt.Errorf("%w: the state record is malformed", ErrCorrupt)
	}
	return s, nil
}
