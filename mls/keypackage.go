package mls

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"time"
)

// KeyPackage is what a client publishes to be added to a group (RFC 9420,
// Section 10). It is used once.
type KeyPackage struct {
	Version     uint16
	CipherSuite CipherSuite
	InitKey     []byte // HPKE public key; 32 bytes in suite 1
	LeafNode    LeafNode
	Extensions  []Extension
	Signature   []byte
}

func (k *KeyPackage) writeTBS(w *writer) {
	w.u16(k.Version)
	w.u16(uint16(k.CipherSuite))
	w.vec(k.InitKey)
	k.LeafNode.write(w)
	writeExtensions(w, k.Extensions)
}

func (k *KeyPackage) write(w *writer) {
	k.writeTBS(w)
	w.vec(k.Signature)
}

// Marshal returns the encoding of the KeyPackage.
func (k *KeyPackage) Marshal() []byte {
	w := &writer{}
	k.write(w)
	return w.buf
}

func readKeyPackage(r *reader) KeyPackage {
	k := KeyPackage{Version: r.u16(), CipherSuite: CipherSuite(r.u16()), InitKey: r.vec()}
	if r.err == nil && k.Version != mls10 {
		r.fail(fmt.Errorf("%w: KeyPackage of protocol version %d", ErrUnsupported, k.Version))
	}
	k.LeafNode = readLeafNode(r)
	k.Extensions = readExtensions(r)
	k.Signature = r.vec()
	return k
}

// ParseKeyPackage parses a KeyPackage and nothing after it. It verifies
// nothing.
func ParseKeyPackage(b []byte) (*KeyPackage, error) {
	r := newReader(b)
	k := readKeyPackage(r)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("mls: KeyPackage: %w", err)
	}
	return &k, nil
}

// Ref returns the KeyPackageRef (RFC 9420, Section 5.2) of Nh bytes, or nil
// for a cipher suite that this package does not have.
func (k *KeyPackage) Ref() []byte {
	s, err := suiteByID(k.CipherSuite)
	if err != nil {
		return nil
	}
	return s.refHash("MLS 1.0 KeyPackage Reference", k.Marshal())
}

// Verify checks the KeyPackage for somebody who is about to use it: all of
// RFC 9420, Section 10.1, that does not concern a group, and that now is in
// its lifetime.
func (k *KeyPackage) Verify(now time.Time) error {
	if err := k.verify(); err != nil {
		return err
	}
	if !k.LeafNode.Lifetime.Contains(now) {
		return fmt.Errorf("%w: now is not in its lifetime", ErrKeyPackage)
	}
	return nil
}

// verify is Verify without the present time, which receivers of an Add must
// not judge: their clocks differ.
func (k *KeyPackage) verify() error {
	s, err := suiteByID(k.CipherSuite)
	if err != nil {
		return err
	}
	if k.Version != mls10 {
		return fmt.Errorf("%w: KeyPackage of protocol version %d", ErrUnsupported, k.Version)
	}
	if err := s.verifyLeaf(&k.LeafNode, LeafNodeSourceKeyPackage, nil, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrKeyPackage, err)
	}
	if err := s.kem.checkPublic(k.InitKey); err != nil {
		return fmt.Errorf("%w: init_key: %w", ErrKeyPackage, err)
	}
	if bytes.Equal(k.InitKey, k.LeafNode.EncryptionKey) {
		return fmt.Errorf("%w: init_key equals the leaf's encryption_key", ErrKeyPackage)
	}
	if err := k.LeafNode.Capabilities.supportsExtensions(k.Extensions); err != nil {
		return fmt.Errorf("%w: %w", ErrKeyPackage, err)
	}
	w := &writer{}
	k.writeTBS(w)
	if err := s.verifyWithLabel(k.LeafNode.SignatureKey, "KeyPackageTBS", w.buf, k.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrKeyPackage, err)
	}
	return nil
}

// KeyPackageOptions are the choices of a KeyPackage or of the first leaf of a
// group. Versions, CipherSuites and Credentials of the capabilities are filled
// in when they are empty.
type KeyPackageOptions struct {
	Suite          CipherSuite
	Credential     Credential
	Capabilities   Capabilities
	Lifetime       Lifetime
	LeafExtensions []Extension
	Extensions     []Extension
	GREASE         bool // add values that mean nothing (section 13.5)
}

// KeyPackageBundle is a KeyPackage with its private keys.
type KeyPackageBundle struct {
	KeyPackage *KeyPackage

	initPriv []byte
	leafPriv []byte
}

