package mls

import (
	"bytes"
	"errors"
	"testing"
)

// grown is a valid tree with merged, unmerged and blank parts: 11 members in a
// width of 16.
func grown(t testing.TB) *crowd {
	c := newCrowd(t, 9)
	for _, l := range []LeafIndex{0, 3, 5, 8} {
		c.commit(l, nil)
	}
	e := c.tree.edit()
	c.remove(e, 6)
	c.settle(e)
	c.commit(7, nil) // so that leaf 6 comes back as an unmerged leaf
	c.commit(2, nil)
	e = c.tree.edit()
	added := c.add(e, 3) // leaves 6, 9, 10
	c.settle(e)
	c.commit(1, added)
	return c
}

// flatten lists the nodes of a tree in order, as copies that may be changed.
func flatten(t *RatchetTree) []treeNode {
	var flat []treeNode
	for x := range nodeIndex(2*t.width - 1) {
		n := t.node(x)
		c := treeNode{leaf: n.leaf}
		if n.parent != nil {
			p := *n.parent
			p.unmerged = append([]LeafIndex(nil), p.unmerged...)
			p.encryptionKey, p.parentHash = bytes.Clone(p.encryptionKey), bytes.Clone(p.parentHash)
			c.parent = &p
		}
		flat = append(flat, c)
	}
	return flat
}

func assemble(s *suite, flat []treeNode) (*RatchetTree, error) {
	return ParseRatchetTree(s.id, arrayOf(flat))
}

// firstParent finds a parent that is not blank and has (no) unmerged leaves.
func firstParent(t testing.TB, flat []treeNode, unmerged bool) *parentNode {
	t.Helper()
	for i := range flat {
		if p := flat[i].parent; p != nil && (len(p.unmerged) > 0) == unmerged {
			return p
		}
	}
	t.Fatal("the tree has no such parent")
	return nil
}

// TestValidateRefuses: Sections 7.3, 7.9.2 and 12.4.3.1. Every change of a
// valid tree is refused, when it is parsed or when it is validated.
func TestValidateRefuses(t *testing.T) {
	c := grown(t)
	if err := c.tree.validate([]byte(crowdID), Env{}); err != nil {
		t.Fatal(err)
	}
	if whole, err := assemble(c.s, flatten(c.tree)); err != nil || whole.validate([]byte(crowdID), Env{}) != nil {
		t.Fatalf("the unchanged tree is refused: %v", err)
	}
	refused := 0
	check := func(name string, harm func(flat []treeNode)) {
		flat := flatten(c.tree)
		harm(flat)
		tree, err := assemble(c.s, flat)
		if err == nil {
			err = tree.validate([]byte(crowdID), Env{})
		}
		if !errors.Is(err, ErrTree) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		refused++
	}
	for i := range flatten(c.tree) {
		x := nodeIndex(i)
		if c.tree.node(x).parent == nil {
			continue
		}
		check("another parent key", func(flat []treeNode) { flat[x].parent.encryptionKey[3] ^= 1 })
		check("a short parent key", func(flat []treeNode) { flat[x].parent.encryptionKey = []byte{1} })
		check("a leaf's key in a parent", func(flat []treeNode) { flat[x].parent.encryptionKey = flat[0].leaf.encryptionKey() })
		if x != rootIndex(c.tree.width) {
			check("another parent hash", func(flat []treeNode) { flat[x].parent.parentHash = []byte("x") })
		}
		check("an unmerged leaf elsewhere", func(flat []treeNode) { flat[x].parent.unmerged = []LeafIndex{1 << 20} })
	}
	check("an unmerged leaf forgotten", func(flat []treeNode) { firstParent(t, flat, true).unmerged = nil })
	check("unmerged leaves out of order", func(flat []treeNode) {
		p := firstParent(t, flat, true)
		p.unmerged = append(p.unmerged, p.unmerged[0])
	})
	check("a key twice", func(flat []treeNode) { flat[2].leaf = flat[0].leaf })
	check("members swapped", func(flat []treeNode) { flat[0].leaf, flat[2].leaf = flat[2].leaf, flat[0].leaf })
	check("a member gone", func(flat []treeNode) { flat[4].leaf = "" })
	check("a leaf that is a parent", func(flat []treeNode) { flat[0].leaf, flat[0].parent = "", firstParent(t, flat, false) })
	if err := c.tree.validate([]byte("other"), Env{}); !errors.Is(err, ErrSignature) {
		t.Errorf("another group: %v", err)
	}
	t.Logf("%d changed trees refused", refused)
}

