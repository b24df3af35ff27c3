package group

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// Own texts that not all members of their epoch could read are said again, under
// their old ids. Whoever read the first copy drops the second.

// resaid is how often a text was said again because others could not read it, and the
// epoch of its last copy. In memory only.
type resaid struct {
	times int
	at    dag.ID
}

// mostCopies bounds how often one text is said again because others could not read
// it: whoever is replaced again and again must not make all others repeat themselves.
const mostCopies = 8

// sendAgain publishes them on the head. A text that some could not read stays in the
// outbox, and its copies are not looked at for that: they would double.
func (s *step) sendAgain() error {
	for _, c := range s.lost() {
		d, err := parseAppData(s.unsent[c])
		if err != nil {
			return fmt.Errorf("%w: outbox: %w", ErrInternal, err)
		}
		why := "its epoch was given up before it was sure that all have it"
		_, unheard := s.due.unheard[c]
		if unheard {
			why = "a member could not read it"
			s.due.copied[c] = resaid{s.due.copied[c].times + 1, s.head}
			delete(s.due.unheard, c)
		} else {
			s.sent(c)
		}
		a, err := s.sendApplication(d)
		if err != nil {
			return err
		}
		if unheard {
			s.due.copies[a.cid] = struct{}{}
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
		_, seen := g.seen[c]
		_, copied := g.due.copied[c]
		if _, unheard := g.due.unheard[c]; gone && !copied && (tentative || !seen) || unheard {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b cid.Cid) int {
		return cmp.Or(cmp.Compare(g.frames[a].Links.Seq, g.frames[b].Links.Seq), compareCID(a, b))
	})
	return out
}

// lookUnheard finds the own texts that a member of their epoch who is on the head
// could not read, when the head has moved or somebody complained.
func (s *step) lookUnheard() {
	head := s.epochs[s.head]
	if !s.due.relook || head == nil {
		return
	}
	s.due.relook = false
	clear(s.due.unheard)
	known := map[dag.ID]*deaf{}
	look := func(e *epoch) *deaf {
		if known[e.id] == nil {
			known[e.id] = s.deafIn(e, head)
		}
		return known[e.id]
	}
	for c, text := range s.unsent {
		m := s.frames[c]
		if _, copy := s.due.copies[c]; copy || len(text) == 0 || m == nil || s.due.copied[c].times >= mostCopies {
			continue
		}
		e := s.epochs[idOf(m.Links.Parent)]
		if e == nil || e.old {
			continue
		}
		again := look(e).now
		if x := s.epochs[s.due.copied[c].at]; x != nil && !x.old && s.graph.IsAncestor(x.id, s.head) {
			again = look(x).now || slices.ContainsFunc(look(e).owed, func(key string) bool {
				now := head.find(key)
				return now != "" && !x.leaves.has(now)
			})
		}
		if again {
			s.due.unheard[c] = struct{}{}
		}
	}
}

// deaf is who could not read what was said in an epoch.
type deaf struct {
	now  bool     // some of them are on the head
	owed []string // keys of all who complained
}

// deafIn: a commit at or above the epoch is void, or does not open for some, whom
// the head has again or who were never below it; or the way to the head replaced one
// who had never stood there.
func (g *Group) deafIn(e, head *epoch) *deaf {
	d, onHead := &deaf{}, g.graph.IsAncestor(e.id, g.head)
	for _, id := range g.graph.Accused() {
		if !g.graph.IsAncestor(id, e.id) {
			continue
		}
		d.now = d.now || g.graph.Void(id)
		for _, m := range g.graph.CannotOpen(id) {
			d.owed = append(d.owed, keyOf(m))
			switch now := head.find(keyOf(m)); {
			case now == "", now == m && onHead: // it is added again first
			case now == m || !e.leaves.has(now):
				d.now = true
			}
		}
	}
	for at := g.head; at != "" && !g.graph.IsAncestor(at, e.id); at = g.graph.Parent(at) {
		c := g.commits[at]
		for _, m := range c.Removed {
			if c.replaced(keyOf(m)) == "" {
				continue
			}
			if was := e.find(keyOf(m)); was != "" && was != head.find(keyOf(m)) && !g.stoodBelow(was, e.id) {
				d.now = true
			}
		}
	}
	return d
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

// heard reports whether an epoch in which this device spoke is final, or gone: nobody
// says any more that it could not open a commit above it.
func (g *Group) heard(e *epoch) bool { return e == nil || e.id == g.graph.Base() }

// settleSeen takes texts that somebody has out of the outbox when that is so and
// the base cannot lose any more: nobody waits for those of a device that was added
// on a branch which may lose before epochs are forgotten.
func (s *step) settleSeen() {
	base := s.graph.Base()
	if len(s.seen)+len(s.due.copied) == 0 || s.due.settled == base || s.tentative() {
		return
	}
	done := maps.Clone(s.seen)
	for c := range s.due.copied {
		done[c] = struct{}{}
	}
	for _, c := range sorted(done) {
		if m := s.frames[c]; m == nil || s.heard(s.epochs[idOf(m.Links.Parent)]) {
			s.sent(c)
		}
	}
	s.due.settled = base
}

// tentative reports whether the base on which this device was added is not sure
// to stay.
func (g *Group) tentative() bool {
	return g.firstBase() && !g.baseConfirmed()
}

// firstBase reports whether this device was added by somebody, and its base has not
// moved since.
func (g *Group) firstBase() bool { return g.inviter != "" && g.graph.Base() == g.root }
