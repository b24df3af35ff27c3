package synth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/dmlsd/dmls/internal/cores"
)

// node is one place of the array-based tree (RFC 9420, appendix C).
type node struct {
	content []byte // LeafNode or ParentNode; nil: blank
	hash    []byte // tree hash
	void    bool   // nothing at or below it
}

// tree is a ratchet tree under construction.
type tree struct {
	n, width int
	group    []byte
	seed     []byte
	shape    Shape
	nodes    []node
	joiners  map[int][]byte // LeafNodes of the measured members, by leaf
	signer   int            // leaf whose path is known
	keys     map[int][]byte // public keys of the parents on its path, by node
}

func level(x int) int { return bits.TrailingZeros(^uint(x)) }
func left(x int) int  { return x - 1<<(level(x)-1) }
func right(x int) int { return x + 1<<(level(x)-1) }

func (t *tree) root() int { return t.width - 1 }

// firstLeaf is the leftmost leaf below x.
func firstLeaf(x int) int { return (x + 1 - 1<<level(x)) / 2 }

// blank: nothing is to the right, so that no path would set the parent, or both
// children are measured members, whose leaves hold no parent hash.
func (t *tree) blank(x int) bool {
	if firstLeaf(right(x)) >= t.n {
		return true
	}
	_, a := t.joiners[left(x)/2]
	_, b := t.joiners[right(x)/2]
	return level(x) == 1 && a && b
}

// follows is the child of x through which the last commit went: x's parent
// hash is in the subtree below it.
func (t *tree) follows(x int) int {
	l := left(x)
	switch {
	case level(x) == 1 && t.joiners[l/2] != nil, level(x) == 2 && t.blank(l):
		return right(x)
	}
	return l
}

// sealed is a secret-looking value for a place in the tree.
func (t *tree) derive(label string, x int) []byte {
	b := append(append([]byte{}, t.seed...), label...)
	h := sha256.Sum256(binary.BigEndian.AppendUint32(b, uint32(x)))
	return h[:]
}

// build fills the tree. A chain of parent hashes runs from its top, which is
// the root or a node that its parent does not follow, down to one leaf. It
// needs the hashes of the subtrees beside it, whose own chains begin lower:
// so all chains that begin on one level are independent of each other.
func (t *tree) build() {
	t.nodes = make([]node, 2*t.width-1)
	for l := 0; 1<<l <= t.width; l++ {
		var tops []int
		for x := 1<<l - 1; x < len(t.nodes); x += 1 << (l + 1) {
			if x == t.root() || t.follows(parent(x)) != x {
				tops = append(tops, x)
			}
		}
		cores.Each(len(tops), func(i int) { t.chain(tops[i], nil) })
	}
}

func parent(x int) int {
	l := level(x)
	b := x >> (l + 1) & 1
	return (x | 1<<l) ^ b<<(l+1)
}

// chain fills the nodes from x down to the leaf that the chain ends in, then
// hashes them on the way back. above is the parent hash of x; the top's has
// been overtaken by a later commit, unless it is the root's, which is empty.
func (t *tree) chain(x int, above []byte) {
	n := &t.nodes[x]
	if above == nil && x != t.root() {
		above = t.derive("overtaken", x)
	}
	if level(x) == 0 {
		t.leaf(x/2, above)
		return
	}
	on, off := t.follows(x), left(x)+right(x)-t.follows(x)
	n.void = firstLeaf(x) >= t.n
	if !n.void && !t.blank(x) {
		key := t.keys[x]
		if key == nil {
			key = t.derive("key", x) // any 32 bytes are an X25519 public key
		}
		n.content = append(vec(key), append(vec(above), vec(nil)...)...)
		h := sha256.Sum256(append(append(vec(key), vec(above)...), vec(t.nodes[off].hash)...))
		above = h[:]
	}
	t.chain(on, above)
	in := append([]byte{2}, optional(n.content)...)
	in = append(in, vec(t.nodes[left(x)].hash)...)
	h := sha256.Sum256(append(in, vec(t.nodes[right(x)].hash)...))
	n.hash = h[:]
}

// leaf makes a member whose leaf was last renewed by a commit.
func (t *tree) leaf(i int, parentHash []byte) {
	n := &t.nodes[2*i]
	switch {
	case i >= t.n:
		n.void = true
	case t.joiners[i] != nil:
		n.content = t.joiners[i]
	default:
		n.content = t.signedLeaf(i, parentHash)
	}
	h := sha256.Sum256(append(binary.BigEndian.AppendUint32([]byte{1}, uint32(i)), optional(n.content)...))
	n.hash = h[:]
}

// signedLeaf is a LeafNode of source commit (RFC 9420, section 7.2).
func (t *tree) signedLeaf(i int, parentHash []byte) []byte {
	key := t.signatureKey(i)
	b := append(vec(t.derive("leaf", i)), vec(key.Public().(ed25519.PublicKey))...)
	b = append(b, credential(i)...)
	b = append(b, capabilities(t.shape.Extensions)...)
	b = append(append(b, 3), vec(parentHash)...)
	b = append(b, extensions(t.shape.Leaf)...)
	tbs := append(append(append([]byte{}, b...), vec(t.group)...), binary.BigEndian.AppendUint32(nil, uint32(i))...)
	return append(b, vec(sign(key, "LeafNodeTBS", tbs))...)
}

func (t *tree) signatureKey(i int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(t.derive("signature", i))
}

// marshal is the content of a ratchet_tree extension.
func (t *tree) marshal() []byte {
	var b []byte
	for x := 0; x <= 2*(t.n-1); x++ {
		n := &t.nodes[x]
		if n.content == nil {
			b = append(b, 0)
			continue
		}
		b = append(append(b, 1, byte(1+x%2)), n.content...)
	}
	return vec(b)
}
