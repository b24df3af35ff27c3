package mls

import (
	"crypto/ecdh"
	"encoding/binary"
	"fmt"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/cloudflare/circl/dh/x448"
)

// dhkem is DHKEM(Group, HKDF) of RFC 9180, Section 4.1.
type dhkem struct {
	kemID   uint16
	alg     hashAlgorithm // of the KEM, whatever the hash of the cipher suite
	nsecret int           // bytes of a shared secret
	group   dhGroup
}

// dhGroup is what a Diffie-Hellman group adds to the KEM.
type dhGroup interface {
	privateSize() int
	checkPublic(pub []byte) error
	// derive makes the private key of DeriveKeyPair (RFC 9180, Section 7.1.3).
	derive(k hpkeKDF, prk []byte) ([]byte, error)
	public(priv []byte) ([]byte, error)
	dh(priv, pub []byte) ([]byte, error)
}

func (d dhkem) id() uint16                         { return d.kemID }
func (d dhkem) seedSize() int                      { return d.group.privateSize() }
func (d dhkem) checkPublic(pub []byte) error       { return d.group.checkPublic(pub) }
func (d dhkem) public(priv []byte) ([]byte, error) { return d.group.public(priv) }

func (d dhkem) kdf() hpkeKDF {
	return hpkeKDF{d.alg, binary.BigEndian.AppendUint16([]byte("KEM"), d.kemID)}
}

func (d dhkem) deriveKeyPair(ikm []byte) (priv, pub []byte, err error) {
	k := d.kdf()
	prk := k.extract(nil, "dkp_prk", ikm)
	defer clear(prk)
	if priv, err = d.group.derive(k, prk); err != nil {
		return nil, nil, err
	}
	pub, err = d.group.public(priv)
	return priv, pub, err
}

// encap is Encap with the ephemeral key pair derived from the seed.
func (d dhkem) encap(pub, seed []byte) (shared, enc []byte, err error) {
	ephemeral, enc, err := d.deriveKeyPair(seed)
	if err != nil {
		return nil, nil, err
	}
	z, err := d.group.dh(ephemeral, pub)
	clear(ephemeral)
	if err != nil {
		return nil, nil, err
	}
	return d.extractAndExpand(z, enc, pub), enc, nil
}

func (d dhkem) decap(priv, pub, enc []byte) ([]byte, error) {
	z, err := d.group.dh(priv, enc)
	if err != nil {
		return nil, err
	}
	return d.extractAndExpand(z, enc, pub), nil
}

func (d dhkem) extractAndExpand(z, enc, pub []byte) []byte {
	k := d.kdf()
	prk := k.extract(nil, "eae_prk", z)
	context := append(append(make([]byte, 0, len(enc)+len(pub)), enc...), pub...)
	shared := k.expand(prk, "shared_secret", context, d.nsecret)
	clear(z)
	clear(prk)
	return shared
}

// checkSize is the form of the keys of the Montgomery curves.
func checkSize(curve, kind string, key []byte, n int) error {
	if len(key) != n {
		return fmt.Errorf("%w: %s %s key of %d bytes", ErrKey, curve, kind, len(key))
	}
	return nil
}

// groupX25519 is RFC 7748: keys and results of 32 bytes.
type groupX25519 struct{}

func (groupX25519) privateSize() int { return x25519.Size }

func (groupX25519) checkPublic(pub []byte) error {
	return checkSize("X25519", "public", pub, x25519.Size)
}

func (groupX25519) derive(k hpkeKDF, prk []byte) ([]byte, error) {
	return k.expand(prk, "sk", nil, x25519.Size), nil
}

func (groupX25519) public(priv []byte) ([]byte, error) {
	if err := checkSize("X25519", "private", priv, x25519.Size); err != nil {
		return nil, err
	}
	var p, s x25519.Key
	copy(s[:], priv)
	x25519.KeyGen(&p, &s)
	clear(s[:])
	return p[:], nil
}

