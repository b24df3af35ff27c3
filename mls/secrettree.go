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
	nodes    map[uint32]offshoot
	ratchets map[ratchetID]*ratchet
}

// offshoot is the secret of an unexpanded node. The tree was expanded down to
// the leaf beside, and all nodes that this left on the way share one record: a
// first frame of a sender changes two records and not one for each level.
type offshoot struct {
	secret []byte
	beside LeafIndex // 0 for the root
}

// newSecretTree takes ownership of root.
func newSecretTree(s *suite, width uint32, root []byte, w Window, keeps func(ratchetID) bool) *secretTree {
	return &secretTree{suite: s, width: width, window: w, keeps: keeps,
		nodes: map[uint32]offshoot{width - 1: {secret: root}}, ratchets: map[ratchetID]*ratchet{}}
}

// keepsFor is the deletion schedule: DMLS keeps handshake ratchets, whose
// frames stay readable while the epoch does (siblings by one author), and the
// device's own; RFC 9420 keeps none.
func keepsFor(k KeySchedule, self LeafIndex) func(ratchetID) bool {
	return func(id ratchetID) bool { return k == DMLS && (!id.application || id.leaf == self) }
}

// treeChange is what one use of the secret tree changes.
type treeChange struct {
	tree     *secretTree
	expanded *offshoot // what was at drop, if a leaf is used for the first time
	drop     uint32
	leaf     LeafIndex
	keep     map[uint32]offshoot
	ratchets map[ratchetID]*ratchet
}

func (c *treeChange) wipe() {
	for _, o := range c.keep {
		clear(o.secret)
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
	c := &treeChange{tree: t, keep: map[uint32]offshoot{}, ratchets: map[ratchetID]*ratchet{}}
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
	for t.nodes[node].secret == nil {
		if level == 0 {
			return fmt.Errorf("%w: leaf %d is expanded", ErrSpent, leaf)
		}
		level--
		node, _ = childrenTowards(node, level, leaf)
	}
	from := t.nodes[node]
	secret := bytes.Clone(from.secret)
	c.expanded, c.drop, c.leaf = &from, node, leaf
	for level > 0 {
		level--
		on, off := childrenTowards(node, level, leaf)
		onSide, offSide := "left", "right"
		if on > node {
			onSide, offSide = offSide, onSide
		}
		c.keep[off] = offshoot{t.suite.expandWithLabel(secret, "tree", []byte(offSide), t.suite.nh), leaf}
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
	if c.expanded != nil {
		clear(c.expanded.secret)
		delete(t.nodes, c.drop)
	}
	maps.Copy(t.nodes, c.keep)
	for id, r := range c.ratchets {
		if old := t.ratchets[id]; old != nil {
			old.wipe()
		}
		t.ratchets[id] = r
	}
}

// offshoots lists the nodes that the expansion down to a leaf left, from the
// top: node finds one.
func (t *secretTree) offshoots(leaf LeafIndex, node func(uint32) offshoot) []byte {
	w := &writer{}
	at, level := t.width-1, bits.TrailingZeros32(t.width)
	for off := at; ; {
		if o := node(off); o.secret != nil && o.beside == leaf {
			w.u32(off)
			w.vec(o.secret)
		}
		if level == 0 {
			return w.buf
		}
		level--
		at, off = childrenTowards(at, level, leaf)
	}
}

// readOffshoots reads what offshoots wrote and nothing else.
func (t *secretTree) readOffshoots(leaf LeafIndex, b []byte) error {
	r := newReader(b)
	for !r.empty() {
		node := r.u32()
		if _, twice := t.nodes[node]; twice {
			r.failf("node %d of the secret tree twice", node)
		}
		o := offshoot{r.vec(), leaf}
		if len(o.secret) != t.suite.nh {
			r.failf("node of %d bytes", len(o.secret))
		}
		t.nodes[node] = o
	}
	if err := r.done(); err != nil {
		return err
	}
	if uint32(leaf) >= t.width || !bytes.Equal(t.offshoots(leaf, func(x uint32) offshoot { return t.nodes[x] }), b) {
		return fmt.Errorf("%w: nodes that are not beside leaf %d", ErrMalformed, leaf)
	}
	return nil
}

const prefixOffshoots = "t/" // leaf beside

func offshootKey(leaf LeafIndex) string {
	return prefixOffshoots + strconv.FormatUint(uint64(leaf), 10)
}

// records lists the change as a write set, right before or right after it is
// applied.
func (c *treeChange) records() []Record {
	var out []Record
	if c.expanded != nil {
		node := func(x uint32) offshoot {
			if o, ok := c.keep[x]; ok || x == c.drop {
				return o
			}
			return c.tree.nodes[x]
		}
		was := c.expanded.beside
		out = append(out, Record{offshootKey(was), c.tree.offshoots(was, node), true})
		if left := c.tree.offshoots(c.leaf, node); was != c.leaf && len(left) > 0 {
			out = append(out, Record{offshootKey(c.leaf), left, true})
		}
	}
	return append(out, ratchetRecords(c.ratchets)...)
}

// list hands out the records of the whole tree.
func (t *secretTree) list(add func(key string, secret bool, value func() []byte)) {
	var beside []LeafIndex
	for _, o := range t.nodes {
		beside = append(beside, o.beside)
	}
	slices.Sort(beside)
	for _, leaf := range slices.Compact(beside) {
		add(offshootKey(leaf), true, func() []byte {
			return t.offshoots(leaf, func(x uint32) offshoot { return t.nodes[x] })
		})
	}
	for _, id := range slices.SortedFunc(maps.Keys(t.ratchets), ratchetID.compare) {
		add(id.key(), true, t.ratchets[id].record)
	}
}

func ratchetRecords(ratchets map[ratchetID]*ratchet) []Record {
	var out []Record
	for _, id := range slices.SortedFunc(maps.Keys(ratchets), ratchetID.compare) {
		out = append(out, Record{Key: id.key(), Value: ratchets[id].record(), Secret: true})
	}
	return out
}

func (t *secretTree) wipe() {
	for _, o := range t.nodes {
		clear(o.secret)
	}
	for _, r := range t.ratchets {
		r.wipe()
	}
	t.nodes, t.ratchets = nil, nil
}
