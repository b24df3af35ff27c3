package mls

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// welcomed is a staged commit that adds a joiner.
type welcomed struct {
	k      kind
	all    []*device
	joiner *device
	kp     *KeyPackageBundle
	staged *StagedCommit
}

func newWelcomed(t *testing.T, k kind, seed uint64) *welcomed {
	t.Helper()
	x := &welcomed{k: k, all: k.group(t, 3, seed)}
	a := x.all[0]
	x.joiner = newDevice(t, 9, a.env.Rand)
	x.kp = k.keyPackage(x.joiner)
	var err error
	x.staged, err = a.e.Commit(CommitRequest{ForcePath: true, Proposals: []Proposal{&Add{KeyPackage: *x.kp.KeyPackage}}}, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// join takes a forged Welcome up.
func (x *welcomed) join(t *testing.T, f welcomeForgery) error {
	t.Helper()
	welcome := forgeWelcome(t, x.all[0], x.staged, f)
	_, _, err := Join(welcome, nil, x.kp, JoinOptions{KeySchedule: x.k.schedule, PSK: func(PreSharedKeyID) []byte { return nil }}, x.joiner.env)
	return err
}

// TestWelcomeRules: section 12.4.3.1, what does not concern the ratchet tree.
func TestWelcomeRules(t *testing.T) {
	k := kind{schedule: RFC9420, capabilities: Capabilities{Extensions: []ExtensionType{0xf0d1}}, extensions: []Extension{{Type: 0xf0d1}}}
	x := newWelcomed(t, k, 130)
	resumption := func(usage uint8) PreSharedKeyID {
		return PreSharedKeyID{Type: PSKTypeResumption, Usage: usage, GroupID: []byte("old"), Nonce: make([]byte, 32)}
	}
	harmExtensions := func(xs ...Extension) func(*GroupInfo) {
		return func(g *GroupInfo) { g.GroupContext.Extensions = append(g.GroupContext.Extensions, xs...) }
	}
	for name, r := range map[string]struct {
		f     welcomeForgery
		want  error
		words string
	}{
		"not for our KeyPackage": {welcomeForgery{sealed: func(m *Welcome) { m.Secrets[0].NewMember[0] ^= 1 }}, ErrWelcome, "not for this KeyPackage"},
		"no entry":               {welcomeForgery{sealed: func(m *Welcome) { m.Secrets = nil }}, ErrWelcome, "not for this KeyPackage"},
		"cipher suite of the Welcome": {welcomeForgery{sealed: func(m *Welcome) {
			m.CipherSuite = MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519
		}}, ErrWelcome, "cipher suite"},
		"cipher suite of the GroupInfo":         {welcomeForgery{info: func(g *GroupInfo) { g.GroupContext.CipherSuite = 3 }}, ErrWelcome, "cipher suite"},
		"version of the GroupInfo":              {welcomeForgery{info: func(g *GroupInfo) { g.GroupContext.Version = 2 }}, ErrWelcome, "version"},
		"GroupSecrets do not decrypt":           {welcomeForgery{sealed: func(m *Welcome) { m.Secrets[0].Secrets.Ciphertext[0] ^= 1 }}, ErrDecrypt, ""},
		"GroupInfo of another Welcome":          {welcomeForgery{sealed: func(m *Welcome) { m.EncryptedGroupInfo[0] ^= 1 }}, ErrDecrypt, ""},
		"GroupSecrets of another joiner_secret": {welcomeForgery{secrets: func(g *groupSecrets) { g.joiner = make([]byte, 32) }}, ErrDecrypt, "GroupInfo"},
		"joiner_secret too short":               {welcomeForgery{secrets: func(g *groupSecrets) { g.joiner = g.joiner[:31] }}, ErrWelcome, "length"},
		"path_secret too short":                 {welcomeForgery{secrets: func(g *groupSecrets) { g.pathSecret = g.pathSecret[:31] }}, ErrWelcome, "length"},
		"PSK not available": {welcomeForgery{secrets: func(g *groupSecrets) {
			g.psks = []PreSharedKeyID{testPSK("x").ID}
		}}, ErrPSK, "not available"},
		"PSK nonce too short": {welcomeForgery{secrets: func(g *groupSecrets) {
			id := testPSK("x").ID
			id.Nonce = id.Nonce[1:]
			g.psks = []PreSharedKeyID{id}
		}}, ErrWelcome, "nonce of 31 bytes"},
		"two PSKs for reinit or branch": {welcomeForgery{secrets: func(g *groupSecrets) {
			g.psks = []PreSharedKeyID{resumption(ResumptionReInit), resumption(ResumptionBranch)}
		}}, ErrWelcome, "several reinit or branch"},
		"bytes after the GroupInfo":    {welcomeForgery{plain: func(b []byte) []byte { return append(b, 0) }}, ErrMalformed, "after the end"},
		"bytes after the GroupSecrets": {welcomeForgery{opaque: func(b []byte) []byte { return append(b, 0) }}, ErrMalformed, "GroupSecrets"},
		"signature of the GroupInfo":   {welcomeForgery{signed: func(g *GroupInfo) { g.Signature[0] ^= 1 }}, ErrSignature, "GroupInfo"},
		"signature of another member":  {welcomeForgery{signer: x.all[1].signer}, ErrSignature, "GroupInfo"},
		"signer at a blank leaf":       {welcomeForgery{info: func(g *GroupInfo) { g.Signer = 5 }}, ErrMember, "signer at leaf 5"},
		"signer beyond the tree":       {welcomeForgery{info: func(g *GroupInfo) { g.Signer = 1 << 31 }}, ErrMember, "signer at leaf"},
		"confirmation tag":             {welcomeForgery{tag: func(g *GroupInfo) { g.ConfirmationTag[0] ^= 1 }}, ErrConfirmation, ""},
		"confirmed transcript hash":    {welcomeForgery{tag: func(g *GroupInfo) { g.GroupContext.ConfirmedTranscriptHash[0] ^= 1 }}, ErrConfirmation, ""},
		"path secret of another node":  {welcomeForgery{secrets: func(g *groupSecrets) { g.pathSecret[0] ^= 1 }}, ErrWelcome, "is not that of its path secret"},
		"tree hash":                    {welcomeForgery{info: func(g *GroupInfo) { g.GroupContext.TreeHash[0] ^= 1 }}, ErrWelcome, "tree hash"},
		"tree hash too short":          {welcomeForgery{info: func(g *GroupInfo) { g.GroupContext.TreeHash = g.GroupContext.TreeHash[:31] }}, ErrWelcome, ""},
		"no ratchet tree":              {welcomeForgery{info: func(g *GroupInfo) { g.Extensions = nil }}, ErrWelcome, "tree"},
		"own leaf is another": {welcomeForgery{tree: func(flat []treeNode) {
			l := *flat[6].leaf.unpack()
			l.Credential = BasicCredential([]byte("somebody"))
			if err := x.all[0].e.suite.signLeaf(&l, x.joiner.signer, nil, 0); err != nil {
				t.Fatal(err)
			}
			flat[6].leaf = l.pack()
			resignAbove(t, x.all[0], flat)
		}}, ErrWelcome, "our leaf is not in the tree"},
		"extension of the group that we lack": {welcomeForgery{info: harmExtensions(Extension{Type: 0xf0ff})}, ErrLeafNode, "0xf0ff is not supported"},
		"GREASE in the GroupContext":          {welcomeForgery{info: harmExtensions(Extension{Type: 0x0A0A})}, ErrLeafNode, "0x0a0a is not supported"},
		"requirement that we lack":            {welcomeForgery{info: harmExtensions(RequiredCapabilities(nil, []ProposalType{0xf0ee}, nil))}, ErrLeafNode, "required proposal"},
		"extension twice in the GroupContext": {welcomeForgery{info: harmExtensions(Extension{Type: 0xf0d1})}, ErrWelcome, "twice"},
		"extension twice in the GroupInfo": {welcomeForgery{info: func(g *GroupInfo) {
			g.Extensions = append(g.Extensions, Extension{Type: 0x0A0A}, Extension{Type: 0x0A0A})
		}}, ErrWelcome, "twice"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, x.join(t, r.f), r.want, r.words) })
	}
	t.Run("own leaf is not there", func(t *testing.T) {
		y := newWelcomed(t, kind{schedule: RFC9420}, 131)
		// The tree of the epoch before, with a Welcome whose path secret is left out.
		err := y.join(t, welcomeForgery{
			tree:    func(flat []treeNode) { copy(flat, flatten(y.all[0].e.tree)[:len(flat)]) },
			secrets: func(g *groupSecrets) { g.pathSecret = nil },
		})
		refused(t, err, ErrWelcome, "our leaf is not in the tree")
	})
	t.Run("path secret without a path", func(t *testing.T) {
		kp := k.keyPackage(x.joiner)
		staged, err := x.all[0].e.Commit(CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *kp.KeyPackage}}}, x.all[0].signer, x.all[0].env)
		if err != nil {
			t.Fatal(err)
		}
		y := &welcomed{k, x.all, x.joiner, kp, staged}
		if err := y.join(t, welcomeForgery{}); err != nil {
			t.Fatal(err)
		}
		refused(t, y.join(t, welcomeForgery{secrets: func(g *groupSecrets) { g.pathSecret = make([]byte, 32) }}), ErrTree, "committer's path is blank")
	})
	t.Run("lifetime of our KeyPackage", func(t *testing.T) {
		// It is for the adder to judge; the joiner's own clock must not be
		// trusted to run backwards, though.
		env := x.joiner.env
		env.Now = testNow.Add(2 * time.Hour)
		_, _, err := Join(forgeWelcome(t, x.all[0], x.staged, welcomeForgery{}), nil, x.kp, JoinOptions{KeySchedule: RFC9420}, env)
		refused(t, err, ErrKeyPackage, "lifetime")
	})
	t.Run("unknown extensions are ignored", func(t *testing.T) {
		if err := x.join(t, welcomeForgery{info: func(g *GroupInfo) {
			g.Extensions = append(g.Extensions, Extension{Type: 0x0A0A, Data: []byte("any")}, Extension{Type: 0xf0ff})
		}}); err != nil {
			t.Error(err)
		}
	})
}

