package group

import (
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// park keeps a block until what it waits for is settled. When the memory or
// the peer's share is used up, the peer's own block is dropped and not
// refused: sync asks for it again.
func (s *step) park(c cid.Cid, block []byte, from string, missing ...cid.Cid) Result {
	r := Result{CID: c, Verdict: Buffered, Missing: missing}
	if p, ok := s.waiting[c]; ok { // stepped again, waits for something else now
		p.missing = missing
	} else {
		if s.peerParked[from] >= s.cfg.MaxParkedPeer || s.parkedSize+len(block) > s.cfg.MaxParked {
			return r
		}
		s.waiting[c] = &parked{block: slices.Clone(block), from: from, missing: missing}
		s.peerParked[from]++
		s.parkedSize += len(block)
	}
	for _, m := range missing {
		if !slices.Contains(s.waiters[m], c) {
			s.waiters[m] = append(s.waiters[m], c)
		}
	}
	return r
}

// parkIn keeps a block until a self-Remove was sent in the epoch, or until what
// is missing of its past is here.
func (s *step) parkIn(a arrival, epoch dag.ID, missing ...cid.Cid) Result {
	r := s.park(a.cid, a.block, a.from, missing...)
	if p := s.waiting[a.cid]; p != nil && p.leave == "" {
		p.leave = epoch
		s.leaves[epoch] = append(s.leaves[epoch], a.cid)
	}
	return r
}

// unpark forgets that a block waits.
func (g *Group) unpark(c cid.Cid) {
	p, ok := g.waiting[c]
	if !ok {
		return
	}
	delete(g.waiting, c)
	g.parkedSize -= len(p.block)
	if g.peerParked[p.from]--; g.peerParked[p.from] == 0 {
		delete(g.peerParked, p.from)
	}
	if p.leave != "" {
		g.leaves[p.leave] = slices.DeleteFunc(g.leaves[p.leave], func(w cid.Cid) bool { return w == c })
		if len(g.leaves[p.leave]) == 0 {
			delete(g.leaves, p.leave)
		}
	}
	for _, m := range p.missing {
		g.waiters[m] = slices.DeleteFunc(g.waiters[m], func(w cid.Cid) bool { return w == c })
		if len(g.waiters[m]) == 0 {
			delete(g.waiters, m)
		}
	}
}

// Wants returns the blocks that are not here and that parked frames wait for or
// opened frames link to, sorted. What only frames above the final epoch link
// to is not worth asking for any more.
func (g *Group) Wants() []cid.Cid {
	want := map[cid.Cid]struct{}{}
	for c := range g.waiters {
		want[c] = struct{}{}
	}
	for c := range g.holes {
		if g.asksFor(c) {
			want[c] = struct{}{}
		}
	}
	var out []cid.Cid
	for c := range want {
		if _, here := g.waiting[c]; !here && !g.Has(c) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, compareCID)
	return out
}
