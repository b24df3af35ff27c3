package mls

import (
	"fmt"
	"slices"
	"time"
)

// mls10 is ProtocolVersion mls10 (RFC 9420, Section 6).
const mls10 uint16 = 1

// LeafIndex is the position of a leaf among the leaves, from 0.
type LeafIndex uint32

// LeafNodeSource says how a leaf came into the tree.
type LeafNodeSource uint8

// The sources of RFC 9420, Section 7.2.
const (
	LeafNodeSourceKeyPackage LeafNodeSource = 1
	LeafNodeSourceUpdate     LeafNodeSource = 2
	LeafNodeSourceCommit     LeafNodeSource = 3
)

// Lifetime bounds the use of a KeyPackage, in seconds since the Unix epoch.
type Lifetime struct {
	NotBefore uint64
	NotAfter  uint64
}

// Contains reports whether t is in the lifetime.
func (l Lifetime) Contains(t time.Time) bool {
	u := t.Unix()
	return u >= 0 && uint64(u) >= l.NotBefore && uint64(u) <= l.NotAfter
}

// LeafNode describes a member (RFC 9420, Section 7.2). It is read-only once it
// was parsed or signed: its encoding is kept with it, and trees share it.
type LeafNode struct {
	EncryptionKey []byte // HPKE public key; 32 bytes in suite 1
	SignatureKey  []byte // 32 bytes in suite 1
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Lifetime      *Lifetime // source key_package, else nil
	ParentHash    []byte    // source commit: Nh bytes, or none without parents
	Extensions    []Extension
	Signature     []byte // 64 bytes in suite 1

	raw []byte // the encoding; nil while the leaf is being built
}

// writeFields writes what precedes the signature.
func (l *LeafNode) writeFields(w *writer) {
	w.vec(l.EncryptionKey)
	w.vec(l.SignatureKey)
	l.Credential.write(w)
	l.Capabilities.write(w)
	w.u8(uint8(l.Source))
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		var life Lifetime
		if l.Lifetime != nil {
			life = *l.Lifetime
		}
		w.u64(life.NotBefore)
		w.u64(life.NotAfter)
	case LeafNodeSourceCommit:
		w.vec(l.ParentHash)
	}
	writeExtensions(w, l.Extensions)
}

func (l *LeafNode) write(w *writer) {
	if l.raw != nil {
		w.raw(l.raw)
		return
	}
	l.writeFields(w)
	w.vec(l.Signature)
}

// Marshal returns the encoding of the leaf.
func (l *LeafNode) Marshal() []byte {
	w := &writer{}
	l.write(w)
	return w.buf
}

// readLeafNode reads a leaf and copies its bytes.
func readLeafNode(r *reader) LeafNode {
	l := packLeafNode(r).unpack()
	if l == nil {
		return LeafNode{}
	}
	return *l
}

// skipLeafNode finds the end of a leaf and refuses unknown variants.
func skipLeafNode(r *reader) {
	r.vec() // encryption_key
	r.vec() // signature_key
	readCredential(r)
	for range 5 { // capabilities
		if b := r.vec(); len(b)%2 != 0 {
			r.failf("odd length of a list of capabilities")
		}
	}
	switch source := LeafNodeSource(r.u8()); source {
	case LeafNodeSourceKeyPackage:
		r.raw(16)
	case LeafNodeSourceUpdate:
	case LeafNodeSourceCommit:
		r.vec()
	default:
		r.failf("leaf_node_source %d", source)
	}
	for xs := r.sub(); !xs.empty(); {
		xs.u16()
		xs.vec()
	}
	r.vec() // signature
}

func parseLeafFields(r *reader) LeafNode {
	l := LeafNode{EncryptionKey: r.vec(), SignatureKey: r.vec()}
	l.Credential = readCredential(r)
	l.Capabilities = readCapabilities(r)
	l.Source = LeafNodeSource(r.u8())
	switch l.Source {
	case LeafNodeSourceKeyPackage:
		l.Lifetime = &Lifetime{NotBefore: r.u64(), NotAfter: r.u64()}
	case LeafNodeSourceCommit:
		l.ParentHash = r.vec()
	}
	l.Extensions = readExtensions(r)
	l.Signature = r.vec()
	return l
}

// ParseLeafNode parses a LeafNode and nothing after it. It verifies nothing.
func ParseLeafNode(b []byte) (*LeafNode, error) {
	r := newReader(b)
	l := readLeafNode(r)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("mls: LeafNode: %w", err)
	}
	return &l, nil
}

const labelLeafNodeTBS = "LeafNodeTBS"

// tbs is LeafNodeTBS: group id and index are signed unless the leaf was made
// before its group.
func (l *LeafNode) tbs(groupID []byte, index LeafIndex) []byte {
	w := &writer{make([]byte, 0, len(l.raw)+len(groupID)+8)}
	l.writeTBS(w, groupID, index)
	return w.buf
}

func (l *LeafNode) writeTBS(w *writer, groupID []byte, index LeafIndex) {
	if n := len(l.Signature); l.raw != nil {
		w.raw(l.raw[:len(l.raw)-varintLen(n)-n])
	} else {
		l.writeFields(w)
	}
	if l.Source != LeafNodeSourceKeyPackage {
		w.vec(groupID)
		w.u32(uint32(index))
	}
}

