package dag

import "slices"

// Branch is one side of a fork.
type Branch struct {
	Child      ID // first commit of the branch
	Chosen     bool
	Void       bool   // too many could not open Child: it is never chosen
	Author     Member // of Child
	AuthorRank uint8  // in the fork epoch's tree
	AuthorLeaf uint32
	Votes      []int    // by rank
	Voters     []Member // who gave them, by leaf; set by Forks
	Tag        string   // confirmation_tag of Child
	Depth      int      // commits on the longest chain; set by Forks, else if the rule uses it
	Size       int      // commits of the branch; set by Forks
}

// Fork is an epoch with several children.
type Fork struct {
	At       ID
	OnHead   bool     // At is on the head's chain, so Chosen is followed
	Branches []Branch // by id of Child; where all are void, none is chosen
	Decided  string   // why the chosen one beats the next best: a By constant
	runnerUp int
}

// fork counts the votes at one epoch with several children.
type fork struct {
	rank    map[Member]uint8 // of the voters
	support map[Member]*node
	tally   map[*node][]int
	width   int   // of a tally: highest rank number among the voters, plus one
	best    *node // chosen child; nil when votes or children changed since
}

// count sets up the counters of e.
func (g *Graph) count(e *node) {
	voters := g.voters(e)
	f := &fork{
		rank:    make(map[Member]uint8, len(voters)),
		support: map[Member]*node{},
		tally:   map[*node][]int{},
	}
	for _, v := range voters {
		f.rank[v.Member] = v.Rank
		f.width = max(f.width, int(v.Rank)+1)
	}
	e.fork = f
	for _, v := range voters {
		if s := g.senders[v.Member]; s != nil {
			f.recount(v.Member, e, s)
		}
	}
}

// advance takes up the last frame of a member whose votes count at e so far.
func (f *fork) advance(m Member, e *node, s *sender, fr frame) {
	if f.eligible(m) && fr.stand != nil && e.holds(fr.at) && !s.provedIn(e) {
		f.set(m, e.toward(fr.stand))
	}
}

func (f *fork) eligible(m Member) bool { _, ok := f.rank[m]; return ok }

// recount finds the vote of m from all its frames.
func (f *fork) recount(m Member, e *node, s *sender) {
	if !f.eligible(m) {
		return
	}
	if s.provedIn(e) {
		f.set(m, nil)
		return
	}
	f.set(m, e.towardOrNil(s.vote(e)))
}

func (f *fork) set(m Member, child *node) {
	was := f.support[m]
	if was == child {
		return
	}
	f.best = nil
	if was != nil {
		f.votes(was)[f.rank[m]]--
		delete(f.support, m)
	}
	if child != nil {
		f.votes(child)[f.rank[m]]++
		f.support[m] = child
	}
}

func (f *fork) votes(child *node) []int {
	t := f.tally[child]
	if t == nil {
		t = make([]int, f.width)
		f.tally[child] = t
	}
	return t
}

// choose returns the child of e to follow, nil if there is none.
func (g *Graph) choose(e *node) *node {
	if len(e.children) == 1 && !e.children[0].void {
		return e.children[0]
	}
	if len(e.children) < 2 {
		return nil
	}
	if e.fork.best != nil && !g.rule.UsesDepth() {
		return e.fork.best
	}
	var chosen *node
	var best Branch
	for _, c := range e.children {
		if c.void {
			continue
		}
		b := g.branch(e, c)
		if chosen != nil {
			if better, _ := g.rule.Better(b, best); !better {
				continue
			}
		}
		best, chosen = b, c
	}
	e.fork.best = chosen
	return chosen
}

// better puts void branches last, whatever the rule.
func (g *Graph) better(a, b Branch) (bool, string) {
	if a.Void != b.Void {
		return b.Void, ByComplaints
	}
	return g.rule.Better(a, b)
}

