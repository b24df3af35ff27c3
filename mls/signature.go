package mls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"io"
	"math/big"

	"github.com/cloudflare/circl/sign/ed448"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Signer holds a signature key of the group's cipher suite.
type Signer interface {
	// Public returns the signature public key as it stands in leaf nodes.
	Public() []byte
	// Sign signs the message as it is, without hashing it before.
	Sign(message []byte) ([]byte, error)
}

// signatureScheme is the signature algorithm of a cipher suite (RFC 9420,
// Section 5.1.2).
type signatureScheme interface {
	verify(public, message, signature []byte) bool
	checkPublic(public []byte) error
	// normal is the one form that a signature has in a DMLS frame, where an
	// insider must not be able to make a second frame of the same content.
	normal(signature []byte) []byte
	newSigner(private []byte) (Signer, error)
	// derive makes a private key from a uniform seed of seedSize bytes.
	derive(seed []byte) ([]byte, error)
	seedSize() int
}

// NewSigner returns the signer of a private key of the suite's signature
// algorithm: the seed of RFC 8032 (Ed25519: 32 bytes, Ed448: 57 bytes) or the
// scalar of ECDSA, big-endian (P-256: 32, P-384: 48, P-521: 66 bytes).
func NewSigner(c CipherSuite, private []byte) (Signer, error) {
	s, err := suiteByID(c)
	if err != nil {
		return nil, err
	}
	return s.sig.newSigner(private)
}

// GenerateSigner makes a signature key from rand: equal bytes there give an
// equal key. It returns the private key too, in the form of NewSigner.
func GenerateSigner(c CipherSuite, rand io.Reader) (signer Signer, private []byte, err error) {
	s, err := suiteByID(c)
	if err != nil {
		return nil, nil, err
	}
	seed, err := randomBytes(rand, s.sig.seedSize())
	if err != nil {
		return nil, nil, err
	}
	defer clear(seed)
	if private, err = s.sig.derive(seed); err != nil {
		return nil, nil, err
	}
	signer, err = s.sig.newSigner(private)
	return signer, private, err
}

// ed25519Scheme is RFC 8032. Its signatures are not malleable: S is compared
// with the order of the group, R byte by byte.
type ed25519Scheme struct{}

func (ed25519Scheme) verify(public, message, signature []byte) bool {
	// crypto/ed25519 panics for a key of a wrong length.
	return len(public) == ed25519.PublicKeySize && ed25519.Verify(public, message, signature)
}

func (ed25519Scheme) checkPublic(public []byte) error {
	if len(public) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: Ed25519 public key of %d bytes", ErrKey, len(public))
	}
	return nil
}

func (ed25519Scheme) normal(signature []byte) []byte           { return signature }
func (ed25519Scheme) newSigner(private []byte) (Signer, error) { return NewEd25519Signer(private) }
func (ed25519Scheme) derive(seed []byte) ([]byte, error)       { return bytes.Clone(seed), nil }
func (ed25519Scheme) seedSize() int                            { return ed25519.SeedSize }

type ed25519Signer struct{ key ed25519.PrivateKey }

// NewEd25519Signer returns the signer of a seed of 32 bytes (RFC 8032).
func NewEd25519Signer(seed []byte) (Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%w: Ed25519 seed of %d bytes", ErrKey, len(seed))
	}
	return &ed25519Signer{ed25519.NewKeyFromSeed(seed)}, nil
}

func (s *ed25519Signer) Public() []byte {
	return append([]byte(nil), s.key[ed25519.SeedSize:]...)
}

func (s *ed25519Signer) Sign(message []byte) ([]byte, error) {
	return ed25519.Sign(s.key, message), nil
}

// ed448Scheme is RFC 8032 with an empty context; not malleable either.
type ed448Scheme struct{}

func (ed448Scheme) verify(public, message, signature []byte) bool {
	return len(public) == ed448.PublicKeySize && ed448.Verify(public, message, signature, "")
}

func (ed448Scheme) checkPublic(public []byte) error {
	if len(public) != ed448.PublicKeySize {
		return fmt.Errorf("%w: Ed448 public key of %d bytes", ErrKey, len(public))
	}
	return nil
}

func (ed448Scheme) normal(signature []byte) []byte           { return signature }
func (ed448Scheme) newSigner(private []byte) (Signer, error) { return NewEd448Signer(private) }
func (ed448Scheme) derive(seed []byte) ([]byte, error)       { return bytes.Clone(seed), nil }
func (ed448Scheme) seedSize() int                            { return ed448.SeedSize }

