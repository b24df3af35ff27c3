package mls

import (
	"bytes"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
)

// secretTree is RFC 9420, section 9, expanded only where it was used. nodes
// holds the secrets of the highest unexpanded nodes by their index in the
// array of appendix C; ratchets hold what expanded leaves became.
type secretTree struct {
	suite    *suite
	width    uint32 // leaves, a power of two
	window   Window
	keeps    func(ratchetID) bool // whose generation 0 is kept
	nodes    map[uint32][]byte
	ratchets map[ratchetID]*ratchet
}

// newSecretTree takes ownership of root.
func newSecretTree(s *suite, width uint32, root []byte, w Window, keeps func(ratchetID) bool) *secretTree {
	return &secretTree{suite: s, width: width, window: w, keeps: keeps,
		nodes: map[uint32][]byte{width - 1: root}, ratchets: map[ratchetID]*ratchet{}}
}

// keepsFor is the deletion schedule: DMLS keeps handshake ratchets, whose
// frames stay readable while the epoch does (siblings by one author), and the
// device's own; RFC 9420 keeps none.
func keepsFor(k KeySchedule, self LeafIndex) func(ratchetID) bool {
	return func(id ratchetID) bool { return k == DMLS && (!id.application || id.leaf == self) }
}

// treeChange is what one use of the secret tree changes.
type treeChange struct {
	drop     []uint32
	keep     map[uint32][]byte
	ratchets map[ratchetID]*ratchet
}

func (c *treeChange) wipe() {
	for _, s := range c.keep {
		clear(s)
	}
	for _, r := range c.ratchets {
		r.wipe()
	}
}

// next is the generation that a ratchet uses next.
func (t *secretTree) next(id ratchetID) uint32 {
	if r := t.ratchets[id]; r != nil {
		return r.at
	}
	return 0
}

// stage derives a key and what the tree has to become, and leaves the tree as
// it is.
func (t *secretTree) stage(id ratchetID, generation uint32) (ratchetKey, *treeChange, error) {
	c := &treeChange{keep: map[uint32][]byte{}, ratchets: map[ratchetID]*ratchet{}}
	if r := t.ratchets[id]; r != nil {
		c.ratchets[id] = r.clone()
	} else if err := t.expand(id.leaf, c); err != nil {
		return ratchetKey{}, nil, err
	}
	k, err := c.ratchets[id].take(t.suite, generation, t.window)
	if err != nil {
		c.wipe()
		return ratchetKey{}, nil, err
	}
	return k, c, nil
}

// expand walks from the unexpanded node above a leaf down to it.
func (t *secretTree) expand(leaf LeafIndex, c *treeChange) error {
	if uint32(leaf) >= t.width {
		return fmt.Errorf("%w: leaf %d of %d", ErrMember, leaf, t.width)
	}
	node, level := t.width-1, bits.TrailingZeros32(t.width)
	for t.nodes[node] == nil {
		if level == 0 {
			return fmt.Errorf("%w: leaf %d is expanded", ErrSpent, leaf)
		}
		level--
		node, _ = childrenTowards(node, level, leaf)
	}
	secret := bytes.Clone(t.nodes[node])
	c.drop = append(c.drop, node)
	for level > 0 {
		level--
		on, off := childrenTowards(node, level, leaf)
		onSide, offSide := "left", "right"
		if on > node {
			onSide, offSide = offSide, onSide
		}
		c.keep[off] = t.suite.expandWithLabel(secret, "tree", []byte(offSide), t.suite.nh)
		below := t.suite.expandWithLabel(secret, "tree", []byte(onSide), t.suite.nh)
		clear(secret)
		secret, node = below, on
	}
	for _, id := range []ratchetID{{leaf, false}, {leaf, true}} {
		label := "handshake"
		if id.application {
			label = "application"
		}
		r := &ratchet{secret: t.suite.deriveSecret(secret, label)}
		if t.keeps(id) {
			r.marks = [][]byte{bytes.Clone(r.secret)}
		}
		c.ratchets[id] = r
	}
	clear(secret)
	return nil
}

// childrenTowards names the children, at level, of a node: first the one above
// leaf, then its sibling.
func childrenTowards(node uint32, level int, leaf LeafIndex) (on, off uint32) {
	left, right := node-1<<level, node+1<<level
	if 2*uint32(leaf) < node {
		return left, right
	}
	return right, left
}

// apply takes the change over: its secrets belong to the tree afterwards.
func (t *secretTree) apply(c *treeChange) {
	for _, node := range c.drop {
		clear(t.nodes[node])
		delete(t.nodes, node)
	}
	maps.Copy(t.nodes, c.keep)
	for id, r := range c.ratchets {
		if old := t.ratchets[id]; old != nil {
			old.wipe()
		}
		t.ratchets[id] = r
	}
}

func nodeKey(node uint32) string { return "t/" + strconv.FormatUint(uint64(node), 10) }

// records lists the change as a write set.
func (c *treeChange) records() []Record {
	var out []Record
	for _, node := range c.drop {
		out = append(out, Record{Key: nodeKey(node), Secret: true})
	}
	return append(out, secretTreeRecords(c.keep, c.ratchets)...)
}

func secretTreeRecords(nodes map[uint32][]byte, ratchets map[ratchetID]*ratchet) []Record {
	var out []Record
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		out = append(out, Record{Key: nodeKey(node), Value: bytes.Clone(nodes[node]), Secret: true})
	}
	ids := slices.SortedFunc(maps.Keys(ratchets), func(a, b ratchetID) int {
		if a.leaf != b.leaf {
			return int(int64(a.leaf) - int64(b.leaf))
		}
		if a.application == b.application {
			return 0
		}
		if b.application {
			return -1
		}
		return 1
	})
	for _, id := range ids {
		out = append(out, Record{Key: id.key(), Value: ratchets[id].record(), Secret: true})
	}
	return out
}

func (t *secretTree) wipe() {
	for _, s := range t.nodes {
		clear(s)
	}
	for _, r := range t.ratchets {
		r.wipe()
	}
	t.nodes, t.ratchets = nil, nil
}
