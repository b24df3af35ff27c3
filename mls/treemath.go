package mls

import "math/bits"

// The arithmetic of the array-based tree (RFC 9420, Appendix C): leaf i is
// node 2i, the parents stand at odd positions, level 0 is the leaves'. Width
// is the number of leaves, always a power of two.

// nodeIndex is a position in the array-based tree.
type nodeIndex uint32

func (l LeafIndex) node() nodeIndex { return nodeIndex(l) * 2 }

// level is the height of a node above the leaves.
func (x nodeIndex) level() int { return bits.TrailingZeros32(^uint32(x)) }

func (x nodeIndex) isLeaf() bool { return x&1 == 0 }

// left and right are the children of a parent node.
func (x nodeIndex) left() nodeIndex  { return x ^ 1<<(x.level()-1) }
func (x nodeIndex) right() nodeIndex { return x ^ 3<<(x.level()-1) }

// parent is the parent of a node that is not the root.
func (x nodeIndex) parent() nodeIndex {
	k := x.level()
	b := x >> (k + 1) & 1
	return (x | 1<<k) ^ b<<(k+1)
}

// sibling is the other child of the parent.
func (x nodeIndex) sibling() nodeIndex {
	p := x.parent()
	if x < p {
		return p.right()
	}
	return p.left()
}

// firstLeaf is the leftmost leaf below a node.
func (x nodeIndex) firstLeaf() LeafIndex {
	return LeafIndex((uint32(x) + 1 - 1<<x.level()) / 2)
}

// covers reports whether leaf l is below node x (or is it).
func (x nodeIndex) covers(l LeafIndex) bool {
	return uint32(l)>>x.level() == uint32(x.firstLeaf())>>x.level()
}

// rootIndex is the root of a tree of a width.
func rootIndex(width uint32) nodeIndex { return nodeIndex(width - 1) }

// widthFor is the smallest width of a tree with n leaves.
func widthFor(n uint32) uint32 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len32(n-1)
}

// commonAncestor is the lowest common ancestor of two leaves.
func commonAncestor(a, b LeafIndex) nodeIndex {
	k := bits.Len32(uint32(a ^ b))
	return nodeIndex(uint32(a)>>k<<(k+1) + 1<<k - 1)
}