type ed448Signer struct{ key ed448.PrivateKey }

// NewEd448Signer returns the signer of a seed of 57 bytes (RFC 8032).
func NewEd448Signer(seed []byte) (Signer, error) {
	if len(seed) != ed448.SeedSize {
		return nil, fmt.Errorf("%w: Ed448 seed of %d bytes", ErrKey, len(seed))
	}
	return &ed448Signer{ed448.NewKeyFromSeed(seed)}, nil
}

func (s *ed448Signer) Public() []byte {
	return append([]byte(nil), s.key[ed448.SeedSize:]...)
}

func (s *ed448Signer) Sign(message []byte) ([]byte, error) {
	return ed448.Sign(s.key, message, ""), nil
}

// ecdsaScheme is ECDSA with the hash of RFC 8446, Section 4.2.3, over an
// uncompressed point; signatures are DER.
type ecdsaScheme struct {
	curve func() elliptic.Curve
	hash  crypto.Hash
	sum   func([]byte) []byte
	kem   dhkem // of the same curve, whose DeriveKeyPair makes private keys
}

// schemeOf finds the scheme of a curve.
func schemeOf(curve elliptic.Curve) (ecdsaScheme, error) {
	for _, e := range []ecdsaScheme{ecdsaP256, ecdsaP384, ecdsaP521} {
		if e.curve() == curve {
			return e, nil
		}
	}
	return ecdsaScheme{}, fmt.Errorf("%w: no cipher suite signs with this curve", ErrUnsupported)
}

func (e ecdsaScheme) verify(public, message, signature []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(e.curve(), public)
	return err == nil && ecdsa.VerifyASN1(key, e.sum(message), signature)
}

func (e ecdsaScheme) checkPublic(public []byte) error {
	if _, err := ecdsa.ParseUncompressedPublicKey(e.curve(), public); err != nil {
		return fmt.Errorf("%w: %s public key of %d bytes: %w", ErrKey, e.curve().Params().Name, len(public), err)
	}
	return nil
}

// normal replaces s by the order minus s where that is smaller: both verify.
// What is no signature comes back as it is.
func (e ecdsaScheme) normal(signature []byte) []byte {
	var r, s big.Int
	var inner cryptobyte.String
	in := cryptobyte.String(signature)
	if !in.ReadASN1(&inner, asn1.SEQUENCE) || !in.Empty() || !inner.ReadASN1Integer(&r) ||
		!inner.ReadASN1Integer(&s) || !inner.Empty() {
		return signature
	}
	order := e.curve().Params().N
	if s.Cmp(new(big.Int).Rsh(order, 1)) <= 0 || s.Cmp(order) >= 0 {
		return signature
	}
	s.Sub(order, &s)
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(&r)
		b.AddASN1BigInt(&s)
	})
	out, err := b.Bytes()
	if err != nil {
		return signature
	}
	return out
}

func (e ecdsaScheme) seedSize() int { return e.kem.seedSize() }

func (e ecdsaScheme) derive(seed []byte) ([]byte, error) {
	priv, _, err := e.kem.deriveKeyPair(seed)
	return priv, err
}

func (e ecdsaScheme) newSigner(private []byte) (Signer, error) {
	key, err := ecdsa.ParseRawPrivateKey(e.curve(), leftPad(private, e.kem.group.privateSize()))
	if err != nil {
		return nil, fmt.Errorf("%w: %s private key of %d bytes", ErrKey, e.curve().Params().Name, len(private))
	}
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return &ecdsaSigner{scheme: e, key: key, public: public}, nil
}

type ecdsaSigner struct {
	scheme ecdsaScheme
	key    *ecdsa.PrivateKey
	public []byte
}

// NewECDSASigner returns the signer of a private scalar, big-endian, of P-256
// (32 bytes), P-384 (48) or P-521 (66). Its signatures are deterministic
// (RFC 6979) and have the smaller of both values of s.
func NewECDSASigner(curve elliptic.Curve, private []byte) (Signer, error) {
	e, err := schemeOf(curve)
	if err != nil {
		return nil, err
	}
	return e.newSigner(private)
}

func (s *ecdsaSigner) Public() []byte { return bytes.Clone(s.public) }

func (s *ecdsaSigner) Sign(message []byte) ([]byte, error) {
	// Without a reader the nonce is that of RFC 6979.
	sig, err := s.key.Sign(nil, s.scheme.sum(message), s.scheme.hash)
	if err != nil {
		return nil, fmt.Errorf("mls: ECDSA: %w", err)
	}
	return s.scheme.normal(sig), nil
}
