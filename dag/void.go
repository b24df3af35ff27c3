package dag

import (
	"maps"
	"slices"
)

// A commit can be signed well and open for some members only. Whoever cannot
// open it says so in its parent, where all who have a vote read it. When more
// than a third of the parent's voters say so, the child is void: nobody follows
// it (design, section 5.3). Whoever ever stood at or below the child has opened
// it, and whom the child removed need not: their complaints do not count.

// Void reports whether too many could not open the epoch's commit.
func (g *Graph) Void(id ID) bool {
	n := g.nodes[id]
	return n != nil && n.void
}

// Accused returns the epochs about which somebody complained, by id.
func (g *Graph) Accused() []ID {
	if len(g.accused) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(g.accused))
}

// Complainers returns the voters of the parent whose complaints about the
// epoch's commit count, by leaf.
func (g *Graph) Complainers(id ID) []Member {
	n := g.nodes[id]
	if n == nil || n.parent == nil {
		return nil
	}
	var out []Member
	for _, v := range g.voters(n.parent) {
		if slices.Contains(g.accused[id], v.Member) && g.complains(v.Member, n) {
			out = append(out, v.Member)
		}
	}
	return out
}

// CannotOpen returns all members of the parent, with a vote or without, who say that
// they cannot open the epoch's commit and may well be right, in byte order.
func (g *Graph) CannotOpen(id ID) []Member {
	n := g.nodes[id]
	if n == nil || n.parent == nil {
		return nil
	}
	var out []Member
	for _, m := range g.accused[id] {
		if _, ok := g.member(n.parent, m); ok && g.complains(m, n) {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return out
}

// complains reports whether a complaint of m, a member in n's parent, counts.
func (g *Graph) complains(m Member, n *node) bool {
	s := g.senders[m]
	if s == nil || !couldComplain(s, m, n) || s.provedIn(n.parent) {
		return false
	}
	return slices.ContainsFunc(s.frames, func(f frame) bool { return f.about == n.ID && f.at == n.parent })
}

// couldComplain reports whether n keeps m, who never stood at or below it.
func couldComplain(s *sender, m Member, n *node) bool {
	return (s == nil || !s.stood(n)) && !slices.Contains(n.Removed, m)
}

// judge decides anew whether n is void.
func (g *Graph) judge(n *node) {
	if n == nil || n.parent == nil || len(g.accused[n.ID]) == 0 {
		return
	}
	if void := 3*len(g.Complainers(n.ID)) > len(g.voters(n.parent)); void != n.void {
		n.void = void
		if n.parent.fork != nil {
			n.parent.fork.best = nil
		}
	}
}

// rejudge looks again at what m complained about.
func (g *Graph) rejudge(m Member) {
	for id, by := range g.accused {
		if slices.Contains(by, m) {
			g.judge(g.nodes[id])
		}
	}
}

// forgetComplaints drops those that were made outside what is retained.
func (g *Graph) forgetComplaints() {
	g.accused = map[ID][]Member{}
	for m, s := range g.senders {
		for _, f := range s.frames {
			if f.about != "" && !slices.Contains(g.accused[f.about], m) {
				g.accused[f.about] = append(g.accused[f.about], m)
			}
		}
	}
}
