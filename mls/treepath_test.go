package mls

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// crowd is a group as far as its tree goes: the public tree, and all private
// keys of all members.
type crowd struct {
	t       testing.TB
	s       *suite
	tree    *RatchetTree
	signers map[LeafIndex]Signer
	privs   map[LeafIndex]map[uint32][]byte
	made    uint64
	rand    *rand.Rand
}

const crowdID = "crowd"

func testSigner(t testing.TB, n uint64) Signer {
	t.Helper()
	seed := make([]byte, 32)
	testRand(n).Read(seed)
	signer, err := NewEd25519Signer(seed)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func testBundle(t testing.TB, n uint64) (*KeyPackageBundle, Signer) {
	t.Helper()
	signer := testSigner(t, n)
	b, err := NewKeyPackage(KeyPackageOptions{
		Suite: 1, Credential: BasicCredential(fmt.Appendf(nil, "member %d", n)), Lifetime: Lifetime{NotBefore: 1, NotAfter: 1000},
	}, signer, Env{Rand: testRand(n + 1<<20)})
	if err != nil {
		t.Fatal(err)
	}
	return b, signer
}

func newCrowd(t testing.TB, n int) *crowd {
	s, _ := suiteByID(1)
	b, signer := testBundle(t, 0)
	tree, err := newTree(s, &b.KeyPackage.LeafNode)
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{
		t: t, s: s, tree: tree, signers: map[LeafIndex]Signer{0: signer},
		privs: map[LeafIndex]map[uint32][]byte{0: {0: b.leafPriv}}, rand: rand.New(rand.NewPCG(uint64(n), 7)),
	}
	e := c.tree.edit()
	c.add(e, n-1)
	c.settle(e)
	return c
}

func (c *crowd) add(e *treeEdit, n int) (added []LeafIndex) {
	for range n {
		c.made++
		b, signer := testBundle(c.t, c.made)
		i := e.addLeaf(&b.KeyPackage.LeafNode)
		c.signers[i], c.privs[i] = signer, map[uint32][]byte{uint32(i.node()): b.leafPriv}
		added = append(added, i)
	}
	return added
}

func (c *crowd) remove(e *treeEdit, i LeafIndex) {
	if err := e.removeLeaf(i); err != nil {
		c.t.Fatal(err)
	}
	delete(c.signers, i)
	delete(c.privs, i)
}

// settle ends an edit; everybody drops the private keys of blanked nodes.
func (c *crowd) settle(e *treeEdit) {
	tree, err := e.tree()
	if err != nil {
		c.t.Fatal(err)
	}
	c.adopt(tree)
}

func (c *crowd) adopt(tree *RatchetTree) {
	c.tree = tree
	for _, privs := range c.privs {
		maps.DeleteFunc(privs, func(x uint32, priv []byte) bool {
			n := tree.node(nodeIndex(x))
			return n == nil || n.blank()
		})
	}
}

// check is the tree invariant: every member has exactly the private keys of
// the nodes above it at which it is not unmerged (Section 4.2).
func (c *crowd) check() {
	for l, privs := range c.privs {
		n, x, want := c.tree.root, rootIndex(c.tree.width), 0
		for {
			if !n.blank() && (n.parent == nil || !slices.Contains(n.parent.unmerged, l)) {
				want++
				if !c.s.belongs(privs[uint32(x)], n.key()) {
					c.t.Fatalf("leaf %d lacks the private key of node %d", l, x)
				}
			}
			if x.isLeaf() {
				break
			}
			if l.node() < x {
				n, x = n.left, x.left()
			} else {
				n, x = n.right, x.right()
			}
		}
		if len(privs) != want {
			c.t.Fatalf("leaf %d has %d private keys, want %d", l, len(privs), want)
		}
	}
}

func (c *crowd) members() []LeafIndex { return slices.Sorted(maps.Keys(c.signers)) }

// commit lets sender make a path; everybody else opens it, and who was added
// just before joins by its path secret.
func (c *crowd) commit(sender LeafIndex, added []LeafIndex) {
	c.t.Helper()
	c.made++
	f, err := c.tree.createPath(sender, c.signers[sender], LeafChange{}, []byte(crowdID), testRand(c.made+1<<21))
	if err != nil {
		c.t.Fatal(err)
	}
	context := f.tree.TreeHash()
	if err := f.encrypt(context, added, Env{Rand: testRand(c.made + 1<<22), Parallel: backwards}); err != nil {
		c.t.Fatal(err)
	}
	p, err := ParseUpdatePath(f.path.Marshal())
	if err != nil {
		c.t.Fatal(err)
	}
	after, err := c.tree.applyPath(sender, p, []byte(crowdID), added)
	if err != nil {
		c.t.Fatal(err)
	}
	equal(c.t, "receivers' tree hash", after.TreeHash(), f.tree.TreeHash())
	for _, l := range c.members() {
		if l == sender {
			maps.Copy(c.privs[l], f.privs)
			continue
		}
		var o *openedPath
		if slices.Contains(added, l) {
			o, err = after.joinPath(l, sender, f.secretFor(l))
		} else {
			o, err = c.tree.openPath(l, sender, p, context, added, c.privs[l])
		}
		if err != nil {
			c.t.Fatalf("sender %d, leaf %d: %v", sender, l, err)
		}
		if !bytes.Equal(o.commitSecret, f.commitSecret) || !bytes.Equal(o.last, f.lastSecret()) {
			c.t.Fatalf("sender %d, leaf %d: another commit secret", sender, l)
		}
		maps.Copy(c.privs[l], o.privs)
	}
	c.adopt(after)
}

// backwards is an Env.Parallel with an order of its own.
func backwards(n int, f func(i int)) {
	for i := n - 1; i >= 0; i-- {
		f(i)
	}
}

// TestPathEverywhere: in trees of 2 to 70 leaves, fresh and with blanks and
// unmerged leaves, everybody opens everybody's path (of larger trees: three
// senders').
func TestPathEverywhere(t *testing.T) {
	sizes := []int{2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 70}
	if !testing.Short() {
		sizes = sizes[:0]
		for n := 2; n <= 70; n++ {
			sizes = append(sizes, n)
		}
	}
	for _, n := range sizes {
		c := newCrowd(t, n)
		senders := c.members()
		if n > 10 {
			c.rand.Shuffle(n, func(i, j int) { senders[i], senders[j] = senders[j], senders[i] })
			senders = senders[:3]
		}
		for _, l := range senders {
			c.commit(l, nil)
		}
		// A commit that removes some and adds others: blanks, and new leaves
		// that the path must leave out.
		e := c.tree.edit()
		committer := senders[0]
		for _, l := range c.members() {
			if l != committer && c.rand.IntN(3) == 0 {
				c.remove(e, l)
			}
		}
		added := c.add(e, c.rand.IntN(n/2+2))
		c.settle(e)
		c.commit(committer, added)
		members := c.members()
		for range 2 {
			c.commit(members[c.rand.IntN(len(members))], nil)
		}
		c.check()
		if err := c.tree.validate([]byte(crowdID), Env{}); err != nil {
			t.Fatalf("%d leaves: %v", n, err)
		}
	}
}

// TestLonelyPath: the only member's path has no parents and its first path
// secret is the commit secret.
func TestLonelyPath(t *testing.T) {
	c := newCrowd(t, 1)
	f, err := c.tree.createPath(0, c.signers[0], LeafChange{}, []byte(crowdID), testRand(5))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.path.Nodes) != 0 || f.lastSecret() != nil || len(f.commitSecret) != c.s.nh {
		t.Errorf("path of %d nodes, commit secret of %d bytes", len(f.path.Nodes), len(f.commitSecret))
	}
	if err := f.tree.validate([]byte(crowdID), Env{}); err != nil {
		t.Error(err)
	}
}

