package sim

import (
	"encoding/binary"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/node"
)

// An adversary stays a peer of the topic: members meet it, ask it, and cannot
// tell. It answers as members do, with what the asking device lacks of all that
// was sent, its own frames among it, though it tells nobody what was said on
// another island: a cut stays a cut. It never asks: whatever anybody publishes it
// has at once. What it withholds was not sent yet.

// up reports whether something answers for the device: its engine, or the
// adversary in whose hands it is.
func (d *device) up() bool { return d.driver != nil || d.insider != nil }

// Kinds of messages of /dmls/sync/1 (package node).
const (
	syncTips   = 1
	syncWant   = 2
	syncBlocks = 3
	maxAnswer  = 256 // blocks
)

// hears takes what the network brings to the device.
func (in *insider) hears(what node.Input) {
	m, ok := what.(node.Message)
	if !ok || m.Protocol != node.ProtocolSync || len(m.Body) < frame.ProofLen || in.r.err != nil {
		return
	}
	r := syncReader{m.Body[frame.ProofLen:]}
	head := r.take(2)
	topic := r.bytes()
	if len(head) < 2 || string(topic) != in.topic || head[1] != syncTips && head[1] != syncWant {
		return
	}
	asked := r.cids()
	if head[1] == syncTips {
		asked = append(asked, r.cids()...) // landmarks
	}
	if o := in.r.byName[m.Peer]; o != nil && o.driver != nil {
		in.answer(o, head[1], asked)
	}
}

// answer sends the blocks that a device asks for by name, or those that are not
// in the past of its tips.
func (in *insider) answer(o *device, kind byte, asked []cid.Cid) {
	in.listen()
	named := map[string]bool{}
	for _, c := range asked {
		named[c.String()] = true
	}
	if kind == syncTips {
		named = in.past(named)
	}
	var blocks [][]byte
	for _, c := range in.r.heard {
		b := in.r.captured[c]
		if named[c] == (kind == syncWant) && (b.forged || b.by.island == o.island) && len(blocks) < maxAnswer {
			blocks = append(blocks, b.data)
		}
	}
	in.answered += len(blocks)
	proof := in.thief.gossip.PeerKey().Prove(in.d.name, o.name)
	b := append(proof[:], 1, syncBlocks)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(in.topic))), in.topic...)
	b = append(b, kind, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(blocks)))
	for _, block := range blocks {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(block))), block...)
	}
	in.carry(o, node.Message{Peer: in.d.name, Protocol: node.ProtocolSync, Body: b})
}

// past is what some frames follow, themselves included.
func (in *insider) past(of map[string]bool) map[string]bool {
	links := map[string]frame.Links{}
	for _, frames := range in.thief.frames {
		for _, f := range frames {
			links[f.cid] = f.header.Links
		}
	}
	out := map[string]bool{}
	for queue := sortedKeys(of); len(queue) > 0; queue = queue[1:] {
		c := queue[0]
		l, known := links[c]
		if out[c] || !known {
			continue
		}
		out[c] = true
		for _, up := range slices.Concat(l.After, []cid.Cid{l.Prev, l.Parent}) {
			if up.Defined() {
				queue = append(queue, up.String())
			}
		}
	}
	return out
}

// syncReader reads byte strings behind a length of four bytes, as package node
// writes them; what is cut short is empty.
type syncReader struct{ b []byte }

func (r *syncReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b = nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *syncReader) count() int {
	v := r.take(4)
	if v == nil {
		return 0
	}
	return int(binary.BigEndian.Uint32(v))
}

func (r *syncReader) bytes() []byte { return r.take(r.count()) }

func (r *syncReader) cids() []cid.Cid {
	var out []cid.Cid
	for n := r.count(); n > 0 && len(r.b) > 0; n-- {
		if c, err := cid.Cast(r.bytes()); err == nil {
			out = append(out, c)
		}
	}
	return out
}
