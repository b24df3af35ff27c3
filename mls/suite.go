package mls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"hash"
)

// CipherSuite is an MLS cipher suite (RFC 9420, Section 17.1).
type CipherSuite uint16

// The cipher suites of this package.
const (
	// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 has hashes and secrets of
	// 32 bytes, HPKE public keys and encapsulations of 32 bytes, signature
	// keys of 32 and signatures of 64 bytes.
	MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519 CipherSuite = 0x0001
)

// String returns the suite's name in the IANA registry.
func (c CipherSuite) String() string {
	if s, err := suiteByID(c); err == nil {
		return s.name
	}
	return fmt.Sprintf("CipherSuite(0x%04x)", uint16(c))
}

// suite is one row of the table of cipher suites.
type suite struct {
	id      CipherSuite
	name    string
	newHash func() hash.Hash
	sum     func(b []byte) []byte
	nh      int // bytes of a hash, of KDF output and of every secret
	nk      int // bytes of an AEAD key
	nn      int // bytes of an AEAD nonce
	nt      int // bytes of an AEAD tag
	kem     kem
	kdfID   uint16 // HPKE identifiers (RFC 9180, Section 7)
	aeadID  uint16
	newAEAD func(key []byte) (cipher.AEAD, error)
	sig     signatureScheme
}

// suites is in the order of the identifiers. Further suites are further rows.
var suites = []suite{{
	id:      MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
	name:    "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
	newHash: sha256.New,
	sum:     func(b []byte) []byte { h := sha256.Sum256(b); return h[:] },
	nh:      32, nk: 16, nn: 12, nt: 16,
	kem:   dhkemX25519{},
	kdfID: 0x0001, aeadID: 0x0001,
	newAEAD: newAESGCM,
	sig:     ed25519Scheme{},
}}

// suiteByID finds the row of a cipher suite.
func suiteByID(id CipherSuite) (*suite, error) {
	for i := range suites {
		if suites[i].id == id {
			return &suites[i], nil
		}
	}
	return nil, fmt.Errorf("%w: cipher suite 0x%04x", ErrUnsupported, uint16(id))
}

func newAESGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
