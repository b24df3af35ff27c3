package mls

import (
	"bytes"
	"errors"
	"testing"
)

// TestSenderRules: sections 6.1 and 12.1.8, who may send what in the clear.
func TestSenderRules(t *testing.T) {
	service := newDevice(t, 8, testRand(139))
	w := &writer{}
	w.vector(func(w *writer) {
		w.vec(service.signer.Public())
		cred := BasicCredential([]byte("service"))
		cred.write(w)
	})
	k := kind{schedule: RFC9420, extensions: []Extension{{Type: ExtensionExternalSenders, Data: w.buf}}}
	all := k.group(t, 3, 140)
	a, b := all[0], all[1]
	joiner := newDevice(t, 9, a.env.Rand)
	add := &Add{KeyPackage: *k.keyPackage(joiner).KeyPackage}
	external, newcomer, joins := Sender{SenderTypeExternal, 0}, Sender{Type: SenderTypeNewMemberProposal}, Sender{Type: SenderTypeNewMemberCommit}
	proposal := func(from Sender, p Proposal) FramedContent {
		return FramedContent{Sender: from, ContentType: ContentTypeProposal, Proposal: p}
	}
	empty := FramedContent{ContentType: ContentTypeCommit, Commit: &Commit{}}
	from := func(c FramedContent, s Sender) FramedContent { c.Sender = s; return c }
	text := FramedContent{ContentType: ContentTypeApplication, Data: []byte("text")}
	for name, r := range map[string]struct {
		c     FramedContent
		s     Signer
		want  error
		words string
	}{
		"application data of a member":         {from(text, a.me()), a.signer, ErrMalformed, "application data"},
		"application data of a service":        {from(text, external), service.signer, ErrMalformed, "application data"},
		"external sender with a Commit":        {from(empty, external), service.signer, ErrMalformed, "external sender may not"},
		"external sender with an Update":       {proposal(external, a.update()), service.signer, ErrMalformed, "external sender may not"},
		"external sender with an ExternalInit": {proposal(external, &ExternalInit{}), service.signer, ErrMalformed, "external sender may not"},
		"external sender beyond the list":      {proposal(Sender{SenderTypeExternal, 1}, add), service.signer, ErrMember, "external sender 1 of 1"},
		"external sender, another's key":       {proposal(external, add), joiner.signer, ErrSignature, ""},
		"new member with a Remove":             {proposal(newcomer, &Remove{Removed: 1}), joiner.signer, ErrMalformed, "sender type 3"},
		"new member with a Commit":             {from(empty, newcomer), joiner.signer, ErrMalformed, "sender type 3"},
		"new member, another's key":            {proposal(newcomer, add), service.signer, ErrSignature, ""},
		"external commit that is a proposal":   {proposal(joins, add), joiner.signer, ErrMalformed, "sender type 4"},
		"external commit without a path":       {from(empty, joins), joiner.signer, ErrMalformed, "sender type 4"},
		"member at a blank leaf":               {proposal(Sender{SenderTypeMember, 3}, add), a.signer, ErrMember, "sender at leaf 3"},
		"member, another's key":                {proposal(Sender{SenderTypeMember, 2}, add), a.signer, ErrSignature, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.stage(b.e, frame(t, b.e, r.c, r.s))
			refused(t, err, r.want, r.words)
		})
	}
	t.Run("what they may send", func(t *testing.T) {
		for _, c := range []struct {
			c FramedContent
			s Signer
		}{
			{proposal(external, add), service.signer}, {proposal(external, &Remove{Removed: 2}), service.signer},
			{proposal(external, testPSK("x")), service.signer}, {proposal(newcomer, add), joiner.signer},
			{proposal(external, &ReInit{GroupID: []byte("n"), Version: 1, CipherSuite: testSuite}), service.signer},
			{proposal(external, &GroupContextExtensions{}), service.signer},
		} {
			if _, err := b.stage(b.e, frame(t, b.e, c.c, c.s)); err != nil {
				t.Errorf("%v, type %d: %v", c.c.Sender, c.c.Proposal.Type(), err)
			}
		}
	})
	t.Run("external sender without the extension", func(t *testing.T) {
		all := kind{schedule: RFC9420}.group(t, 2, 141)
		_, err := all[1].stage(all[1].e, frame(t, all[1].e, proposal(external, add), service.signer))
		refused(t, err, ErrMember, "external sender 0 of 0")
	})
}

