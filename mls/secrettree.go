package mls

import (
	"bytes"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
)

// Window bounds how far a receiver follows a sender's ratchet (RFC 9420,
// section 9.1 and 15.3). The zero value means the schedule's default.
type Window struct {
	// Skipped is the number of keys per ratchet kept for frames that come out
	// of order. Default 32 in RFC 9420; in DMLS 0, since frames open in order.
	Skipped uint32
	// Forward is the number of generations that one frame may jump over, each
	// three KDF calls. Default 1,000.
	Forward uint32
}

func (w Window) orDefault(k KeySchedule) Window {
	if w.Forward == 0 {
		w.Forward = 1000
	}
	if w.Skipped == 0 && k == RFC9420 {
		w.Skipped = 32
	}
	return w
}

// ratchetID names one of the two ratchets of a leaf.
type ratchetID struct {
	leaf        LeafIndex
	application bool
}

func (id ratchetID) key() string {
	kind := "h"
	if id.application {
		kind = "a"
	}
	return "r/" + strconv.FormatUint(uint64(id.leaf), 10) + "/" + kind
}

func (t ContentType) ratchet(leaf LeafIndex) ratchetID {
	return ratchetID{leaf, t == ContentTypeApplication}
}

// ratchetKey is the key material of one generation.
type ratchetKey struct {
	generation uint32
	key, nonce []byte
}

func (k ratchetKey) wipe() { wipe(k.key, k.nonce) }

// markEvery bounds the cost of an old generation of a ratchet that is kept. Any
// member can make us derive one: the key is needed before anything is verified.
const markEvery = 1024

// ratchet is a hash ratchet (RFC 9420, section 9.1).
type ratchet struct {
	marks   [][]byte // secrets of generations 0, 1·markEvery, …, if all stay readable; else nil
	at      uint32   // next generation
	secret  []byte   // of generation at
	skipped []ratchetKey
}

func (r *ratchet) clone() *ratchet {
	c := &ratchet{at: r.at, secret: bytes.Clone(r.secret)}
	for _, m := range r.marks {
		c.marks = append(c.marks, bytes.Clone(m))
	}
	for _, k := range r.skipped {
		c.skipped = append(c.skipped, ratchetKey{k.generation, bytes.Clone(k.key), bytes.Clone(k.nonce)})
	}
	return c
}

func (r *ratchet) wipe() {
	wipe(r.marks...)
	wipe(r.secret)
	for _, k := range r.skipped {
		k.wipe()
	}
	*r = ratchet{}
}

// derive gives key and nonce of a generation from its secret.
func (s *suite) ratchetKey(secret []byte, generation uint32) ratchetKey {
	return ratchetKey{generation, s.deriveTreeSecret(secret, "key", generation, s.nk),
		s.deriveTreeSecret(secret, "nonce", generation, s.nn)}
}

// step moves the ratchet by one generation.
func (r *ratchet) step(s *suite) {
	r.secret = s.ratchetStep(r.secret, r.at)
	r.at++
	if r.marks != nil && r.at%markEvery == 0 {
		r.marks = append(r.marks, bytes.Clone(r.secret))
	}
}

// ratchetStep gives the secret of the next generation and wipes this one.
func (s *suite) ratchetStep(secret []byte, generation uint32) []byte {
	next := s.deriveTreeSecret(secret, "secret", generation, s.nh)
	clear(secret)
	return next
}

// take gives the key of a generation and moves the ratchet behind it.
func (r *ratchet) take(s *suite, generation uint32, w Window) (ratchetKey, error) {
	if generation < r.at {
		return r.takePast(s, generation)
	}
	if generation-r.at > w.Forward || generation == 1<<32-1 {
		return ratchetKey{}, fmt.Errorf("%w: %d, next is %d", ErrGeneration, generation, r.at)
	}
	for r.at < generation {
		if r.marks == nil && generation-r.at <= w.Skipped {
			r.skipped = append(r.skipped, s.ratchetKey(r.secret, r.at))
		}
		r.step(s)
	}
	if over := len(r.skipped) - int(w.Skipped); over > 0 {
		for _, k := range r.skipped[:over] {
			k.wipe()
		}
		r.skipped = slices.Delete(r.skipped, 0, over)
	}
	k := s.ratchetKey(r.secret, generation)
	r.step(s)
	return k, nil
}

// takePast gives the key of a generation that the ratchet has passed.
func (r *ratchet) takePast(s *suite, generation uint32) (ratchetKey, error) {
	if r.marks != nil {
		secret := bytes.Clone(r.marks[generation/markEvery])
		for g := generation / markEvery * markEvery; g < generation; g++ {
			secret = s.ratchetStep(secret, g)
		}
		defer clear(secret)
		return s.ratchetKey(secret, generation), nil
	}
	i := slices.IndexFunc(r.skipped, func(k ratchetKey) bool { return k.generation == generation })
	if i < 0 {
		return ratchetKey{}, fmt.Errorf("%w: %d, next is %d", ErrSpent, generation, r.at)
	}
	k := r.skipped[i]
	r.skipped = slices.Delete(r.skipped, i, i+1)
	return k, nil
}

// record encodes a ratchet for the store.
func (r *ratchet) record() []byte {
	w := &writer{}
	w.vector(func(w *writer) {
		for _, m := range r.marks {
			w.vec(m)
		}
	})
	w.u32(r.at)
	w.vec(r.secret)
	w.vector(func(w *writer) {
		for _, k := range r.skipped {
			w.u32(k.generation)
			w.vec(k.key)
			w.vec(k.nonce)
		}
	})
	return w.buf
}

func parseRatchet(s *suite, b []byte) (*ratchet, error) {
	rd := newReader(b)
	r := &ratchet{marks: readList(rd, (*reader).vec), at: rd.u32(), secret: rd.vec()}
	r.skipped = readList(rd, func(rd *reader) ratchetKey { return ratchetKey{rd.u32(), rd.vec(), rd.vec()} })
	if err := rd.done(); err != nil {
		return nil, err
	}
	if r.marks != nil && len(r.marks) != int(r.at/markEvery)+1 {
		return nil, fmt.Errorf("%w: %d marks at generation %d", ErrMalformed, len(r.marks), r.at)
	}
	for _, secret := range append(slices.Clone(r.marks), r.secret) {
		if len(secret) != s.nh {
			return nil, fmt.Errorf("%w: ratchet secret of %d bytes", ErrMalformed, len(secret))
		}
	}
	return r, nil
}

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
