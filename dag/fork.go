package dag

import (
	"fmt"
	"slices"
)

// Rule picks the branch to follow at a fork. Better must be a strict total
// order on the branches of one fork and depend on nothing else. The reason is
// one of the Decided values of Fork.
type Rule interface {
	Name() string
	UsesDepth() bool // whether Better reads Branch.Depth, which costs a walk
	Better(a, b Branch) (better bool, reason string)
}

// Reasons that a rule gives.
const (
	ByVotes = "votes" // votes compared rank by rank, admins first
	ByRank  = "rank"  // higher rank of the fork commit's author
	ByLeaf  = "leaf"  // lower leaf of the author in the fork epoch's tree
	ByCID   = "cid"   // siblings by one author
	ByTag   = "tag"
	ByDepth = "depth"
)

// Support is the default rule (design, section 5.4): votes rank by rank, then
// rank and leaf of the fork commit's author, then the commit's id.
type Support struct{}

func (Support) Name() string    { return "support" }
func (Support) UsesDepth() bool { return false }

func (Support) Better(a, b Branch) (bool, string) {
	if c := slices.Compare(a.Votes, b.Votes); c != 0 {
		return c > 0, ByVotes
	}
	return byAuthor(a, b)
}

// Tag follows the higher confirmation_tag, the example of the early draft. It
// can be ground and is here for comparison only.
type Tag struct{}

func (Tag) Name() string    { return "tag" }
func (Tag) UsesDepth() bool { return false }

func (Tag) Better(a, b Branch) (bool, string) {
	if a.Tag != b.Tag {
		return a.Tag > b.Tag, ByTag
	}
	return a.Child < b.Child, ByCID
}

// Depth follows the longer branch. One member can mint depth; it is here for
// comparison only.
type Depth struct{}

func (Depth) Name() string    { return "depth" }
func (Depth) UsesDepth() bool { return true }

func (Depth) Better(a, b Branch) (bool, string) {
	if a.Depth != b.Depth {
		return a.Depth > b.Depth, ByDepth
	}
	return byAuthor(a, b)
}

func byAuthor(a, b Branch) (bool, string) {
	switch {
	case a.AuthorRank != b.AuthorRank:
		return a.AuthorRank < b.AuthorRank, ByRank
	case a.AuthorLeaf != b.AuthorLeaf:
		return a.AuthorLeaf < b.AuthorLeaf, ByLeaf
	}
	return a.Child < b.Child, ByCID
}

// Branch is one side of a fork.
type Branch struct {
	Child      ID // first commit of the branch
	Chosen     bool
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
	Branches []Branch // by id of Child
	Decided  string   // why the chosen one beats the next best: a By constant
	runnerUp int
}

// fork counts the votes at one epoch with several children.
type fork struct {
	rank    map[Member]uint8 // of the voters
	support map[Member]*node
	tally   map[*node][]int
	width   int // of a tally: highest rank number among the voters, plus one
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

// choose returns the child of e to follow.
func (g *Graph) choose(e *node) *node {
	if len(e.children) == 1 {
		return e.children[0]
	}
	best := g.branch(e, e.children[0])
	chosen := e.children[0]
	for _, c := range e.children[1:] {
		b := g.branch(e, c)
		if better, _ := g.rule.Better(b, best); better {
			best, chosen = b, c
		}
	}
	return chosen
}

func (g *Graph) branch(e, c *node) Branch {
	b := Branch{Child: c.ID, Author: c.Author, Votes: e.fork.votes(c), Tag: string(c.Tag)}
	if v, ok := g.member(e, c.Author); ok {
		b.AuthorRank, b.AuthorLeaf = v.Rank, v.Leaf
	} else {
		b.AuthorRank, b.AuthorLeaf = ^uint8(0), ^uint32(0)
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
	best := 0
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
			if better, _ := g.rule.Better(b, f.Branches[f.runnerUp]); !better {
				continue
			}
		}
		f.runnerUp = i
	}
	_, f.Decided = g.rule.Better(f.Branches[best], f.Branches[f.runnerUp])
	return f
}

// Chosen returns the branch to follow, RunnerUp the next best.
func (f Fork) Chosen() Branch {
	i := slices.IndexFunc(f.Branches, func(b Branch) bool { return b.Chosen })
	return f.Branches[i]
}

// RunnerUp returns the best of the branches that are not followed.
func (f Fork) RunnerUp() Branch { return f.Branches[f.runnerUp] }

// Why says in words why the chosen branch beats the next best one.
func (f Fork) Why() string {
	a, b := f.Chosen(), f.RunnerUp()
	switch f.Decided {
	case ByVotes:
		return whyVotes(a.Votes, b.Votes)
	case ByRank:
		return fmt.Sprintf("%s; its first commit is by an author of higher rank (%d before %d)", tie(a), a.AuthorRank, b.AuthorRank)
	case ByLeaf:
		return fmt.Sprintf("%s; its first commit is by the author with the lower leaf (%d before %d)", tie(a), a.AuthorLeaf, b.AuthorLeaf)
	case ByCID:
		return tie(a) + "; one author made both first commits, the lower id wins"
	case ByTag:
		return "its first commit has the higher confirmation tag"
	case ByDepth:
		return fmt.Sprintf("%d against %d commits in a row", a.Depth, b.Depth)
	}
	return "decided by " + f.Decided
}

// whyVotes speaks of the first rank in which the counts differ.
func whyVotes(a, b []int) string {
	only := true // nobody but that rank voted
	at := -1
	for r := range a {
		if at < 0 && a[r] != b[r] {
			at = r
		} else if a[r]+b[r] > 0 {
			only = false
		}
	}
	switch {
	case only:
		return fmt.Sprintf("%s against %d", plural(a[at], "vote"), b[at])
	case at == 0:
		return fmt.Sprintf("%s against %d", plural(a[0], "admin vote"), b[0])
	}
	return fmt.Sprintf("equal votes above rank %d, there %s against %d", at, plural(a[at], "vote"), b[at])
}

func tie(a Branch) string {
	n := 0
	for _, v := range a.Votes {
		n += v
	}
	return fmt.Sprintf("votes equal (%d each)", n)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
