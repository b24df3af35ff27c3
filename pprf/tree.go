package pprf

import (
	"errors"
	"fmt"
	"slices"
)

// Errors of this package.
var (
	ErrPunctured = errors.New("pprf: input is punctured")
	ErrStale     = errors.New("pprf: puncture is stale: its node was dropped before")
	ErrInput     = errors.New("pprf: input has the wrong length")
	ErrPuncture  = errors.New("pprf: puncture does not fit the tree")
	ErrNodes     = errors.New("pprf: nodes are malformed")
)

// KDF derives a tree. It writes into the tree's memory, so that 256 levels need
// no allocation each, and keeps nothing.
type KDF interface {
	// Size is the length of a node secret in bytes (Nh).
	Size() int
	// Children derives both children of a node into left and right, which have
	// Size bytes and share no memory with node.
	Children(left, right, node []byte)
	// Output derives the function's output from a leaf secret. The result
	// belongs to the caller.
	Output(leaf []byte) []byte
}

// Tree is the function's state: the nodes from which every input that was not
// punctured can still be evaluated.
type Tree struct {
	kdf    KDF
	bits   int
	deltas []delta // by number; none is empty
}

// delta is what one puncture kept and no later one dropped.
type delta struct {
	number uint32
	shelf
}

// Puncture is the change of a [Tree] that makes one input impossible: Drop
// goes, Keep comes. Until it is wiped it holds secrets.
type Puncture struct {
	Drop NodeID // the held ancestor of the input's leaf
	From uint32 // the delta that holds Drop
	To   uint32 // the delta that Keep becomes; see [Tree.Apply]
	Keep []Node // siblings of the path, from left to right; none if Drop is a leaf
}

// New starts a tree of the given depth, a multiple of 8 up to [MaxBits], at
// root, which is copied. It panics on a depth or a root length that can never
// work, since both are constants of a cipher suite.
func New(kdf KDF, root []byte, bits int) *Tree {
	if !validBits(bits) || len(root) != kdf.Size() {
		panic(fmt.Sprintf("pprf: %d bits, root of %d bytes, KDF of %d", bits, len(root), kdf.Size()))
	}
	return &Tree{kdf: kdf, bits: bits, deltas: []delta{{shelf: shelve([]Node{{Secret: root}}, bits, len(root))}}}
}

func validBits(bits int) bool { return bits > 0 && bits <= MaxBits && bits%8 == 0 }

// Restore builds a tree from what [Tree.Delta] gave for each of
// [Tree.Deltas]. The secrets are copied. No node at all is a tree in which
// everything is punctured.
func Restore(kdf KDF, bits int, deltas map[uint32][]Node) (*Tree, error) {
	if !validBits(bits) {
		return nil, fmt.Errorf("%w: depth %d", ErrNodes, bits)
	}
	t := &Tree{kdf: kdf, bits: bits}
	var all []Node
	for number, nodes := range deltas {
		if len(nodes) == 0 {
			continue
		}
		for i := range nodes {
			if int(nodes[i].ID.Depth) > bits || len(nodes[i].Secret) != kdf.Size() {
				return nil, fmt.Errorf("%w: delta %d, node %v", ErrNodes, number, nodes[i].ID)
			}
		}
		all = append(all, nodes...)
		nodes = slices.Clone(nodes)
		sortNodes(nodes)
		t.deltas = append(t.deltas, delta{number, shelve(nodes, bits, kdf.Size())})
	}
	sortNodes(all)
	if !ordered(all) {
		t.Wipe()
		return nil, fmt.Errorf("%w: ids overlap", ErrNodes)
	}
	slices.SortFunc(t.deltas, func(a, b delta) int { return int(int64(a.number) - int64(b.number)) })
	return t, nil
}

func sortNodes(nodes []Node) {
	slices.SortFunc(nodes, func(a, b Node) int { return a.ID.compare(&b.ID) })
}

// find looks for the held node that covers input.
func (t *Tree) find(input []byte) (d *delta, at int, ok bool) {
	for i := range t.deltas {
		d := &t.deltas[i]
		if at, ok := d.cover(input); ok {
			return d, at, true
		}
	}
	return nil, 0, false
}

