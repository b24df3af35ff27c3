package mls

import (
	"errors"
	"testing"
	"time"
)

// The tests in rules_*_test.go break the validation rules of RFC 9420 one by
// one, with everything else left right, and expect the refusal of that very
// rule. docs/RULES.md names them.

// strict is a group that asks something of every list of capabilities.
func strict() kind {
	return kind{schedule: RFC9420,
		capabilities: Capabilities{Extensions: []ExtensionType{0xf0d1, 0xf0d2}, Proposals: []ProposalType{0xf0d3},
			Credentials: []CredentialType{CredentialBasic, CredentialX509}},
		extensions: []Extension{{Type: 0xf0d1, Data: []byte("x")},
			RequiredCapabilities([]ExtensionType{0xf0d2}, []ProposalType{0xf0d3}, []CredentialType{CredentialX509})},
	}
}

// leafHarm breaks one rule of section 7.3. The leaf is signed afterwards.
type leafHarm struct {
	do    func(l *LeafNode)
	words string
}

func leafHarms() map[string]leafHarm {
	return map[string]leafHarm{
		"encryption key":      {func(l *LeafNode) { l.EncryptionKey = l.EncryptionKey[:31] }, "encryption_key"},
		"protocol version":    {func(l *LeafNode) { l.Capabilities.Versions = []uint16{2} }, "capabilities lack protocol version"},
		"cipher suite":        {func(l *LeafNode) { l.Capabilities.CipherSuites = []CipherSuite{2, 0x0A0A} }, "capabilities lack cipher suite"},
		"own credential type": {func(l *LeafNode) { l.Capabilities.Credentials = []CredentialType{CredentialX509} }, "credential type"},
		"own extensions":      {func(l *LeafNode) { l.Extensions = []Extension{{Type: 0xf0ff}} }, "extension 0xf0ff is not in the capabilities"},
		"extension type twice": {func(l *LeafNode) { l.Extensions = []Extension{{Type: 0xf0d1}, {Type: 0xf0d1}} },
			"extension 0xf0d1 occurs twice"},
		"extension of the group": {func(l *LeafNode) { l.Capabilities.Extensions = without(l.Capabilities.Extensions, 0xf0d1) },
			"extension 0xf0d1 is not supported by all"},
		"required extension": {func(l *LeafNode) { l.Capabilities.Extensions = without(l.Capabilities.Extensions, 0xf0d2) },
			"required extension 0xf0d2"},
		"required proposal": {func(l *LeafNode) { l.Capabilities.Proposals = nil }, "required proposal 0xf0d3"},
		"required credential": {func(l *LeafNode) { l.Capabilities.Credentials = []CredentialType{CredentialBasic} },
			"required credential 0x0002"},
	}
}

