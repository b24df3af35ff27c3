package mls

import "fmt"

// treeParse reads the content of a ratchet_tree extension. A first pass finds
// where the nodes begin. The subtrees of one level, the pieces, are then read
// and hashed independently of each other, by Env.Parallel, and the few nodes
// above them at the end.
type treeParse struct {
	s      *suite
	buf    []byte
	starts []int // of the nodes in buf, and the end
	width  uint32
	level  int // of the roots of pieces
}

// ParseRatchetTree parses the content of a ratchet_tree extension. It checks
// the shape of the tree and that no key occurs twice, but neither signatures
// nor parent hashes.
func ParseRatchetTree(suite CipherSuite, b []byte) (*RatchetTree, error) {
	s, err := suiteByID(suite)
	if err != nil {
		return nil, err
	}
	return readRatchetTree(s, b, Env{})
}

func readRatchetTree(s *suite, b []byte, env Env) (*RatchetTree, error) {
	p := &treeParse{s: s, buf: b}
	if err := p.scan(); err != nil {
		return nil, err
	}
	p.level = pieceLevel(p.width)
	return p.tree(env)
}

// pieceLevel is the level of subtrees of a tree that are worth a job of their
// own: at most 1,024 of them, of at least 16 leaves, or the whole tree.
func pieceLevel(width uint32) int {
	root := rootIndex(width).level()
	return min(root, max(4, root-10))
}

// scan finds the nodes and checks their form, but for the order of unmerged
// leaves.
func (p *treeParse) scan() error {
	r := &reader{buf: p.buf, alias: true}
	last := false // the last node is there
	sub := r.sub()
	p.starts = make([]int, 0, len(sub.buf)/96+2)
	for !sub.empty() {
		p.starts = append(p.starts, len(p.buf)-len(r.buf)-len(sub.buf))
		last = skipTreeNode(sub, len(p.starts)%2 == 1)
	}
	p.starts = append(p.starts, len(p.buf)-len(r.buf))
	if err := r.done(); err != nil {
		return fmt.Errorf("mls: ratchet tree: %w", err)
	}
	if !last {
		return fmt.Errorf("%w: ratchet tree does not end with a node that is not blank", ErrMalformed)
	}
	p.width = widthFor(uint32((len(p.starts)-1)/2 + 1))
	return nil
}

// skipTreeNode reports whether the node is not blank.
func skipTreeNode(r *reader, leaf bool) bool {
	if !r.optional() {
		return false
	}
	switch kind := r.u8(); {
	case kind == nodeTypeLeaf && leaf:
		skipLeafNode(r)
	case kind == nodeTypeParent && !leaf:
		r.vec() // encryption_key
		r.vec() // parent_hash
		if len(r.vec())%4 != 0 {
			r.failf("odd length of unmerged_leaves")
		}
	default:
		r.failf("node of type %d at a wrong place in the ratchet tree", kind)
	}
	return true
}

// read fills in the value of a node that scan passed. What is beyond the last
// one is blank.
func (p *treeParse) read(n *treeNode, x nodeIndex) error {
	if int(x) >= len(p.starts)-1 {
		return nil
	}
	b := p.buf[p.starts[x]:p.starts[x+1]]
	switch {
	case b[0] == 0:
	case x.isLeaf():
		n.leaf = packedLeaf(b[2:])
	default:
		r := newReader(b[2:])
		n.parent = readParentNode(r)
		return r.done()
	}
	return nil
}

// tree reads all nodes.
func (p *treeParse) tree(env Env) (*RatchetTree, error) {
	pieces := make([]*treeNode, p.width>>p.level)
	edits, errs := make([]treeEdit, len(pieces)+1), make([]error, len(pieces))
	env.each(len(pieces), func(i int) {
		e := &edits[i]
		e.s = p.s
		x := nodeIndex(i<<(p.level+1) + 1<<p.level - 1)
		if pieces[i], errs[i] = p.arrange(e, x, nil); errs[i] == nil {
			e.settleNode(pieces[i], x)
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	top := &edits[len(pieces)]
	top.s = p.s
	root, err := p.arrange(top, rootIndex(p.width), pieces)
	if err != nil {
		return nil, err
	}
	top.settleNode(root, rootIndex(p.width))
	keys, err := indexKeys(edits, env)
	if err != nil {
		return nil, err
	}
	return &RatchetTree{s: p.s, root: root, width: p.width, keys: keys}, nil
}

// arrange reads and links the nodes at or below x as an edit that owns them,
// down to the pieces that are there already.
func (p *treeParse) arrange(e *treeEdit, x nodeIndex, pieces []*treeNode) (*treeNode, error) {
	if pieces != nil && x.level() == p.level {
		return pieces[x.firstLeaf()>>p.level], nil
	}
	n := &treeNode{}
	if err := p.read(n, x); err != nil {
		return nil, fmt.Errorf("mls: ratchet tree: %w", err)
	}
	if x.isLeaf() {
		if n.leaf != "" {
			n.leaves = 1
			e.logLeaf(n.leaf, 1)
		}
		return n, nil
	}
	var err error
	if n.left, err = p.arrange(e, x.left(), pieces); err != nil {
		return nil, err
	}
	if n.right, err = p.arrange(e, x.right(), pieces); err != nil {
		return nil, err
	}
	n.leaves = n.left.leaves + n.right.leaves
	if n.parent == nil {
		return n, nil
	}
	e.log(keyKindEncryption, n.parent.encryptionKey, 1)
	for _, l := range n.parent.unmerged {
		if !x.covers(l) || n.descend(x, l).leaf == "" {
			return nil, fmt.Errorf("%w: unmerged leaf %d of node %d is blank or elsewhere", ErrTree, l, x)
		}
	}
	return n, nil
}