// Best returns the child that the rule would follow if the branches of one fork
// were these; empty if all are void.
func (g *Graph) Best(branches []Branch) ID {
	var best Branch
	for _, b := range branches {
		if b.Void {
			continue
		}
		if better, _ := g.rule.Better(b, best); best.Child == "" || better {
			best = b
		}
	}
	return best.Child
}

func (g *Graph) branch(e, c *node) Branch {
	if c.author == nil {
		// An author outside the tree cannot be; if it is, it comes last.
		c.author = &Voter{Rank: ^uint8(0), Leaf: ^uint32(0)}
		if v, ok := g.member(e, c.Author); ok {
			c.author = &v
		}
	}
	b := Branch{
		Child: c.ID, Author: c.Author, AuthorRank: c.author.Rank, AuthorLeaf: c.author.Leaf,
		Void: c.void, Votes: e.fork.votes(c), Tag: string(c.Tag),
	}
	if g.rule.UsesDepth() {
		b.Depth, _ = measure(c)
	}
	return b
}

// measure returns the longest chain from n downward and the number of commits.
func measure(n *node) (depth, size int) {
	for level := []*node{n}; len(level) > 0; depth++ {
		var next []*node
		for _, m := range level {
			next = append(next, m.children...)
		}
		size += len(level)
		level = next
	}
	return depth, size
}

// Forks describes every retained epoch with several children, in topological
// order.
func (g *Graph) Forks() []Fork {
	points := slices.Clone(g.forks)
	slices.SortFunc(points, compareNodes)
	var out []Fork
	for _, e := range points {
		out = append(out, g.describe(e))
	}
	return out
}

// Choices returns the child that is followed at each of these epochs, empty if
// all are void, and how many it has, in the same order.
func (g *Graph) Choices() []Choice {
	points := slices.Clone(g.forks)
	slices.SortFunc(points, compareNodes)
	var out []Choice
	for _, e := range points {
		c := Choice{At: e.ID, Children: len(e.children)}
		if n := g.choose(e); n != nil {
			c.Child = n.ID
		}
		out = append(out, c)
	}
	return out
}

// Choice is the child that is followed where there are several.
type Choice struct {
	At, Child ID
	Children  int
}

// ForkAt describes the fork at an epoch; false if it has no second child.
func (g *Graph) ForkAt(id ID) (Fork, bool) {
	e := g.nodes[id]
	if e == nil || e.fork == nil {
		return Fork{}, false
	}
	return g.describe(e), true
}

func (g *Graph) describe(e *node) Fork {
	f := Fork{At: e.ID, OnHead: e.holds(g.head)}
	chosen := g.choose(e)
	best := -1
	for i, c := range e.children {
		b := g.branch(e, c)
		b.Votes = slices.Clone(b.Votes)
		b.Chosen = c == chosen
		b.Depth, b.Size = measure(c)
		for _, v := range g.voters(e) {
			if e.fork.support[v.Member] == c {
				b.Voters = append(b.Voters, v.Member)
			}
		}
		if b.Chosen {
			best = i
		}
		f.Branches = append(f.Branches, b)
	}
	f.runnerUp = -1
	for i, b := range f.Branches {
		if i == best {
			continue
		}
		if f.runnerUp >= 0 {
			if better, _ := g.better(b, f.Branches[f.runnerUp]); !better {
				continue
			}
		}
		f.runnerUp = i
	}
	f.Decided = ByComplaints
	if best >= 0 {
		_, f.Decided = g.better(f.Branches[best], f.Branches[f.runnerUp])
	}
	return f
}

// Chosen returns the branch to follow, one without a Child if all are void.
func (f Fork) Chosen() Branch {
	for _, b := range f.Branches {
		if b.Chosen {
			return b
		}
	}
	return Branch{}
}

// RunnerUp returns the best of the branches that are not followed.
func (f Fork) RunnerUp() Branch { return f.Branches[f.runnerUp] }