// TestUniqueKeys: no edit brings a key into the tree twice; replacing one by
// itself, and a key that leaves and comes back in one edit, are no doubles.
func TestUniqueKeys(t *testing.T) {
	c := newCrowd(t, 4)
	e := c.tree.edit()
	e.addLeaf(c.tree.Leaf(2))
	if _, err := e.tree(); !errors.Is(err, ErrTree) {
		t.Errorf("a member added twice: %v", err)
	}
	sameSigner := *c.tree.Leaf(2)
	sameSigner.raw, sameSigner.EncryptionKey = nil, bytes.Repeat([]byte{3}, 32)
	e = c.tree.edit()
	e.addLeaf(&sameSigner)
	if _, err := e.tree(); !errors.Is(err, ErrTree) {
		t.Errorf("a signature key twice: %v", err)
	}
	e = c.tree.edit()
	leaf := c.tree.Leaf(2)
	if err := e.removeLeaf(2); err != nil {
		t.Fatal(err)
	}
	if i := e.addLeaf(leaf); i != 2 {
		t.Errorf("re-added at %d", i)
	}
	again, err := e.tree()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "tree hash after a re-add", again.TreeHash(), c.tree.TreeHash())
	if !again.HasSignatureKey(leaf.SignatureKey) || !again.hasEncryptionKey(leaf.EncryptionKey) || again.hasEncryptionKey(leaf.SignatureKey) {
		t.Error("index of keys is wrong")
	}
}

// TestMissingMembers: edits of leaves that are blank or beyond the tree.
func TestMissingMembers(t *testing.T) {
	c := newCrowd(t, 3)
	for _, i := range []LeafIndex{3, 4, 1 << 31} {
		if err := c.tree.edit().removeLeaf(i); !errors.Is(err, ErrMember) {
			t.Errorf("removing leaf %d: %v", i, err)
		}
		if err := c.tree.edit().updateLeaf(i, c.tree.Leaf(0)); !errors.Is(err, ErrMember) {
			t.Errorf("updating leaf %d: %v", i, err)
		}
		if c.tree.Leaf(i) != nil {
			t.Errorf("leaf %d is there", i)
		}
	}
}

