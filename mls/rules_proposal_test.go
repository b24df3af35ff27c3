package mls

import (
	"errors"
	"testing"
)

// update makes an Update of d, signed and with a fresh key.
func (d *device) update() *Update {
	d.t.Helper()
	seed, err := randomBytes(d.env.Rand, d.e.suite.nh)
	if err != nil {
		d.t.Fatal(err)
	}
	leaf, _, err := d.e.suite.newUpdateLeaf(d.e.tree.Leaf(d.e.self), LeafChange{}, d.signer, d.e.context.GroupID, d.e.self, seed)
	if err != nil {
		d.t.Fatal(err)
	}
	return &Update{LeafNode: *leaf}
}

// cache brings a proposal of its author to all others and gives its reference.
func cache(author *device, p Proposal, all ...*device) ProposalOrRef {
	author.t.Helper()
	msg := author.lawlessProposal(p)
	var ref []byte
	for _, d := range all {
		out, _, _ := d.open(d.e, msg)
		ref = out.Ref
	}
	return ProposalOrRef{Ref: ref}
}

func testPSK(id string) *PreSharedKey {
	return &PreSharedKey{ID: PreSharedKeyID{Type: PSKTypeExternal, ID: []byte(id), Nonce: make([]byte, 32)}}
}

// TestProposalRules: what makes one proposal invalid (section 12.1). Each is
// tried as part of a commit and, where it can be, alone; by us and by others.
func TestProposalRules(t *testing.T) {
	k := strict()
	all := k.group(t, 4, 110)
	a, b := all[0], all[1]
	advance(t, a, CommitRequest{Proposals: []Proposal{&Remove{Removed: 3}}}, b, all[2])
	suite3 := func() KeyPackage {
		d := newDevice(t, 9, a.env.Rand)
		o := d.options()
		o.Suite = MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519
		o.Capabilities = k.capabilities
		kp, err := NewKeyPackage(o, d.signer, d.env)
		if err != nil {
			t.Fatal(err)
		}
		return *kp.KeyPackage
	}
	broken := *k.keyPackage(newDevice(t, 9, a.env.Rand)).KeyPackage
	broken.Signature = append([]byte{broken.Signature[0] ^ 1}, broken.Signature[1:]...)
	resumption := func(usage uint8) *PreSharedKey {
		return &PreSharedKey{ID: PreSharedKeyID{Type: PSKTypeResumption, Usage: usage, GroupID: a.e.GroupID(), Nonce: make([]byte, 32)}}
	}
	short := testPSK("x")
	short.ID.Nonce = short.ID.Nonce[1:]
	twice := []Extension{{Type: 0xf0d1}, {Type: 0xf0d1}}
	for name, c := range map[string]struct {
		p     Proposal
		want  error
		words string
	}{
		"Add of another cipher suite":          {&Add{KeyPackage: suite3()}, ErrProposals, "cipher suite"},
		"Add with an invalid KeyPackage":       {&Add{KeyPackage: broken}, ErrKeyPackage, "signature"},
		"Remove of a blank leaf":               {&Remove{Removed: 3}, ErrProposals, "blank leaf 3"},
		"Remove beyond the tree":               {&Remove{Removed: 1 << 31}, ErrProposals, "blank leaf"},
		"PSK nonce too short":                  {short, ErrProposals, "nonce of 31 bytes"},
		"PSK for reinitialisation":             {resumption(ResumptionReInit), ErrProposals, "reinit or branch"},
		"PSK for a branch":                     {resumption(ResumptionBranch), ErrProposals, "reinit or branch"},
		"ReInit to an older version":           {&ReInit{GroupID: []byte("new"), Version: 0, CipherSuite: testSuite}, ErrProposals, "version 0"},
		"ReInit with an extension type twice":  {&ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: testSuite, Extensions: twice}, ErrProposals, "twice"},
		"GroupContext extension type twice":    {&GroupContextExtensions{Extensions: twice}, ErrProposals, "twice"},
		"ExternalInit of a member":             {&ExternalInit{KEMOutput: make([]byte, 32)}, ErrProposals, "ExternalInit"},
		"GREASE extension in the GroupContext": {&GroupContextExtensions{Extensions: []Extension{{Type: 0x0A0A}}}, ErrLeafNode, "0x0a0a is not supported"},
		"requirement that a member lacks": {&GroupContextExtensions{Extensions: []Extension{
			RequiredCapabilities(nil, []ProposalType{0xf0ee}, nil)}}, ErrLeafNode, "required proposal 0xf0ee"},
		"requirement that does not parse": {&GroupContextExtensions{Extensions: []Extension{
			{Type: ExtensionRequiredCapabilities, Data: []byte{1, 2}}}}, ErrMalformed, "required_capabilities"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.stage(b.e, a.lawlessList(byValue(c.p)...))
			refused(t, err, c.want, c.words)
			_, err = a.e.Commit(CommitRequest{Proposals: []Proposal{c.p}, PSK: onePSK}, a.signer, a.env)
			refused(t, err, c.want, c.words)
			if errors.Is(c.want, ErrLeafNode) || errors.Is(c.want, ErrMalformed) {
				return // depends on the rest of the list
			}
			_, err = b.stage(b.e, a.lawlessProposal(c.p))
			refused(t, err, c.want, c.words)
			_, _, err = a.e.Propose(c.p, nil, a.signer, a.env)
			refused(t, err, c.want, c.words)
		})
	}
	t.Run("Update keeps its key", func(t *testing.T) {
		u := a.update()
		u.LeafNode.EncryptionKey = a.e.tree.Leaf(0).EncryptionKey
		if err := a.e.suite.signLeaf(&u.LeafNode, a.signer, a.e.context.GroupID, 0); err != nil {
			t.Fatal(err)
		}
		_, err := b.stage(b.e, a.lawlessProposal(u))
		refused(t, err, ErrProposals, "keeps its encryption key")
	})
	t.Run("Update of another member's leaf", func(t *testing.T) {
		_, err := b.stage(b.e, all[2].lawlessProposal(a.update()))
		refused(t, err, ErrSignature, "LeafNode is invalid")
	})
	t.Run("unknown and GREASE types", func(t *testing.T) {
		for _, typ := range []uint16{0, 8, 0x0A0A, 0xf0d3} {
			w := &writer{}
			w.u16(typ)
			w.vec([]byte("any"))
			if _, err := ParseProposal(w.buf); !errors.Is(err, ErrUnsupported) {
				t.Errorf("type %d: %v", typ, err)
			}
		}
	})
	t.Run("valid ones", func(t *testing.T) {
		good := k.keyPackage(newDevice(t, 9, a.env.Rand)).KeyPackage
		for _, p := range []Proposal{&Add{KeyPackage: *good}, &Remove{Removed: 2}, &GroupContextExtensions{Extensions: k.extensions}} {
			if _, err := b.stage(b.e, a.lawlessList(byValue(p)...)); err != nil {
				t.Errorf("%T: %v", p, err)
			}
		}
	})
}