// TestWelcomeTreeRules: the rules on trees (TestTreeRules) hold for those of a
// Welcome, wherever they come from.
func TestWelcomeTreeRules(t *testing.T) {
	x := newWelcomed(t, kind{schedule: RFC9420}, 132)
	for name, r := range map[string]struct {
		f     welcomeForgery
		want  error
		words string
	}{
		"parent hash": {welcomeForgery{tree: func(flat []treeNode) { flat[1].parent.encryptionKey[0] ^= 1 }}, ErrTree, "parent-hash chains"},
		"leaf signature": {welcomeForgery{tree: func(flat []treeNode) {
			l := *flat[2].leaf.unpack()
			l.raw, l.Signature = nil, make([]byte, 64)
			flat[2].leaf = l.pack()

			resignAbove(t, x.all[0], flat)
		}}, ErrSignature, "leaf 1"},
		"array ends with a blank": {welcomeForgery{array: func(b []byte) []byte {
			r := newReader(b)
			w := &writer{}
			w.vec(append(r.vec(), 0))
			return w.buf
		}}, ErrMalformed, "does not end with a node"},
		"empty array": {welcomeForgery{array: func([]byte) []byte { return []byte{0} }}, ErrMalformed, "does not end with a node"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, x.join(t, r.f), r.want, r.words) })
	}
	t.Run("tree from elsewhere", func(t *testing.T) {
		welcome := forgeWelcome(t, x.all[0], x.staged, welcomeForgery{info: func(g *GroupInfo) { g.Extensions = nil }})
		o := JoinOptions{KeySchedule: RFC9420}
		_, _, err := Join(welcome, x.all[0].e.tree.Marshal(), x.kp, o, x.joiner.env)
		refused(t, err, ErrWelcome, "tree hash")
		if _, _, err := Join(welcome, x.staged.Child.tree.Marshal(), x.kp, o, x.joiner.env); err != nil {
			t.Error(err)
		}
	})
}