// brokenPath is a correct path in a group of 5 for tests that break it.
func brokenPath(t *testing.T) (c *crowd, f *freshPath, context []byte) {
	c = newCrowd(t, 5)
	c.commit(1, nil)
	f, err := c.tree.createPath(0, c.signers[0], LeafChange{}, []byte(crowdID), testRand(77))
	if err != nil {
		t.Fatal(err)
	}
	context = f.tree.TreeHash()
	if err := f.encrypt(context, nil, Env{Rand: testRand(78)}); err != nil {
		t.Fatal(err)
	}
	return c, f, context
}

// TestApplyPathRefuses: Sections 7.5 and 7.6, what every receiver can see.
func TestApplyPathRefuses(t *testing.T) {
	for name, harm := range map[string]func(c *crowd, p *UpdatePath){
		"a node too few":        func(_ *crowd, p *UpdatePath) { p.Nodes = p.Nodes[1:] },
		"a node too many":       func(_ *crowd, p *UpdatePath) { p.Nodes = append(p.Nodes, p.Nodes[0]) },
		"a ciphertext too few":  func(_ *crowd, p *UpdatePath) { p.Nodes[0].EncryptedPathSecret = nil },
		"a short key":           func(_ *crowd, p *UpdatePath) { p.Nodes[0].EncryptionKey = []byte{1} },
		"another key":           func(_ *crowd, p *UpdatePath) { p.Nodes[0].EncryptionKey[0] ^= 1 },
		"nodes in wrong order":  func(_ *crowd, p *UpdatePath) { p.Nodes[0], p.Nodes[1] = p.Nodes[1], p.Nodes[0] },
		"a leaf from an Update": func(c *crowd, p *UpdatePath) { c.resign(p, LeafNodeSourceUpdate, p.LeafNode.EncryptionKey) },
		"the old leaf key": func(c *crowd, p *UpdatePath) {
			c.resign(p, LeafNodeSourceCommit, c.tree.Leaf(0).EncryptionKey)
		},
		"another member's key": func(c *crowd, p *UpdatePath) {
			c.resign(p, LeafNodeSourceCommit, c.tree.Leaf(3).EncryptionKey)
		},
		"an old parent's key": func(c *crowd, p *UpdatePath) {
			top := len(p.Nodes) - 1
			p.Nodes[top].EncryptionKey = c.tree.root.key()
			_, p.LeafNode.ParentHash = c.tree.pathParents(c.tree.filteredDirectPath(0), p.Nodes)
			c.resign(p, LeafNodeSourceCommit, p.LeafNode.EncryptionKey)
		},
		"an old parent's key in the leaf": func(c *crowd, p *UpdatePath) {
			c.resign(p, LeafNodeSourceCommit, c.tree.root.key())
		},
		"another signature": func(_ *crowd, p *UpdatePath) {
			p.LeafNode.Signature = bytes.Clone(p.LeafNode.Signature)
			p.LeafNode.Signature[5] ^= 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, f, _ := brokenPath(t)
			before := c.tree.Marshal()
			if _, err := c.tree.applyPath(0, f.path, []byte(crowdID), nil); err != nil {
				t.Fatalf("the whole path: %v", err)
			}
			harm(c, f.path)
			if _, err := c.tree.applyPath(0, f.path, []byte(crowdID), nil); !errors.Is(err, ErrPath) {
				t.Errorf("got %v, want ErrPath", err)
			}
			equal(t, "the tree before", c.tree.Marshal(), before)
		})
	}
	c, f, _ := brokenPath(t)
	if _, err := c.tree.applyPath(0, f.path, []byte("other group"), nil); !errors.Is(err, ErrPath) {
		t.Errorf("another group: %v", err)
	}
	if _, err := c.tree.applyPath(7, f.path, []byte(crowdID), nil); !errors.Is(err, ErrMember) {
		t.Errorf("a blank leaf's path: %v", err)
	}
}