// TestPrivateMessageRules: sections 6.3, 9.1 and 15.3. The forger is a member.
func TestPrivateMessageRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	all := k.group(t, 3, 142)
	a, b, insider := all[0], all[1], all[2]
	honest := a.say("text")
	zero := &[4]byte{}
	for name, r := range map[string]struct {
		msg   func() []byte
		want  error
		words string
	}{
		"padding is not zero": {func() []byte {
			return forge(t, insider.e, honest, forgery{guard: zero, padding: 5, dirty: true})
		}, ErrMalformed, "padding is not zero"},
		"generation too far":   {func() []byte { return resender(t, insider.e, honest, func(d *senderData) { d.generation = 1001 }) }, ErrGeneration, "too far"},
		"generation 2^32-1":    {func() []byte { return resender(t, insider.e, honest, func(d *senderData) { d.generation = 1<<32 - 1 }) }, ErrGeneration, "too far"},
		"signature of another": {func() []byte { return forge(t, insider.e, honest, forgery{guard: zero, resign: insider.signer}) }, ErrSignature, ""},
		"other content": {func() []byte {
			return forge(t, insider.e, honest, forgery{guard: zero, change: func(x *AuthenticatedContent) { x.Content.Data = []byte("no") }})
		}, ErrSignature, ""},
		"signed for the clear": {func() []byte {
			return forge(t, insider.e, honest, forgery{guard: zero, change: func(x *AuthenticatedContent) {
				x.WireFormat = WireFormatPublicMessage
				if err := x.sign(a.e.suite, a.e.encoded, a.signer); err != nil {
					t.Fatal(err)
				}
			}})
		}, ErrSignature, ""},
		"sender at a blank leaf": {func() []byte { return resender(t, insider.e, honest, func(d *senderData) { d.leaf = 3 }) }, ErrMember, "sender at leaf 3"},
		"sender beyond the tree": {func() []byte { return resender(t, insider.e, honest, func(d *senderData) { d.leaf = 1 << 31 }) }, ErrMember, "sender at leaf"},
		"another's ratchet":      {func() []byte { return resender(t, insider.e, honest, func(d *senderData) { d.leaf = 2 }) }, ErrDecrypt, ""},
		"sender data":            {func() []byte { return harmed(t, honest, func(m *PrivateMessage) { m.EncryptedSenderData[0] ^= 1 }) }, ErrDecrypt, "sender data"},
		"ciphertext": {func() []byte {
			return harmed(t, honest, func(m *PrivateMessage) { m.Ciphertext[len(m.Ciphertext)-1] ^= 1 })
		}, ErrDecrypt, "content"},
		"ciphertext sample":  {func() []byte { return harmed(t, honest, func(m *PrivateMessage) { m.Ciphertext[0] ^= 1 }) }, ErrDecrypt, "sender data"},
		"authenticated data": {func() []byte { return harmed(t, honest, func(m *PrivateMessage) { m.AuthenticatedData = []byte("x") }) }, ErrDecrypt, "content"},
		"content type": {func() []byte {
			return harmed(t, honest, func(m *PrivateMessage) { m.ContentType = ContentTypeProposal })
		}, ErrDecrypt, "sender data"},
		"epoch": {func() []byte { return harmed(t, honest, func(m *PrivateMessage) { m.Epoch++ }) }, ErrEpoch, ""},
		"group": {func() []byte { return harmed(t, honest, func(m *PrivateMessage) { m.GroupID = []byte("x") }) }, ErrEpoch, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.stage(b.e, r.msg())
			refused(t, err, r.want, r.words)
		})
	}
	t.Run("generation used before", func(t *testing.T) {
		b.hear(honest, "text")
		_, err := b.stage(b.e, honest)
		refused(t, err, ErrSpent, "generation is spent")
	})
}

// harmed changes a frame from outside.
func harmed(t *testing.T, msg []byte, harm func(*PrivateMessage)) []byte {
	t.Helper()
	m, err := ParsePrivateMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	harm(m)
	return m.Marshal()
}

