package mls

import (
	"bytes"
	"fmt"
)

// GroupContext is what all members of an epoch agree on (RFC 9420, section 8.1).
type GroupContext struct {
	Version                 uint16
	CipherSuite             CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte // Nh bytes
	ConfirmedTranscriptHash []byte // Nh bytes; empty in epoch 0
	Extensions              []Extension
}

func (c *GroupContext) write(w *writer) {
	w.u16(c.Version)
	w.u16(uint16(c.CipherSuite))
	w.vec(c.GroupID)
	w.u64(c.Epoch)
	w.vec(c.TreeHash)
	w.vec(c.ConfirmedTranscriptHash)
	writeExtensions(w, c.Extensions)
}

// Marshal is the encoding that ParseGroupContext reads.
func (c *GroupContext) Marshal() []byte {
	w := &writer{}
	c.write(w)
	return w.buf
}

func readGroupContext(r *reader) GroupContext {
	c := GroupContext{Version: r.u16(), CipherSuite: CipherSuite(r.u16()), GroupID: r.vec(), Epoch: r.u64(),
		TreeHash: r.vec(), ConfirmedTranscriptHash: r.vec()}
	c.Extensions = readExtensions(r)
	return c
}

// ParseGroupContext reads a GroupContext and nothing after it.
func ParseGroupContext(b []byte) (*GroupContext, error) {
	r := newReader(b)
	c := readGroupContext(r)
	if err := r.done(); err != nil {
		return nil, err
	}
	return &c, nil
}

func (c *GroupContext) clone() GroupContext {
	out := *c
	out.GroupID = bytes.Clone(c.GroupID)
	out.TreeHash = bytes.Clone(c.TreeHash)
	out.ConfirmedTranscriptHash = bytes.Clone(c.ConfirmedTranscriptHash)
	out.Extensions = cloneExtensions(c.Extensions)
	return out
}

func cloneExtensions(xs []Extension) []Extension {
	out := make([]Extension, len(xs))
	for i, x := range xs {
		out[i] = Extension{Type: x.Type, Data: bytes.Clone(x.Data)}
	}
	return out
}

// GroupInfo introduces an epoch to somebody who is not in it yet (RFC 9420,
// section 12.4.3).
type GroupInfo struct {
	GroupContext    GroupContext
	Extensions      []Extension
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

func (g *GroupInfo) writeTBS(w *writer) {
	g.GroupContext.write(w)
	writeExtensions(w, g.Extensions)
	w.vec(g.ConfirmationTag)
	w.u32(uint32(g.Signer))
}

func (g *GroupInfo) write(w *writer) {
	g.writeTBS(w)
	w.vec(g.Signature)
}

// Marshal is the encoding inside MLSMessage.
func (g *GroupInfo) Marshal() []byte {
	w := &writer{}
	g.write(w)
	return w.buf
}

func readGroupInfo(r *reader) *GroupInfo {
	g := &GroupInfo{GroupContext: readGroupContext(r)}
	g.Extensions = readExtensions(r)
	g.ConfirmationTag = r.vec()
	g.Signer = LeafIndex(r.u32())
	g.Signature = r.vec()
	return g
}

// ParseGroupInfo reads an MLSMessage that is a GroupInfo. It verifies nothing.
func ParseGroupInfo(b []byte) (*GroupInfo, error) {
	m, err := ParseMLSMessage(b)
	if err != nil {
		return nil, err
	}
	if m.GroupInfo == nil {
		return nil, fmt.Errorf("%w: wire format %d, want a GroupInfo", ErrMalformed, m.WireFormat)
	}
	return m.GroupInfo, nil
}

// ratchetTree parses the ratchet tree that belongs to the GroupInfo (its own
// extension goes before the given one) and verifies both: all of RFC 9420,
// section 12.4.3.1, that needs no secret.
func (g *GroupInfo) ratchetTree(s *suite, given []byte, env Env) (*RatchetTree, error) {
	c := &g.GroupContext
	if c.Version != mls10 || len(c.GroupID) == 0 || len(c.TreeHash) != s.nh {
		return nil, fmt.Errorf("%w: GroupContext of version %d", ErrGroupInfo, c.Version)
	}
	if t, twice := duplicateExtension(g.Extensions); twice {
		return nil, fmt.Errorf("%w: extension type %d twice", ErrGroupInfo, t)
	}
	if data, ok := findExtension(g.Extensions, ExtensionRatchetTree); ok {
		given = data
	}
	if len(given) == 0 {
		return nil, fmt.Errorf("%w: no ratchet tree", ErrGroupInfo)
	}
	tree, err := readRatchetTree(s, given, env)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(tree.TreeHash(), c.TreeHash) {
		return nil, fmt.Errorf("%w: tree hash differs", ErrGroupInfo)
	}
	signer := tree.Leaf(g.Signer)
	if signer == nil {
		return nil, fmt.Errorf("%w: signer at leaf %d", ErrMember, g.Signer)
	}
	if err := g.verify(s, signer.SignatureKey); err != nil {
		return nil, err
	}
	if err := tree.validate(c.GroupID, env); err != nil {
		return nil, err
	}
	return tree, checkGroup(tree, c.Extensions)
}

// sign fills in the signature.
func (g *GroupInfo) sign(s *suite, signer Signer) error {
	w := &writer{}
	g.writeTBS(w)
	sig, err := s.signWithLabel(signer, "GroupInfoTBS", w.buf)
	if err != nil {
		return fmt.Errorf("mls: signing the GroupInfo: %w", err)
	}
	g.Signature = sig
	return nil
}

// verify checks the signature under a key of the tree.
func (g *GroupInfo) verify(s *suite, key []byte) error {
	w := &writer{}
	g.writeTBS(w)
	if err := s.verifyWithLabel(key, "GroupInfoTBS", w.buf, g.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrGroupInfo, err)
	}
	return nil
}