// resignAbove makes the parent hashes of a's path in a width of 4 right again.
func resignAbove(t *testing.T, a *device, flat []treeNode) {
	t.Helper()
	tree, err := assemble(a.e.suite, flat)
	if err != nil {
		t.Fatal(err)
	}
	s := a.e.suite
	flat[1].parent.parentHash = s.parentHash(flat[3].parent, s.hashWithout(tree.node(5), 5, flat[3].parent.unmerged))
	l := *flat[0].leaf.unpack()
	l.ParentHash = s.parentHash(flat[1].parent, tree.node(2).hash)
	if err := s.signLeaf(&l, a.signer, a.e.context.GroupID, 0); err != nil {
		t.Fatal(err)
	}
	flat[0].leaf = l.pack()
}

// TestTreeRules: sections 7.1, 7.3, 7.7, 7.9 and 12.4.3.1, for trees from
// outside. What else depends on a change is right.
func TestTreeRules(t *testing.T) {
	c := grown(t)
	firstUnmerged := func(flat []treeNode) *parentNode { return firstParent(t, flat, true) }
	parents := func(flat []treeNode) (out []*parentNode) {
		for i := range flat {
			if flat[i].parent != nil {
				out = append(out, flat[i].parent)
			}
		}
		return out
	}
	for name, r := range map[string]struct {
		harm  func(flat []treeNode)
		want  error
		words string
	}{
		"parent-hash chain broken":     {func(flat []treeNode) { parents(flat)[0].encryptionKey[3] ^= 1 }, ErrTree, "parent-hash chains"},
		"unmerged leaf is blank":       {func(flat []treeNode) { p := firstUnmerged(flat); flat[p.unmerged[0].node()].leaf = "" }, ErrTree, "is blank"},
		"unmerged leaf is elsewhere":   {func(flat []treeNode) { parents(flat)[0].unmerged = []LeafIndex{10} }, ErrTree, "elsewhere"},
		"unmerged leaf out of range":   {func(flat []treeNode) { parents(flat)[0].unmerged = []LeafIndex{1 << 30} }, ErrTree, "elsewhere"},
		"unmerged leaves out of order": {func(flat []treeNode) { p := firstUnmerged(flat); p.unmerged = append(p.unmerged, p.unmerged[0]) }, ErrMalformed, "increasing order"},
		"unmerged leaf forgotten":      {func(flat []treeNode) { firstUnmerged(flat).unmerged = nil }, ErrTree, ""},
		"two parents with one key":     {func(flat []treeNode) { ps := parents(flat); ps[1].encryptionKey = ps[0].encryptionKey }, ErrTree, "twice"},
		"parent with a leaf's key":     {func(flat []treeNode) { parents(flat)[0].encryptionKey = flat[0].leaf.encryptionKey() }, ErrTree, "twice"},
		"a member twice":               {func(flat []treeNode) { flat[2].leaf = flat[0].leaf }, ErrTree, "twice"},
		"leaf at a parent's place":     {func(flat []treeNode) { flat[1].parent, flat[1].leaf = nil, flat[0].leaf }, ErrMalformed, "wrong place"},
		"parent at a leaf's place":     {func(flat []treeNode) { flat[0].parent, flat[0].leaf = parents(flat)[0], "" }, ErrMalformed, "wrong place"},
	} {
		t.Run(name, func(t *testing.T) {
			flat := flatten(c.tree)
			r.harm(flat)
			tree, err := assemble(c.s, flat)
			if err == nil {
				err = tree.validate([]byte(crowdID), Env{})
			}
			refused(t, err, r.want, r.words)
		})
	}
	t.Run("unmerged below and not above", func(t *testing.T) {
		c := newCrowd(t, 7)
		c.commit(4, nil)
		e := c.tree.edit()
		c.add(e, 1) // leaf 7: unmerged at nodes 11 and 7
		c.settle(e)
		flat := flatten(c.tree)
		flat[11].parent.unmerged = nil
		tree, err := assemble(c.s, flat)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, tree.validate([]byte(crowdID), Env{}), ErrTree, "unmerged at node 7, not at node 11")
	})
	t.Run("leaf of another group", func(t *testing.T) {
		refused(t, c.tree.validate([]byte("other"), Env{}), ErrSignature, "leaf")
	})
	t.Run("leaf at another place", func(t *testing.T) {
		c := newCrowd(t, 2)
		e := c.tree.edit()
		l, _, err := c.s.newUpdateLeaf(c.tree.Leaf(0), LeafChange{}, c.signers[0], []byte(crowdID), 0, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.updateLeaf(0, l); err != nil {
			t.Fatal(err)
		}
		c.settle(e)
		if err := c.tree.validate([]byte(crowdID), Env{}); err != nil {
			t.Fatal(err)
		}
		flat := flatten(c.tree)
		flat[0].leaf, flat[2].leaf = flat[2].leaf, flat[0].leaf
		tree, err := assemble(c.s, flat)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, tree.validate([]byte(crowdID), Env{}), ErrSignature, "leaf 1")
	})
	t.Run("signature key twice", func(t *testing.T) {
		c := newCrowd(t, 2)
		flat := flatten(c.tree)
		l := *flat[2].leaf.unpack()
		l.SignatureKey = c.signers[0].Public()
		if err := c.s.signLeaf(&l, c.signers[0], nil, 0); err != nil {
			t.Fatal(err)
		}
		flat[2].leaf = l.pack()
		_, err := assemble(c.s, flat)
		refused(t, err, ErrTree, "twice")
	})
	t.Run("no member in the right half", func(t *testing.T) { refused(t, widerThanNeeded(t), ErrTree, "right half") })
	t.Run("root with a parent hash", func(t *testing.T) {
		refused(t, withRoot(t, func(p *parentNode) { p.parentHash = []byte("above") }), ErrTree, "the root has a parent hash")
	})
	t.Run("form of a parent's key", func(t *testing.T) {
		refused(t, withRoot(t, func(p *parentNode) { p.encryptionKey = p.encryptionKey[1:] }), ErrTree, "X25519")
	})
	if err := withRoot(t, func(*parentNode) {}); err != nil {
		t.Error(err)
	}
	t.Run("no member at all", func(t *testing.T) {
		p := firstParent(t, flatten(c.tree), false)
		tree, err := assemble(c.s, []treeNode{{}, {parent: &parentNode{encryptionKey: p.encryptionKey}}})
		if err != nil {
			t.Fatal(err)
		}
		refused(t, tree.validate([]byte(crowdID), Env{}), ErrTree, "no member")
	})
	t.Run("blank right edge", func(t *testing.T) {
		// Honest trees leave out the blanks at their end, and get them back.
		for n := 2; n <= 9; n++ {
			c := newCrowd(t, n)
			c.commit(0, nil)
			again, err := ParseRatchetTree(1, c.tree.Marshal())
			if err != nil || !bytes.Equal(again.TreeHash(), c.tree.TreeHash()) || again.LeafCount() != c.tree.LeafCount() {
				t.Errorf("%d members: %v", n, err)
			}
			b := c.tree.Marshal()
			r := newReader(b)
			w := &writer{}
			w.vec(append(r.vec(), 0))
			if _, err := ParseRatchetTree(1, w.buf); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d members and a blank: %v", n, err)
			}
		}
	})
}

