package mls

import (
	"bytes"
	"errors"
	"testing"
)

// Section 7.2: a member's next leaf may have another signature key, credential,
// capabilities and extensions, by the path of a commit and by an Update.
func TestLeafChange(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		all := newGroupOf(t, s.id, RFC9420, 3, 190, true)
		a, b, c := all[0], all[1], all[2]
		change := func(d *device) (LeafChange, Signer) {
			t.Helper()
			signer, _, err := GenerateSigner(s.id, d.env.Rand)
			if err != nil {
				t.Fatal(err)
			}
			credential := BasicCredential([]byte(d.name + ", renewed"))
			capabilities := d.e.Tree().Leaf(d.e.Self()).Capabilities.clone()
			capabilities.Extensions = append(capabilities.Extensions, 0xF0AA)
			return LeafChange{Signer: signer, Credential: &credential, Capabilities: &capabilities, Extensions: []Extension{{Type: 0xF0AA}}}, signer
		}
		check := func(d *device) {
			t.Helper()
			for _, m := range all {
				l := m.e.Tree().Leaf(d.e.Self())
				if !bytes.Equal(l.SignatureKey, d.signer.Public()) || string(l.Credential.Identity) != d.name+", renewed" || len(l.Extensions) != 1 {
					t.Errorf("%s sees %+v", m.name, l)
				}
			}
		}

		leaf, signer := change(a)
		joiner := newDeviceOf(t, s.id, 9, a.env.Rand)
		bundle := joiner.keyPackage()
		commit, child := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *bundle.KeyPackage}}, ForcePath: true, Leaf: leaf})
		if _, err := commit.Welcome(nil, true, a.signer, a.env); !errors.Is(err, ErrConfig) {
			t.Errorf("a Welcome signed with the old key: %v", err)
		}
		welcome, err := commit.Welcome(nil, true, signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		listen(t, commit.Message, OpenOptions{}, b, c)
		a.e = child
		if _, _, err := a.e.Protect(nil, nil, a.signer, a.env); !errors.Is(err, ErrConfig) {
			t.Errorf("the old key: %v", err)
		}
		a.signer = signer
		joiner.join(welcome, nil, bundle, RFC9420)
		all = append(all, joiner)
		agree(t, all...)
		check(a)

		leaf, signer = change(b)
		msg, delta, err := b.e.ProposeWith(ProposalRequest{Leaf: leaf}, b.signer, b.env)
		if err != nil {
			t.Fatal(err)
		}
		ref := delta.ProposalRef()
		b.e = b.apply(b.e, delta)
		if out := listen(t, msg, OpenOptions{}, a, c, joiner); !bytes.Equal(out.Ref, ref) {
			t.Errorf("reference %x, want %x", ref, out.Ref)
		}
		advance(t, c, CommitRequest{References: [][]byte{ref}}, a, b, joiner)
		b.signer = signer
		check(b)
		advance(t, b, CommitRequest{}, a, c, joiner)
	})
}

// What the author of a leaf is refused before others would refuse it.
func TestLeafChangeRefused(t *testing.T) {
	all := newGroup(t, RFC9420, 2, 191, false)
	a := all[0]
	listsDefault := Capabilities{Versions: []uint16{mls10}, CipherSuites: []CipherSuite{testSuite},
		Credentials: []CredentialType{CredentialBasic}, Extensions: []ExtensionType{ExtensionRatchetTree}}
	noBasic := Capabilities{Versions: []uint16{mls10}, CipherSuites: []CipherSuite{testSuite}, Credentials: []CredentialType{CredentialX509}}
	x509 := Credential{Type: CredentialX509}
	for what, c := range map[string]LeafChange{
		"a default type in the capabilities":       {Capabilities: &listsDefault},
		"capabilities without the own credential":  {Capabilities: &noBasic},
		"capabilities without others' credentials": {Capabilities: &noBasic, Credential: &x509},
		"an extension that is not listed":          {Extensions: []Extension{{Type: 0xF0AA}}},
		"another member's signature key":           {Signer: all[1].signer},
	} {
		want := snapshot(a.e)
		if _, err := a.e.Commit(CommitRequest{Leaf: c}, a.signer, a.env); err == nil {
			t.Errorf("%s, by a path: accepted", what)
		}
		sameRecords(t, what, a.e, want)
	}
}

// Section 13.5: values that mean nothing, sent where they may stand.
func TestGREASEIsSent(t *testing.T) {
	all := newGroup(t, RFC9420, 2, 192, true)
	a := all[0]
	known := map[uint16]bool{}
	for range 400 {
		v, err := GREASE(a.env.Rand)
		if err != nil || v&0x0f0f != 0x0a0a || v>>8 != v&0xff || v == 0xfafa {
			t.Fatalf("%#x: %v", v, err)
		}
		known[v] = true
	}
	if len(known) != 15 {
		t.Errorf("%d values", len(known))
	}
	d := newDevice(t, 9, a.env.Rand)
	o := d.options()
	o.GREASE = true
	b, err := NewKeyPackage(o, d.signer, d.env)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &b.KeyPackage.LeafNode
	c := leaf.Capabilities
	if !known[uint16(c.CipherSuites[1])] || !known[uint16(c.Extensions[0])] || !known[uint16(c.Proposals[0])] || !known[uint16(c.Credentials[1])] ||
		!known[uint16(leaf.Extensions[0].Type)] || !known[uint16(b.KeyPackage.Extensions[0].Type)] {
		t.Errorf("%+v", b.KeyPackage)
	}
	if len(o.Capabilities.Proposals) != 0 {
		t.Error("the caller's own list of capabilities has GREASE in it")
	}
	commit, child := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *b.KeyPackage}}})
	x, err := GREASEExtension(a.env.Rand)
	if err != nil {
		t.Fatal(err)
	}
	welcome, err := commit.Welcome([]Extension{x}, true, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	a.e = child
	listen(t, commit.Message, OpenOptions{}, all[1])
	d.join(welcome, nil, b, RFC9420)
	agree(t, a, all[1], d)
	advance(t, d, CommitRequest{}, a, all[1])
}