// leafWays are the four ways by which a leaf reaches a member: the harmed leaf
// is brought to all[1] or, by Welcome, to a joiner.
func leafWays(t *testing.T, all []*device, k kind) map[string]func(harm func(*LeafNode)) error {
	a, b, c := all[0], all[1], all[2]
	return map[string]func(harm func(*LeafNode)) error{
		"Add": func(harm func(*LeafNode)) error {
			joiner := newDevice(t, 9, a.env.Rand)
			kp := *k.keyPackage(joiner).KeyPackage
			harm(&kp.LeafNode)
			resignKeyPackage(t, &kp, joiner.signer)
			_, err := b.stage(b.e, a.lawlessList(byValue(&Add{KeyPackage: kp})...))
			return err
		},
		"Update": func(harm func(*LeafNode)) error {
			seed, err := randomBytes(a.env.Rand, 32)
			if err != nil {
				t.Fatal(err)
			}
			leaf, _, err := a.e.suite.newUpdateLeaf(a.e.tree.Leaf(0), LeafChange{}, a.signer, a.e.context.GroupID, 0, seed)
			if err != nil {
				t.Fatal(err)
			}
			harm(leaf)
			if err := a.e.suite.signLeaf(leaf, a.signer, a.e.context.GroupID, 0); err != nil {
				t.Fatal(err)
			}
			msg := a.lawlessProposal(&Update{LeafNode: *leaf})
			out, err := b.stage(b.e, msg)
			if err != nil {
				return err // a rule that needs nobody else's leaf
			}
			b.open(b.e, msg)
			c.open(c.e, msg)
			_, err = b.stage(b.e, c.lawlessList(ProposalOrRef{Ref: out.Ref}))
			return err
		},
		"Commit": func(harm func(*LeafNode)) error {
			p := a.path()
			harm(&p.LeafNode)
			a.resignPath(p)
			_, err := b.stage(b.e, a.lawless(&Commit{Path: p}))
			return err
		},
		"Welcome": func(harm func(*LeafNode)) error {
			joiner := newDevice(t, 9, a.env.Rand)
			kp := k.keyPackage(joiner)
			staged, err := a.e.Commit(CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *kp.KeyPackage}}}, a.signer, a.env)
			if err != nil {
				t.Fatal(err)
			}
			welcome := forgeWelcome(t, a, staged, welcomeForgery{tree: func(flat []treeNode) {
				leaf := *flat[2].leaf.unpack()
				harm(&leaf)
				if err := a.e.suite.signLeaf(&leaf, b.signer, a.e.context.GroupID, 1); err != nil {
					t.Fatal(err)
				}
				flat[2].leaf = leaf.pack()
			}})
			_, _, err = Join(welcome, nil, kp, JoinOptions{KeySchedule: k.schedule}, joiner.env)
			return err
		},
	}
}

// TestLeafNodeRules: section 7.3, by every way that a leaf can come.
func TestLeafNodeRules(t *testing.T) {
	k := strict()
	all := k.group(t, 3, 100)
	ways := leafWays(t, all, k)
	for name, h := range leafHarms() {
		t.Run(name, func(t *testing.T) {
			for way, bring := range ways {
				if err := bring(h.do); err == nil {
					t.Errorf("%s: accepted", way)
				} else {
					refused(t, err, ErrLeafNode, h.words)
				}
			}
		})
	}
	// An honest leaf passes: by Commit until its path, made for another tree, is
	// opened.
	grease := func(l *LeafNode) {
		c := &l.Capabilities
		c.CipherSuites = append(c.CipherSuites, 0x0A0A)
		c.Extensions = append(c.Extensions, 0x1A1A)
		c.Proposals = append(c.Proposals, 0x2A2A)
		c.Credentials = append(c.Credentials, 0x3A3A)
		l.Extensions = append(l.Extensions, Extension{Type: 0x1A1A, Data: []byte("any")})
	}
	for name, harm := range map[string]func(*LeafNode){"unchanged leaf": func(*LeafNode) {}, "GREASE is ignored": grease} {
		t.Run(name, func(t *testing.T) {
			for way, bring := range ways {
				if err := bring(harm); err != nil && (way != "Commit" || !errors.Is(err, ErrConfirmation) && !errors.Is(err, ErrUnopenable)) {
					t.Errorf("%s: %v", way, err)
				}
			}
		})
	}
}

// TestLeafNodeSourceRules: section 7.3, the source that each way prescribes,
// and section 7.2, the signature that goes with it.
func TestLeafNodeSourceRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 101)
	a, b := all[0], all[1]
	joiner := newDevice(t, 9, a.env.Rand)
	good := k.keyPackage(joiner).KeyPackage
	add := func(kp KeyPackage) error {
		_, err := b.stage(b.e, a.lawlessList(byValue(&Add{KeyPackage: kp})...))
		return err
	}
	for _, source := range []LeafNodeSource{LeafNodeSourceUpdate, LeafNodeSourceCommit} {
		kp := *good
		kp.LeafNode.Source = source
		resignKeyPackage(t, &kp, joiner.signer)
		refused(t, add(kp), ErrLeafNode, "leaf_node_source")
	}
	leaf := *a.e.tree.Leaf(0) // of source key_package
	_, err := b.stage(b.e, a.lawlessProposal(&Update{LeafNode: leaf}))
	refused(t, err, ErrLeafNode, "leaf_node_source 1, want 2")
	p := a.path()
	_, err = b.stage(b.e, a.lawlessProposal(&Update{LeafNode: p.LeafNode}))
	refused(t, err, ErrLeafNode, "leaf_node_source 3, want 2")
	for _, source := range []LeafNodeSource{LeafNodeSourceKeyPackage, LeafNodeSourceUpdate} {
		p := a.path()
		p.LeafNode.Source, p.LeafNode.Lifetime = source, &Lifetime{NotAfter: 1 << 40}
		a.resignPath(p)
		_, err := b.stage(b.e, a.lawless(&Commit{Path: p}))
		refused(t, err, ErrLeafNode, "want 3")
	}
	if _, err := ParseLeafNode(append(bytesBeforeSource(&leaf), 4, 0, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("an unknown source: %v", err)
	}
}

