package dag

import "slices"

// node is a retained vertex. The jump pointers are those of a skew-binary
// tree: any ancestor is reached in O(log depth) steps.
type node struct {
	Vertex
	number   uint64 // of the epoch
	parent   *node  // nil at the base
	jump     *node  // itself at the base
	children []*node
	fork     *fork  // counters while there are several children
	void     bool   // more than a third of the parent's voters could not open it
	author   *Voter // cached by Graph.branch: the author in the parent's tree

	voters *electorate // cached by Graph.electorate, shared between equal epochs
}

// hang sets parent and jump pointer of n.
func (n *node) hang(p *node) {
	n.parent = p
	if p == nil {
		n.jump = n
		return
	}
	n.number = p.number + 1
	n.jump = p
	if p.number-p.jump.number == p.jump.number-p.jump.jump.number {
		n.jump = p.jump.jump
	}
}

// at returns the ancestor of n (or n) with the number, which must not be above
// the base's.
func (n *node) at(number uint64) *node {
	for n.number > number {
		if n.jump.number >= number {
			n = n.jump
		} else {
			n = n.parent
		}
	}
	return n
}

// holds reports whether b is n or lies below it; false if either is nil.
func (n *node) holds(b *node) bool {
	return n != nil && b != nil && b.number >= n.number && b.at(n.number) == n
}

// toward returns the child of n under which b lies, nil if b is not below n.
func (n *node) toward(b *node) *node {
	if b == n || !n.holds(b) {
		return nil
	}
	return b.at(n.number + 1)
}

// common returns the deepest node at or above both; nil if either is nil.
func common(a, b *node) *node {
	if a == nil || b == nil {
		return nil
	}
	a, b = a.at(min(a.number, b.number)), b.at(min(a.number, b.number))
	for a != b {
		if a.jump != b.jump {
			a, b = a.jump, b.jump
		} else {
			a, b = a.parent, b.parent
		}
	}
	return a
}

// deeper returns the one with the higher number; both lie on one chain.
func deeper(a, b *node) *node {
	if a == nil || b != nil && b.number > a.number {
		return b
	}
	return a
}

// compareNodes orders by number, then id: parents come before children.
func compareNodes(a, b *node) int {
	if a.number != b.number {
		if a.number < b.number {
			return -1
		}
		return 1
	}
	return compareIDs(a.ID, b.ID)
}

func compareIDs(a, b ID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Head returns the tip that fork choice follows.
func (g *Graph) Head() ID { return g.head.ID }

// Base returns the root of what is retained.
func (g *Graph) Base() ID { return g.base.ID }

// Has reports whether the epoch is retained.
func (g *Graph) Has(id ID) bool { return g.nodes[id] != nil }

// Len returns the number of retained epochs, the base among them.
func (g *Graph) Len() int { return len(g.nodes) }

// Number returns the integer epoch, 0 for an unknown id. Rivals can share it.
func (g *Graph) Number(id ID) uint64 {
	if n := g.nodes[id]; n != nil {
		return n.number
	}
	return 0
}

// Parent returns the epoch's parent, empty for the base and unknown ids.
func (g *Graph) Parent(id ID) ID {
	if n := g.nodes[id]; n != nil && n.parent != nil {
		return n.parent.ID
	}
	return ""
}

// Children returns the epoch's children in byte order.
func (g *Graph) Children(id ID) []ID {
	n := g.nodes[id]
	if n == nil {
		return nil
	}
	return ids(n.children)
}

// Vertex returns a retained commit. Of the base only the ID is certain.
func (g *Graph) Vertex(id ID) (Vertex, bool) {
	if n := g.nodes[id]; n != nil {
		return n.Vertex, true
	}
	return Vertex{}, false
}

// IsAncestor reports whether a is b or lies above it. It takes O(log depth).
func (g *Graph) IsAncestor(a, b ID) bool { return g.nodes[a].holds(g.nodes[b]) }

// Common returns the deepest epoch at or above both, empty if one is unknown.
func (g *Graph) Common(a, b ID) ID {
	if c := common(g.nodes[a], g.nodes[b]); c != nil {
		return c.ID
	}
	return ""
}

// Chain returns the way from an epoch down to another, both included; nil if
// from is not at or above to.
func (g *Graph) Chain(from, to ID) []ID {
	a, b := g.nodes[from], g.nodes[to]
	if !a.holds(b) {
		return nil
	}
	way := make([]ID, 0, b.number-a.number+1)
	for n := b; n != a; n = n.parent {
		way = append(way, n.ID)
	}
	way = append(way, a.ID)
	slices.Reverse(way)
	return way
}

// Losing returns the epochs that are not on the chain from base to head, in
// topological order (by number, then id).
func (g *Graph) Losing() []ID {
	if len(g.forks)+len(g.accused) == 0 {
		return nil
	}
	return ids(g.selected(func(n *node) bool { return !n.holds(g.head) }))
}

// LosingTips returns the epochs of Losing without children.
func (g *Graph) LosingTips() []ID {
	if len(g.forks)+len(g.accused) == 0 {
		return nil
	}
	return ids(g.selected(func(n *node) bool { return n != g.head && len(n.children) == 0 }))
}

// Vertices returns all retained commits in topological order (by number, then
// id), the base first.
func (g *Graph) Vertices() []Vertex {
	var vs []Vertex
	for _, n := range g.selected(func(*node) bool { return true }) {
		vs = append(vs, n.Vertex)
	}
	return vs
}

func (g *Graph) selected(want func(*node) bool) []*node {
	var ns []*node
	for _, n := range g.nodes {
		if want(n) {
			ns = append(ns, n)
		}
	}
	slices.SortFunc(ns, compareNodes)
	return ns
}

func ids(ns []*node) []ID {
	var out []ID
	for _, n := range ns {
		out = append(out, n.ID)
	}
	return out
}
