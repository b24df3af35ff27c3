package dag

import "slices"

// Confirmable returns the deepest epoch on the head's chain that passes round
// one of section 5.6, for the field confirms of the next frame: every voter of
// it stands at or below it, and at every retained ancestor those voters
// outvote all others together. The base itself is returned when all its voters
// stand there (a joiner must confirm its base so that elders can finalise it);
// empty means that nothing is confirmable.
func (g *Graph) Confirmable() ID {
	if n := g.answers().confirmable; n != nil {
		return n.ID
	}
	return ""
}

// Final returns the deepest final epoch: every voter of it has confirmed it
// or a deeper one and has never left it, and the votes above still carry it.
// The base counts as final.
func (g *Graph) Final() ID { return g.answers().final.ID }

// Owes returns the epoch that a frame of m could newly confirm: the
// confirmable one, if m has a vote there and its confirmation would count. It
// is empty when m need not speak. A joiner owes its base, although to itself
// the base is final.
func (g *Graph) Owes(m Member) ID {
	x, s := g.answers().confirmable, g.senders[m]
	if x == nil || s == nil || s.proved || s.confirmed(x) || s.everLeft(x) {
		return ""
	}
	voters := g.voters(x)
	if x == g.base && len(voters) == 1 || !slices.ContainsFunc(voters, func(v Voter) bool { return v.Member == m }) {
		return ""
	}
	return x.ID
}

// answer holds the answers of section 5.6 for one round of changes.
type answer struct {
	round       int
	confirmable *node
	final       *node
}

func (g *Graph) answers() answer {
	if g.answer.final != nil && g.answer.round == g.round {
		return g.answer
	}
	a := answer{round: g.round, final: g.base}
	a.confirmable = g.deepest((*sender).stands)
	if n := g.deepest((*sender).confirmed); n != nil {
		a.final = n
	}
	g.answer = a
	return a
}

// deepest returns the deepest epoch of the head's chain whose voters all pass
// the test and carry it. While the electorate stays the same, whoever failed
// below is asked first, so that a silent member does not cost a walk over all
// voters in every epoch.
func (g *Graph) deepest(test func(*sender, *node) bool) *node {
	var failed *sender
	var among *electorate
	for n := g.head; n != nil; n = n.parent {
		all := g.electorate(n)
		if failed != nil && all == among && !test(failed, n) {
			continue
		}
		if failed, among = g.failing(n, test), all; failed == nil && g.carried(n) {
			return n
		}
	}
	return nil
}

func (s *sender) stands(n *node) bool { return n.holds(s.pos) }

// confirmed is stricter than "has not left it since": whoever left and came
// back may have been seen outside by somebody who has confirmed meanwhile (see
// docs/decisions/0020).
func (s *sender) confirmed(n *node) bool { return n.holds(s.conf) && !s.everLeft(n) }

// failing returns a voter of n that is no proved equivocator and fails the
// test, nil if there is none. Where all are equivocators, that counts as
// failing.
func (g *Graph) failing(n *node, test func(*sender, *node) bool) *sender {
	some := false
	all := g.electorate(n)
	for i := range all.voters {
		s := g.speaker(all, i)
		switch {
		case s == nil:
			return &sender{}
		case s.proved:
		case !test(s, n):
			return s
		default:
			some = true
		}
	}
	if !some {
		return &sender{}
	}
	return nil
}

// carried reports whether at every retained ancestor of n the voters that
// stand under n beat all other voters together, proved equivocators among the
// others, and whether the way down to n cannot become void any more: whoever
// could still complain about an epoch on it is no more than a third of its
// parent's voters. Ancestors with the same electorate give the same answer,
// the lowest first, unless the epoch between them removed somebody.
func (g *Graph) carried(n *node) bool {
	if n.parent == nil {
		return true
	}
	g.walks++
	all := g.electorate(n)
	for i := range all.voters {
		if s := g.speaker(all, i); s != nil && !s.proved && s.stands(n) {
			s.walk = g.walks
		}
	}
	var seen *electorate
	for child, a := n, n.parent; a != nil; child, a = a, a.parent {
		all := g.electorate(a)
		if all == seen {
			continue
		}
		if seen = all; len(child.Removed) > 0 {
			seen = nil
		}
		if !g.carries(all, child) {
			return false
		}
	}
	return true
}