// TestProposalListRules: section 12.2. Each list is otherwise applicable, and
// its commit has a right path and confirmation tag.
func TestProposalListRules(t *testing.T) {
	k := strict()
	all := k.group(t, 4, 111)
	a, b, c := all[0], all[1], all[2]
	ctx := &GroupContextExtensions{Extensions: k.extensions}
	add := func() *Add {
		return &Add{KeyPackage: *k.keyPackage(newDevice(t, 9, a.env.Rand)).KeyPackage}
	}
	stranger := newDevice(t, 9, a.env.Rand)
	sameClient := func() *Add { return &Add{KeyPackage: *k.keyPackage(stranger).KeyPackage} }
	own := cache(a, a.update(), a, b)
	first, second := cache(c, c.update(), a, b), cache(c, c.update(), a, b)
	reinit := &ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: testSuite}
	for name, l := range map[string]struct {
		refs  []ProposalOrRef
		want  error
		words string
	}{
		"Update of the committer":          {[]ProposalOrRef{own}, ErrProposals, "of the committer"},
		"inline Update":                    {byValue(a.update()), ErrProposals, "of the committer"},
		"Remove of the committer":          {byValue(&Remove{Removed: 0}), ErrProposals, "of the committer"},
		"two Updates of a leaf":            {[]ProposalOrRef{first, second}, ErrProposals, "leaf 2 is updated or removed twice"},
		"Update and Remove of a leaf":      {append(byValue(&Remove{Removed: 2}), first), ErrProposals, "leaf 2 is updated or removed twice"},
		"two Removes of a leaf":            {byValue(&Remove{Removed: 2}, &Remove{Removed: 2}), ErrProposals, "leaf 2 is updated or removed twice"},
		"the same reference twice":         {[]ProposalOrRef{first, first}, ErrProposals, "leaf 2 is updated or removed twice"},
		"two Adds of a client":             {byValue(sameClient(), sameClient()), ErrTree, "twice"},
		"Add of a member":                  {byValue(&Add{KeyPackage: *k.keyPackage(c).KeyPackage}), ErrTree, "twice"},
		"two PreSharedKeys with one id":    {byValue(testPSK("x"), testPSK("x")), ErrProposals, "PSK twice"},
		"two GroupContextExtensions":       {byValue(ctx, ctx), ErrProposals, "several GroupContextExtensions"},
		"ReInit with others":               {byValue(reinit, add()), ErrProposals, "ReInit with other proposals"},
		"two ReInits":                      {byValue(reinit, reinit), ErrProposals, "ReInit with other proposals"},
		"ExternalInit":                     {byValue(&ExternalInit{KEMOutput: make([]byte, 32)}), ErrProposals, "ExternalInit"},
		"unknown reference":                {[]ProposalOrRef{{Ref: make([]byte, 32)}}, ErrUnknownProposal, "unknown proposal"},
		"new requirements judge the Added": {byValue(&GroupContextExtensions{Extensions: []Extension{RequiredCapabilities([]ExtensionType{0xf0d2}, nil, nil)}}, plainAdd(t, a)), ErrLeafNode, "required extension"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.stage(b.e, a.lawlessList(l.refs...))
			refused(t, err, l.want, l.words)
			var r CommitRequest
			for _, p := range l.refs {
				if p.Proposal != nil {
					r.Proposals = append(r.Proposals, p.Proposal)
				} else {
					r.References = append(r.References, p.Ref)
				}
			}
			r.PSK = onePSK
			_, err = a.e.Commit(r, a.signer, a.env)
			refused(t, err, l.want, l.words)
		})
	}
	t.Run("requirements judge nobody who is removed", func(t *testing.T) {
		poor := plainAdd(t, a)
		relaxed := []Extension{{Type: 0xf0d1}}
		poor.KeyPackage.LeafNode.Capabilities.Extensions = []ExtensionType{0xf0d1}
		stranger := newDevice(t, 8, a.env.Rand)
		poor.KeyPackage.LeafNode.SignatureKey = stranger.signer.Public()
		resignKeyPackage(t, &poor.KeyPackage, stranger.signer)
		advance(t, a, CommitRequest{Proposals: []Proposal{&GroupContextExtensions{Extensions: relaxed}, poor}}, b, c, all[3])
		strictAgain := &GroupContextExtensions{Extensions: k.extensions}
		_, err := b.stage(b.e, a.lawlessList(byValue(strictAgain)...))
		refused(t, err, ErrLeafNode, "required")
		if _, err := b.stage(b.e, a.lawlessList(byValue(strictAgain, &Remove{Removed: 4})...)); err != nil {
			t.Error(err)
		}
	})
}

