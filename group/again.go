package group

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// Own texts that not all members of their epoch could read are said again, under
// their old ids. Whoever read the first copy drops the second.

// sendAgain publishes them on the head.
func (s *step) sendAgain() error {
	for _, c := range s.lost() {
		d, err := parseAppData(s.unsent[c])
		if err != nil {
			return fmt.Errorf("%w: outbox: %w", ErrInternal, err)
		}
		why := "its epoch was given up before it was sure that all have it"
		if e := s.epochs[idOf(s.frames[c].Links.Parent)]; e != nil && !e.old && s.unheard(c, e) {
			why = "a member could not read it"
			s.seen[c], s.due.copied[c] = struct{}{}, s.head // until it is certain that no other member could not
		} else {
			s.sent(c)
		}
		a, err := s.sendApplication(d)
		if err != nil {
			return err
		}
		s.emit(Event{Kind: KindResent, CID: a.cid.String(), Epoch: a.header.Epoch, Head: a.header.Links.Parent.String(),
			ID: hex.EncodeToString(d.ID[:]), From: hexKey(keyOf(s.self)), Name: s.id.Name, Text: string(d.Body), Mine: true, Why: why})
	}
	return nil
}

// lost lists own texts whose epoch is gone here or was given up while nobody was
// known to have them, or may be gone at all others by its age, and those that
// somebody has and others could not open, in the order in which they were said.
func (s *step) lost() []cid.Cid {
	g, old, tentative := s.Group, s.env.Now.Add(-s.cfg.MaxAge).Unix(), s.tentative()
	var out []cid.Cid
	for c, text := range g.unsent {
		m := g.frames[c]
		if len(text) == 0 || m == nil {
			continue
		}
		e := g.epochs[idOf(m.Links.Parent)]
		gone := e == nil || e.old || m.At <= old && e.id != g.head
		if _, seen := g.seen[c]; gone && (tentative || !seen) || e != nil && g.unheard(c, e) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b cid.Cid) int {
		return cmp.Or(cmp.Compare(g.frames[a].Links.Seq, g.frames[b].Links.Seq), compareCID(a, b))
	})
	return out
}

// unheard reports whether a member of the epoch of an own text who is on the head
// could not read it, nor its last copy: a commit at or above it is void, or does not
// open for one who was added again since; or one was replaced who had never stood
// there.
func (g *Group) unheard(c cid.Cid, e *epoch) bool {
	head := g.epochs[g.head]
	if head == nil {
		return false
	}
	had := e
	if at, ok := g.due.copied[c]; ok {
		if had = g.epochs[at]; had == nil {
			return false
		}
	}
	lacks := func(m dag.Member) bool {
		now := head.find(keyOf(m))
		return now != "" && now != m && !had.leaves.has(now)
	}
	for _, id := range g.graph.Accused() {
		if g.graph.IsAncestor(id, e.id) && (g.graph.Void(id) && had == e || slices.ContainsFunc(g.graph.Complainers(id), lacks)) {
			return true
		}
	}
	for at := g.head; at != e.id && g.graph.IsAncestor(e.id, at); at = g.graph.Parent(at) {
		for _, now := range g.commits[at].Added {
			if m := e.find(keyOf(now)); m != "" && m != now && lacks(m) && !g.stoodBelow(m, e.id) {
				return true
			}
		}
	}
	return false
}

// stoodBelow reports whether a member sent its last frame at or below an epoch.
func (g *Group) stoodBelow(m dag.Member, id dag.ID) bool {
	at, _, _, ok := g.graph.Standing(m)
	return ok && g.graph.IsAncestor(id, at)
}

// wasSeen takes an own block, and what it follows, out of the outbox: somebody
// linked to it. Texts stay until it is certain that all members of their epoch can
// read them.
func (s *step) wasSeen(c cid.Cid) {
	tentative := len(s.unsent) > 0 && s.tentative()
	for m := s.frames[c]; m != nil && !m.seen && s.own(m.Author); m = s.frames[c] {
		m.seen = true
		plain, ok := s.unsent[c]
		e := s.epochs[idOf(m.Links.Parent)]
		switch text := len(plain) > 0; {
		case !ok, text && e != nil && e.old: // said again
		case text && (tentative || !s.heard(e)):
			s.seen[c] = struct{}{}
		default:
			s.sent(c)
		}
		c = m.Links.Prev
	}
}

// lookSeen does it for all that others linked to.
func (s *step) lookSeen() {
	if len(s.unsent) == 0 {
		return
	}
	all := s.bySettling()
	for _, c := range all {
		s.frames[c].seen = false
	}
	for _, c := range all {
		if m := s.frames[c]; m.Status == opened && !s.own(m.Author) {
			for _, p := range m.past() {
				s.wasSeen(p)
			}
		}
	}
}

// heard reports whether an epoch in which this device spoke is final, or gone: nobody says any
// more that it could not open a commit above it.
func (g *Group) heard(e *epoch) bool { return e == nil || e.id == g.graph.Base() }

// settleSeen takes texts that somebody has out of the outbox when that is so and
// the base cannot lose any more: nobody waits for those of a device that was added
// on a branch which may lose before epochs are forgotten.
func (s *step) settleSeen() {
	base := s.graph.Base()
	if len(s.seen) == 0 || s.due.settled == base || s.tentative() {
		return
	}
	for _, c := range sorted(s.seen) {
		if m := s.frames[c]; m == nil || s.heard(s.epochs[idOf(m.Links.Parent)]) {
			s.sent(c)
		}
	}
	s.due.settled = base
}

// tentative reports whether the base on which this device was added is not sure
// to stay.
func (g *Group) tentative() bool {
	return g.inviter != "" && g.graph.Base() == g.root && !g.baseConfirmed()
}
