package mls

import (
	"bytes"
	"errors"
	"testing"
)

// TestCommitRules: section 12.4.2 but for the path.
func TestCommitRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 120)
	a, b, c := all[0], all[1], all[2]
	honest := func() *PublicMessage {
		m, err := ParseMLSMessage(a.lawlessList())
		if err != nil {
			t.Fatal(err)
		}
		return m.Public
	}
	// again signs and tags a changed message anew.
	again := func(m *PublicMessage, s Signer) *PublicMessage {
		x := m.authenticated()
		if err := x.sign(a.e.suite, a.e.encoded, s); err != nil {
			t.Fatal(err)
		}
		p, err := x.protectPublic(a.e.suite, a.e.secrets.membership, a.e.encoded)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if _, err := b.e.OpenPublic(honest(), OpenOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]struct {
		harm  func(m *PublicMessage) *PublicMessage
		want  error
		words string
	}{
		"epoch before":           {func(m *PublicMessage) *PublicMessage { m.Content.Epoch--; return again(m, a.signer) }, ErrEpoch, "epoch 0"},
		"epoch after":            {func(m *PublicMessage) *PublicMessage { m.Content.Epoch++; return again(m, a.signer) }, ErrEpoch, "epoch 2"},
		"group":                  {func(m *PublicMessage) *PublicMessage { m.Content.GroupID = []byte("x"); return again(m, a.signer) }, ErrEpoch, "group 78"},
		"signature of another":   {func(m *PublicMessage) *PublicMessage { return again(m, c.signer) }, ErrSignature, ""},
		"membership tag":         {func(m *PublicMessage) *PublicMessage { m.MembershipTag[3] ^= 1; return m }, ErrMAC, ""},
		"content under old tags": {func(m *PublicMessage) *PublicMessage { m.Content.AuthenticatedData = []byte("x"); return m }, ErrMAC, ""},
		"confirmation tag":       {func(m *PublicMessage) *PublicMessage { m.Auth.ConfirmationTag[0] ^= 1; return again(m, a.signer) }, ErrConfirmation, ""},
		"confirmation tag too short": {func(m *PublicMessage) *PublicMessage {
			m.Auth.ConfirmationTag = m.Auth.ConfirmationTag[:31]
			return again(m, a.signer)
		}, ErrConfirmation, ""},
		"no confirmation tag": {func(m *PublicMessage) *PublicMessage { m.Auth.ConfirmationTag = nil; return again(m, a.signer) }, ErrConfirmation, ""},
		"no path and no proposal": {func(m *PublicMessage) *PublicMessage {
			m.Content.Commit = &Commit{}
			return again(m, a.signer)
		}, ErrProposals, "a path is required"},
		"no path with a Remove": {func(m *PublicMessage) *PublicMessage {
			m.Content.Commit = &Commit{Proposals: byValue(plainAdd(t, a), &Remove{Removed: 2})}
			return again(m, a.signer)
		}, ErrProposals, "a path is required"},
		"no path with GroupContextExtensions": {func(m *PublicMessage) *PublicMessage {
			m.Content.Commit = &Commit{Proposals: byValue(&GroupContextExtensions{})}
			return again(m, a.signer)
		}, ErrProposals, "a path is required"},
	} {
		t.Run(name, func(t *testing.T) {
			before := snapshot(b.e)
			_, err := b.e.OpenPublic(r.harm(honest()), OpenOptions{})
			refused(t, err, r.want, r.words)
			sameRecords(t, name, b.e, before)
		})
	}
	t.Run("no path with an Update", func(t *testing.T) {
		u := cache(c, c.update(), a, b)
		_, err := b.stage(b.e, a.lawless(&Commit{Proposals: []ProposalOrRef{u}}))
		refused(t, err, ErrProposals, "a path is required")
	})
	t.Run("tag of a member in another epoch", func(t *testing.T) {
		m := honest()
		advance(t, a, CommitRequest{}, b, c)
		m.Content.Epoch++
		_, err := b.e.OpenPublic(m, OpenOptions{})
		refused(t, err, ErrMAC, "")
		// With a tag that any member can make, the signature still binds it.
		old := m.authenticated()
		p, err := old.protectPublic(b.e.suite, b.e.secrets.membership, b.e.encoded)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.e.OpenPublic(p, OpenOptions{})
		refused(t, err, ErrSignature, "")
	})
}