// bytesBeforeSource is the part of a leaf that precedes leaf_node_source.
func bytesBeforeSource(l *LeafNode) []byte {
	w := &writer{}
	w.vec(l.EncryptionKey)
	w.vec(l.SignatureKey)
	l.Credential.write(w)
	l.Capabilities.write(w)
	return w.buf
}

// TestLeafNodeSignatureRules: section 7.2. A leaf made in a group is signed for
// that group and its place there.
func TestLeafNodeSignatureRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 102)
	a, b := all[0], all[1]
	for name, sign := range map[string]func(l *LeafNode) error{
		"another group": func(l *LeafNode) error { return a.e.suite.signLeaf(l, a.signer, []byte("other"), 0) },
		"another place": func(l *LeafNode) error { return a.e.suite.signLeaf(l, a.signer, a.e.context.GroupID, 1) },
		"another key":   func(l *LeafNode) error { return a.e.suite.signLeaf(l, b.signer, a.e.context.GroupID, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			p := a.path()
			if err := sign(&p.LeafNode); err != nil {
				t.Fatal(err)
			}
			_, err := b.stage(b.e, a.lawless(&Commit{Path: p}))
			refused(t, err, ErrPath, "signature does not verify")
			update := a.update()
			if err := sign(&update.LeafNode); err != nil {
				t.Fatal(err)
			}
			_, err = b.stage(b.e, a.lawlessProposal(update))
			refused(t, err, ErrSignature, "LeafNode is invalid")
		})
	}
}

// TestUniqueKeyRules: section 7.3, by Add, Update and Commit. (Trees of a
// Welcome: TestTreeRules.)
func TestUniqueKeyRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 103)
	a, b, c := all[0], all[1], all[2]
	joiner := newDevice(t, 9, a.env.Rand)
	good := k.keyPackage(joiner).KeyPackage
	twice := func(err error) {
		t.Helper()
		refused(t, err, ErrTree, "a key would be in the tree twice")
	}
	commit := func(ps ...Proposal) error {
		_, err := b.stage(b.e, a.lawlessList(byValue(ps...)...))
		return err
	}
	// Add: a member's signature key, a member's encryption key.
	twice(commit(&Add{KeyPackage: *k.keyPackage(c).KeyPackage}))
	kp := *good
	kp.LeafNode.EncryptionKey = c.e.tree.Leaf(2).EncryptionKey
	resignKeyPackage(t, &kp, joiner.signer)
	twice(commit(&Add{KeyPackage: kp}))
	// Two Adds of one client (section 12.2).
	twice(commit(&Add{KeyPackage: *good}, &Add{KeyPackage: *k.keyPackage(joiner).KeyPackage}))
	// Update and Commit: another member's keys.
	for name, harm := range map[string]func(l *LeafNode) Signer{
		"signature key":  func(l *LeafNode) Signer { l.SignatureKey = c.signer.Public(); return c.signer },
		"encryption key": func(l *LeafNode) Signer { l.EncryptionKey = c.e.tree.Leaf(2).EncryptionKey; return a.signer },
	} {
		leaf, _, err := a.e.suite.newUpdateLeaf(a.e.tree.Leaf(0), LeafChange{}, a.signer, a.e.context.GroupID, 0, make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.e.suite.signLeaf(leaf, harm(leaf), a.e.context.GroupID, 0); err != nil {
			t.Fatal(err)
		}
		msg := a.lawlessProposal(&Update{LeafNode: *leaf})
		out, _, _ := b.open(b.e, msg)
		c.open(c.e, msg)
		_, err = b.stage(b.e, c.lawlessList(ProposalOrRef{Ref: out.Ref}))
		twice(err)

		p := a.path()
		if err := a.e.suite.signLeaf(&p.LeafNode, harm(&p.LeafNode), a.e.context.GroupID, 0); err != nil {
			t.Fatal(err)
		}
		_, err = b.stage(b.e, a.lawless(&Commit{Path: p}))
		words := "twice"
		if name == "encryption key" {
			words = "is not new"
		}
		refused(t, err, ErrPath, words)
	}
	// Remove and Add of one client in one commit is no double.
	_, err := b.stage(b.e, a.lawlessList(byValue(&Remove{Removed: 2}, &Add{KeyPackage: *k.keyPackage(c).KeyPackage})...))
	if err != nil {
		t.Errorf("a re-add: %v", err)
	}
}

