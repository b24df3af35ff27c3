package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// unsealed opens the seal around all captured blocks, in the order in which
// they were heard. It is done once, at the end of a run.
func (w *world) unsealed() []sealed {
	if w.opened.upTo == len(w.heard) {
		return w.opened.frames
	}
	var out []sealed
	for _, d := range w.devices {
		key := d.store.read(group.Prefix(w.gid) + "gossip")
		if !d.joined || len(key) != frame.SecretLen {
			continue
		}
		g := frame.NewGossip(key, 0)
		for _, c := range w.heard {
			if f, ok := unseal(g, c, w.captured[c].data); ok {
				out = append(out, f)
			}
		}
		break
	}
	w.opened.frames, w.opened.upTo = out, len(w.heard)
	return out
}

// reuses opens the sender data of every frame that an honest device made and
// tells which keys sealed two of them, by what the frames themselves say: the
// engine's counters are not asked. A ratchet key must not come twice, even with
// two reuse guards. The key and nonce of the sender data come from a sample of
// the ciphertext, those of the block from its frame; they must not come twice
// either.
func (w *world) reuses(all []sealed) []string {
	var out []string
	seen := map[string]string{}
	once := func(what, cid string) {
		if was, ok := seen[what]; ok {
			out = append(out, fmt.Sprintf("%s sealed %s and %s", what, tail(was), tail(cid)))
		}
		seen[what] = cid
	}
	for _, f := range all {
		c := w.captured[f.cid]
		if c.forged {
			continue
		}
		once(fmt.Sprintf("block nonce %x", c.data[1:25]), f.cid)
		at := f.header.Links.Parent.String()
		sample := f.msg.Ciphertext[:min(len(f.msg.Ciphertext), 32)]
		once(fmt.Sprintf("sender data key of epoch %s for %x", tail(at), sample), f.cid)
		data, _, ok := openSenderData(f.msg, w.senderData[at])
		if !ok {
			out = append(out, fmt.Sprintf("the sender data of %s does not open", tail(f.cid)))
			continue
		}
		ratchet := "handshake"
		if f.header.ContentType == frame.Application {
			ratchet = "application"
		}
		once(fmt.Sprintf("%s key %d of leaf %d in epoch %s", ratchet, binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data), tail(at)), f.cid)
	}
	return out
}
