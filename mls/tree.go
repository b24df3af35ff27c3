package mls

import (
	"iter"
	"slices"
)

// RatchetTree is the public part of a ratchet tree (RFC 9420, Section 7): an
// immutable value. A change returns a new tree that shares all untouched nodes
// with the old one and costs O(log n). Trees may be read by any number of
// goroutines; nothing is computed late.
type RatchetTree struct {
	s     *suite
	root  *treeNode
	width uint32
	keys  *keyNode // all signature and encryption keys of the tree
}

// treeNode is a node of the balanced tree. It never changes once it is part of
// a RatchetTree. While an edit owns it, its hash is nil and the fields after
// leaves are out of date.
type treeNode struct {
	left, right *treeNode   // nil in leaves
	leaf        packedLeaf  // of leaves; empty: blank
	parent      *parentNode // of parents; nil: blank
	leaves      uint32      // non-blank leaves at or below the node
	resolved    uint32      // size of its resolution
	members     *summary    // what the leaves below have in common; nil: no leaf
	hash        []byte      // tree hash (Section 7.8), Nh bytes
}

// parentNode is ParentNode of Section 7.1. It never changes.
type parentNode struct {
	encryptionKey []byte
	parentHash    []byte
	unmerged      []LeafIndex // strictly increasing
}

func (p *parentNode) write(w *writer) {
	w.vec(p.encryptionKey)
	w.vec(p.parentHash)
	w.vector(func(w *writer) {
		for _, l := range p.unmerged {
			w.u32(uint32(l))
		}
	})
}

func readParentNode(r *reader) *parentNode {
	p := &parentNode{encryptionKey: r.vec(), parentHash: r.vec()}
	for sub := r.sub(); !sub.empty(); {
		l := LeafIndex(sub.u32())
		if n := len(p.unmerged); n > 0 && p.unmerged[n-1] >= l {
			sub.failf("unmerged_leaves are not in increasing order")
		}
		p.unmerged = append(p.unmerged, l)
	}
	return p
}

// blank reports whether the node itself is blank.
func (n *treeNode) blank() bool { return n.leaf == "" && n.parent == nil }

// void reports whether the node and all below it are blank.
func (n *treeNode) void() bool { return n.leaves == 0 && n.resolved == 0 }

// key is the encryption key of a node that is not blank.
func (n *treeNode) key() []byte {
	if n.leaf != "" {
		return n.leaf.encryptionKey()
	}
	return n.parent.encryptionKey
}

// newTree returns the tree of a group with one member (Section 11).
func newTree(s *suite, l *LeafNode) (*RatchetTree, error) {
	e := &treeEdit{s: s, root: &treeNode{}, width: 1}
	e.addLeaf(l)
	return e.tree()
}

// LeafCount is the number of leaves, blank ones too: a power of two.
func (t *RatchetTree) LeafCount() uint32 { return t.width }

// MemberCount is the number of leaves that are not blank.
func (t *RatchetTree) MemberCount() uint32 { return t.root.leaves }

// CipherSuite is the suite whose hash and keys the tree has.
func (t *RatchetTree) CipherSuite() CipherSuite { return t.s.id }

// TreeHash returns the tree hash of the root (Section 7.8) of Nh bytes.
func (t *RatchetTree) TreeHash() []byte { return slices.Clone(t.root.hash) }

// Leaf returns the member at an index, unpacked for the caller. It is nil for a
// blank leaf and beyond the tree.
func (t *RatchetTree) Leaf(i LeafIndex) *LeafNode {
	if uint32(i) >= t.width {
		return nil
	}
	return t.root.descend(rootIndex(t.width), i).leaf.unpack()
}

// signatureKey returns the key of the member at an index, nil if there is none.
func (t *RatchetTree) signatureKey(i LeafIndex) []byte {
	if uint32(i) >= t.width {
		return nil
	}
	l := t.root.descend(rootIndex(t.width), i).leaf
	if l == "" {
		return nil
	}
	return l.signatureKey()
}

// Leaves yields the members in the order of their indexes, as Leaf does.
func (t *RatchetTree) Leaves() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		for i, l := range t.packed() {
			if !yield(i, l.unpack()) {
				return
			}
		}
	}
}

// packed yields the members as they are held.
func (t *RatchetTree) packed() iter.Seq2[LeafIndex, packedLeaf] {
	return func(yield func(LeafIndex, packedLeaf) bool) { t.root.eachLeaf(rootIndex(t.width), yield) }
}