// NewKeyPackage makes and signs a KeyPackage with fresh keys from env.Rand.
func NewKeyPackage(o KeyPackageOptions, signer Signer, env Env) (*KeyPackageBundle, error) {
	s, err := suiteByID(o.Suite)
	if err != nil {
		return nil, err
	}
	initPriv, initPub, err := s.newKeyPair(env)
	if err != nil {
		return nil, err
	}
	leafPriv, leafPub, err := s.newKeyPair(env)
	if err != nil {
		return nil, err
	}
	life := o.Lifetime
	if err := o.Capabilities.withoutDefaults(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	k := &KeyPackage{Version: mls10, CipherSuite: s.id, InitKey: initPub, Extensions: o.Extensions}
	k.LeafNode = LeafNode{
		EncryptionKey: leafPub,
		SignatureKey:  signer.Public(),
		Credential:    o.Credential,
		Capabilities:  o.capabilities(),
		Source:        LeafNodeSourceKeyPackage,
		Lifetime:      &life,
		Extensions:    o.LeafExtensions,
	}
	if o.GREASE {
		if err := k.grease(env.Rand); err != nil {
			return nil, err
		}
	}
	if err := s.signLeaf(&k.LeafNode, signer, nil, 0); err != nil {
		return nil, err
	}
	w := &writer{}
	k.writeTBS(w)
	if k.Signature, err = s.signWithLabel(signer, "KeyPackageTBS", w.buf); err != nil {
		return nil, err
	}
	// The bundle must not share slices with the caller's options, and what we
	// publish must be what a receiver accepts.
	if k, err = ParseKeyPackage(k.Marshal()); err != nil {
		return nil, err
	}
	if err := k.verify(); err != nil {
		return nil, err
	}
	return &KeyPackageBundle{KeyPackage: k, initPriv: initPriv, leafPriv: leafPriv}, nil
}

func (o *KeyPackageOptions) capabilities() Capabilities {
	c := o.Capabilities.clone()
	if len(c.Versions) == 0 {
		c.Versions = []uint16{mls10}
	}
	if len(c.CipherSuites) == 0 {
		c.CipherSuites = []CipherSuite{o.Suite}
	}
	if len(c.Credentials) == 0 {
		c.Credentials = []CredentialType{o.Credential.Type}
	}
	return c
}

// newKeyPair derives an HPKE key pair from fresh randomness.
func (s *suite) newKeyPair(env Env) (priv, pub []byte, err error) {
	seed, err := randomBytes(env.Rand, s.nh)
	if err != nil {
		return nil, nil, err
	}
	defer clear(seed)
	return s.deriveKeyPair(seed)
}

// bundleVersion is the first byte of a stored bundle.
const bundleVersion = 1

// MarshalBinary returns the bundle for storage. It holds private keys.
func (b *KeyPackageBundle) MarshalBinary() ([]byte, error) {
	if b.initPriv == nil || b.leafPriv == nil {
		return nil, fmt.Errorf("mls: KeyPackageBundle: %w", ErrWiped)
	}
	w := &writer{}
	w.u8(bundleVersion)
	w.vec(b.KeyPackage.Marshal())
	w.vec(b.initPriv)
	w.vec(b.leafPriv)
	return w.buf, nil
}

// ParseKeyPackageBundle reads what MarshalBinary wrote and checks that private
// and public keys belong together.
func ParseKeyPackageBundle(b []byte) (*KeyPackageBundle, error) {
	r := newReader(b)
	if v := r.u8(); r.err == nil && v != bundleVersion {
		return nil, fmt.Errorf("%w: KeyPackageBundle of version %d", ErrUnsupported, v)
	}
	raw, initPriv, leafPriv := r.vec(), r.vec(), r.vec()
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("mls: KeyPackageBundle: %w", err)
	}
	k, err := ParseKeyPackage(raw)
	if err != nil {
		return nil, err
	}
	s, err := suiteByID(k.CipherSuite)
	if err != nil {
		return nil, err
	}
	if !s.belongs(initPriv, k.InitKey) || !s.belongs(leafPriv, k.LeafNode.EncryptionKey) {
		return nil, fmt.Errorf("%w: private keys do not belong to it", ErrKeyPackage)
	}
	return &KeyPackageBundle{KeyPackage: k, initPriv: initPriv, leafPriv: leafPriv}, nil
}

// belongs reports whether priv is the private key of pub.
func (s *suite) belongs(priv, pub []byte) bool {
	p, err := s.kem.public(priv)
	return err == nil && subtle.ConstantTimeCompare(p, pub) == 1
}

// Wipe zeroes the private keys.
func (b *KeyPackageBundle) Wipe() {
	clear(b.initPriv)
	clear(b.leafPriv)
	b.initPriv, b.leafPriv = nil, nil
}
