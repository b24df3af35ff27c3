package mls

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}

// TestCryptoBasics runs crypto-basics.json (RFC 9420, Sections 5, 8, 9.1).
func TestCryptoBasics(t *testing.T) {
	type vector struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		RefHash     struct {
			Label      string
			Value, Out hexBytes
		} `json:"ref_hash"`
		ExpandWithLabel struct {
			Secret, Context, Out hexBytes
			Label                string
			Length               int
		} `json:"expand_with_label"`
		DeriveSecret struct {
			Secret, Out hexBytes
			Label       string
		} `json:"derive_secret"`
		DeriveTreeSecret struct {
			Secret, Out hexBytes
			Label       string
			Generation  uint32
			Length      int
		} `json:"derive_tree_secret"`
		SignWithLabel struct {
			Priv, Pub, Content, Signature hexBytes
			Label                         string
		} `json:"sign_with_label"`
		EncryptWithLabel struct {
			Priv, Pub, Context, Plaintext, Ciphertext hexBytes
			KEMOutput                                 hexBytes `json:"kem_output"`
			Label                                     string
		} `json:"encrypt_with_label"`
	}
	var count suiteCount
	for _, v := range loadVectors[vector](t, "crypto-basics.json") {
		s, ok := count.take(v.CipherSuite)
		if !ok {
			continue
		}
		equal(t, "RefHash", s.refHash(v.RefHash.Label, v.RefHash.Value), v.RefHash.Out)
		x := v.ExpandWithLabel
		equal(t, "ExpandWithLabel", s.expandWithLabel(x.Secret, x.Label, x.Context, x.Length), x.Out)
		equal(t, "DeriveSecret", s.deriveSecret(v.DeriveSecret.Secret, v.DeriveSecret.Label), v.DeriveSecret.Out)
		d := v.DeriveTreeSecret
		equal(t, "DeriveTreeSecret", s.deriveTreeSecret(d.Secret, d.Label, d.Generation, d.Length), d.Out)

		g := v.SignWithLabel
		if err := s.verifyWithLabel(g.Pub, g.Label, g.Content, g.Signature); err != nil {
			t.Error(err)
		}
		signer, err := NewSigner(s.id, g.Priv)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "signer's key", signer.Public(), g.Pub)
		sig, err := s.signWithLabel(signer, g.Label, g.Content)
		if err != nil {
			t.Fatal(err)
		}
		// Only EdDSA is deterministic in the RFC: our ECDSA need not be theirs.
		if _, random := s.sig.(ecdsaScheme); !random {
			equal(t, "SignWithLabel", sig, g.Signature)
		}
		if err := s.verifyWithLabel(g.Pub, g.Label, g.Content, sig); err != nil {
			t.Error(err)
		}
		if err := s.verifyWithLabel(g.Pub, g.Label+"x", g.Content, g.Signature); !errors.Is(err, ErrSignature) {
			t.Errorf("another label: %v", err)
		}

		e := v.EncryptWithLabel
		pt, err := s.decryptWithLabel(e.Priv, e.Label, e.Context, HPKECiphertext{e.KEMOutput, e.Ciphertext})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "DecryptWithLabel", pt, e.Plaintext)
		ct, err := s.encryptWithLabel(e.Pub, e.Label, e.Context, e.Plaintext, testRand(1))
		if err != nil {
			t.Fatal(err)
		}
		if pt, err = s.decryptWithLabel(e.Priv, e.Label, e.Context, ct); err != nil {
			t.Fatal(err)
		}
		equal(t, "EncryptWithLabel", pt, e.Plaintext)
		again, _ := s.encryptWithLabel(e.Pub, e.Label, e.Context, e.Plaintext, testRand(1))
		equal(t, "the same seed's ciphertext", again.Ciphertext, ct.Ciphertext)
		if _, err := s.decryptWithLabel(e.Priv, e.Label, []byte("other"), ct); !errors.Is(err, ErrDecrypt) {
			t.Errorf("another context: %v", err)
		}
	}
	count.report(t, "crypto-basics.json")
}