// dh fails for points of low order, as RFC 9180, Section 7.1.4 demands.
func (g groupX25519) dh(priv, pub []byte) ([]byte, error) {
	if err := checkSize("X25519", "private", priv, x25519.Size); err != nil {
		return nil, err
	}
	if err := g.checkPublic(pub); err != nil {
		return nil, err
	}
	var out, s, p x25519.Key
	copy(s[:], priv)
	copy(p[:], pub)
	ok := x25519.Shared(&out, &s, &p)
	clear(s[:])
	if !ok {
		return nil, fmt.Errorf("%w: X25519 public key of low order", ErrKey)
	}
	return out[:], nil
}

// groupX448 is RFC 7748: keys and results of 56 bytes.
type groupX448 struct{}

func (groupX448) privateSize() int { return x448.Size }

func (groupX448) checkPublic(pub []byte) error { return checkSize("X448", "public", pub, x448.Size) }

func (groupX448) derive(k hpkeKDF, prk []byte) ([]byte, error) {
	return k.expand(prk, "sk", nil, x448.Size), nil
}

func (groupX448) public(priv []byte) ([]byte, error) {
	if err := checkSize("X448", "private", priv, x448.Size); err != nil {
		return nil, err
	}
	var p, s x448.Key
	copy(s[:], priv)
	x448.KeyGen(&p, &s)
	clear(s[:])
	return p[:], nil
}

// dh fails for points of low order.
func (g groupX448) dh(priv, pub []byte) ([]byte, error) {
	if err := checkSize("X448", "private", priv, x448.Size); err != nil {
		return nil, err
	}
	if err := g.checkPublic(pub); err != nil {
		return nil, err
	}
	var out, s, p x448.Key
	copy(s[:], priv)
	copy(p[:], pub)
	ok := x448.Shared(&out, &s, &p)
	clear(s[:])
	if !ok {
		return nil, fmt.Errorf("%w: X448 public key of low order", ErrKey)
	}
	return out[:], nil
}

// groupNIST is a curve of FIPS 186: public keys are uncompressed points, the
// result is the x coordinate.
type groupNIST struct {
	name  string
	curve func() ecdh.Curve
	nsk   int  // bytes of a private key
	mask  byte // of the first byte of a candidate (RFC 9180, Section 7.1.3)
}

func (g groupNIST) privateSize() int { return g.nsk }

func (g groupNIST) checkPublic(pub []byte) error {
	_, err := g.parsePublic(pub)
	return err
}

func (g groupNIST) parsePublic(pub []byte) (*ecdh.PublicKey, error) {
	p, err := g.curve().NewPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: %s public key of %d bytes: %w", ErrKey, g.name, len(pub), err)
	}
	return p, nil
}

func (g groupNIST) parsePrivate(priv []byte) (*ecdh.PrivateKey, error) {
	p, err := g.curve().NewPrivateKey(leftPad(priv, g.nsk))
	if err != nil {
		return nil, fmt.Errorf("%w: %s private key of %d bytes", ErrKey, g.name, len(priv))
	}
	return p, nil
}

// derive takes the first of at most 256 candidates that is a private key.
func (g groupNIST) derive(k hpkeKDF, prk []byte) ([]byte, error) {
	for counter := range 256 {
		b := k.expand(prk, "candidate", []byte{byte(counter)}, g.nsk)
		b[0] &= g.mask
		if _, err := g.curve().NewPrivateKey(b); err == nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w: no %s key can be derived", ErrKey, g.name)
}

func (g groupNIST) public(priv []byte) ([]byte, error) {
	p, err := g.parsePrivate(priv)
	if err != nil {
		return nil, err
	}
	return p.PublicKey().Bytes(), nil
}

func (g groupNIST) dh(priv, pub []byte) ([]byte, error) {
	s, err := g.parsePrivate(priv)
	if err != nil {
		return nil, err
	}
	p, err := g.parsePublic(pub)
	if err != nil {
		return nil, err
	}
	z, err := s.ECDH(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, g.name, err)
	}
	return z, nil
}

// leftPad restores the leading zeros of a scalar, which some implementations
// strip (those of the official vectors do).
func leftPad(scalar []byte, n int) []byte {
	if len(scalar) == 0 || len(scalar) >= n {
		return scalar
	}
	return append(make([]byte, n-len(scalar)), scalar...)
}