// Eval computes the function at input, bits/8 bytes. The tree does not change;
// whoever uses the output has to [Tree.Apply] the puncture. It fails with
// [ErrPunctured] if that was done before.
func (t *Tree) Eval(input []byte) (out []byte, p Puncture, err error) {
	if len(input)*8 != t.bits {
		return nil, Puncture{}, fmt.Errorf("%w: %d bytes, want %d", ErrInput, len(input), t.bits/8)
	}
	from, at, ok := t.find(input)
	if !ok {
		return nil, Puncture{}, ErrPunctured
	}
	p = Puncture{Drop: from.id(at), From: from.number, To: t.next()}
	size, depth := t.kdf.Size(), int(p.Drop.Depth)
	p.Keep = make([]Node, t.bits-depth)
	secrets := make([]byte, (len(p.Keep)+2)*size)
	path, next, kept := secrets[:size], secrets[size:2*size], secrets[2*size:]
	defer clear(secrets[:2*size])
	copy(path, from.secret(at))

	// A sibling is left of all deeper ones where the path turns right, and
	// right of them where it turns left: filling from both ends sorts.
	low, high := 0, len(p.Keep)
	for d := depth; d < t.bits; d++ {
		turnsRight := bit(input, d) == 1
		at := high - 1
		if turnsRight {
			at = low
		}
		off := kept[at*size : (at+1)*size : (at+1)*size]
		if turnsRight {
			low++
			t.kdf.Children(off, next, path)
		} else {
			high--
			t.kdf.Children(next, off, path)
		}
		p.Keep[at] = Node{ID: siblingOf(input, d+1), Secret: off}
		path, next = next, path
	}
	return t.kdf.Output(path), p, nil
}

// next is the lowest number above all deltas.
func (t *Tree) next() uint32 {
	if len(t.deltas) == 0 {
		return 0
	}
	return t.deltas[len(t.deltas)-1].number + 1
}

// Apply carries out a puncture made by this tree's Eval. It fails with
// [ErrStale], and changes nothing, if p.Drop is no longer held: another
// puncture went through the same node, so p.Keep could bring back what that
// one took away. The caller then evaluates again.
//
// Punctures staged side by side name the same new delta. Where p.To is taken
// when its turn comes, Apply gives it the next number and writes it to p.To;
// so the records of a puncture, delta To and what remains of delta From, are
// to be read after Apply. The secrets are copied: p may be wiped.
func (t *Tree) Apply(p *Puncture) error {
	at, held := t.search(p.From)
	if !held {
		return ErrStale
	}
	i, held := t.deltas[at].shelf.search(&p.Drop)
	if !held {
		return ErrStale
	}
	if err := t.check(p); err != nil {
		return err
	}
	if _, taken := t.search(p.To); taken {
		p.To = t.next()
	}

	t.deltas[at].drop(i)
	if t.deltas[at].len() == 0 {
		t.deltas = slices.Delete(t.deltas, at, at+1)
	}
	if len(p.Keep) > 0 {
		at, _ := t.search(p.To)
		t.deltas = slices.Insert(t.deltas, at, delta{p.To, shelve(p.Keep, t.bits, t.kdf.Size())})
	}
	return nil
}

// search finds a delta by number.
func (t *Tree) search(number uint32) (at int, held bool) {
	return slices.BinarySearchFunc(t.deltas, number, func(d delta, n uint32) int {
		return int(int64(d.number) - int64(n))
	})
}

// check says whether Keep covers all leaves below Drop but one: one node of
// each depth, all below Drop, none above another.
func (t *Tree) check(p *Puncture) error {
	if len(p.Keep) != t.bits-int(p.Drop.Depth) || !ordered(p.Keep) {
		return ErrPuncture
	}
	var seen [MaxBits + 1]bool
	for i := range p.Keep {
		id := &p.Keep[i].ID
		if id.Depth <= p.Drop.Depth || int(id.Depth) > t.bits || seen[id.Depth] ||
			!p.Drop.covers(id.Prefix[:]) || len(p.Keep[i].Secret) != t.kdf.Size() {
			return ErrPuncture
		}
		seen[id.Depth] = true
	}
	return nil
}

// Deltas lists the numbers of the deltas that hold nodes, ascending.
func (t *Tree) Deltas() []uint32 {
	out := make([]uint32, len(t.deltas))
	for i, d := range t.deltas {
		out[i] = d.number
	}
	return out
}

// Delta gives the nodes that delta i still holds, from left to right, or nil.
// They are copies, for the store's record; the caller wipes them.
func (t *Tree) Delta(i uint32) []Node {
	at, held := t.search(i)
	if !held {
		return nil
	}
	return t.deltas[at].nodes()
}

// Len is the number of nodes held; each is a secret of KDF.Size bytes.
func (t *Tree) Len() int {
	n := 0
	for _, d := range t.deltas {
		n += d.len()
	}
	return n
}

// Wipe overwrites and drops all secrets: every input is punctured afterwards.
func (t *Tree) Wipe() {
	for _, d := range t.deltas {
		d.wipe()
	}
	t.deltas = nil
}

// Wipe overwrites the secrets that p would have kept.
func (p *Puncture) Wipe() {
	WipeNodes(p.Keep)
	p.Keep = nil
}
