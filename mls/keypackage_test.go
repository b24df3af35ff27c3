package mls

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

var inLifetime = time.Unix(500, 0)

// TestKeyPackage: RFC 9420, Section 10.
func TestKeyPackage(t *testing.T) {
	b, _ := testBundle(t, 1)
	k := b.KeyPackage
	if err := k.Verify(inLifetime); err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{time.Unix(0, 0), time.Unix(1001, 0), time.Unix(-5, 0)} {
		if err := k.Verify(now); !errors.Is(err, ErrKeyPackage) {
			t.Errorf("at %v: %v", now.Unix(), err)
		}
	}
	again, _ := testBundle(t, 1)
	equal(t, "the same seed's KeyPackage", again.KeyPackage.Marshal(), k.Marshal())
	other, _ := testBundle(t, 2)
	if bytes.Equal(other.KeyPackage.Ref(), k.Ref()) || len(k.Ref()) != 32 {
		t.Error("KeyPackageRef is not one")
	}
	if _, err := NewKeyPackage(KeyPackageOptions{Suite: 1, Credential: BasicCredential(nil), LeafExtensions: []Extension{{Type: 0xf0d2}}},
		testSigner(t, 1), Env{Rand: testRand(1)}); !errors.Is(err, ErrLeafNode) {
		t.Errorf("an extension that the capabilities lack: %v", err)
	}
}

// TestKeyPackageRefuses: Sections 7.3 and 10.1. Each harm is signed again, so
// that the rule itself is what refuses it.
func TestKeyPackageRefuses(t *testing.T) {
	for name, harm := range map[string]func(k *KeyPackage){
		"leaf source":         func(k *KeyPackage) { k.LeafNode.Source = LeafNodeSourceUpdate },
		"init key":            func(k *KeyPackage) { k.InitKey = k.InitKey[:31] },
		"equal keys":          func(k *KeyPackage) { k.InitKey = k.LeafNode.EncryptionKey },
		"encryption key":      func(k *KeyPackage) { k.LeafNode.EncryptionKey = nil },
		"no version":          func(k *KeyPackage) { k.LeafNode.Capabilities.Versions = []uint16{2} },
		"no suite":            func(k *KeyPackage) { k.LeafNode.Capabilities.CipherSuites = nil },
		"no credential type":  func(k *KeyPackage) { k.LeafNode.Capabilities.Credentials = []CredentialType{2} },
		"leaf extension":      func(k *KeyPackage) { k.LeafNode.Extensions = []Extension{{Type: 0xf0d2}} },
		"extension":           func(k *KeyPackage) { k.Extensions = []Extension{{Type: 0xf0d2}} },
		"extension twice":     func(k *KeyPackage) { k.LeafNode.Extensions = []Extension{{Type: 1}, {Type: 1}} },
		"lifetime runs back":  func(k *KeyPackage) { k.LeafNode.Lifetime = &Lifetime{NotBefore: 3, NotAfter: 2} },
		"a suite of our wish": func(k *KeyPackage) { k.CipherSuite = 0xffff },
		"version":             func(k *KeyPackage) { k.Version = 2 },
	} {
		b, signer := testBundle(t, 3)
		k := *b.KeyPackage
		harm(&k)
		s, _ := suiteByID(1)
		if err := s.signLeaf(&k.LeafNode, signer, nil, 0); err != nil {
			t.Fatal(err)
		}
		w := &writer{}
		k.writeTBS(w)
		k.Signature, _ = s.signWithLabel(signer, "KeyPackageTBS", w.buf)
		if err := k.Verify(inLifetime); !errors.Is(err, ErrKeyPackage) && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, _ := testBundle(t, 3)
	raw := b.KeyPackage.Marshal()
	for i := range raw {
		harmed := bytes.Clone(raw)
		harmed[i] ^= 0x10
		if k, err := ParseKeyPackage(harmed); err == nil && k.Verify(inLifetime) == nil {
			t.Fatalf("byte %d is not covered", i)
		}
	}
}

// TestKeyPackageBundle: storage keeps private keys, Wipe drops them, and keys
// of another bundle are refused.
func TestKeyPackageBundle(t *testing.T) {
	b, _ := testBundle(t, 4)
	raw, err := b.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseKeyPackageBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "bundle", again, raw)
	for _, i := range []int{0, 5, len(raw) - 1, len(raw) - 40} {
		harmed := bytes.Clone(raw)
		harmed[i] ^= 0x41
		if _, err := ParseKeyPackageBundle(harmed); err == nil {
			t.Errorf("byte %d: harmed bundle accepted", i)
		}
	}
	kept := b.initPriv
	b.Wipe()
	if !bytes.Equal(kept, make([]byte, 32)) {
		t.Error("Wipe left the init key")
	}
	if _, err := b.MarshalBinary(); !errors.Is(err, ErrWiped) {
		t.Errorf("storing a wiped bundle: %v", err)
	}
}

