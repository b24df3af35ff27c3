package mls

import (
	"testing"
)

// The remaining parsers, all by the theorem of fuzzIdentity: what parses
// marshals to the same bytes.

// fuzzParse is fuzzIdentity for objects that keep no encoding of their own.
func fuzzParse(f *testing.F, seed []byte, parse func(b []byte) (marshal func() []byte, err error)) {
	f.Helper()
	fuzzIdentity(f, seed, func(b []byte) ([]byte, []byte, error) {
		marshal, err := parse(b)
		if err != nil {
			return nil, nil, err
		}
		return marshal(), marshal(), nil
	})
}

// seedGroup is a plain group of three with parents in its tree.
func seedGroup(f *testing.F) []*device {
	all := strict().group(f, 3, 160)
	advance(f, all[0], CommitRequest{}, all[1:]...)
	return all
}

func FuzzCommit(f *testing.F) {
	a := seedGroup(f)[0]
	seed := &Commit{Proposals: append(byValue(&Remove{Removed: 2}, testPSK("x"), a.update()), ProposalOrRef{Ref: make([]byte, 32)}), Path: a.path()}
	f.Add((&Commit{}).Marshal())
	fuzzParse(f, seed.Marshal(), func(b []byte) (func() []byte, error) {
		c, err := ParseCommit(b)
		if err != nil {
			return nil, err
		}
		return c.Marshal, nil
	})
}

func FuzzProposal(f *testing.F) {
	a := seedGroup(f)[0]
	for _, p := range []Proposal{&Add{KeyPackage: *a.keyPackage().KeyPackage}, a.update(), testPSK("x"),
		&PreSharedKey{ID: PreSharedKeyID{Type: PSKTypeResumption, Usage: ResumptionBranch, GroupID: []byte("g"), Epoch: 7, Nonce: []byte{1}}},
		&ReInit{GroupID: []byte("new"), Version: 1, CipherSuite: 3, Extensions: strict().extensions},
		&ExternalInit{KEMOutput: make([]byte, 32)}, &GroupContextExtensions{Extensions: strict().extensions}} {
		f.Add(MarshalProposal(p))
	}
	fuzzParse(f, MarshalProposal(&Remove{Removed: 3}), func(b []byte) (func() []byte, error) {
		p, err := ParseProposal(b)
		if err != nil {
			return nil, err
		}
		return func() []byte { return MarshalProposal(p) }, nil
	})
}

func FuzzGroupContext(f *testing.F) {
	c := seedGroup(f)[0].e.GroupContext()
	fuzzParse(f, c.Marshal(), func(b []byte) (func() []byte, error) {
		c, err := ParseGroupContext(b)
		if err != nil {
			return nil, err
		}
		return c.Marshal, nil
	})
}

// FuzzGroupInfo adds: whatever parses can be joined by or refused, without a
// panic.
func FuzzGroupInfo(f *testing.F) {
	a := seedGroup(f)[0]
	joiner := newDevice(f, 9, testRand(161))
	fuzzParse(f, groupInfo(f, a, true), func(b []byte) (func() []byte, error) {
		g, err := ParseGroupInfo(b)
		if err != nil {
			return nil, err
		}
		env := joiner.env
		env.Rand = testRand(162)
		_, _ = CommitExternal(b, nil, ExternalCommit{Leaf: joiner.options()}, joiner.signer, env)
		return (&MLSMessage{WireFormat: WireFormatGroupInfo, GroupInfo: g}).Marshal, nil
	})
}

func FuzzExternalSender(f *testing.F) {
	x := ExternalSender{SignatureKey: make([]byte, 32), Credential: Credential{Type: CredentialX509, Certificates: [][]byte{{1}, {}}}}
	fuzzParse(f, x.Marshal(), func(b []byte) (func() []byte, error) {
		x, err := ParseExternalSender(b)
		if err != nil {
			return nil, err
		}
		return x.Marshal, nil
	})
}

func FuzzExternalSenders(f *testing.F) {
	seed := ExternalSenders([]ExternalSender{{make([]byte, 32), BasicCredential([]byte("a"))}, {nil, BasicCredential(nil)}})
	fuzzParse(f, seed.Data, func(b []byte) (func() []byte, error) {
		xs, err := ParseExternalSenders([]Extension{{Type: ExtensionExternalSenders, Data: b}})
		if err != nil {
			return nil, err
		}
		return func() []byte { return ExternalSenders(xs).Data }, nil
	})
}

func FuzzRequiredCapabilities(f *testing.F) {
	seed := RequiredCapabilities([]ExtensionType{1, 0xf0d1}, []ProposalType{9}, []CredentialType{CredentialBasic})
	fuzzParse(f, seed.Data, func(b []byte) (func() []byte, error) {
		q, err := parseRequirements(b)
		if err != nil {
			return nil, err
		}
		return func() []byte { return RequiredCapabilities(q.extensions, q.proposals, q.credentials).Data }, nil
	})
}

func FuzzKeyPackageBundle(f *testing.F) {
	b, _ := testBundle(f, 5)
	seed, err := b.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	fuzzParse(f, seed, func(b []byte) (func() []byte, error) {
		kp, err := ParseKeyPackageBundle(b)
		if err != nil {
			return nil, err
		}
		return func() []byte {
			out, err := kp.MarshalBinary()
			if err != nil {
				return []byte(err.Error())
			}
			return out
		}, nil
	})
}

func FuzzRatchetRecord(f *testing.F) {
	s, err := suiteByID(testSuite)
	if err != nil {
		f.Fatal(err)
	}
	r := &ratchet{secret: make([]byte, 32)}
	if _, err := r.take(s, 3, Window{Skipped: 5, Forward: 10}); err != nil {
		f.Fatal(err)
	}
	f.Add((&ratchet{secret: make([]byte, 32), marks: [][]byte{make([]byte, 32)}}).record())
	fuzzParse(f, r.record(), func(b []byte) (func() []byte, error) {
		r, err := parseRatchet(s, b)
		if err != nil {
			return nil, err
		}
		return r.record, nil
	})
}

// FuzzWelcome: a Welcome, changed under its encryption by who may write it, is
// taken or refused, without a panic; the same bytes give the same answer.
func FuzzWelcome(f *testing.F) {
	k := kind{schedule: RFC9420}
	all := k.group(f, 3, 163)
	joiner := newDevice(f, 9, testRand(164))
	kp := k.keyPackage(joiner)
	staged, err := all[0].e.Commit(CommitRequest{ForcePath: true, Proposals: []Proposal{&Add{KeyPackage: *kp.KeyPackage}}}, all[0].signer, all[0].env)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(0), uint16(0), byte(0))
	f.Add(byte(1), uint16(40), byte(1))
	f.Add(byte(2), uint16(90), byte(0x80))
	f.Fuzz(func(t *testing.T, how byte, at uint16, flip byte) {
		change := func(b []byte) []byte {
			b[int(at)%len(b)] ^= flip
			return b
		}
		var w welcomeForgery
		switch how % 3 {
		case 0:
			w.plain = change
		case 1:
			w.array = change
		case 2:
			w.sealed = func(m *Welcome) { change(m.Secrets[0].Secrets.Ciphertext) }
		}
		_, _, err := Join(forgeWelcome(t, all[0], staged, w), nil, kp, JoinOptions{KeySchedule: RFC9420}, joiner.env)
		if (err == nil) != (flip == 0) {
			t.Fatalf("how %d, byte %d, bits %02x: %v", how%3, at, flip, err)
		}
	})
}
