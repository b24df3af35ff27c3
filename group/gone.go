package group

import (
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group/internal/plan"
)

// A device that was added on a branch which lost may have been added again and
// removed from there while it was away. It can read neither, and no plan waits for
// it, so nobody tells it where the head is. When it speaks on the branch where it
// still is, the members answer that it is gone (decision 0103).

// tellGone answers a frame of an incarnation that a losing branch added, whose key
// the head does not have and no plan brings back; and one of an incarnation in whose
// place the head has another that never spoke: its device may not have the Welcome,
// nor the offer that this answered.
func (s *step) tellGone(f *meta) {
	e := s.epochs[s.head]
	if s.state != member || e == nil || f.Author != "" && e.leaves.has(f.Author) {
		return
	}
	m := s.speaker(f)
	if m == "" {
		return
	}
	if now := e.find(keyOf(m)); now != "" {
		if _, _, _, spoke := s.graph.Standing(now); !spoke && now != m {
			s.tell("where", notice{Joiner: m, Present: addedBy(now)})
		}
	} else if !s.onChain(addedBy(m)) {
		s.tell("gone", notice{Joiner: m, Gone: true})
	}
}

// tellHere answers an offer that nobody can take up, since its device is on the head.
func (s *step) tellHere(m dag.Member) {
	if e := s.epochs[s.head]; e != nil && e.leaves.has(m) {
		s.tell("here", notice{Joiner: m, Present: addedBy(m)})
	}
}

func (s *step) tell(what string, n notice) {
	if s.relay.mayPass(s.env.Now, s.cfg.NoticeEvery, 2*s.cfg.NoticeEvery, what+string(n.Joiner), "", 1) {
		s.due.tell = append(s.due.tell, n)
	}
}

// sawOffer notes a member of our head that asks to be let in at a head which this
// device cannot follow, until it speaks here again.
func (s *step) sawOffer(o *offer) {
	e := s.epochs[s.head]
	if e == nil || !e.leaves.has(o.Joiner) || s.graph.Has(idOf(o.Head)) {
		return
	}
	if s.due.asking == nil {
		s.due.asking = map[dag.Member]bool{}
	}
	s.due.asking[o.Joiner] = true
}

// wentOn reports whether the device of an incarnation spoke after it as another
// that a losing commit added: its frames follow the last word of the first.
func (g *Group) wentOn(m dag.Member, losing []*commit) bool {
	last, ok := g.ends[memberChain(m)]
	if !ok {
		return false
	}
	for _, c := range losing {
		for _, w := range c.Added {
			if w == m || keyOf(w) != keyOf(m) {
				continue
			}
			if end, spoke := g.ends[memberChain(w)]; spoke && g.follows(end, last) {
				return true
			}
		}
	}
	return false
}

// follows reports whether a frame is in the past of another, as far as that is
// held.
func (g *Group) follows(c, past cid.Cid) bool {
	least := g.frames[past]
	seen := map[cid.Cid]bool{c: true}
	for walk := []cid.Cid{c}; least != nil && len(walk) > 0; walk = walk[1:] {
		m := g.frames[walk[0]]
		if m == nil || !m.loose && m.depth <= least.depth {
			continue
		}
		for _, p := range m.past() {
			if p == past {
				return true
			}
			if !seen[p] {
				seen[p] = true
				walk = append(walk, p)
			}
		}
	}
	return false
}

// speaker names the incarnation of a frame's chain by the commit that added it.
func (g *Group) speaker(f *meta) dag.Member {
	if f.Author != "" {
		return f.Author
	}
	if c := g.commits[idOf(f.Links.Joined)]; c != nil {
		for _, m := range c.Added {
			if leafOf(m) == f.Links.Leaf {
				return m
			}
		}
	}
	return ""
}

// onChain reports whether a commit is the head or above it, or nothing is known of it.
func (g *Group) onChain(id dag.ID) bool {
	c := g.commits[id]
	if c == nil || c.Base {
		return true
	}
	for at := g.head; at != ""; {
		if at == id {
			return true
		}
		up := g.commits[at]
		if up == nil || up.Number < c.Number {
			break
		}
		at = up.Parent
	}
	return false
}

// stillTrue reports whether a notice fits a head that has the joiner's key as now.
func (s *step) stillTrue(n notice, now dag.Member) bool {
	switch {
	case n.Gone:
		return now == "" && !s.strays(keyOf(n.Joiner))
	case now == "":
		return false
	}
	return n.Present == addedBy(now)
}

// strays reports whether a plan brings a device back that is not on the head.
func (s *step) strays(key string) bool {
	return slices.ContainsFunc(s.plans().Strays, func(o plan.Op) bool { return o.Who.Key == key })
}

// sayWhere sends what there is to tell.
func (s *step) sayWhere() error {
	e := s.epochs[s.head]
	for _, n := range s.due.tell {
		if s.state != member || e == nil || !s.stillTrue(n, e.find(keyOf(n.Joiner))) {
			continue // the head has moved, or it is told where that is
		}
		n.Head = cidOf(s.head)
		if err := s.notifyWith(n); err != nil {
			return err
		}
	}
	s.due.tell = nil
	return nil
}

// believeGone: the members of our base say that this device is no member any more.
func (s *step) believeGone(n notice) {
	if s.state != member && s.state != stranded {
		return
	}
	s.state, s.ejected, s.goneAt, s.noticed, s.due.here, s.dirty = removed, true, s.env.Now, s.settled, nil, true
	s.emit(Event{Kind: KindRemoved, Head: n.Head.String(), From: hexKey(keyOf(n.Signer)), Name: s.names[keyOf(n.Signer)],
		Why: "removed on a branch that this device cannot read"})
}
