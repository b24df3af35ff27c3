package group

import (
	"maps"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// share is what one peer has waiting, in the order of arrival.
type share struct {
	list  []cid.Cid
	bytes int
}

// park keeps a block until what it waits for is settled. What does not fit is
// dropped and not refused: sync brings it again, after what it waits for.
func (s *step) park(a arrival, missing ...cid.Cid) Result {
	c, block, from := a.cid, a.block, a.from
	r := Result{CID: c, Verdict: Buffered, Missing: missing}
	if p, ok := s.waiting[c]; ok { // stepped again, waits for something else now
		p.missing = missing
	} else {
		if !s.makeRoom(from, len(block)) {
			return r
		}
		s.waiting[c] = &parked{block: slices.Clone(block), from: from, missing: missing,
			epoch: a.header.Epoch, by: chainOf(a.header.Links)}
		of := s.peerParked[from]
		if of == nil {
			of = &share{}
			s.peerParked[from] = of
		}
		of.list, of.bytes = append(of.list, c), of.bytes+len(block)
		s.parkedSize += len(block)
	}
	for _, m := range missing {
		if !slices.Contains(s.waiters[m], c) {
			s.waiters[m] = append(s.waiters[m], c)
		}
	}
	return r
}

// makeRoom reports whether a block of a peer may wait. Where all shares are
// used up together, the peer with the largest gives up its latest frames, so
// that a flooder displaces nobody's but its own.
func (s *step) makeRoom(from string, size int) bool {
	own := 0
	if of := s.peerParked[from]; of != nil {
		if own = of.bytes; len(of.list) >= s.cfg.MaxParkedPeer {
			return false
		}
	}
	for s.parkedSize+size > s.cfg.MaxParked {
		var largest string
		for _, peer := range slices.Sorted(maps.Keys(s.peerParked)) {
			if of := s.peerParked[peer]; largest == "" || of.bytes > s.peerParked[largest].bytes {
				largest = peer
			}
		}
		of := s.peerParked[largest]
		if of == nil || largest == from || of.bytes <= own+size {
			return false
		}
		s.unpark(of.list[len(of.list)-1])
	}
	return true
}

// errDelayed means that a commit's author has used up what it may have opened
// for now.
type errDelayed struct{ until time.Time }

func (e *errDelayed) Error() string { return "group: the author's commits are opened one by one" }

// spend takes one from the budget of a commit's author. A chain that grows by
// adds pays for itself: the budget grows with the members. It delays and never
// refuses, so no verdict rests on the clock.
func (s *step) spend(author dag.Member, e *epoch) error {
	full := s.env.Now.Add(s.cfg.CommitEvery * time.Duration(s.cfg.CommitBurst+e.leaves.len()-1))
	next := s.budgets[author] // when the budget is whole again
	if next.Before(s.env.Now) {
		next = s.env.Now
	}
	if next.After(full) {
		return &errDelayed{s.env.Now.Add(next.Sub(full))}
	}
	s.budgets[author] = next.Add(s.cfg.CommitEvery)
	return nil
}

// delay parks a commit until its author's budget allows it.
func (s *step) delay(a arrival, until time.Time) Result {
	r := s.park(a)
	if s.waiting[a.cid] != nil {
		s.delayed[a.cid] = until
	}
	return r
}

// wakeDelayed steps commits whose time has come, and forgets budgets that are
// whole.
func (s *step) wakeDelayed() error {
	for _, m := range sortedMembers(s.budgets) {
		if !s.budgets[m].After(s.env.Now) {
			delete(s.budgets, m)
		}
	}
	for _, c := range sorted(s.delayed) {
		if !s.delayed[c].After(s.env.Now) {
			delete(s.delayed, c)
			s.ready = append(s.ready, c)
		}
	}
	return s.wakeParked()
}

// parkIn keeps a block until a self-Remove was sent in the epoch, or until what
// is missing of its past is here.
func (s *step) parkIn(a arrival, epoch dag.ID, missing ...cid.Cid) Result {
	r := s.park(a, missing...)
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
	delete(g.delayed, c)
	g.parkedSize -= len(p.block)
	of := g.peerParked[p.from]
	i := slices.Index(of.list, c)
	of.list, of.bytes = slices.Delete(of.list, i, i+1), of.bytes-len(p.block)
	if len(of.list) == 0 {
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
// settled frames link to, sorted. What only frames above all retained epochs
// link to is not worth asking for any more.
func (g *Group) Wants() []cid.Cid { return g.wantsSince(g.lowest()) }

// wantsSince leaves out what only unread frames of lower epochs link to.
func (g *Group) wantsSince(low uint64) []cid.Cid {
	if len(g.waiters)+len(g.holes)+len(g.unreadHoles)+len(g.seedsWanted) == 0 {
		return nil
	}
	want := maps.Clone(g.seedsWanted)
	if want == nil {
		want = map[cid.Cid]struct{}{}
	}
	for c := range g.waiters {
		want[c] = struct{}{}
	}
	for c := range g.holes {
		if g.asksFor(c) {
			want[c] = struct{}{}
		}
	}
	for c, epoch := range g.unreadHoles {
		if epoch >= low {
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

// lowest returns the smallest epoch number whose unread frames are looked into.
// Branches that won over ours may count from lower than ours, but no more epochs
// than are kept at all.
func (g *Group) lowest() uint64 {
	low := g.floor
	for _, e := range g.epochs {
		low = min(low, e.mls.Number())
	}
	if g.state == stranded || g.entered {
		low -= min(low, uint64(g.cfg.MaxEpochs))
	}
	return low
}
