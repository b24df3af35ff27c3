package mls

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/cloudflare/circl/hpke"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// eachSuite runs f for all cipher suites.
func eachSuite(t *testing.T, f func(t *testing.T, s *suite)) {
	t.Helper()
	for _, id := range CipherSuites() {
		s, err := suiteByID(id)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(id.String(), func(t *testing.T) { f(t, s) })
	}
}

// Section 17.1: the table is complete, and in order.
func TestSuiteTable(t *testing.T) {
	if !slices.Equal(CipherSuites(), []CipherSuite{1, 2, 3, 4, 5, 6, 7}) {
		t.Fatalf("%v", CipherSuites())
	}
	eachSuite(t, func(t *testing.T, s *suite) {
		if n := s.alg.new().Size(); n != s.nh || len(s.sum(nil)) != n {
			t.Errorf("Nh = %d, the hash has %d bytes", s.nh, n)
		}
		a, err := s.newAEAD(make([]byte, s.nk))
		if err != nil || a.NonceSize() != s.nn || a.Overhead() != s.nt {
			t.Errorf("AEAD: %v", err)
		}
	})
}

// Our HPKE and that of circl are two implementations of RFC 9180: each opens
// what the other sealed, and both derive the same key pair from a seed.
func TestHPKEAgainstCircl(t *testing.T) {
	kems := map[uint16]hpke.KEM{0x0010: hpke.KEM_P256_HKDF_SHA256, 0x0011: hpke.KEM_P384_HKDF_SHA384, 0x0012: hpke.KEM_P521_HKDF_SHA512,
		0x0020: hpke.KEM_X25519_HKDF_SHA256, 0x0021: hpke.KEM_X448_HKDF_SHA512}
	eachSuite(t, func(t *testing.T, s *suite) {
		k := kems[s.kem.id()]
		other := hpke.NewSuite(k, hpke.KDF(s.kdfID), hpke.AEAD(s.aeadID))
		info, text := []byte("info"), []byte("plaintext")
		seed := bytes.Repeat([]byte{7}, k.Scheme().SeedSize())
		theirPub, theirPriv := k.Scheme().DeriveKeyPair(seed)
		priv, pub, err := s.deriveKeyPair(seed)
		if err != nil {
			t.Fatal(err)
		}
		want, err := theirPub.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "derived public key", pub, want)
		ct, err := s.hpkeSeal(pub, s.hpkeContext(info), text, bytes.Repeat([]byte{9}, s.kem.seedSize()))
		if err != nil {
			t.Fatal(err)
		}
		receiver, err := other.NewReceiver(theirPriv, info)
		if err != nil {
			t.Fatal(err)
		}
		opener, err := receiver.Setup(ct.KEMOutput)
		if err != nil {
			t.Fatal(err)
		}
		got, err := opener.Open(ct.Ciphertext, nil)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "opened by circl", got, text)
		sender, err := other.NewSender(theirPub, info)
		if err != nil {
			t.Fatal(err)
		}
		enc, sealer, err := sender.Setup(testRand(3))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := sealer.Seal(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err = s.hpkeOpen(priv, nil, s.hpkeContext(info), HPKECiphertext{KEMOutput: enc, Ciphertext: sealed})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "opened by us", got, text)
		equal(t, "exported", s.hpkeExport(mustDecap(t, s, priv, enc), info, []byte("context"), 20), sealer.Export([]byte("context"), 20))
	})
}

func mustDecap(t *testing.T, s *suite, priv, enc []byte) []byte {
	t.Helper()
	shared, err := s.decap(priv, nil, enc)
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

// Equal seeds give equal keys, signatures, encapsulations and groups.
func TestSuitesAreSeeded(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		var last []byte
		for range 2 {
			all := newGroupOf(t, s.id, DMLS, 3, 77, false)
			c, _ := all[1].commit(all[1].e, CommitRequest{})
			if last != nil && !bytes.Equal(last, c.Message) {
				t.Error("two runs differ")
			}
			last = c.Message
		}
	})
}