// signLeaf completes a leaf: signature and kept encoding.
func (s *suite) signLeaf(l *LeafNode, signer Signer, groupID []byte, index LeafIndex) error {
	l.raw = nil
	sig, err := s.signWithLabel(signer, labelLeafNodeTBS, l.tbs(groupID, index))
	if err != nil {
		return err
	}
	l.Signature = sig
	l.raw = l.Marshal()
	return nil
}

// LeafChange is what a member's next leaf says anew, besides its encryption key
// (RFC 9420, section 7.2). The zero value keeps all of it.
type LeafChange struct {
	// Signer has the new signature key. It signs the leaf, and everything after
	// the change, the Welcome of a commit included; the frame that brings the
	// change is signed with the old key.
	Signer       Signer
	Credential   *Credential
	Capabilities *Capabilities // without default types
	Extensions   []Extension   // nil: as before
}

// renew returns an unsigned successor of a leaf with a new encryption key and
// the signer's key.
func (l *LeafNode) renew(source LeafNodeSource, encryptionKey []byte, signer Signer, c LeafChange) *LeafNode {
	out := &LeafNode{
		EncryptionKey: encryptionKey,
		SignatureKey:  signer.Public(),
		Credential:    l.Credential,
		Capabilities:  l.Capabilities,
		Source:        source,
		Extensions:    slices.Clone(l.Extensions),
	}
	if c.Credential != nil {
		out.Credential = *c.Credential
	}
	if c.Capabilities != nil {
		out.Capabilities = c.Capabilities.clone()
	}
	if c.Extensions != nil {
		out.Extensions = cloneExtensions(c.Extensions)
	}
	return out
}

// check refuses what Section 7.2 forbids to send.
func (c *LeafChange) check() error {
	if c.Capabilities == nil {
		return nil
	}
	if err := c.Capabilities.withoutDefaults(); err != nil {
		return fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	return nil
}

// signer is who signs the leaf.
func (c *LeafChange) signer(old Signer) Signer {
	if c.Signer != nil {
		return c.Signer
	}
	return old
}

// newUpdateLeaf makes the leaf of an Update proposal (RFC 9420, Section 12.1.2)
// and its private key.
func (s *suite) newUpdateLeaf(old *LeafNode, c LeafChange, signer Signer, groupID []byte, index LeafIndex, seed []byte) (*LeafNode, []byte, error) {
	if err := c.check(); err != nil {
		return nil, nil, err
	}
	priv, pub, err := s.deriveKeyPair(seed)
	if err != nil {
		return nil, nil, err
	}
	signer = c.signer(signer)
	l := old.renew(LeafNodeSourceUpdate, pub, signer, c)
	if err := s.signLeaf(l, signer, groupID, index); err != nil {
		return nil, nil, err
	}
	return l, priv, nil
}

// verifyLeaf checks all of RFC 9420, Section 7.3, that concerns the leaf
// alone, except the present time. A source of 0 accepts any. What concerns the
// other members is RatchetTree.checkMembers and the uniqueness of keys.
func (s *suite) verifyLeaf(l *LeafNode, source LeafNodeSource, groupID []byte, index LeafIndex) error {
	if err := s.checkLeaf(l, source); err != nil {
		return err
	}
	if err := s.verifyWithLabel(l.SignatureKey, labelLeafNodeTBS, l.tbs(groupID, index), l.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	return nil
}

// checkLeaf is verifyLeaf without the signature.
func (s *suite) checkLeaf(l *LeafNode, source LeafNodeSource) error {
	if source != 0 && l.Source != source {
		return fmt.Errorf("%w: leaf_node_source %d, want %d", ErrLeafNode, l.Source, source)
	}
	if err := s.kem.checkPublic(l.EncryptionKey); err != nil {
		return fmt.Errorf("%w: encryption_key: %w", ErrLeafNode, err)
	}
	if err := s.sig.checkPublic(l.SignatureKey); err != nil {
		return fmt.Errorf("%w: signature_key: %w", ErrLeafNode, err)
	}
	c := &l.Capabilities
	switch {
	case !slices.Contains(c.Versions, mls10):
		return fmt.Errorf("%w: capabilities lack protocol version mls10", ErrLeafNode)
	case !slices.Contains(c.CipherSuites, s.id):
		return fmt.Errorf("%w: capabilities lack cipher suite 0x%04x", ErrLeafNode, uint16(s.id))
	case !slices.Contains(c.Credentials, l.Credential.Type):
		return fmt.Errorf("%w: capabilities lack the leaf's credential type 0x%04x", ErrLeafNode, uint16(l.Credential.Type))
	case l.Lifetime != nil && l.Lifetime.NotAfter < l.Lifetime.NotBefore:
		return fmt.Errorf("%w: lifetime ends before it begins", ErrLeafNode)
	}
	if err := c.supportsExtensions(l.Extensions); err != nil {
		return fmt.Errorf("%w: %w", ErrLeafNode, err)
	}
	return nil
}
