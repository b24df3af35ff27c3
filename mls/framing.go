package mls

import (
	"bytes"
	"fmt"
	"math/bits"
)

// WireFormat is of the registry in RFC 9420, section 17.2.
type WireFormat uint16

// The wire formats of RFC 9420.
const (
	WireFormatPublicMessage  WireFormat = 1
	WireFormatPrivateMessage WireFormat = 2
	WireFormatWelcome        WireFormat = 3
	WireFormatGroupInfo      WireFormat = 4
	WireFormatKeyPackage     WireFormat = 5
)

// ContentType tells what a frame carries.
type ContentType uint8

// The content types of RFC 9420, section 6. Proposal and commit share one
// ratchet, the handshake ratchet.
const (
	ContentTypeApplication ContentType = 1
	ContentTypeProposal    ContentType = 2
	ContentTypeCommit      ContentType = 3
)

// SenderType tells in which role a frame was sent.
type SenderType uint8

// The sender types of RFC 9420, section 6.
const (
	SenderTypeMember            SenderType = 1
	SenderTypeExternal          SenderType = 2
	SenderTypeNewMemberProposal SenderType = 3
	SenderTypeNewMemberCommit   SenderType = 4
)

// Sender names who sent a frame.
type Sender struct {
	Type  SenderType
	Index uint32 // leaf of a member, index of an external sender, else 0
}

func (s Sender) write(w *writer) {
	w.u8(uint8(s.Type))
	if s.Type == SenderTypeMember || s.Type == SenderTypeExternal {
		w.u32(s.Index)
	}
}

func readSender(r *reader) Sender {
	s := Sender{Type: SenderType(r.u8())}
	switch s.Type {
	case SenderTypeMember, SenderTypeExternal:
		s.Index = r.u32()
	case SenderTypeNewMemberProposal, SenderTypeNewMemberCommit:
	default:
		r.fail(fmt.Errorf("%w: sender type %d", ErrMalformed, s.Type))
	}
	return s
}

// Commit is RFC 9420, section 12.4.
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath // nil: none
}

func (c *Commit) write(w *writer) {
	w.vector(func(w *writer) {
		for _, p := range c.Proposals {
			p.write(w)
		}
	})
	if c.Path == nil {
		w.u8(0)
		return
	}
	w.u8(1)
	c.Path.write(w)
}

func readCommit(r *reader) *Commit {
	c := &Commit{Proposals: readList(r, readProposalOrRef)}
	if r.optional() {
		p := readUpdatePath(r)
		c.Path = &p
	}
	return c
}

// ParseCommit reads a Commit and nothing after it.
func ParseCommit(b []byte) (*Commit, error) {
	r := newReader(b)
	c := readCommit(r)
	if err := r.done(); err != nil {
		return nil, err
	}
	return c, nil
}

// Marshal is the encoding that ParseCommit reads.
func (c *Commit) Marshal() []byte {
	w := &writer{}
	c.write(w)
	return w.buf
}

// FramedContent is what is signed (RFC 9420, section 6). Of Data, Proposal and
// Commit the one that ContentType names is set.
type FramedContent struct {
	GroupID           []byte
	Epoch             uint64
	Sender            Sender
	AuthenticatedData []byte
	ContentType       ContentType
	Data              []byte
	Proposal          Proposal
	Commit            *Commit
}

func (c *FramedContent) write(w *writer) {
	w.vec(c.GroupID)
	w.u64(c.Epoch)
	c.Sender.write(w)
	w.vec(c.AuthenticatedData)
	w.u8(uint8(c.ContentType))
	c.writeBody(w)
}

func (c *FramedContent) writeBody(w *writer) {
	switch c.ContentType {
	case ContentTypeApplication:
		w.vec(c.Data)
	case ContentTypeProposal:
		writeProposal(w, c.Proposal)
	case ContentTypeCommit:
		c.Commit.write(w)
	}
}

func (c *FramedContent) readBody(r *reader) {
	switch c.ContentType {
	case ContentTypeApplication:
		c.Data = r.vec()
	case ContentTypeProposal:
		c.Proposal = readProposal(r)
	case ContentTypeCommit:
		c.Commit = readCommit(r)
	default:
		r.fail(fmt.Errorf("%w: content type %d", ErrMalformed, c.ContentType))
	}
}

func readFramedContent(r *reader) FramedContent {
	c := FramedContent{GroupID: r.vec(), Epoch: r.u64(), Sender: readSender(r), AuthenticatedData: r.vec()}
	c.ContentType = ContentType(r.u8())
	c.readBody(r)
	return c
}

