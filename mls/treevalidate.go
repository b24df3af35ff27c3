package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// validate checks a tree that came from outside (RFC 9420, Section 12.4.3.1):
// unmerged leaves, parent hashes, and every leaf by Section 7.3. That no key
// occurs twice was checked when the tree was parsed. The leaves' lifetimes are
// not compared with a clock: members that were added long ago have outlived
// them.
func (t *RatchetTree) validate(groupID []byte, env Env) error {
	if t.root.leaves == 0 {
		return fmt.Errorf("%w: no member", ErrTree)
	}
	// Section 7.7: without a member on the right the tree would have been cut.
	if t.width > 1 && t.root.right.leaves == 0 {
		return fmt.Errorf("%w: no member in the right half", ErrTree)
	}
	if p := t.root.parent; p != nil && len(p.parentHash) > 0 { // Section 7.9
		return fmt.Errorf("%w: the root has a parent hash", ErrTree)
	}
	if err := t.checkAllParents(env); err != nil {
		return err
	}
	if err := t.checkMembers(); err != nil {
		return fmt.Errorf("%w: %w", ErrTree, err)
	}
	return t.verifyLeaves(groupID, env)
}

// verifyLeaves verifies the leaves one by one, in parallel where env can, a few
// in each part.
func (t *RatchetTree) verifyLeaves(groupID []byte, env Env) error {
	indexes := make([]LeafIndex, 0, t.root.leaves)
	leaves := make([]packedLeaf, 0, t.root.leaves)
	for i, l := range t.packed() {
		indexes, leaves = append(indexes, i), append(leaves, l)
	}
	errs := make([]error, len(leaves))
	const run = 8
	env.each((len(leaves)+run-1)/run, func(part int) {
		v := leafVerifier{s: t.s, env: env, groupID: groupID}
		for i := part * run; i < min((part+1)*run, len(leaves)); i++ {
			errs[i] = v.verify(leaves[i], indexes[i])
		}
	})
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("%w: leaf %d: %w", ErrTree, indexes[i], err)
		}
	}
	return nil
}

// checkAllParents checks the upper parents, then the pieces below them, in
// parallel where env can.
func (t *RatchetTree) checkAllParents(env Env) error {
	type piece struct {
		n *treeNode
		x nodeIndex
	}
	var pieces []piece
	level := pieceLevel(t.width)
	var upper func(n *treeNode, x nodeIndex) error
	upper = func(n *treeNode, x nodeIndex) error {
		if x.level() == level {
			pieces = append(pieces, piece{n, x})
			return nil
		}
		if err := t.checkParent(n, x); err != nil {
			return err
		}
		if err := upper(n.left, x.left()); err != nil {
			return err
		}
		return upper(n.right, x.right())
	}
	if err := upper(t.root, rootIndex(t.width)); err != nil {
		return err
	}
	errs := make([]error, len(pieces))
	env.each(len(pieces), func(i int) { errs[i] = t.checkParents(pieces[i].n, pieces[i].x) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkParents checks all parents at or below n, which stands at x.
func (t *RatchetTree) checkParents(n *treeNode, x nodeIndex) error {
	if x.isLeaf() || n.void() {
		return nil
	}
	if err := t.checkParent(n, x); err != nil {
		return err
	}
	if err := t.checkParents(n.left, x.left()); err != nil {
		return err
	}
	return t.checkParents(n.right, x.right())
}

// checkParent checks the parent at n, if it is not blank.
func (t *RatchetTree) checkParent(n *treeNode, x nodeIndex) error {
	if n.parent == nil {
		return nil
	}
	if err := t.s.kem.checkPublic(n.parent.encryptionKey); err != nil {
		return fmt.Errorf("%w: node %d: %w", ErrTree, x, err)
	}
	for _, l := range n.parent.unmerged {
		if err := n.checkUnmerged(x, l); err != nil {
			return err
		}
	}
	if c := t.s.chains(n, x); c != 1 {
		return fmt.Errorf("%w: node %d is the parent of %d parent-hash chains, want 1", ErrTree, x, c)
	}
	return nil
}

// checkUnmerged checks that a leaf that is unmerged at n is unmerged in every
// parent between them that is not blank.
func (n *treeNode) checkUnmerged(x nodeIndex, l LeafIndex) error {
	for top := x; !x.isLeaf(); {
		if n.parent != nil {
			if _, ok := slices.BinarySearch(n.parent.unmerged, l); !ok {
				return fmt.Errorf("%w: leaf %d is unmerged at node %d, not at node %d below", ErrTree, l, top, x)
			}
		}
		if l.node() < x {
			n, x = n.left, x.left()
		} else {
			n, x = n.right, x.right()
		}
	}
	if n.leaf == "" {
		return fmt.Errorf("%w: unmerged leaf %d is blank", ErrTree, l)
	}
	return nil
}

// chains counts the descendants of parent P for which P is parent-hash valid
// (Section 7.9.2).
func (s *suite) chains(p *treeNode, x nodeIndex) int {
	return s.chainsFrom(p.parent, p.left, x.left(), p.right, x.right()) +
		s.chainsFrom(p.parent, p.right, x.right(), p.left, x.left())
}

// chainsFrom counts those below child C; S is the sibling.
func (s *suite) chainsFrom(p *parentNode, c *treeNode, cx nodeIndex, sibling *treeNode, sx nodeIndex) int {
	unmerged := below(p.unmerged, cx)
	// The resolution of C must be D and the leaves unmerged at P: this bounds
	// the work before anything is listed.
	if int(c.resolved) != len(unmerged)+1 {
		return 0
	}
	if len(unmerged) == 0 && !c.blank() { // all of it is C itself, and nearly always so
		hash := c.parentHash()
		if hash != nil && bytes.Equal(hash, s.parentHash(p, s.hashWithout(sibling, sx, below(p.unmerged, sx)))) {
			return 1
		}
		return 0
	}
	var want []byte
	count := 0
	rest := make([]LeafIndex, 0, len(unmerged))
	type candidate struct {
		x    nodeIndex
		hash []byte
	}
	var found []candidate
	c.resolve(cx, func(y nodeIndex, d *treeNode) {
		if y.isLeaf() {
			if _, ok := slices.BinarySearch(unmerged, y.firstLeaf()); ok {
				rest = append(rest, y.firstLeaf())
				return
			}
		}
		found = append(found, candidate{y, d.parentHash()})
	})
	if len(rest) != len(unmerged) {
		return 0
	}
	for _, d := range found {
		if d.hash == nil {
			continue
		}
		if want == nil {
			want = s.parentHash(p, s.hashWithout(sibling, sx, below(p.unmerged, sx)))
		}
		if bytes.Equal(d.hash, want) {
			count++
		}
	}
	return count
}

// parentHash is the parent_hash field of a node that has one.
func (n *treeNode) parentHash() []byte {
	switch {
	case n.parent != nil:
		return n.parent.parentHash
	case n.leaf != "":
		return n.leaf.parentHash()
	}
	return nil
}