func TestSigners(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		signer, private, err := GenerateSigner(s.id, testRand(5))
		if err != nil {
			t.Fatal(err)
		}
		again, err := NewSigner(s.id, private)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "public key", again.Public(), signer.Public())
		for i := range 8 {
			content := []byte{byte(i)}
			a, err := s.signWithLabel(signer, "x", content)
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.signWithLabel(again, "x", content)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "signature", b, a)
			if err := s.verifyWithLabel(signer.Public(), "x", content, a); err != nil {
				t.Error(err)
			}
			if err := s.verifyWithLabel(signer.Public(), "y", content, a); !errors.Is(err, ErrSignature) {
				t.Errorf("another label: %v", err)
			}
		}
		for _, n := range []int{0, 31, 58, 67, 140} {
			if err := s.sig.checkPublic(make([]byte, n)); !errors.Is(err, ErrKey) {
				t.Errorf("public key of %d bytes: %v", n, err)
			}
			if _, err := NewSigner(s.id, make([]byte, n)); !errors.Is(err, ErrKey) {
				t.Errorf("private key of %d bytes: %v", n, err)
			}
			if err := s.kem.checkPublic(make([]byte, n)); !errors.Is(err, ErrKey) {
				t.Errorf("HPKE public key of %d bytes: %v", n, err)
			}
		}
	})
	if _, err := NewECDSASigner(elliptic.P224(), make([]byte, 28)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("P-224: %v", err)
	}
}

// highS is the other signature that verifies: an insider can make it from ours.
func highS(t *testing.T, e ecdsaScheme, sig []byte) []byte {
	t.Helper()
	var r, s big.Int
	in := cryptobyte.String(sig)
	if !in.ReadASN1(&in, asn1.SEQUENCE) || !in.ReadASN1Integer(&r) || !in.ReadASN1Integer(&s) {
		t.Fatal("no DER")
	}
	s.Sub(e.curve().Params().N, &s)
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1BigInt(&r); b.AddASN1BigInt(&s) })
	return b.BytesOrPanic()
}

// A signature that verifies, with the greater s: fine in RFC 9420, a second
// frame of one content in DMLS.
func TestHighS(t *testing.T) {
	for _, id := range []CipherSuite{2, 5, 7} {
		for _, k := range []KeySchedule{RFC9420, DMLS} {
			t.Run(fmt.Sprint(id, k), func(t *testing.T) {
				all := newGroupOf(t, id, k, 3, 78, false)
				honest := all[0].say("x")
				e := all[0].e.suite.sig.(ecdsaScheme)
				var guard *[4]byte
				if k == RFC9420 {
					guard = &[4]byte{}
				}
				bad := forge(t, all[2].e, honest, forgery{guard: guard, change: func(a *AuthenticatedContent) {
					sig := highS(t, e, a.Auth.Signature)
					equal(t, "normal form", e.normal(sig), a.Auth.Signature)
					a.Auth.Signature = sig
				}})
				_, err := all[1].stage(all[1].e, bad)
				if k == RFC9420 && err != nil || k == DMLS && !errors.Is(err, ErrNotCanonical) {
					t.Error(err)
				}
				all[1].hear(honest, "x")
			})
		}
	}
}

// The life of a group in every suite under both key schedules, through the
// store after every step.
func TestEverySuite(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		for _, k := range []KeySchedule{RFC9420, DMLS} {
			all := newGroupOf(t, s.id, k, 4, 79, true)
			a, b, c, d := all[0], all[1], all[2], all[3]
			for _, x := range all {
				msg := x.say("from " + x.name)
				for _, y := range all {
					if y != x {
						y.hear(msg, "from "+x.name)
					}
				}
			}
			advance(t, c, CommitRequest{}, a, b, d)
			advance(t, b, CommitRequest{Proposals: []Proposal{&Remove{Removed: 3}}}, a, c)
			if k == DMLS {
				// Two children of one epoch, taken up by everybody else.
				x, _ := a.commit(a.e, CommitRequest{})
				y, _ := b.commit(b.e, CommitRequest{})
				_, _, cx := c.open(c.e, x.Message)
				_, _, cy := c.open(c.e, y.Message)
				if !bytes.Equal(cx.ID(), x.Child.ID()) || !bytes.Equal(cy.ID(), y.Child.ID()) || bytes.Equal(cx.ID(), cy.ID()) {
					t.Errorf("%v: children differ", k)
				}
			}
		}
	})
}