// plainAdd adds somebody with the least of capabilities.
func plainAdd(t *testing.T, d *device) *Add {
	return &Add{KeyPackage: *newDevice(t, 9, d.env.Rand).keyPackage().KeyPackage}
}

// TestApplyOrderRules: section 12.3. Whatever the order in the list: Removes
// come before Adds, which keep theirs.
func TestApplyOrderRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 4, 112)
	a, b := all[0], all[1]
	x, y := plainAdd(t, a), plainAdd(t, a)
	c := advance(t, a, CommitRequest{Proposals: []Proposal{x, y, &Remove{Removed: 2}}}, b, all[3])
	if len(c.Added) != 2 || c.Added[0] != 2 || c.Added[1] != 4 {
		t.Errorf("added at %v", c.Added)
	}
	for i, add := range []*Add{x, y} {
		if got := b.e.Tree().Leaf(c.Added[i]); string(got.SignatureKey) != string(add.KeyPackage.LeafNode.SignatureKey) {
			t.Errorf("leaf %d is another's", c.Added[i])
		}
	}
}

// TestPSKRules: sections 8.4 and 12.4.2. PSKs have to be there, and their order
// is that of the list.
func TestPSKRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 113)
	a, b := all[0], all[1]
	lookup := func(id PreSharedKeyID) []byte { return append([]byte("secret of "), id.ID...) }
	commit := func(ids ...string) *PublicMessage {
		r := CommitRequest{Public: true, PSK: lookup}
		for _, id := range ids {
			r.Proposals = append(r.Proposals, testPSK(id))
		}
		c, err := a.e.Commit(r, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseMLSMessage(c.Message)
		if err != nil {
			t.Fatal(err)
		}
		return m.Public
	}
	m := commit("x", "y")
	t.Run("order", func(t *testing.T) {
		// The same commit with its PSKs the other way round: all but the order,
		// the confirmation tag of the first order included, is right.
		ps := m.Content.Commit.Proposals
		swapped := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: m.Content, Auth: m.Auth}
		swapped.Content.Commit = &Commit{Proposals: []ProposalOrRef{ps[1], ps[0]}}
		if err := swapped.sign(a.e.suite, a.e.encoded, a.signer); err != nil {
			t.Fatal(err)
		}
		p, err := swapped.protectPublic(a.e.suite, a.e.secrets.membership, a.e.encoded)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.e.OpenPublic(p, OpenOptions{PSK: lookup}); !errors.Is(err, ErrConfirmation) {
			t.Errorf("%v", err)
		}
		x, y := psk{ps[0].Proposal.(*PreSharedKey).ID, []byte("x")}, psk{ps[1].Proposal.(*PreSharedKey).ID, []byte("y")}
		if string(a.e.suite.pskSecret([]psk{x, y})) == string(a.e.suite.pskSecret([]psk{y, x})) {
			t.Error("psk_secret does not depend on the order")
		}
	})
	t.Run("not available", func(t *testing.T) {
		only := func(id PreSharedKeyID) []byte {
			if string(id.ID) == "x" {
				return lookup(id)
			}
			return nil
		}
		for _, l := range []PSKLookup{nil, only} {
			_, err := b.e.OpenPublic(m, OpenOptions{PSK: l})
			refused(t, err, ErrPSK, "not available")
		}
	})
	t.Run("unknown type or usage", func(t *testing.T) {
		for _, b := range [][]byte{{0, 4, 0, 0, 0}, {0, 4, 3, 0, 0}, {0, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 4, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
			if _, err := ParseProposal(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("%x: %v", b, err)
			}
		}
	})
	if _, err := b.e.OpenPublic(m, OpenOptions{PSK: lookup}); err != nil {
		t.Error(err)
	}
}