// TestPathRules: sections 7.5, 7.6 and 12.4.2. Parent hash and signatures of a
// changed path are right, unless they are what is changed.
func TestPathRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 5, 121)
	a, b := all[0], all[1]
	advance(t, all[3], CommitRequest{}, a, b, all[2], all[4]) // a tree with parents
	if _, err := b.stage(b.e, a.lawlessList()); err != nil {
		t.Fatal(err)
	}
	parentKey := a.e.tree.node(5).parent.encryptionKey // beside a's path, on leaf 3's
	for name, r := range map[string]struct {
		harm  func(p *UpdatePath)
		want  error
		words string
	}{
		"a node too many": {func(p *UpdatePath) { p.Nodes = append(p.Nodes, p.Nodes[0]) }, ErrPath, "nodes, the filtered direct path has"},
		"a node too few":  {func(p *UpdatePath) { p.Nodes = p.Nodes[1:] }, ErrPath, "nodes, the filtered direct path has"},
		"no nodes":        {func(p *UpdatePath) { p.Nodes = nil }, ErrPath, "nodes, the filtered direct path has"},
		"a ciphertext too many": {func(p *UpdatePath) {
			n := &p.Nodes[1]
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, n.EncryptedPathSecret[0])
		}, ErrPath, "ciphertexts, want"},
		"a ciphertext too few":     {func(p *UpdatePath) { p.Nodes[1].EncryptedPathSecret = nil }, ErrPath, "ciphertexts, want"},
		"form of a public key":     {func(p *UpdatePath) { p.Nodes[0].EncryptionKey = p.Nodes[0].EncryptionKey[1:] }, ErrPath, "node 1"},
		"leaf keeps its key":       {func(p *UpdatePath) { p.LeafNode.EncryptionKey = a.e.tree.Leaf(0).EncryptionKey }, ErrPath, "leaf 0 is not new"},
		"leaf has another's key":   {func(p *UpdatePath) { p.LeafNode.EncryptionKey = a.e.tree.Leaf(2).EncryptionKey }, ErrPath, "leaf 0 is not new"},
		"leaf has a parent's key":  {func(p *UpdatePath) { p.LeafNode.EncryptionKey = parentKey }, ErrPath, "leaf 0 is not new"},
		"node has a leaf's key":    {func(p *UpdatePath) { p.Nodes[0].EncryptionKey = a.e.tree.Leaf(2).EncryptionKey }, ErrPath, "is not new"},
		"node has a parent's key":  {func(p *UpdatePath) { p.Nodes[0].EncryptionKey = parentKey }, ErrPath, "is not new"},
		"node keeps its key":       {func(p *UpdatePath) { p.Nodes[2].EncryptionKey = a.e.tree.root.parent.encryptionKey }, ErrPath, "is not new"},
		"two nodes with one key":   {func(p *UpdatePath) { p.Nodes[1].EncryptionKey = p.Nodes[0].EncryptionKey }, ErrPath, "twice"},
		"node with the leaf's key": {func(p *UpdatePath) { p.Nodes[0].EncryptionKey = p.LeafNode.EncryptionKey }, ErrPath, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			p := a.path()
			r.harm(p)
			a.resignPath(p)
			_, err := b.stage(b.e, a.lawless(&Commit{Path: p}))
			refused(t, err, r.want, r.words)
		})
	}
	for name, hash := range map[string]func(h []byte) []byte{
		"parent hash":      func(h []byte) []byte { return append([]byte{h[0] ^ 1}, h[1:]...) },
		"no parent hash":   func([]byte) []byte { return nil },
		"half parent hash": func(h []byte) []byte { return h[:16] },
	} {
		t.Run(name, func(t *testing.T) {
			p := a.path()
			p.LeafNode.ParentHash = hash(p.LeafNode.ParentHash)
			if err := a.e.suite.signLeaf(&p.LeafNode, a.signer, a.e.context.GroupID, 0); err != nil {
				t.Fatal(err)
			}
			_, err := b.stage(b.e, a.lawless(&Commit{Path: p}))
			refused(t, err, ErrPath, "parent hash of leaf 0")
		})
	}
	t.Run("ciphertext for a new leaf", func(t *testing.T) {
		add := plainAdd(t, a)
		tr := &transition{list: []CommittedProposal{{Proposal: add, Origin: a.me()}}, committer: 0}
		if err := a.e.applyList(tr, nil); err != nil {
			t.Fatal(err)
		}
		f, err := tr.tree.createPath(0, a.signer, LeafChange{}, a.e.context.GroupID, a.env.Rand)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.encrypt(nil, nil, a.env); err != nil { // to the added leaf too
			t.Fatal(err)
		}
		_, err = b.stage(b.e, a.lawless(&Commit{Proposals: byValue(add), Path: f.path}))
		refused(t, err, ErrPath, "ciphertexts, want")
	})
}