// carries looks at one ancestor: the voters that the walk marked stand under
// the epoch that is asked about, of which child is, or lies above.
func (g *Graph) carries(all *electorate, child *node) bool {
	could, lead := 0, make([]int, all.width)
	for i, v := range all.voters {
		s := g.speaker(all, i)
		if s != nil && s.walk == g.walks {
			lead[v.Rank]++
			continue
		}
		lead[v.Rank]--
		if couldComplain(s, v.Member, child) {
			could++
		}
	}
	decisive := slices.IndexFunc(lead, func(n int) bool { return n != 0 })
	return 3*could <= len(all.voters) && decisive >= 0 && lead[decisive] > 0
}

// Erasable returns what Rebase(Final()) would drop: the proper ancestors of
// the final epoch and every branch beside it, children before parents (by
// number downward, then id).
func (g *Graph) Erasable() []ID {
	return g.outside(g.answers().final)
}

func (g *Graph) outside(keep *node) []ID {
	if keep == g.base {
		return nil
	}
	ns := g.selected(func(n *node) bool { return !keep.holds(n) })
	slices.SortFunc(ns, func(a, b *node) int {
		if a.number != b.number {
			return compareNodes(b, a)
		}
		return compareNodes(a, b)
	})
	return ids(ns)
}

// Rebase makes an epoch of the head's chain the base and drops the rest, as
// Erasable orders it. It returns what was dropped, nothing if the epoch is
// the base, unknown or beside the head.
func (g *Graph) Rebase(id ID) []ID {
	n := g.nodes[id]
	if n == nil || n == g.base || !n.holds(g.head) {
		return nil
	}
	dropped := g.outside(n)
	g.voters(n)
	for _, n := range slices.Backward(g.way(n)) {
		apply(g.roster, n.Vertex)
	}
	// Senders first: they ask where the dropped nodes lie.
	for m, s := range g.senders {
		if s.keep(n, g.stands); len(s.frames) == 0 && !s.proved {
			delete(g.senders, m)
			g.gone++
		}
	}
	for _, d := range dropped {
		delete(g.nodes, d)
	}
	g.forks = slices.DeleteFunc(g.forks, func(e *node) bool { return g.nodes[e.ID] == nil })
	g.base = n
	n.hang(nil)
	for _, d := range g.selected(func(d *node) bool { return d != n }) {
		d.hang(d.parent)
	}
	for _, s := range g.senders {
		s.refold()
	}
	g.forgetComplaints()
	g.round++
	return dropped
}

// keep drops the frames that neither stand nor were sent at or below n. Of
// those that thereby leave n's tree only the latest matters: whoever stood
// here before has left.
func (s *sender) keep(n *node, stands map[ID]struct{}) {
	var kept []frame
	var outside *frame
	for _, f := range s.frames {
		if !n.holds(f.at) {
			f.at = nil
		}
		if f.at != nil || n.holds(f.stand) {
			if !n.holds(f.confirms) {
				f.confirms = nil
			}
			kept = append(kept, f)
			continue
		}
		if !f.vertex {
			delete(stands, f.id)
		}
		if !f.mute {
			outside = &frame{seq: f.seq}
		}
	}
	if outside != nil {
		kept = append(kept, *outside)
		slices.SortFunc(kept, compareFrames)
	}
	s.frames = kept
	s.proofs = slices.DeleteFunc(s.proofs, func(p *node) bool { return !n.holds(p) })
}

// Retire gives up an epoch that is not final, because a cap was reached: the
// base moves to the epoch's child on the way to the head. It returns what was
// dropped, nothing if the epoch is not on that way or is the head.
func (g *Graph) Retire(id ID) []ID {
	c := g.nodes[id].towardOrNil(g.head)
	if c == nil {
		return nil
	}
	return g.Rebase(c.ID)
}
