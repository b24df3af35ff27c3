package mls

import "slices"

// NodeType of RFC 9420, Section 7.8.
const (
	nodeTypeLeaf   uint8 = 1
	nodeTypeParent uint8 = 2
)

// writeHashInput writes TreeHashInput of a node at x whose children are hashed.
func (n *treeNode) writeHashInput(w *writer, x nodeIndex) {
	if x.isLeaf() {
		writeLeafHashInput(w, x.firstLeaf(), n.leaf)
		return
	}
	writeParentHashInput(w, n.parent, n.left.hash, n.right.hash)
}

func writeLeafHashInput(w *writer, i LeafIndex, l packedLeaf) {
	w.u8(nodeTypeLeaf)
	w.u32(uint32(i))
	w.optional(l != "", l.write)
}

func writeParentHashInput(w *writer, p *parentNode, left, right []byte) {
	w.u8(nodeTypeParent)
	w.optional(p != nil, func(w *writer) { p.write(w) })
	w.vec(left)
	w.vec(right)
}

// parentHash is the parent hash of a parent with the given original tree hash
// of its child on the copath (Section 7.9).
func (s *suite) parentHash(p *parentNode, siblingHash []byte) []byte {
	w := writer{make([]byte, 0, len(p.encryptionKey)+len(p.parentHash)+len(siblingHash)+6)}
	w.vec(p.encryptionKey)
	w.vec(p.parentHash)
	w.vec(siblingHash)
	return s.sum(w.buf)
}

// hashWithout is the tree hash of n, at x, after blanking the leaves in gone
// (sorted, all below x) and taking them out of all unmerged_leaves. Subtrees
// without such a leaf keep their cached hash.
func (s *suite) hashWithout(n *treeNode, x nodeIndex, gone []LeafIndex) []byte {
	if len(gone) == 0 {
		return n.hash
	}
	w := &writer{}
	if x.isLeaf() {
		writeLeafHashInput(w, x.firstLeaf(), "")
		return s.sum(w.buf)
	}
	at, _ := slices.BinarySearch(gone, x.right().firstLeaf())
	left := s.hashWithout(n.left, x.left(), gone[:at])
	right := s.hashWithout(n.right, x.right(), gone[at:])
	p := n.parent
	if p != nil {
		c := *p
		c.unmerged = slices.DeleteFunc(slices.Clone(p.unmerged), func(l LeafIndex) bool {
			_, is := slices.BinarySearch(gone, l)
			return is
		})
		p = &c
	}
	writeParentHashInput(w, p, left, right)
	return s.sum(w.buf)
}

// below cuts the part of sorted leaves that is below x.
func below(ls []LeafIndex, x nodeIndex) []LeafIndex {
	first := x.firstLeaf()
	from, _ := slices.BinarySearch(ls, first)
	to, _ := slices.BinarySearch(ls, first+1<<x.level())
	return ls[from:to]
}
