package mls

import (
	"fmt"
	"slices"
)

// treeEdit collects changes of a tree. It copies a node when it first touches
// it; nodes without a hash are its own. Hashes and keys are settled once, in
// tree, so that many changes share the work on the upper nodes.
type treeEdit struct {
	s     *suite
	root  *treeNode
	width uint32
	keys  *keyNode
	moved []keyChange
	last  *summary // shared by all leaves that are like the one before,
	like  traits   // which was this one
	buf   writer   // hash inputs
}

// edit begins a change of the tree, which itself stays as it is.
func (t *RatchetTree) edit() *treeEdit {
	return &treeEdit{s: t.s, root: t.root, width: t.width, keys: t.keys, last: t.root.members}
}

// own returns a node that the edit may change.
func own(n *treeNode) *treeNode {
	if n.hash == nil {
		return n
	}
	c := *n
	c.hash = nil
	return &c
}

// walk owns the nodes from the root to a leaf and shows each parent on the way
// to visit.
func (e *treeEdit) walk(l LeafIndex, visit func(x nodeIndex, n *treeNode)) (leaf *treeNode) {
	e.root = own(e.root)
	n, x := e.root, rootIndex(e.width)
	for !x.isLeaf() {
		visit(x, n)
		if l.node() < x {
			n.left = own(n.left)
			n, x = n.left, x.left()
		} else {
			n.right = own(n.right)
			n, x = n.right, x.right()
		}
	}
	return n
}

func (e *treeEdit) log(kind byte, key []byte, delta int) {
	e.moved = append(e.moved, keyChange{newKeyID(kind, key), delta})
}

func (e *treeEdit) logLeaf(l packedLeaf, delta int) {
	e.log(keyKindEncryption, l.encryptionKey(), delta)
	e.log(keyKindSignature, l.signatureKey(), delta)
}

// blankParent blanks a parent that the edit owns.
func (e *treeEdit) blankParent(n *treeNode) {
	if n.parent != nil {
		e.log(keyKindEncryption, n.parent.encryptionKey, -1)
		n.parent = nil
	}
}

// addLeaf puts a leaf at the leftmost blank place, extends the tree when there
// is none, and makes it unmerged in all parents above (Sections 7.7, 12.1.1).
// Extending costs O(n), since every blank leaf has a hash of its own: O(1) for
// each of the adds that filled the tree.
func (e *treeEdit) addLeaf(l *LeafNode) LeafIndex {
	if e.root.leaves == e.width {
		root := &treeNode{left: e.root, leaves: e.root.leaves}
		root.right = blankSubtree(rootIndex(e.width))
		e.root, e.width = root, 2*e.width
	}
	i := e.leftmostBlank()
	leaf := e.walk(i, func(_ nodeIndex, n *treeNode) {
		n.leaves++
		if n.parent != nil {
			p := *n.parent
			at, _ := slices.BinarySearch(p.unmerged, i)
			p.unmerged = slices.Insert(slices.Clone(p.unmerged), at, i)
			n.parent = &p
		}
	})
	leaf.leaf, leaf.leaves = l.pack(), 1
	e.logLeaf(leaf.leaf, 1)
	return i
}

func (e *treeEdit) leftmostBlank() LeafIndex {
	n, x := e.root, rootIndex(e.width)
	for !x.isLeaf() {
		if n.left.leaves < 1<<(x.level()-1) {
			n, x = n.left, x.left()
		} else {
			n, x = n.right, x.right()
		}
	}
	return x.firstLeaf()
}

// blankSubtree has the shape of the subtree at x. Which leaves it stands for
// is settled when it is hashed.
func blankSubtree(x nodeIndex) *treeNode {
	n := &treeNode{}
	if !x.isLeaf() {
		n.left, n.right = blankSubtree(x.left()), blankSubtree(x.right())
	}
	return n
}

// has reports whether a leaf is in the tree and not blank.
func (e *treeEdit) has(l LeafIndex) bool {
	return uint32(l) < e.width && e.root.descend(rootIndex(e.width), l).leaf != ""
}

// updateLeaf replaces a member's leaf and blanks its direct path (Section
// 12.1.2).
func (e *treeEdit) updateLeaf(i LeafIndex, l *LeafNode) error {
	if !e.has(i) {
		return fmt.Errorf("%w: update of leaf %d", ErrMember, i)
	}
	n := e.walk(i, func(_ nodeIndex, n *treeNode) { e.blankParent(n) })
	e.logLeaf(n.leaf, -1)
	n.leaf = l.pack()
	e.logLeaf(n.leaf, 1)
	return nil
}

// removeLeaf blanks a member's leaf and direct path and truncates the tree
// (Sections 7.7, 12.1.3).
func (e *treeEdit) removeLeaf(i LeafIndex) error {
	if !e.has(i) {
		return fmt.Errorf("%w: removal of leaf %d", ErrMember, i)
	}
	n := e.walk(i, func(_ nodeIndex, n *treeNode) {
		n.leaves--
		e.blankParent(n)
	})
	e.logLeaf(n.leaf, -1)
	n.leaf, n.leaves = "", 0
	for e.width > 1 && e.root.right.leaves == 0 {
		e.root = own(e.root)
		e.blankParent(e.root)
		e.root, e.width = e.root.left, e.width/2
	}
	return nil
}

// setPath replaces a leaf and its direct path: parents holds the new parents
// of the filtered direct path, bottom up; all others become blank (Section
// 7.5).
func (e *treeEdit) setPath(i LeafIndex, l *LeafNode, steps []pathStep, parents []*parentNode) error {
	if err := e.updateLeaf(i, l); err != nil {
		return err
	}
	k := len(steps) - 1
	e.walk(i, func(x nodeIndex, n *treeNode) {
		if k >= 0 && steps[k].node == x {
			n.parent = parents[k]
			e.log(keyKindEncryption, n.parent.encryptionKey, 1)
			k--
		}
	})
	return nil
}

// tree ends the edit: it settles counts, hashes and the index of keys. It
// fails when a key would be in the tree twice (Section 7.3).
func (e *treeEdit) tree() (*RatchetTree, error) {
	keys, err := e.keys.apply(settle(e.moved))
	if err != nil {
		return nil, err
	}
	e.keys, e.moved = keys, nil
	e.settleNode(e.root, rootIndex(e.width))
	return &RatchetTree{s: e.s, root: e.root, width: e.width, keys: keys}, nil
}

// settleNode completes the nodes that the edit owns, bottom up.
func (e *treeEdit) settleNode(n *treeNode, x nodeIndex) {
	if n.hash != nil {
		return
	}
	if x.isLeaf() {
		n.resolved = n.leaves
		if n.leaf != "" {
			n.members = e.summarise(n.leaf)
		} else {
			n.members = nil
		}
	} else {
		e.settleNode(n.left, x.left())
		e.settleNode(n.right, x.right())
		n.members = n.left.members.join(n.right.members)
		if n.parent != nil {
			n.resolved = 1 + uint32(len(n.parent.unmerged))
		} else {
			n.resolved = n.left.resolved + n.right.resolved
		}
	}
	e.buf.buf = e.buf.buf[:0]
	n.writeHashInput(&e.buf, x)
	n.hash = e.s.sum(e.buf.buf)
}

// summarise returns the summary of one leaf.
func (e *treeEdit) summarise(l packedLeaf) *summary {
	t := l.traits()
	if e.last == nil || e.like != t {
		if s := newSummary(l.unpack()); !s.equal(e.last) {
			e.last = s
		}
		e.like = t
	}
	return e.last
}