// TestCredentialTypeRules: sections 7.3 and 13.3, both directions.
func TestCredentialTypeRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 104)
	a, b := all[0], all[1]
	for name, c := range map[string]struct {
		credential CredentialType
		supports   []CredentialType
		words      string
	}{
		"of the leaf":   {CredentialX509, []CredentialType{CredentialX509, CredentialBasic}, "credential type 0x0002 is in use"},
		"of the others": {CredentialX509, []CredentialType{CredentialX509}, "credential type 0x0001 is in use"},
	} {
		joiner := newDevice(t, 9, a.env.Rand)
		kp := *k.keyPackage(joiner).KeyPackage
		kp.LeafNode.Credential = Credential{Type: c.credential, Certificates: [][]byte{{1}}}
		kp.LeafNode.Capabilities.Credentials = c.supports
		resignKeyPackage(t, &kp, joiner.signer)
		_, err := b.stage(b.e, a.lawlessList(byValue(&Add{KeyPackage: kp})...))
		t.Run(name, func(t *testing.T) { refused(t, err, ErrLeafNode, c.words) })
	}
}

// TestKeyPackageRules: sections 10 and 10.1. Each harm is signed again.
func TestKeyPackageRules(t *testing.T) {
	for name, c := range map[string]struct {
		harm  func(k *KeyPackage)
		want  error
		words string
	}{
		"init key":             {func(k *KeyPackage) { k.InitKey = k.InitKey[:31] }, ErrKeyPackage, "init_key"},
		"init key differs":     {func(k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey }, ErrKeyPackage, "equals"},
		"signature key":        {func(k *KeyPackage) { k.LeafNode.SignatureKey = k.LeafNode.SignatureKey[:31] }, ErrLeafNode, "signature_key"},
		"own credential type":  {func(k *KeyPackage) { k.LeafNode.Capabilities.Credentials = []CredentialType{CredentialX509} }, ErrLeafNode, "capabilities lack the leaf's credential type"},
		"extensions":           {func(k *KeyPackage) { k.Extensions = []Extension{{Type: 0xf0ff}} }, ErrKeyPackage, "0xf0ff is not in"},
		"extension type twice": {func(k *KeyPackage) { k.Extensions = []Extension{{Type: 1}, {Type: 1}} }, ErrKeyPackage, "occurs twice"},
		"version":              {func(k *KeyPackage) { k.Version = 2 }, ErrUnsupported, "protocol version 2"},
		"unknown suite":        {func(k *KeyPackage) { k.CipherSuite = 0x0A0A }, ErrUnsupported, "cipher suite"},
		"lifetime runs back":   {func(k *KeyPackage) { k.LeafNode.Lifetime = &Lifetime{NotBefore: 3, NotAfter: 2} }, ErrLeafNode, "lifetime"},
		"not yet valid":        {func(k *KeyPackage) { k.LeafNode.Lifetime = &Lifetime{NotBefore: 501, NotAfter: 1000} }, ErrKeyPackage, "lifetime"},
		"no longer valid":      {func(k *KeyPackage) { k.LeafNode.Lifetime = &Lifetime{NotBefore: 1, NotAfter: 499} }, ErrKeyPackage, "lifetime"},
	} {
		t.Run(name, func(t *testing.T) {
			b, signer := testBundle(t, 3)
			k := *b.KeyPackage
			c.harm(&k)
			resignKeyPackage(t, &k, signer)
			refused(t, k.Verify(inLifetime), c.want, c.words)
		})
	}
	b, signer := testBundle(t, 3)
	t.Run("signature", func(t *testing.T) {
		k := *b.KeyPackage
		k.Signature = append([]byte(nil), k.Signature...)
		k.Signature[5] ^= 1
		refused(t, k.Verify(inLifetime), ErrKeyPackage, "signature does not verify")
	})
	t.Run("leaf signature", func(t *testing.T) {
		k := *b.KeyPackage
		l, other := k.LeafNode, testSigner(t, 99)
		s, _ := suiteByID(1)
		if err := s.signLeaf(&l, other, nil, 0); err != nil {
			t.Fatal(err)
		}
		k.LeafNode = l
		w := &writer{}
		k.writeTBS(w)
		k.Signature, _ = s.signWithLabel(signer, "KeyPackageTBS", w.buf)
		refused(t, k.Verify(inLifetime), ErrLeafNode, "signature does not verify")
	})
	t.Run("unknown values are ignored", func(t *testing.T) {
		k := *b.KeyPackage
		k.LeafNode.Capabilities.Extensions = []ExtensionType{0x0A0A}
		k.LeafNode.Capabilities.Versions = append(k.LeafNode.Capabilities.Versions, 0x0A0A)
		k.Extensions = []Extension{{Type: 0x0A0A, Data: []byte("any")}}
		resignKeyPackage(t, &k, signer)
		if err := k.Verify(inLifetime); err != nil {
			t.Error(err)
		}
	})
}