// FramedContentAuthData is RFC 9420, section 6.1.
type FramedContentAuthData struct {
	Signature       []byte
	ConfirmationTag []byte // commits only
}

func (a *FramedContentAuthData) write(w *writer, t ContentType) {
	w.vec(a.Signature)
	if t == ContentTypeCommit {
		w.vec(a.ConfirmationTag)
	}
}

func readAuthData(r *reader, t ContentType) FramedContentAuthData {
	a := FramedContentAuthData{Signature: r.vec()}
	if t == ContentTypeCommit {
		a.ConfirmationTag = r.vec()
	}
	return a
}

// AuthenticatedContent is a frame without its protection (RFC 9420, section 6).
type AuthenticatedContent struct {
	WireFormat WireFormat
	Content    FramedContent
	Auth       FramedContentAuthData

	signed []byte // tbs of a frame that is being opened, whose content does not change
}

func (a *AuthenticatedContent) write(w *writer) {
	w.u16(uint16(a.WireFormat))
	a.Content.write(w)
	a.Auth.write(w, a.Content.ContentType)
}

func readAuthenticatedContent(r *reader) *AuthenticatedContent {
	a := &AuthenticatedContent{WireFormat: WireFormat(r.u16()), Content: readFramedContent(r)}
	a.Auth = readAuthData(r, a.Content.ContentType)
	return a
}

// ref is the ProposalRef (RFC 9420, section 5.2).
func (a *AuthenticatedContent) ref(s *suite) []byte {
	w := &writer{}
	a.write(w)
	return s.refHash("MLS 1.0 Proposal Reference", w.buf)
}

// tbs is FramedContentTBS: what the signature covers.
func (a *AuthenticatedContent) tbs(context []byte) []byte {
	if a.signed != nil {
		return a.signed
	}
	c := &a.Content
	w := &writer{make([]byte, 0, len(c.GroupID)+len(c.AuthenticatedData)+len(c.Data)+len(context)+64)}
	w.u16(mls10)
	w.u16(uint16(a.WireFormat))
	a.Content.write(w)
	switch a.Content.Sender.Type {
	case SenderTypeMember, SenderTypeNewMemberCommit:
		w.raw(context)
	}
	return w.buf
}

// maxField bounds application data and authenticated_data, in bytes: padded and
// encrypted they still fit an opaque<V>. That is far below what an AEAD permits
// under one key, and no key encrypts twice (RFC 9420, sections 6.3.1 and 15.2).
const maxField = 1 << 29

func (a *AuthenticatedContent) sign(s *suite, context []byte, signer Signer) error {
	if n := max(len(a.Content.Data), len(a.Content.AuthenticatedData)); n > maxField {
		return fmt.Errorf("%w: %d bytes in one frame", ErrConfig, n)
	}
	sig, err := s.signWithLabel(signer, "FramedContentTBS", a.tbs(context))
	if err != nil {
		return fmt.Errorf("mls: signing a frame: %w", err)
	}
	a.Auth.Signature = sig
	return nil
}

func (a *AuthenticatedContent) verify(s *suite, env Env, context, key []byte) error {
	const label = "FramedContentTBS"
	if err := s.verifyContent(env, key, label, signContent(label, a.tbs(context)), a.Auth.Signature); err != nil {
		return fmt.Errorf("mls: frame of %v: %w", a.Content.Sender, err)
	}
	return nil
}

// Labels of our hashes over a frame's content: the signed bytes and the
// signature, never the confirmation tag, which any member could swap.
const (
	labelContent    = "DMLS 1.0 Content"
	labelReuseGuard = "DMLS 1.0 Reuse Guard"
)

// contentHash names the content of a frame.
func (a *AuthenticatedContent) contentHash(s *suite, context []byte, label string) []byte {
	tbs := a.tbs(context)
	w := &writer{make([]byte, 0, len(tbs)+len(a.Auth.Signature)+16)}
	w.vec(tbs)
	w.vec(a.Auth.Signature)
	return s.refHash(label, w.buf)
}

// padme is the bucket of n by the Padmé rule: the length is rounded up so that
// its floating-point form has a mantissa no longer than its exponent. It leaks
// O(log log n) bits and costs at most 12 %.
func padme(n int) int {
	if n < 2 {
		return n
	}
	e := bits.Len(uint(n)) - 1
	mask := 1<<(e-bits.Len(uint(e))) - 1
	return (n + mask) &^ mask
}

// allZero says whether padding is clean. It is not secret.
func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// readList reads T<V>.
func readList[T any](r *reader, read func(*reader) T) []T {
	var out []T
	for sub := r.sub(); !sub.empty(); {
		out = append(out, read(sub))
	}
	return out
}