// TestX509Credential: a chain is carried, not looked into.
func TestX509Credential(t *testing.T) {
	c := Credential{Type: CredentialX509, Certificates: [][]byte{{1, 2}, {}, {3}}}
	w := &writer{}
	c.write(w)
	r := newReader(w.buf)
	back := readCredential(r)
	if err := r.done(); err != nil || len(back.Certificates) != 3 || !bytes.Equal(back.Certificates[0], []byte{1, 2}) {
		t.Errorf("%v, %v", back, err)
	}
	r = newReader([]byte{0x12, 0x34, 0})
	if readCredential(r); !errors.Is(r.err, ErrUnsupported) {
		t.Errorf("unknown credential type: %v", r.err)
	}
}

// fuzzIdentity is the theorem of all parsers: what parses marshals to the same
// bytes, fields and kept encoding alike.
func fuzzIdentity(f *testing.F, seed []byte, identity func(b []byte) (out, fresh []byte, err error)) {
	if out, _, err := identity(seed); err != nil || !bytes.Equal(out, seed) {
		f.Fatalf("the seed itself: %v", err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		out, fresh, err := identity(b)
		if err != nil {
			return
		}
		if !bytes.Equal(out, b) || !bytes.Equal(fresh, b) {
			t.Errorf("%x\nmarshals to %x\nand from its fields to %x", b, out, fresh)
		}
	})
}

func FuzzKeyPackage(f *testing.F) {
	b, _ := testBundle(f, 1)
	fuzzIdentity(f, b.KeyPackage.Marshal(), func(b []byte) ([]byte, []byte, error) {
		k, err := ParseKeyPackage(b)
		if err != nil {
			return nil, nil, err
		}
		fresh := *k
		fresh.LeafNode.raw = nil
		_ = k.Verify(inLifetime) // must not panic
		return k.Marshal(), fresh.Marshal(), nil
	})
}

func FuzzLeafNode(f *testing.F) {
	c := newCrowd(f, 3)
	c.commit(1, nil)
	f.Add(c.tree.Leaf(0).Marshal())
	fuzzIdentity(f, c.tree.Leaf(1).Marshal(), func(b []byte) ([]byte, []byte, error) {
		l, err := ParseLeafNode(b)
		if err != nil {
			return nil, nil, err
		}
		fresh := *l
		fresh.raw = nil
		_ = c.s.verifyLeaf(l, 0, []byte(crowdID), 1)
		return l.Marshal(), fresh.Marshal(), nil
	})
}

// FuzzRatchetTree adds: a tree that parses can be validated and stored without
// a panic, and comes back from its records.
func FuzzRatchetTree(f *testing.F) {
	c := grown(f)
	f.Add(newCrowd(f, 2).tree.Marshal())
	fuzzIdentity(f, c.tree.Marshal(), func(b []byte) ([]byte, []byte, error) {
		t, err := ParseRatchetTree(1, b)
		if err != nil {
			return nil, nil, err
		}
		_ = t.validate([]byte(crowdID), Env{})
		records := map[string][]byte{}
		t.WalkNew(func(h []byte) bool { return records[string(h)] != nil }, func(h, r []byte) { records[string(h)] = r })
		loaded, err := NewTreeLoader(1, func(h []byte) ([]byte, error) { return records[string(h)], nil }).Load(t.TreeHash())
		if t.MemberCount() == 0 { // parents without members: not a tree to store
			return t.Marshal(), t.Marshal(), nil
		}
		if err != nil {
			return nil, []byte(err.Error()), nil
		}
		return t.Marshal(), loaded.Marshal(), nil
	})
}

func FuzzUpdatePath(f *testing.F) {
	c := newCrowd(f, 5)
	p, err := c.tree.createPath(2, c.signers[2], LeafChange{}, []byte(crowdID), testRand(1))
	if err != nil {
		f.Fatal(err)
	}
	if err := p.encrypt(nil, nil, Env{Rand: testRand(2)}); err != nil {
		f.Fatal(err)
	}
	fuzzIdentity(f, p.path.Marshal(), func(b []byte) ([]byte, []byte, error) {
		q, err := ParseUpdatePath(b)
		if err != nil {
			return nil, nil, err
		}
		if _, err := c.tree.applyPath(2, q, []byte(crowdID), nil); err == nil {
			_, _ = c.tree.openPath(1, 2, q, nil, nil, c.privs[1])
		}
		return q.Marshal(), q.Marshal(), nil
	})
}
