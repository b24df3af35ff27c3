package mls

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveTree is the array-based tree of RFC 9420, Appendix C, written straight
// from the text: no sharing, no caches. It is the oracle of RatchetTree.
type naiveTree struct {
	s     *suite
	nodes []naiveNode // 2*width-1
}

type naiveNode struct {
	leaf     *LeafNode
	key      []byte // of parents; nil: blank
	ph       []byte
	unmerged []LeafIndex
}

func (n naiveNode) blank() bool { return n.leaf == nil && n.key == nil }

func (t *naiveTree) width() uint32   { return uint32(len(t.nodes)+1) / 2 }
func (t *naiveTree) root() nodeIndex { return rootIndex(t.width()) }

func (t *naiveTree) directPath(l LeafIndex) []nodeIndex {
	var path []nodeIndex
	for x := l.node(); x != t.root(); {
		x = x.parent()
		path = append(path, x)
	}
	return path
}

func (t *naiveTree) resolution(x nodeIndex) []nodeIndex {
	n := t.nodes[x]
	switch {
	case !n.blank():
		out := []nodeIndex{x}
		for _, l := range n.unmerged {
			out = append(out, l.node())
		}
		return out
	case x.isLeaf():
		return nil
	}
	return append(t.resolution(x.left()), t.resolution(x.right())...)
}

func (t *naiveTree) filteredPath(l LeafIndex) (path, copath []nodeIndex) {
	child := l.node()
	for _, x := range t.directPath(l) {
		if sib := child.sibling(); len(t.resolution(sib)) > 0 {
			path, copath = append(path, x), append(copath, sib)
		}
		child = x
	}
	return path, copath
}

func (t *naiveTree) hash(x nodeIndex) []byte {
	var w writer
	n := t.nodes[x]
	if x.isLeaf() {
		w.u8(1)
		w.u32(uint32(x) / 2)
		if n.leaf == nil {
			w.u8(0)
		} else {
			w.u8(1)
			w.raw(n.leaf.Marshal())
		}
		return t.s.hash(w.buf)
	}
	w.u8(2)
	if n.key == nil {
		w.u8(0)
	} else {
		w.u8(1)
		w.vec(n.key)
		w.vec(n.ph)
		w.vector(func(w *writer) {
			for _, l := range n.unmerged {
				w.u32(uint32(l))
			}
		})
	}
	w.vec(t.hash(x.left()))
	w.vec(t.hash(x.right()))
	return t.s.hash(w.buf)
}

func (t *naiveTree) add(l *LeafNode) LeafIndex {
	i := LeafIndex(0)
	for uint32(i) < t.width() && t.nodes[i.node()].leaf != nil {
		i++
	}
	if uint32(i) == t.width() {
		t.nodes = append(t.nodes, make([]naiveNode, 2*t.width())...)
	}
	t.nodes[i.node()].leaf = l
	for _, x := range t.directPath(i) {
		if n := &t.nodes[x]; n.key != nil {
			n.unmerged = append(slices.Clone(n.unmerged), i)
			slices.Sort(n.unmerged)
		}
	}
	return i
}

func (t *naiveTree) update(i LeafIndex, l *LeafNode) {
	t.nodes[i.node()].leaf = l
	for _, x := range t.directPath(i) {
		t.nodes[x] = naiveNode{}
	}
}

func (t *naiveTree) remove(i LeafIndex) {
	t.update(i, nil)
	for t.width() > 1 {
		for x := t.width(); x < 2*t.width(); x += 2 { // leaves of the right half
			if t.nodes[x].leaf != nil {
				return
			}
		}
		t.nodes = t.nodes[:t.width()-1]
	}
}

// path sets a path and returns the parent hash of the leaf.
func (t *naiveTree) path(i LeafIndex, keys [][]byte) []byte {
	path, copath := t.filteredPath(i)
	for _, x := range t.directPath(i) {
		t.nodes[x] = naiveNode{}
	}
	for k, x := range path {
		t.nodes[x].key = keys[k]
	}
	var above []byte
	for k := len(path) - 1; k >= 0; k-- {
		t.nodes[path[k]].ph = above
		var w writer
		w.vec(keys[k])
		w.vec(above)
		w.vec(t.hash(copath[k]))
		above = t.s.hash(w.buf)
	}
	return above
}

func (t *naiveTree) leaves() []LeafIndex {
	var out []LeafIndex
	for i := range LeafIndex(t.width()) {
		if t.nodes[i.node()].leaf != nil {
			out = append(out, i)
		}
	}
	return out
}