// TestHPKEVector is RFC 9180, Appendix A.1.1 (base mode): encapsulation from
// ikmE, key schedule, first encryption and exports.
func TestHPKEVector(t *testing.T) {
	s, _ := suiteByID(MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519)
	info := unhex(t, "4f6465206f6e2061204772656369616e2055726e")
	ikmE := unhex(t, "7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234")
	ikmR := unhex(t, "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037")
	priv, pub, err := s.deriveKeyPair(ikmR)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "skRm", priv, unhex(t, "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"))
	equal(t, "pkRm", pub, unhex(t, "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d"))
	shared, enc, err := s.kem.encap(pub, ikmE)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "enc", enc, unhex(t, "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"))
	equal(t, "shared_secret", shared, unhex(t, "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc"))
	key, nonce := s.hpkeKeys(shared, s.hpkeContext(info))
	equal(t, "key", key, unhex(t, "4531685d41d65f03dc48f6b8302c05b0"))
	equal(t, "base_nonce", nonce, unhex(t, "56d890e5accaaf011cff4b7d"))
	ct, err := s.aeadSeal(key, nonce, unhex(t, "436f756e742d30"), unhex(t, "4265617574792069732074727574682c20747275746820626561757479"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "ct", ct, unhex(t, "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"))
	enc, out, err := s.hpkeSendExport(pub, info, nil, 32, ikmE)
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee")
	equal(t, "sender's export", out, want)
	if out, err = s.hpkeReceiveExport(priv, enc, info, nil, 32); err != nil {
		t.Fatal(err)
	}
	equal(t, "receiver's export", out, want)
}

// TestBadKeys: keys of wrong length or low order are refused, never a panic.
func TestBadKeys(t *testing.T) {
	s, _ := suiteByID(MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519)
	seed := bytes.Repeat([]byte{1}, 32)
	for _, pub := range [][]byte{nil, make([]byte, 31), make([]byte, 32), make([]byte, 33)} {
		if _, err := s.hpkeSeal(pub, s.hpkeContext(nil), nil, seed); !errors.Is(err, ErrKey) {
			t.Errorf("sealing to a key of %d bytes: %v", len(pub), err)
		}
		if _, err := s.hpkeOpen(seed, nil, s.hpkeContext(nil), HPKECiphertext{KEMOutput: pub}); !errors.Is(err, ErrKey) {
			t.Errorf("opening an encapsulation of %d bytes: %v", len(pub), err)
		}
	}
	if err := s.verifyWithLabel(make([]byte, 31), "x", nil, make([]byte, ed25519.SignatureSize)); !errors.Is(err, ErrSignature) {
		t.Errorf("verifying with a short key: %v", err)
	}
	if _, err := NewEd25519Signer(make([]byte, 31)); !errors.Is(err, ErrKey) {
		t.Errorf("short seed: %v", err)
	}
	if _, err := suiteByID(0xffff); !errors.Is(err, ErrUnsupported) {
		t.Errorf("unknown suite: %v", err)
	}
}

// TestMACs: HMACs on the stack are those of the standard library.
func TestMACs(t *testing.T) {
	for _, h := range []hashAlgorithm{hashSHA256, hashSHA384, hashSHA512} {
		for _, size := range []int{0, 1, 32, h.size(), h.block() - 1, h.block()} {
			key, a, b := bytes.Repeat([]byte{0xa5}, size), bytes.Repeat([]byte{1}, size%65), []byte("b")
			want := func(m []byte) []byte {
				mac := hmac.New(h.new, key)
				mac.Write(m)
				return mac.Sum(nil)
			}
			gotA, gotB := make([]byte, h.size()), make([]byte, h.size())
			h.macs(gotA, gotB, key, a, b)
			equal(t, "the first of two MACs", gotA, want(a))
			equal(t, "the second", gotB, want(b))
			equal(t, "one MAC", h.appendMAC(nil, key, a, b), want(append(a, b...)))
		}
	}
}
