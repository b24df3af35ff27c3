package mls

import (
	"bytes"
	"fmt"
)

// A tree record is one node, stored under its tree hash, so that the trees of
// many epochs share what they have in common. The record of a node is its
// TreeHashInput (RFC 9420, Section 7.8), whose hash is the key. A subtree
// without any value is a single record: recordVoid, the level, the first leaf.
const recordVoid uint8 = 0

func (n *treeNode) record(x nodeIndex) []byte {
	w := &writer{}
	if n.void() {
		w.u8(recordVoid)
		w.u8(uint8(x.level()))
		w.u32(uint32(x.firstLeaf()))
		return w.buf
	}
	n.writeHashInput(w, x)
	return w.buf
}

// WalkNew hands out the records of all nodes that are not known, children
// before parents. It does not look below a node that is known: whoever stores
// a record stores all below it. The slices must not be modified.
func (t *RatchetTree) WalkNew(known func(hash []byte) bool, emit func(hash, record []byte)) {
	t.root.walkNew(rootIndex(t.width), known, func(n *treeNode, x nodeIndex) { emit(n.hash, n.record(x)) })
}

// WalkHashes is WalkNew without the records: what to delete.
func (t *RatchetTree) WalkHashes(known func(hash []byte) bool, emit func(hash []byte)) {
	t.root.walkNew(rootIndex(t.width), known, func(n *treeNode, _ nodeIndex) { emit(n.hash) })
}

func (n *treeNode) walkNew(x nodeIndex, known func([]byte) bool, emit func(*treeNode, nodeIndex)) {
	if known(n.hash) {
		return
	}
	if !x.isLeaf() && !n.void() {
		n.left.walkNew(x.left(), known, emit)
		n.right.walkNew(x.right(), known, emit)
	}
	emit(n, x)
}

// TreeRecordChildren returns the hashes of the records that a record refers
// to; nil for leaves and for subtrees that are blank as a whole.
func TreeRecordChildren(record []byte) (left, right []byte, err error) {
	d, err := parseTreeRecord(record)
	if err != nil {
		return nil, nil, err
	}
	return d.left, d.right, nil
}

// treeRecord is a parsed record.
type treeRecord struct {
	kind        uint8 // recordVoid, nodeTypeLeaf or nodeTypeParent
	at          nodeIndex
	leaf        packedLeaf
	parent      *parentNode
	left, right []byte
}

func parseTreeRecord(b []byte) (*treeRecord, error) {
	r := newReader(b)
	d := &treeRecord{kind: r.u8()}
	switch d.kind {
	case recordVoid:
		level, first := r.u8(), r.u32()
		if level > 30 || first&(1<<level-1) != 0 || first > 1<<30 {
			r.failf("blank subtree of level %d at leaf %d", level, first)
			break
		}
		d.at = nodeIndex(2*first + 1<<level - 1)
	case nodeTypeLeaf:
		i := r.u32()
		if i > 1<<30 {
			r.failf("leaf %d", i)
		}
		d.at = LeafIndex(i).node()
		if r.optional() {
			d.leaf = packLeafNode(r)
		}
	case nodeTypeParent:
		if r.optional() {
			d.parent = readParentNode(r)
		}
		d.left, d.right = r.vec(), r.vec()
	default:
		r.failf("tree record of kind %d", d.kind)
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: tree record: %w", ErrRecords, err)
	}
	return d, nil
}

// TreeLoader rebuilds trees from records. Trees that it loaded share their
// nodes. It is not for concurrent use.
type TreeLoader struct {
	s     *suite
	err   error
	get   func(hash []byte) ([]byte, error)
	nodes map[string]loadedNode
	last  *RatchetTree // its index of keys is the base of the next
}

// loadedNode remembers where a node stands: a parent's record does not say.
type loadedNode struct {
	n *treeNode
	x nodeIndex
}

// NewTreeLoader returns a loader over get, which finds a record by its hash.
// An unsupported suite is reported by Load.
func NewTreeLoader(suite CipherSuite, get func(hash []byte) ([]byte, error)) *TreeLoader {
	s, err := suiteByID(suite)
	return &TreeLoader{s: s, err: err, get: get, nodes: map[string]loadedNode{}}
}

// Load rebuilds the tree with a tree hash. Damaged or missing records are
// ErrRecords.
func (l *TreeLoader) Load(rootHash []byte) (*RatchetTree, error) {
	if l.err != nil {
		return nil, l.err
	}
	e := &treeEdit{s: l.s}
	root, err := l.node(rootHash, e, 0)
	if err != nil {
		return nil, err
	}
	if root.x.firstLeaf() != 0 || root.n.leaves == 0 {
		return nil, fmt.Errorf("%w: not the root of a tree", ErrRecords)
	}
	t := &RatchetTree{s: l.s, root: root.n, width: 1 << root.x.level()}
	var base *keyNode
	if l.last == nil {
		e.diffKeys(t.root, root.x, nil, 0)
	} else {
		base = l.last.keys
		e.diffKeys(t.root, root.x, l.last.root, rootIndex(l.last.width))
	}
	if t.keys, err = base.apply(settle(e.moved)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecords, err)
	}
	l.last = t
	return t, nil
}

// maxTreeDepth bounds the recursion over damaged records.
const maxTreeDepth = 31

func (l *TreeLoader) node(hash []byte, e *treeEdit, depth int) (loadedNode, error) {
	if n, ok := l.nodes[string(hash)]; ok {
		return n, nil
	}
	b, err := l.get(hash)
	if err != nil {
		return loadedNode{}, fmt.Errorf("%w: tree record: %w", ErrRecords, err)
	}
	d, err := parseTreeRecord(b)
	if err != nil {
		return loadedNode{}, err
	}
	if depth > maxTreeDepth {
		return loadedNode{}, fmt.Errorf("%w: tree records nest too deep", ErrRecords)
	}
	at := loadedNode{n: &treeNode{leaf: d.leaf, parent: d.parent}, x: d.at}
	switch d.kind {
	case recordVoid:
		if d.at.level() > maxVoidLevel {
			return loadedNode{}, fmt.Errorf("%w: blank subtree of level %d", ErrRecords, d.at.level())
		}
		at.n = blankSubtree(d.at)
	case nodeTypeLeaf:
		if d.leaf != "" {
			at.n.leaves = 1
		}
	case nodeTypeParent:
		if err := l.children(&at, d, e, depth); err != nil {
			return loadedNode{}, err
		}
	}
	e.settleNode(at.n, at.x)
	if !bytes.Equal(at.n.hash, hash) {
		return loadedNode{}, fmt.Errorf("%w: tree record does not have the hash of its key", ErrRecords)
	}
	l.nodes[string(hash)] = at
	return at, nil
}

// maxVoidLevel bounds what a damaged record can make us allocate.
const maxVoidLevel = 24

func (l *TreeLoader) children(at *loadedNode, d *treeRecord, e *treeEdit, depth int) error {
	left, err := l.node(d.left, e, depth+1)
	if err != nil {
		return err
	}
	right, err := l.node(d.right, e, depth+1)
	if err != nil {
		return err
	}
	if left.x.level() != right.x.level() || left.x.parent() != right.x.parent() || left.x >= right.x {
		return fmt.Errorf("%w: tree records of %d and %d are not siblings", ErrRecords, left.x, right.x)
	}
	at.n.left, at.n.right, at.x = left.n, right.n, left.x.parent()
	at.n.leaves = left.n.leaves + right.n.leaves
	return nil
}