// resender changes the sender data.
func resender(t *testing.T, insider *Epoch, msg []byte, harm func(*senderData)) []byte {
	t.Helper()
	m, err := ParsePrivateMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.openSenderData(insider.suite, insider.secrets.senderData)
	if err != nil {
		t.Fatal(err)
	}
	harm(&d)
	if err := m.sealSenderData(insider.suite, insider.secrets.senderData, d); err != nil {
		t.Fatal(err)
	}
	return m.Marshal()
}

// TestEncodingRules: sections 2.1, 6 and the registries: values that no parser
// may let pass.
func TestEncodingRules(t *testing.T) {
	k := kind{schedule: RFC9420}
	a := k.group(t, 2, 143)[0]
	commit := a.lawless(&Commit{Path: a.path()})
	kp := (&MLSMessage{WireFormat: WireFormatKeyPackage, KeyPackage: k.keyPackage(a).KeyPackage}).Marshal()
	set := func(b []byte, at int, v ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], v)
		return b
	}
	senderAt := 4 + 1 + len("a group") + 8
	for name, r := range map[string]struct {
		b    []byte
		want error
	}{
		"protocol version":         {set(commit, 0, 0, 2), ErrUnsupported},
		"wire format":              {set(commit, 2, 0, 6), ErrUnsupported},
		"GREASE wire format":       {set(commit, 2, 0x0A, 0x0A), ErrUnsupported},
		"version of a KeyPackage":  {set(kp, 4, 0, 2), ErrUnsupported},
		"sender type 0":            {set(commit, senderAt, 0), ErrMalformed},
		"sender type 5":            {set(commit, senderAt, 5), ErrMalformed},
		"content type 0":           {set(commit, senderAt+6, 0), ErrMalformed},
		"content type 4":           {set(commit, senderAt+6, 4), ErrMalformed},
		"bytes after the end":      {append(bytes.Clone(commit), 0), ErrMalformed},
		"end too early":            {commit[:len(commit)-1], ErrMalformed},
		"length not minimal":       {append([]byte{0, 1, 0, 1, 0x40, 7}, commit[5:]...), ErrMalformed},
		"length with prefix 3":     {set(commit, 4, 0xc7), ErrMalformed},
		"content type of ciphered": {(&PrivateMessage{ContentType: 4}).Marshal(), ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseMLSMessage(r.b); !errors.Is(err, r.want) {
				t.Errorf("%v, want %v", err, r.want)
			}
		})
	}
	t.Run("presence byte", func(t *testing.T) {
		if _, err := ParseCommit([]byte{0, 2}); !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
	t.Run("ProposalOrRef type", func(t *testing.T) {
		for _, v := range []byte{0, 3} {
			if _, err := ParseCommit([]byte{2, v, 0, 0}); !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
		}
	})
	t.Run("credential type", func(t *testing.T) {
		l := *a.e.tree.Leaf(0)
		w := &writer{}
		w.vec(l.EncryptionKey)
		w.vec(l.SignatureKey)
		raw := l.Marshal()
		for _, typ := range []byte{0, 3, 0x0A} {
			if _, err := ParseLeafNode(set(raw, len(w.buf), typ, typ)); !errors.Is(err, ErrUnsupported) {
				t.Errorf("type %02x%02x: %v", typ, typ, err)
			}
		}
	})
	t.Run("odd list of 16-bit values", func(t *testing.T) {
		if _, err := parseRequirements([]byte{1, 0, 0, 0}); !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
		w := &writer{}
		w.vec(nil)
		w.vec(nil)
		w.u16(uint16(CredentialBasic))
		w.vec(nil)
		for i := range 5 { // each list of the capabilities in turn
			caps := make([]byte, 5)
			leaf := append(bytes.Clone(w.buf), caps[:i]...)
			leaf = append(append(leaf, 1, 7), caps[i+1:]...)
			leaf = append(leaf, byte(LeafNodeSourceUpdate), 0, 0)
			if _, err := ParseLeafNode(leaf); !errors.Is(err, ErrMalformed) {
				t.Errorf("capabilities, list %d: %v", i, err)
			}
		}
		whole := append(append(bytes.Clone(w.buf), make([]byte, 5)...), byte(LeafNodeSourceUpdate), 0, 0)
		if _, err := ParseLeafNode(whole); err != nil {
			t.Error(err)
		}
	})
	t.Run("whole frames", func(t *testing.T) {
		for _, b := range [][]byte{commit, kp} {
			if _, err := ParseMLSMessage(b); err != nil {
				t.Error(err)
			}
		}
	})
}