// widerThanNeeded is a tree of one member and a root above it, whose parent
// hash is right.
func widerThanNeeded(t *testing.T) error {
	t.Helper()
	c := newCrowd(t, 2)
	c.commit(0, nil)
	e := c.tree.edit()
	c.remove(e, 1)
	c.settle(e)
	root := &parentNode{encryptionKey: bytes.Repeat([]byte{9}, 32)}
	w := &writer{}
	writeLeafHashInput(w, 1, "")
	l := *c.tree.Leaf(0)
	l.ParentHash = c.s.parentHash(root, c.s.sum(w.buf))
	if err := c.s.signLeaf(&l, c.signers[0], []byte(crowdID), 0); err != nil {
		t.Fatal(err)
	}
	tree, err := assemble(c.s, []treeNode{{leaf: l.pack()}, {parent: root}})
	if err != nil {
		t.Fatal(err)
	}
	return tree.validate([]byte(crowdID), Env{})
}

// withRoot is a tree of two members whose root is changed, with the parent hash
// and signature of the leaf that go with it.
func withRoot(t *testing.T, harm func(root *parentNode)) error {
	t.Helper()
	c := newCrowd(t, 2)
	c.commit(0, nil)
	flat := flatten(c.tree)
	harm(flat[1].parent)
	l := *flat[0].leaf.unpack()
	l.ParentHash = c.s.parentHash(flat[1].parent, c.tree.node(2).hash)
	if err := c.s.signLeaf(&l, c.signers[0], []byte(crowdID), 0); err != nil {
		t.Fatal(err)
	}
	flat[0].leaf = l.pack()
	tree, err := assemble(c.s, flat)
	if err != nil {
		t.Fatal(err)
	}
	return tree.validate([]byte(crowdID), Env{})
}