// TestCommonCapabilities: what all members support, and the credential types
// in use, follow every edit (Sections 7.3, 11.1).
func TestCommonCapabilities(t *testing.T) {
	c := newCrowd(t, 3)
	group := []Extension{{Type: 0xf0d1}, RequiredCapabilities([]ExtensionType{0xf0d1, ExtensionApplicationID}, nil, []CredentialType{CredentialBasic})}
	if err := c.tree.checkExtensions(group); !errors.Is(err, ErrLeafNode) {
		t.Errorf("nobody supports the extension: %v", err)
	}
	var ids uint64
	able := func() *LeafNode {
		l := mockLeaf(&ids, LeafNodeSourceUpdate, nil)
		l.Capabilities.Extensions = []ExtensionType{0xfaaa, 0xf0d1}
		return l
	}
	e := c.tree.edit()
	for i := range LeafIndex(3) {
		if err := e.updateLeaf(i, able()); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := e.tree()
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.checkExtensions(group); err != nil {
		t.Error(err)
	}
	if err := tree.checkExtensions([]Extension{RequiredCapabilities(nil, []ProposalType{9}, nil)}); !errors.Is(err, ErrLeafNode) {
		t.Errorf("a proposal that nobody supports: %v", err)
	}
	if err := tree.checkExtensions([]Extension{RequiredCapabilities(nil, nil, []CredentialType{CredentialX509})}); !errors.Is(err, ErrLeafNode) {
		t.Errorf("a credential that nobody supports: %v", err)
	}
	odd := able()
	odd.Credential = Credential{Type: CredentialX509}
	odd.Capabilities.Credentials = []CredentialType{CredentialX509, CredentialBasic}
	e = tree.edit()
	i := e.addLeaf(odd)
	if tree, err = e.tree(); err != nil {
		t.Fatal(err)
	}
	if err := tree.checkMembers(); !errors.Is(err, ErrLeafNode) {
		t.Errorf("x509 that others do not support: %v", err)
	}
	e = tree.edit()
	if err := e.removeLeaf(i); err != nil {
		t.Fatal(err)
	}
	if tree, err = e.tree(); err != nil {
		t.Fatal(err)
	}
	if err := tree.checkMembers(); err != nil {
		t.Errorf("after its removal: %v", err)
	}
}

// TestTreeRecords: a commit's records are O(log n); damage is ErrRecords.
func TestTreeRecords(t *testing.T) {
	c := newCrowd(t, 64)
	records := map[string][]byte{}
	store := func() (n int) {
		c.tree.WalkNew(func(h []byte) bool { return records[string(h)] != nil }, func(h, r []byte) {
			records[string(h)] = bytes.Clone(r)
			n++
		})
		return n
	}
	if n := store(); n != 127 {
		t.Errorf("%d records of 127 nodes", n)
	}
	c.commit(9, nil)
	if n := store(); n != 7 {
		t.Errorf("%d records of a path of 7 nodes", n)
	}
	root := c.tree.TreeHash()
	for h, r := range records {
		left, right, err := TreeRecordChildren(r)
		if err != nil || (left == nil) != (right == nil) || left != nil && (records[string(left)] == nil || records[string(right)] == nil) {
			t.Fatalf("children of a record: %v", err)
		}
		harmed := bytes.Clone(r)
		harmed[len(harmed)-1] ^= 1
		loader := NewTreeLoader(1, func(hash []byte) ([]byte, error) {
			if string(hash) == h {
				return harmed, nil
			}
			return records[string(hash)], nil
		})
		if tree, err := loader.Load(root); !errors.Is(err, ErrRecords) && !(err == nil && bytes.Equal(tree.Marshal(), c.tree.Marshal())) {
			t.Fatalf("a harmed record: %v", err)
		}
	}
	gone := NewTreeLoader(1, func([]byte) ([]byte, error) { return nil, errors.New("gone") })
	if _, err := gone.Load(root); !errors.Is(err, ErrRecords) {
		t.Errorf("no records: %v", err)
	}
	if _, err := NewTreeLoader(0xffff, nil).Load(root); !errors.Is(err, ErrUnsupported) {
		t.Errorf("unknown suite: %v", err)
	}
}

// TestUnmergedLeaves: Section 7.9.2 binds the unmerged leaves of a parent to
// the resolution of its child, although no hash covers that side.
func TestUnmergedLeaves(t *testing.T) {
	c := newCrowd(t, 7)
	c.commit(4, nil)
	e := c.tree.edit()
	c.add(e, 1) // leaf 7: unmerged at node 11 and at the root, node 7
	c.settle(e)
	if err := c.tree.validate([]byte(crowdID), Env{}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []nodeIndex{7, 11} {
		if got := c.tree.node(x).parent.unmerged; len(got) != 1 || got[0] != 7 {
			t.Fatalf("unmerged leaves of node %d: %v", x, got)
		}
		for _, unmerged := range [][]LeafIndex{nil, {5}, {6, 7}} {
			flat := flatten(c.tree)
			flat[x].parent.unmerged = unmerged
			tree, err := assemble(c.s, flat)
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.validate([]byte(crowdID), Env{}); !errors.Is(err, ErrTree) {
				t.Errorf("unmerged leaves %v of node %d: %v", unmerged, x, err)
			}
		}
	}
	// A blank one would be a hole in resolutions, so it does not even parse.
	flat := flatten(c.tree)
	flat[14].leaf = ""
	if _, err := assemble(c.s, append(flat[:14], flat[14])); !errors.Is(err, ErrTree) {
		t.Errorf("a blank unmerged leaf: %v", err)
	}
}
