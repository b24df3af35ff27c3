package dag

import (
	"cmp"
	"slices"
)

// Members returns the members of an epoch by leaf, computed from the deltas
// between base and epoch; nil for an unknown id.
func (g *Graph) Members(id ID) []Voter {
	n := g.nodes[id]
	if n == nil {
		return nil
	}
	return g.members(n)
}

// Voters returns the members of the epoch that have a vote, by leaf.
func (g *Graph) Voters(id ID) []Voter {
	n := g.nodes[id]
	if n == nil {
		return nil
	}
	return slices.Clone(g.voters(n))
}

// Votes reports whether m has a vote anywhere between the base and the head: if not,
// nobody waits to hear where it stands.
func (g *Graph) Votes(m Member) bool {
	var seen *electorate
	for n := g.head; n != nil; n = n.parent {
		all := g.electorate(n)
		if all != seen && slices.ContainsFunc(all.voters, func(v Voter) bool { return v.Member == m }) {
			return true
		}
		seen = all
	}
	return false
}

// IsMember reports whether m is a member in the epoch.
func (g *Graph) IsMember(id ID, m Member) bool {
	n := g.nodes[id]
	if n == nil {
		return false
	}
	_, ok := g.member(n, m)
	return ok
}

// Member returns m as the epoch's tree has it.
func (g *Graph) Member(id ID, m Member) (Voter, bool) {
	n := g.nodes[id]
	if n == nil {
		return Voter{}, false
	}
	return g.member(n, m)
}

// member looks for the last deltas that speak of m, from n upward.
func (g *Graph) member(n *node, m Member) (Voter, bool) {
	is := func(v Voter) bool { return v.Member == m }
	var changed *Voter // as the lowest Ranks has it, if m proves to be a member
	now := func(v Voter) (Voter, bool) {
		if changed != nil {
			return *changed, true
		}
		return v, true
	}
	for ; n != g.base; n = n.parent {
		if i := slices.IndexFunc(n.Ranks, is); i >= 0 && changed == nil {
			changed = &n.Ranks[i]
		}
		if i := slices.IndexFunc(n.Added, is); i >= 0 {
			return now(n.Added[i])
		}
		if slices.Contains(n.Removed, m) {
			return Voter{}, false
		}
	}
	if v, ok := g.roster[m]; ok {
		return now(v)
	}
	return Voter{}, false
}

// way lists the nodes from n up to the base, without it.
func (g *Graph) way(n *node) (way []*node) {
	for ; n != g.base; n = n.parent {
		way = append(way, n)
	}
	return way
}

func (g *Graph) members(n *node) []Voter {
	roster := make(map[Member]Voter, len(g.roster))
	for m, v := range g.roster {
		roster[m] = v
	}
	for _, n := range slices.Backward(g.way(n)) {
		apply(roster, n.Vertex)
	}
	return sorted(roster)
}

func apply(roster map[Member]Voter, v Vertex) {
	for _, m := range v.Removed {
		delete(roster, m)
	}
	for _, a := range v.Added {
		roster[a.Member] = a
	}
	for _, r := range v.Ranks {
		if _, ok := roster[r.Member]; ok {
			roster[r.Member] = r
		}
	}
}

func sorted(roster map[Member]Voter) []Voter {
	out := make([]Voter, 0, len(roster))
	for _, v := range roster {
		out = append(out, v)
	}
	sortVoters(out)
	return out
}

func sortVoters(vs []Voter) {
	slices.SortFunc(vs, func(a, b Voter) int {
		return cmp.Or(cmp.Compare(a.Leaf, b.Leaf), cmp.Compare(a.Member, b.Member))
	})
}

// electorate is who has a vote in an epoch.
type electorate struct {
	voters []Voter // by leaf
	whole  bool    // these are all members
	width  int     // highest rank number among them, plus one
	spoke  []*sender
	gone   int // senders forgotten when spoke was looked up
}

// elect picks the voters among all members: admins first, then the lowest
// leaves.
func elect(members []Voter) *electorate {
	e := &electorate{voters: members, whole: len(members) <= MaxVoters}
	if !e.whole {
		pick := slices.Clone(members)
		slices.SortFunc(pick, precedence)
		e.voters = slices.Clone(pick[:MaxVoters])
		sortVoters(e.voters)
	}
	for _, v := range e.voters {
		e.width = max(e.width, int(v.Rank)+1)
	}
	return e
}

// voters returns the voters of the epoch by leaf.
func (g *Graph) voters(n *node) []Voter { return g.electorate(n).voters }

// electorate is cached, and a commit that leaves the voters alone shares its
// parent's.
func (g *Graph) electorate(n *node) *electorate {
	var way []*node
	for ; n.voters == nil && n != g.base; n = n.parent {
		way = append(way, n)
	}
	if n.voters == nil {
		n.voters = elect(sorted(g.roster))
	}
	for _, c := range slices.Backward(way) {
		c.voters = g.derive(n, c)
		n = c
	}
	return n.voters
}

func (g *Graph) derive(p, c *node) *electorate {
	if len(c.Added)+len(c.Removed)+len(c.Ranks) == 0 {
		return p.voters
	}
	if !p.voters.whole {
		if !p.voters.touchedBy(c.Vertex) {
			return p.voters
		}
		return elect(g.members(c))
	}
	roster := make(map[Member]Voter, len(p.voters.voters)+len(c.Added))
	for _, v := range p.voters.voters {
		roster[v.Member] = v
	}
	apply(roster, c.Vertex)
	return elect(sorted(roster))
}

// speaker returns what the voter with an index has sent, nil if it has not
// spoken. It looks that up once.
func (g *Graph) speaker(e *electorate, i int) *sender {
	if e.gone != g.gone || e.spoke == nil {
		e.spoke, e.gone = make([]*sender, len(e.voters)), g.gone
	}
	if e.spoke[i] == nil {
		if e.spoke[i] = g.senders[e.voters[i].Member]; e.spoke[i] != nil {
			e.spoke[i].asked = true
		}
	}
	return e.spoke[i]
}

// touchedBy reports whether a commit changes an electorate that is not
// everybody: it does not if none of the voters goes and whoever comes stands
// behind the last of them.
func (e *electorate) touchedBy(v Vertex) bool {
	if len(v.Ranks) > 0 {
		return true
	}
	for _, m := range v.Removed {
		if slices.ContainsFunc(e.voters, func(w Voter) bool { return w.Member == m }) {
			return true
		}
	}
	last := slices.MaxFunc(e.voters, precedence)
	return slices.ContainsFunc(v.Added, func(a Voter) bool { return precedence(a, last) < 0 })
}

// precedence orders candidates for a vote.
func precedence(a, b Voter) int {
	return cmp.Or(cmp.Compare(min(a.Rank, 1), min(b.Rank, 1)), cmp.Compare(a.Leaf, b.Leaf), cmp.Compare(a.Member, b.Member))
}