func (t *naiveTree) marshal() []byte {
	end := len(t.nodes)
	for t.nodes[end-1].blank() {
		end--
	}
	w := &writer{}
	w.vector(func(w *writer) {
		for x, n := range t.nodes[:end] {
			switch {
			case n.leaf != nil:
				w.raw([]byte{1, 1})
				w.raw(n.leaf.Marshal())
			case x%2 == 1 && n.key != nil:
				w.raw([]byte{1, 2})
				(&parentNode{n.key, n.ph, n.unmerged}).write(w)
			default:
				w.u8(0)
			}
		}
	})
	return w.buf
}

// mockLeaf is a leaf with made-up keys and no valid signature.
func mockLeaf(id *uint64, source LeafNodeSource, parentHash []byte) *LeafNode {
	l := &LeafNode{
		EncryptionKey: mockKey(id), SignatureKey: mockKey(id), Credential: BasicCredential([]byte("mock")),
		Capabilities: Capabilities{Versions: []uint16{mls10}, CipherSuites: []CipherSuite{1}, Credentials: []CredentialType{CredentialBasic}},
		Source:       source, ParentHash: parentHash, Signature: []byte{1},
	}
	if source == LeafNodeSourceKeyPackage {
		l.Lifetime = &Lifetime{}
	}
	return l
}

func mockKey(id *uint64) []byte {
	*id++
	return binary.BigEndian.AppendUint64(bytes.Repeat([]byte{0xee}, 24), *id)
}

// differential applies the same random operations to both trees.
type differential struct {
	t     *testing.T
	s     *suite
	tree  *RatchetTree
	naive *naiveTree
	ids   uint64
}

func newDifferential(t *testing.T, s *suite) *differential {
	d := &differential{t: t, s: s}
	l := mockLeaf(&d.ids, LeafNodeSourceKeyPackage, nil)
	d.naive = &naiveTree{s, []naiveNode{{leaf: l}}}
	var err error
	if d.tree, err = newTree(s, l); err != nil {
		t.Fatal(err)
	}
	return d
}

// step does an operation, on one of the members if it needs one.
func (d *differential) step(op, pick int) {
	leaves := d.naive.leaves()
	at := leaves[pick%len(leaves)]
	e := d.tree.edit()
	var err error
	switch {
	case op < 4:
		l := mockLeaf(&d.ids, LeafNodeSourceKeyPackage, nil)
		if got, want := e.addLeaf(l), d.naive.add(l); got != want {
			d.t.Fatalf("added leaf %d, want %d", got, want)
		}
	case op < 6 && len(leaves) > 1:
		err = e.removeLeaf(at)
		d.naive.remove(at)
	case op == 6:
		l := mockLeaf(&d.ids, LeafNodeSourceUpdate, nil)
		err = e.updateLeaf(at, l)
		d.naive.update(at, l)
	default:
		d.path(at)
		return
	}
	if err != nil {
		d.t.Fatal(err)
	}
	if d.tree, err = e.tree(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *differential) path(at LeafIndex) {
	steps := d.tree.filteredDirectPath(at)
	path, copath := d.naive.filteredPath(at)
	if len(path) != len(steps) {
		d.t.Fatalf("filtered direct path of leaf %d: %v, want %v", at, steps, path)
	}
	nodes, keys := make([]UpdatePathNode, len(path)), make([][]byte, len(path))
	for k := range path {
		if steps[k].node != path[k] || steps[k].copath != copath[k] {
			d.t.Fatalf("filtered direct path of leaf %d: %v, want %v", at, steps, path)
		}
		keys[k] = mockKey(&d.ids)
		nodes[k].EncryptionKey = keys[k]
	}
	parents, got := d.tree.pathParents(steps, nodes)
	want := d.naive.path(at, keys)
	equal(d.t, "parent hash of the leaf", got, want)
	l := mockLeaf(&d.ids, LeafNodeSourceCommit, want)
	d.naive.nodes[at.node()].leaf = l
	e := d.tree.edit()
	if err := e.setPath(at, l, steps, parents); err != nil {
		d.t.Fatal(err)
	}
	var err error
	if d.tree, err = e.tree(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *differential) compare() {
	d.t.Helper()
	if d.tree.width != d.naive.width() || int(d.tree.MemberCount()) != len(d.naive.leaves()) {
		d.t.Fatalf("width %d with %d members, want %d with %d", d.tree.width, d.tree.MemberCount(), d.naive.width(), len(d.naive.leaves()))
	}
	equal(d.t, "tree hash", d.tree.TreeHash(), d.naive.hash(d.naive.root()))
	equal(d.t, "ratchet_tree", d.tree.Marshal(), d.naive.marshal())
	for x := range nodeIndex(len(d.naive.nodes)) {
		checkResolution(d.t, d.tree, x, d.naive.resolution(x))
	}
	if err := d.tree.checkParents(d.tree.root, rootIndex(d.tree.width)); err != nil {
		d.t.Fatal(err)
	}
	d.places()
	d.keys()
	if d.t.Failed() {
		d.t.FailNow()
	}
}

// places: the position of every member in every resolution above it is the
// one in the list.
func (d *differential) places() {
	for x := range nodeIndex(len(d.naive.nodes)) {
		res := d.naive.resolution(x)
		for l := range d.tree.Leaves() {
			if !x.covers(l) {
				continue
			}
			i, at := d.tree.node(x).place(x, l)
			if i >= len(res) || res[i] != at || !at.covers(l) {
				d.t.Fatalf("leaf %d is at %d (node %d) of the resolution %v", l, i, at, res)
			}
		}
	}
}

// keys: the index that was carried along is the one made afresh.
func (d *differential) keys() {
	e := d.tree.edit()
	e.diffKeys(d.tree.root, rootIndex(d.tree.width), nil, 0)
	fresh, err := (*keyNode)(nil).apply(settle(e.moved))
	if err != nil || !sameKeys(fresh, d.tree.keys) {
		d.t.Fatalf("index of keys differs from a fresh one (%v)", err)
	}
}

func sameKeys(a, b *keyNode) bool {
	if a == nil || b == nil || a.kids == nil || b.kids == nil {
		return a == b || a != nil && b != nil && a.kids == b.kids && slices.Equal(a.ids, b.ids)
	}
	for k := range a.kids {
		if !sameKeys(a.kids[k], b.kids[k]) {
			return false
		}
	}
	return true
}

// TestTreeDifferential: after every random operation the persistent tree is
// the naive one, and no older tree has changed. Trees loaded from records are
// equal to those that were stored.
func TestTreeDifferential(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s, _ := suiteByID(1)
			r, d := rand.New(rand.NewPCG(seed, 1)), newDifferential(t, s)
			var old []*RatchetTree
			var was [][]byte
			records := map[string][]byte{}
			for i := range 250 {
				bias := 9 + int(seed%3)*(i/80) // later operations are more often paths
				d.step(r.IntN(bias), r.IntN(1<<16))
				d.compare()
				old, was = append(old, d.tree), append(was, d.tree.Marshal())
				d.tree.WalkNew(
					func(h []byte) bool { return records[string(h)] != nil },
					func(h, r []byte) { records[string(h)] = bytes.Clone(r) })
			}
			loader := NewTreeLoader(1, func(h []byte) ([]byte, error) { return records[string(h)], nil })
			for i, tree := range old {
				if !bytes.Equal(tree.Marshal(), was[i]) {
					t.Fatalf("tree %d changed", i)
				}
				loaded, err := loader.Load(tree.TreeHash())
				if err != nil {
					t.Fatal(err)
				}
				if i%10 == 0 {
					parsesAs(t, tree)
				}
				if !bytes.Equal(loaded.Marshal(), was[i]) || !sameKeys(loaded.keys, tree.keys) || !loaded.root.members.equal(tree.root.members) {
					t.Fatalf("loaded tree %d differs", i)
				}
			}
		})
	}
}