// TestOwnCapabilitiesRules: section 7.2. Default types are not listed by us;
// those who list them are not refused.
func TestOwnCapabilitiesRules(t *testing.T) {
	d := newDevice(t, 0, testRand(105))
	for name, c := range map[string]Capabilities{
		"default extension": {Extensions: []ExtensionType{ExtensionExternalSenders}},
		"default proposal":  {Proposals: []ProposalType{ProposalTypeGroupContextExtensions}},
	} {
		o := d.options()
		o.Capabilities = c
		_, err := NewKeyPackage(o, d.signer, d.env)
		t.Run(name, func(t *testing.T) { refused(t, err, ErrLeafNode, "is listed in the capabilities") })
	}
	kp := *d.keyPackage().KeyPackage
	kp.LeafNode.Capabilities.Proposals = []ProposalType{ProposalTypeAdd}
	resignKeyPackage(t, &kp, d.signer)
	if err := kp.Verify(testNow); err != nil {
		t.Error(err)
	}
}

// TestLifetimeRules: section 7.3. Who sends a leaf on judges the present time,
// with a Commit and with a Proposal; who receives it does not, since its clock
// may be another.
func TestLifetimeRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 106)
	a, b := all[0], all[1]
	kp := k.keyPackage(newDevice(t, 9, a.env.Rand)).KeyPackage
	late := a.env
	late.Now = testNow.Add(2 * time.Hour)
	_, _, err := a.e.Propose(&Add{KeyPackage: *kp}, nil, a.signer, late)
	refused(t, err, ErrKeyPackage, "not valid at this time")
	_, err = a.e.Commit(CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *kp}}}, a.signer, late)
	refused(t, err, ErrKeyPackage, "not valid at this time")
	msg, delta, err := a.e.Propose(&Add{KeyPackage: *kp}, nil, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	a.e = a.apply(a.e, delta)
	_, err = a.e.Commit(CommitRequest{References: [][]byte{a.e.CachedProposals()[0].Ref}}, a.signer, late)
	refused(t, err, ErrKeyPackage, "not valid at this time")
	b.env = late
	if _, err := b.stage(b.e, msg); err != nil {
		t.Errorf("a receiver whose clock runs ahead: %v", err)
	}
}