// TestPathSecretRules: section 7.5, what only the receiver of a ciphertext
// sees. The commit is signed by a member, so the error is ErrUnopenable.
func TestPathSecretRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 122)
	a, b := all[0], all[1]
	seal := func(secret []byte, context []byte) []byte {
		tr := &transition{committer: 0}
		if err := a.e.applyList(tr, nil); err != nil {
			t.Fatal(err)
		}
		f, err := a.e.makePath(tr, LeafChange{}, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		if secret == nil {
			secret = f.pathSecrets[0]
		}
		if context == nil {
			context = a.e.provisional(tr)
		}
		ct, err := a.e.suite.encryptWithLabel(b.e.tree.Leaf(1).EncryptionKey, labelUpdatePathNode, context, secret, a.env.Rand)
		if err != nil {
			t.Fatal(err)
		}
		f.path.Nodes[0].EncryptedPathSecret[0] = ct
		return a.lawless(&Commit{Path: f.path})
	}
	if _, err := b.stage(b.e, seal(nil, nil)); !errors.Is(err, ErrConfirmation) {
		t.Fatal(err) // opens; the forged tag is zero
	}
	for name, r := range map[string]struct {
		secret, context []byte
		words           string
	}{
		"another secret":  {bytes.Repeat([]byte{1}, 32), nil, "is not that of its path secret"},
		"a short secret":  {make([]byte, 31), nil, "path secret of 31 bytes"},
		"a long secret":   {make([]byte, 33), nil, "path secret of 33 bytes"},
		"another context": {nil, []byte("x"), "does not decrypt"},
		"the old context": {nil, a.e.encoded, "does not decrypt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.stage(b.e, seal(r.secret, r.context))
			refused(t, err, ErrUnopenable, r.words)
		})
	}
	t.Run("a broken ciphertext", func(t *testing.T) {
		p := a.path()
		p.Nodes[0].EncryptedPathSecret[0].Ciphertext[0] ^= 1
		_, err := b.stage(b.e, a.lawless(&Commit{Path: p}))
		refused(t, err, ErrUnopenable, "does not decrypt")
	})
}

