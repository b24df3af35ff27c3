package mls

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// CipherSuite is an MLS cipher suite (RFC 9420, Section 17.1).
type CipherSuite uint16

// The cipher suites of RFC 9420. Behind each: the bytes of a hash or secret
// (Nh), of an HPKE public key, of a signature public key and of a signature.
// ECDSA signatures are DER, so theirs is the greatest length.
const (
	MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519        CipherSuite = 0x0001 // 32, 32, 32, 64
	MLS_128_DHKEMP256_AES128GCM_SHA256_P256             CipherSuite = 0x0002 // 32, 65, 65, 72
	MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519 CipherSuite = 0x0003 // 32, 32, 32, 64
	MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448            CipherSuite = 0x0004 // 64, 56, 57, 114
	MLS_256_DHKEMP521_AES256GCM_SHA512_P521             CipherSuite = 0x0005 // 64, 133, 133, 139
	MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448     CipherSuite = 0x0006 // 64, 56, 57, 114
	MLS_256_DHKEMP384_AES256GCM_SHA384_P384             CipherSuite = 0x0007 // 48, 97, 97, 104
)

// CipherSuites lists the suites of this package in the order of their
// identifiers.
func CipherSuites() []CipherSuite {
	out := make([]CipherSuite, len(suites))
	for i := range suites {
		out[i] = suites[i].id
	}
	return out
}

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
	alg     hashAlgorithm
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
	id: MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, name: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
	alg: hashSHA256, sum: sumSHA256, nh: 32, nk: 16, nn: 12, nt: 16,
	kem: kemX25519, kdfID: 0x0001, aeadID: 0x0001, newAEAD: newAESGCM, sig: ed25519Scheme{},
}, {
	id: MLS_128_DHKEMP256_AES128GCM_SHA256_P256, name: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
	alg: hashSHA256, sum: sumSHA256, nh: 32, nk: 16, nn: 12, nt: 16,
	kem: kemP256, kdfID: 0x0001, aeadID: 0x0001, newAEAD: newAESGCM, sig: ecdsaP256,
}, {
	id: MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519, name: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
	alg: hashSHA256, sum: sumSHA256, nh: 32, nk: 32, nn: 12, nt: 16,
	kem: kemX25519, kdfID: 0x0001, aeadID: 0x0003, newAEAD: chacha20poly1305.New, sig: ed25519Scheme{},
}, {
	id: MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448, name: "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448",
	alg: hashSHA512, sum: sumSHA512, nh: 64, nk: 32, nn: 12, nt: 16,
	kem: kemX448, kdfID: 0x0003, aeadID: 0x0002, newAEAD: newAESGCM, sig: ed448Scheme{},
}, {
	id: MLS_256_DHKEMP521_AES256GCM_SHA512_P521, name: "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
	alg: hashSHA512, sum: sumSHA512, nh: 64, nk: 32, nn: 12, nt: 16,
	kem: kemP521, kdfID: 0x0003, aeadID: 0x0002, newAEAD: newAESGCM, sig: ecdsaP521,
}, {
	id: MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448, name: "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
	alg: hashSHA512, sum: sumSHA512, nh: 64, nk: 32, nn: 12, nt: 16,
	kem: kemX448, kdfID: 0x0003, aeadID: 0x0003, newAEAD: chacha20poly1305.New, sig: ed448Scheme{},
}, {
	id: MLS_256_DHKEMP384_AES256GCM_SHA384_P384, name: "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
	alg: hashSHA384, sum: sumSHA384, nh: 48, nk: 32, nn: 12, nt: 16,
	kem: kemP384, kdfID: 0x0002, aeadID: 0x0002, newAEAD: newAESGCM, sig: ecdsaP384,
}}

// The KEMs of the table (RFC 9180, Section 7.1).
var (
	kemX25519 = dhkem{kemID: 0x0020, alg: hashSHA256, nsecret: 32, group: groupX25519{}}
	kemX448   = dhkem{kemID: 0x0021, alg: hashSHA512, nsecret: 64, group: groupX448{}}
	kemP256   = dhkem{kemID: 0x0010, alg: hashSHA256, nsecret: 32,
		group: groupNIST{name: "P-256", curve: ecdh.P256, nsk: 32, mask: 0xff}}
	kemP384 = dhkem{kemID: 0x0011, alg: hashSHA384, nsecret: 48,
		group: groupNIST{name: "P-384", curve: ecdh.P384, nsk: 48, mask: 0xff}}
	kemP521 = dhkem{kemID: 0x0012, alg: hashSHA512, nsecret: 64,
		group: groupNIST{name: "P-521", curve: ecdh.P521, nsk: 66, mask: 0x01}}
)

// The ECDSA schemes of the table (RFC 9420, Section 5.1.2; RFC 8446, Section 4.2.3).
var (
	ecdsaP256 = ecdsaScheme{curve: elliptic.P256, hash: crypto.SHA256, sum: sumSHA256, kem: kemP256}
	ecdsaP384 = ecdsaScheme{curve: elliptic.P384, hash: crypto.SHA384, sum: sumSHA384, kem: kemP384}
	ecdsaP521 = ecdsaScheme{curve: elliptic.P521, hash: crypto.SHA512, sum: sumSHA512, kem: kemP521}
)

// suiteByID finds the row of a cipher suite.
func suiteByID(id CipherSuite) (*suite, error) {
	for i := range suites {
		if suites[i].id == id {
			return &suites[i], nil
		}
	}
	return nil, fmt.Errorf("%w: cipher suite 0x%04x", ErrUnsupported, uint16(id))
}

func sumSHA256(b []byte) []byte { h := sha256.Sum256(b); return h[:] }
func sumSHA384(b []byte) []byte { h := sha512.Sum384(b); return h[:] }
func sumSHA512(b []byte) []byte { h := sha512.Sum512(b); return h[:] }

func newAESGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
