package dag

import "slices"

// Graph is the DAG of one group from a base downward.
type Graph struct {
	rule    Rule
	base    *node
	head    *node
	nodes   map[ID]*node
	stands  map[ID]struct{}  // frames that are not commits
	forks   []*node          // nodes with several children, in no order
	accused map[ID][]Member  // who said in the parent that the child does not open
	roster  map[Member]Voter // members of the base
	senders map[Member]*sender
	gone    int // senders forgotten

	round  int // counts changes that bear on the answers of section 5.6
	walks  int // counts the uses of sender.walk
	answer answer
}

// New returns a graph that holds only the base: the group's root, the epoch a
// joiner was added in, or the last final epoch. Of the vertex only ID is
// needed; if Author is set, that member stands at the base with Seq. A nil
// rule is Support.
func New(rule Rule, base Vertex, number uint64, members []Voter) *Graph {
	if rule == nil {
		rule = Support{}
	}
	n := &node{Vertex: base, number: number}
	n.hang(nil)
	g := &Graph{
		rule:    rule,
		base:    n,
		head:    n,
		nodes:   map[ID]*node{base.ID: n},
		stands:  map[ID]struct{}{},
		accused: map[ID][]Member{},
		roster:  make(map[Member]Voter, len(members)),
		senders: map[Member]*sender{},
	}
	for _, m := range members {
		g.roster[m.Member] = m
	}
	if base.Author != "" {
		g.sender(base.Author).add(g.commitFrame(n))
	}
	return g
}

// Rule returns the rule of fork choice.
func (g *Graph) Rule() Rule { return g.rule }

func (g *Graph) sender(m Member) *sender {
	s := g.senders[m]
	if s == nil {
		s = &sender{}
		g.senders[m] = s
		g.round++
	}
	return s
}

// commitFrame is the commit as a frame: sent in the parent, standing at n.
func (g *Graph) commitFrame(n *node) frame {
	return frame{
		seq: n.Seq, id: n.ID, at: n.parent, stand: n,
		confirms: g.confirms(n.Confirms, n.parent), says: n.Confirms, vertex: true,
	}
}

// confirms returns the epoch that a frame sent in at confirms. Anything that
// is not at or above at says nothing: whether it is retained could differ
// between members.
func (g *Graph) confirms(id ID, at *node) *node {
	if n := g.nodes[id]; n.holds(at) {
		return n
	}
	return nil
}

// AddVertex adds a commit whose parent is retained. It costs O(delta + log
// depth) while nothing is forked.
func (g *Graph) AddVertex(v Vertex) (Change, error) {
	if v.ID == "" || v.Author == "" {
		return Change{}, ErrMalformed
	}
	if g.known(v.ID) {
		return Change{}, ErrDuplicate
	}
	p := g.nodes[v.Parent]
	if p == nil {
		return Change{}, ErrUnknown
	}
	n := &node{Vertex: v}
	n.hang(p)
	g.nodes[v.ID] = n
	i, _ := slices.BinarySearchFunc(p.children, n, compareNodes)
	p.children = slices.Insert(p.children, i, n)

	c := Change{Was: g.head.ID}
	if len(p.children) > 1 {
		c.Forked, c.ForkAt = true, p.ID
	}
	if p.fork != nil {
		p.fork.best = nil
	} else if len(p.children) == 2 {
		g.forks = append(g.forks, p)
		g.count(p)
	}
	g.judge(n)
	g.take(v.Author, g.commitFrame(n), &c)
	c.Beside = !n.holds(g.head)
	return c, nil
}

// AddStand adds any other frame whose epoch is retained.
func (g *Graph) AddStand(st Stand) (Change, error) {
	if st.ID == "" || st.Author == "" {
		return Change{}, ErrMalformed
	}
	if g.known(st.ID) {
		return Change{}, ErrDuplicate
	}
	at := g.nodes[st.At]
	if at == nil {
		return Change{}, ErrUnknown
	}
	g.stands[st.ID] = struct{}{}
	f := frame{seq: st.Seq, id: st.ID, at: at, says: st.Confirms, mute: st.Mute}
	if st.Mute {
		f.about = st.CannotOpen
	} else {
		f.stand, f.confirms = at, g.confirms(st.Confirms, at)
	}
	c := Change{Was: g.head.ID}
	g.take(st.Author, f, &c)
	return c, nil
}

func (g *Graph) known(id ID) bool {
	_, ok := g.stands[id]
	return ok || g.nodes[id] != nil
}

// take adds a frame to its sender and brings votes and head up to date.
func (g *Graph) take(m Member, f frame, c *Change) {
	s := g.sender(m)
	last, rivals := s.add(f)
	for _, r := range rivals {
		s.prove(common(f.at, r.at))
		c.Equivocator = &m
		c.Proof = [2]ID{min(f.id, r.id), max(f.id, r.id)}
	}
	if f.about != "" && !slices.Contains(g.accused[f.about], m) {
		g.accused[f.about] = append(g.accused[f.about], m)
	}
	if f.vertex || s.asked {
		g.round++
	}
	g.rejudge(m)
	for _, e := range g.forks {
		if last && len(rivals) == 0 {
			e.fork.advance(m, e, s, f)
		} else {
			e.fork.recount(m, e, s)
		}
	}
	g.follow()
	c.Head = g.head.ID
	c.Reorg = !g.nodes[c.Was].holds(g.head)
}

// Settled notes a frame that this device cannot open and only settled. It
// votes for nothing, but counts as leaving every epoch that does not hold at;
// an empty or unknown at means above or beside the base.
func (g *Graph) Settled(m Member, seq uint64, at ID) {
	f := frame{seq: seq, at: g.nodes[at]}
	s := g.sender(m)
	i, _ := slices.BinarySearchFunc(s.frames, f, compareFrames)
	for ; i < len(s.frames) && compareFrames(s.frames[i], f) == 0; i++ {
		if s.frames[i].at == f.at {
			return
		}
	}
	s.add(f)
	g.round++
}

// Equivocated notes a proof against m that a frame sent in the epoch carries.
// m has no vote at that epoch and above; in an epoch that is not retained it
// bears on finality alone. Two frames that are added here need no call.
func (g *Graph) Equivocated(m Member, in ID) Change {
	c := Change{Was: g.head.ID}
	s := g.sender(m)
	s.prove(g.nodes[in])
	g.round++
	g.rejudge(m)
	for _, e := range g.forks {
		e.fork.recount(m, e, s)
	}
	g.follow()
	c.Head = g.head.ID
	c.Reorg = !g.nodes[c.Was].holds(g.head)
	return c
}

// follow walks from the base to the head. Without a fork the head is the tip
// of the only chain.
func (g *Graph) follow() {
	n := g.head
	if len(g.forks)+len(g.accused) > 0 {
		n = g.base
	}
	for c := n; c != nil; c = g.choose(n) {
		n = c
	}
	if n != g.head {
		g.head = n
		g.round++
	}
}