func (n *treeNode) eachLeaf(x nodeIndex, yield func(LeafIndex, packedLeaf) bool) bool {
	switch {
	case n.leaves == 0:
		return true
	case x.isLeaf():
		return yield(x.firstLeaf(), n.leaf)
	default:
		return n.left.eachLeaf(x.left(), yield) && n.right.eachLeaf(x.right(), yield)
	}
}

// node finds a node by its position; nil beyond the tree.
func (t *RatchetTree) node(x nodeIndex) *treeNode {
	at := rootIndex(t.width)
	if uint32(x) > 2*uint32(at) {
		return nil
	}
	n := t.root
	for at != x {
		if x < at {
			n, at = n.left, at.left()
		} else {
			n, at = n.right, at.right()
		}
	}
	return n
}

// resolution lists the nodes that together cover all members below x
// (Section 4.1.1).
func (t *RatchetTree) resolution(x nodeIndex) []nodeIndex {
	var out []nodeIndex
	n := t.node(x)
	n.resolve(x, func(x nodeIndex, _ *treeNode) { out = append(out, x) })
	return out
}

// resolve visits the resolution of n, which stands at x, in order.
func (n *treeNode) resolve(x nodeIndex, visit func(nodeIndex, *treeNode)) {
	switch {
	case n.resolved == 0:
	case n.leaf != "":
		visit(x, n)
	case n.parent != nil:
		visit(x, n)
		for _, l := range n.parent.unmerged {
			visit(l.node(), n.descend(x, l))
		}
	default:
		n.left.resolve(x.left(), visit)
		n.right.resolve(x.right(), visit)
	}
}

// descend finds a leaf below n, which stands at x.
func (n *treeNode) descend(x nodeIndex, l LeafIndex) *treeNode {
	for !x.isLeaf() {
		if l.node() < x {
			n, x = n.left, x.left()
		} else {
			n, x = n.right, x.right()
		}
	}
	return n
}

// place is the position of leaf l, or of the node that covers it, in the
// resolution of n, and that node; n stands at x and l is a member below it.
func (n *treeNode) place(x nodeIndex, l LeafIndex) (position int, at nodeIndex) {
	for n.leaf == "" {
		if n.parent != nil {
			if i, ok := slices.BinarySearch(n.parent.unmerged, l); ok {
				return position + 1 + i, l.node()
			}
			return position, x
		}
		if l.node() < x {
			n, x = n.left, x.left()
		} else {
			position += int(n.left.resolved)
			n, x = n.right, x.right()
		}
	}
	return position, x
}

// pathStep is a parent on a direct path and its child beside the path.
type pathStep struct {
	node    nodeIndex
	copath  nodeIndex
	sibling *treeNode // at copath
}

// filteredDirectPath is the direct path of a leaf, bottom up, without the
// parents whose child on the copath has an empty resolution (Section 4.1.2).
func (t *RatchetTree) filteredDirectPath(l LeafIndex) []pathStep {
	var steps []pathStep
	n, x := t.root, rootIndex(t.width)
	for !x.isLeaf() {
		step := pathStep{node: x}
		if l.node() < x {
			step.copath, step.sibling = x.right(), n.right
			n, x = n.left, x.left()
		} else {
			step.copath, step.sibling = x.left(), n.left
			n, x = n.right, x.right()
		}
		if step.sibling.resolved > 0 {
			steps = append(steps, step)
		}
	}
	slices.Reverse(steps)
	return steps
}

// hasEncryptionKey reports whether an encryption key is in the tree.
func (t *RatchetTree) hasEncryptionKey(key []byte) bool {
	return t.keys.has(newKeyID(keyKindEncryption, key), 0)
}

// HasSignatureKey reports whether a signature key is in the tree.
func (t *RatchetTree) HasSignatureKey(key []byte) bool {
	return t.keys.has(newKeyID(keyKindSignature, key), 0)
}

// Marshal returns the tree as the content of a ratchet_tree extension
// (Section 12.4.3.3).
func (t *RatchetTree) Marshal() []byte {
	w := &writer{}
	w.vector(func(w *writer) {
		end := len(w.buf)
		t.root.writeInOrder(w, &end)
		w.buf = w.buf[:end] // without the blank nodes after the last one that is not
	})
	return w.buf
}

func (n *treeNode) writeInOrder(w *writer, end *int) {
	if n.left != nil {
		n.left.writeInOrder(w, end)
	}
	switch {
	case n.leaf != "":
		w.u8(1)
		w.u8(nodeTypeLeaf)
		n.leaf.write(w)
	case n.parent != nil:
		w.u8(1)
		w.u8(nodeTypeParent)
		n.parent.write(w)
	default:
		w.u8(0)
	}
	if !n.blank() {
		*end = len(w.buf)
	}
	if n.right != nil {
		n.right.writeInOrder(w, end)
	}
}
