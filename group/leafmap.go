package group

import (
	"iter"
	"math/bits"
)

// leafMap maps leaves to values that are not zero. It is a value itself: set
// returns a new map that shares all but one path with the old, so that epochs
// share what they have in common and a change costs O(log n).
type leafMap[T comparable] struct {
	root  *leafNode[T]
	level int // of the root: one of level k covers fan^(k+1) leaves
	count int
}

// fan is the width of a node, a power of two.
const (
	fanBits = 5
	fan     = 1 << fanBits
)

// leafNode holds values at level 0 and nodes above it.
type leafNode[T comparable] struct {
	values []T
	kids   []*leafNode[T]
}

// slot is where a leaf lies in a node of a level.
func slot(leaf uint32, level int) int { return int(leaf>>(fanBits*level)) & (fan - 1) }

func (m leafMap[T]) covers(leaf uint32) bool {
	return m.root != nil && bits.Len32(leaf) <= fanBits*(m.level+1)
}

// get returns the zero value for a leaf that has none.
func (m leafMap[T]) get(leaf uint32) (v T) {
	if !m.covers(leaf) {
		return v
	}
	n := m.root
	for level := m.level; level > 0 && n != nil; level-- {
		n = n.kids[slot(leaf, level)]
	}
	if n == nil {
		return v
	}
	return n.values[slot(leaf, 0)]
}

// set returns the map with another value; zero takes the leaf out.
func (m leafMap[T]) set(leaf uint32, v T) leafMap[T] {
	var zero T
	was := m.get(leaf)
	if was == v {
		return m
	}
	for m.root != nil && !m.covers(leaf) {
		m.root, m.level = (*leafNode[T])(nil).with(0, m.root), m.level+1
	}
	if m.root == nil {
		m.level = max(0, (bits.Len32(leaf)-1)/fanBits)
	}
	m.root = m.root.put(m.level, leaf, v)
	if was != zero {
		m.count--
	}
	if v != zero {
		m.count++
	}
	return m
}

// with is a copy of a node, or a new one, with another kid.
func (n *leafNode[T]) with(at int, kid *leafNode[T]) *leafNode[T] {
	c := &leafNode[T]{kids: make([]*leafNode[T], fan)}
	if n != nil {
		copy(c.kids, n.kids)
	}
	c.kids[at] = kid
	return c
}

func (n *leafNode[T]) put(level int, leaf uint32, v T) *leafNode[T] {
	if level > 0 {
		var kid *leafNode[T]
		if n != nil {
			kid = n.kids[slot(leaf, level)]
		}
		return n.with(slot(leaf, level), kid.put(level-1, leaf, v))
	}
	c := &leafNode[T]{values: make([]T, fan)}
	if n != nil {
		copy(c.values, n.values)
	}
	c.values[slot(leaf, 0)] = v
	return c
}

// len is the number of leaves that have a value.
func (m leafMap[T]) len() int { return m.count }

// all yields the values in the order of their leaves.
func (m leafMap[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) { m.root.each(yield) }
}

func (n *leafNode[T]) each(yield func(T) bool) bool {
	if n == nil {
		return true
	}
	for _, kid := range n.kids {
		if !kid.each(yield) {
			return false
		}
	}
	var zero T
	for _, v := range n.values {
		if v != zero && !yield(v) {
			return false
		}
	}
	return true
}