func (c *crowd) resign(p *UpdatePath, source LeafNodeSource, key []byte) {
	l := p.LeafNode
	l.Source, l.EncryptionKey = source, key
	if err := c.s.signLeaf(&l, c.signers[0], []byte(crowdID), 0); err != nil {
		c.t.Fatal(err)
	}
	p.LeafNode = l
}

// TestOpenPathUnopenable: an insider can encrypt garbage to some. They report
// ErrUnopenable; the others open the same path.
func TestOpenPathUnopenable(t *testing.T) {
	for name, harm := range map[string]func(c *crowd, p *UpdatePath, context []byte){
		"garbage": func(_ *crowd, p *UpdatePath, _ []byte) {
			ct := &p.Nodes[0].EncryptedPathSecret[0]
			ct.Ciphertext = bytes.Repeat([]byte{9}, len(ct.Ciphertext))
		},
		"low-order encapsulation": func(c *crowd, p *UpdatePath, _ []byte) {
			p.Nodes[0].EncryptedPathSecret[0].KEMOutput = make([]byte, 32)
		},
		"another secret": func(c *crowd, p *UpdatePath, context []byte) {
			ct, err := c.s.encryptWithLabel(c.tree.Leaf(1).EncryptionKey, labelUpdatePathNode, context, make([]byte, 32), testRand(1))
			if err != nil {
				c.t.Fatal(err)
			}
			p.Nodes[0].EncryptedPathSecret[0] = ct
		},
		"a short secret": func(c *crowd, p *UpdatePath, context []byte) {
			ct, err := c.s.encryptWithLabel(c.tree.Leaf(1).EncryptionKey, labelUpdatePathNode, context, make([]byte, 31), testRand(1))
			if err != nil {
				c.t.Fatal(err)
			}
			p.Nodes[0].EncryptedPathSecret[0] = ct
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, f, context := brokenPath(t)
			harm(c, f.path, context)
			if _, err := c.tree.applyPath(0, f.path, []byte(crowdID), nil); err != nil {
				t.Fatalf("what all can see is in order: %v", err)
			}
			if _, err := c.tree.openPath(1, 0, f.path, context, nil, c.privs[1]); !errors.Is(err, ErrUnopenable) {
				t.Errorf("leaf 1: %v, want ErrUnopenable", err)
			}
			for _, l := range []LeafIndex{2, 3, 4} {
				if _, err := c.tree.openPath(l, 0, f.path, context, nil, c.privs[l]); err != nil {
					t.Errorf("leaf %d: %v", l, err)
				}
			}
		})
	}
}
