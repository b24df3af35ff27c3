package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/dag"
)

// Two islands that both kept on until the epoch where they parted was erased
// cannot follow each other any more (design, section 5.6). Each sees that the
// other went on, in frames whose links are readable and whose content is not.
// Both report it; one side, found by counting who is where, adds the members
// of the other again, by their consent (decisions 0046 and 0047).

// divergeAfter is how long somebody must be away before that is said: a device
// that was late catches up, and is heard, much sooner.
func (c Config) divergeAfter() time.Duration { return 2*c.ReaddDelay + 4*c.AckMax }

// away returns the members of an epoch whose latest frames this device cannot
// read, by leaf.
func (g *Group) away(e *epoch) []dag.Member {
	var out []dag.Member
	for m, upTo := range g.unreadUpTo {
		if m == g.self || !e.leaves.has(m) || upTo < g.joinedAt(m) {
			continue
		}
		if _, _, seq, ok := g.graph.Standing(m); !ok || upTo > seq {
			out = append(out, m)
		}
	}
	for m := range g.hints {
		if m != g.self && e.leaves.has(m) && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, byLeaf)
	return out
}

// joinedAt returns the number of frames that a member had sent when this device
// came: what is above our base is not for us to read.
func (g *Group) joinedAt(m dag.Member) uint64 {
	if r := g.base.get(leafOf(m)); r.Member == m {
		return r.Next
	}
	return 0
}

// watchDivergence says once that members went on where this device cannot
// follow, and takes it back when all are heard again.
func (s *step) watchDivergence(e *epoch) {
	away := s.away(e)
	if len(away) == 0 {
		s.due.diverge = time.Time{}
		if s.diverged {
			s.diverged, s.dirty = false, true
		}
		return
	}
	if s.due.diverge.IsZero() {
		s.due.diverge = s.env.Now.Add(s.cfg.divergeAfter())
	}
	if s.diverged || s.env.Now.Before(s.due.diverge) {
		return
	}
	s.diverged, s.dirty = true, true
	s.due.shout, s.due.shouts = s.env.Now, 0
	s.emit(Event{Kind: KindDiverged, Epoch: e.mls.Number(), Head: text(s.head), Actions: s.namesOf(away),
		Why: s.namesListed(away) + " went on in epochs that this device cannot read; " + s.remedy(e)})
}

func (s *step) remedy(e *epoch) string {
	switch s.oursStays(e) {
	case stays:
		return "more of the members are here, who will add them again"
	case yields:
		return "more of the members are there, who will add this device again"
	}
	return "it is not known where the group parted: invite them again, or be invited by them"
}

func (g *Group) namesOf(ms []dag.Member) []string {
	var out []string
	for _, m := range ms {
		out = append(out, g.nameOf(keyOf(m)))
	}
	return out
}

func (g *Group) namesListed(ms []dag.Member) string { return strings.Join(g.namesOf(ms), ", ") }

// side is the outcome of the count.
type side uint8

const (
	unknown side = iota
	stays
	yields
)

// oursStays counts the members of the epoch where the group parted: those who
// spoke below it here against those who spoke below it there. Both sides hold
// all blocks, so both come to the same numbers. Ties go to the side of the
// lowest leaf.
func (g *Group) oursStays(e *epoch) side {
	at, ok := g.parting(e)
	if away := g.away(e); !ok && len(away) > 0 && !slices.ContainsFunc(away, func(m dag.Member) bool { return !g.behind(m) }) {
		return stays // they made no branch
	}
	if !ok {
		return unknown
	}
	here, there := map[dag.Member]bool{}, map[dag.Member]bool{}
	for _, c := range sorted(g.frames) {
		m := g.frames[c]
		if m.Epoch < at || m.Epoch == at && m.Type != typeCommit {
			continue
		}
		switch {
		case m.Status == opened && g.wasMember(m.Author, at):
			here[m.Author] = true
		default:
			if who := g.seemsOf(m); who != "" && g.wasMember(who, at) {
				there[who] = true
			}
		}
	}
	for m := range there {
		delete(here, m)
	}
	switch {
	case len(here) > len(there):
		return stays
	case len(here) < len(there) || len(here) == 0 || lowest(there) < lowest(here):
		return yields
	}
	return stays
}

func lowest(ms map[dag.Member]bool) uint32 {
	least := ^uint32(0)
	for m := range ms {
		least = min(least, leafOf(m))
	}
	return least
}

// wasMember reports whether an incarnation is as old as the epoch of a number.
// Of those that were there before this device nothing else is known.
func (g *Group) wasMember(m dag.Member, number uint64) bool {
	c := g.commits[addedBy(m)]
	return c == nil || c.Number <= number
}

// parting returns the number of the epoch where those who are away left our
// chain: the lowest that a commit of theirs names as its parent.
func (g *Group) parting(e *epoch) (number uint64, ok bool) {
	away := map[dag.Member]bool{}
	for _, m := range g.away(e) {
		away[m] = true
	}
	for _, m := range g.frames {
		if m.Status != unread || m.Type != typeCommit || !away[g.seemsOf(m)] {
			continue
		}
		if c := g.commits[idOf(m.Links.Parent)]; c != nil && c.Erased && (!ok || c.Number < number) {
			number, ok = c.Number, true
		}
	}
	return number, ok
}

// lostMembers returns whom this side adds again: those who said that a commit on
// the head's chain does not open for them, where they were too few to void it
// (design, section 5.3), and those who parted for good: not before that was
// said, and not if this side yields.
func (s *step) lostMembers() []dag.Member {
	e := s.epochs[s.head]
	if e == nil {
		return nil
	}
	out := slices.DeleteFunc(s.complaining(s.head), func(m dag.Member) bool { return m == s.self })
	if s.diverged && s.oursStays(e) == stays {
		out = append(out, s.away(e)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// complaining lists the members of an epoch who say that they cannot open a commit
// on the way there. Erasure waits for them: finality asks voters only, and who has no
// vote is added again, and told what it missed, while that is remembered (decision
// 0106).
func (g *Group) complaining(at dag.ID) []dag.Member {
	var out []dag.Member
	for _, id := range g.graph.Accused() {
		if !g.graph.IsAncestor(id, at) {
			continue
		}
		for _, m := range g.graph.CannotOpen(id) {
			if g.graph.IsMember(at, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

// watchHalves: members whom our head removed, and who removed us, went on
// without us after they had heard of it. Two halves that remove each other
// cannot see each other's votes; they stay two groups (design, section 5.6).
func (s *step) watchHalves(by dag.Member) {
	if s.state != member || len(s.exits) == 0 || s.halves {
		return
	}
	if s.due.exit.IsZero() {
		s.due.exit = s.env.Now
	}
	e := s.epochs[s.head]
	if e == nil || e.leaves.has(by) || s.env.Now.Sub(s.due.exit) < s.cfg.divergeAfter() {
		return
	}
	s.halves, s.dirty = true, true
	s.emit(Event{Kind: KindDiverged, Epoch: e.mls.Number(), Head: text(s.head), Actions: s.namesOf([]dag.Member{by}),
		Why: fmt.Sprintf("%s and others removed this device, were removed here, and go on: these are two groups now", s.nameOf(keyOf(by)))})
}