// TestExternalCommitRules: sections 12.2 and 12.4.3.2, as far as the list goes.
// Leaf and signature are right.
func TestExternalCommitRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 123)
	a, b := all[0], all[1]
	joiner := newDevice(t, 9, a.env.Rand)
	kp := k.keyPackage(joiner).KeyPackage
	leaf := *kp.LeafNode.renew(LeafNodeSourceCommit, kp.LeafNode.EncryptionKey, joiner.signer, LeafChange{})
	if err := a.e.suite.signLeaf(&leaf, joiner.signer, a.e.context.GroupID, 3); err != nil {
		t.Fatal(err)
	}
	path := &UpdatePath{LeafNode: leaf}
	init := func() *ExternalInit {
		enc, _, err := a.e.suite.hpkeSendExport(externalPub(t, a.e), nil, nil, 32, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		return &ExternalInit{KEMOutput: enc}
	}
	send := func(c *Commit, s Signer) error {
		_, err := b.stage(b.e, frame(t, b.e, FramedContent{Sender: Sender{Type: SenderTypeNewMemberCommit},
			ContentType: ContentTypeCommit, Commit: c}, s))
		return err
	}
	ref := cache(a, &Remove{Removed: 2}, a, b)
	for name, r := range map[string]struct {
		list []ProposalOrRef
		path *UpdatePath
		want error
	}{
		"no ExternalInit":          {nil, path, ErrProposals},
		"two ExternalInits":        {byValue(init(), init()), path, ErrProposals},
		"two Removes":              {byValue(init(), &Remove{Removed: 1}, &Remove{Removed: 2}), path, ErrProposals},
		"an Add":                   {byValue(init(), plainAdd(t, a)), path, ErrProposals},
		"an Update":                {byValue(init(), a.update()), path, ErrProposals},
		"a ReInit":                 {byValue(init(), &ReInit{GroupID: []byte("n"), Version: 1, CipherSuite: testSuite}), path, ErrProposals},
		"a GroupContextExtensions": {byValue(init(), &GroupContextExtensions{}), path, ErrProposals},
		"a reference":              {append(byValue(init()), ref), path, ErrProposals},
		"no path":                  {byValue(init()), nil, ErrMalformed},
		"Remove of a blank leaf":   {byValue(init(), &Remove{Removed: 3}), path, ErrProposals},
		"PSK for a branch":         {byValue(init(), &PreSharedKey{ID: PreSharedKeyID{Type: PSKTypeResumption, Usage: ResumptionBranch, Nonce: make([]byte, 32)}}), path, ErrProposals},
		"a path that is no path":   {byValue(init()), path, ErrPath},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, send(&Commit{Proposals: r.list, Path: r.path}, joiner.signer), r.want, "")
		})
	}
	t.Run("resync with another credential", func(t *testing.T) {
		err := send(&Commit{Proposals: byValue(init(), &Remove{Removed: 2}), Path: path}, joiner.signer)
		refused(t, err, ErrCredential, "another credential than leaf 2")
	})
	t.Run("resync keeps the key", func(t *testing.T) {
		gone := a.e.tree.Leaf(2)
		kept := *leaf.renew(LeafNodeSourceCommit, gone.EncryptionKey, joiner.signer, LeafChange{Credential: &gone.Credential})
		if err := a.e.suite.signLeaf(&kept, joiner.signer, a.e.context.GroupID, 2); err != nil {
			t.Fatal(err)
		}
		err := send(&Commit{Proposals: byValue(init(), &Remove{Removed: 2}), Path: &UpdatePath{LeafNode: kept}}, joiner.signer)
		refused(t, err, ErrPath, "keeps the encryption key of leaf 2")
	})
	t.Run("signature of another", func(t *testing.T) {
		refused(t, send(&Commit{Proposals: byValue(init()), Path: path}, a.signer), ErrSignature, "frame")
	})
	t.Run("member's signature key", func(t *testing.T) {
		theirs := *leaf.renew(LeafNodeSourceCommit, leaf.EncryptionKey, a.signer, LeafChange{})
		if err := a.e.suite.signLeaf(&theirs, a.signer, a.e.context.GroupID, 3); err != nil {
			t.Fatal(err)
		}
		refused(t, send(&Commit{Proposals: byValue(init()), Path: &UpdatePath{LeafNode: theirs}}, a.signer), ErrTree, "twice")
	})
}

// externalPub is the group's key for external commits (section 8.3).
func externalPub(t *testing.T, e *Epoch) []byte {
	t.Helper()
	_, pub, err := e.suite.deriveKeyPair(e.secrets.external)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}