// parsesAs: wherever a ratchet_tree extension is cut into pieces and in
// whatever order they are read, the tree is the one that was written.
func parsesAs(t *testing.T, tree *RatchetTree) {
	t.Helper()
	raw := tree.Marshal()
	for level := range rootIndex(tree.width).level() + 1 {
		p := &treeParse{s: tree.s, buf: raw}
		if err := p.scan(); err != nil {
			t.Fatal(err)
		}
		p.level = level
		got, err := p.tree(Env{Parallel: backwards})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Marshal(), raw) || !bytes.Equal(got.root.hash, tree.root.hash) || got.MemberCount() != tree.MemberCount() ||
			got.root.resolved != tree.root.resolved || !sameKeys(got.keys, tree.keys) || !got.root.members.equal(tree.root.members) {
			t.Fatalf("tree of width %d, parsed in pieces of level %d, differs", tree.width, level)
		}
	}
}

// Theorem: whatever the history of Adds, Removes, Updates and paths, the
// persistent tree is the naive one (hashes, resolutions, filtered direct paths,
// parent hashes), and no earlier tree has changed.
func FuzzTreeDifferential(f *testing.F) {
	f.Add([]byte{0, 9, 18, 27, 8, 17, 5, 6, 26, 4, 0})
	f.Add(bytes.Repeat([]byte{1, 8, 5, 15, 7}, 12))
	f.Add([]byte("a history of a group, as short as it is long"))
	f.Fuzz(func(t *testing.T, history []byte) {
		s, _ := suiteByID(1)
		d := newDifferential(t, s)
		var old []*RatchetTree
		var was [][]byte
		for _, b := range history[:min(len(history), 96)] {
			d.step(int(b%9), int(b/9))
			d.compare()
			old, was = append(old, d.tree), append(was, d.tree.Marshal())
		}
		for i, tree := range old {
			if !bytes.Equal(tree.Marshal(), was[i]) {
				t.Fatalf("tree %d changed", i)
			}
		}
	})
}
