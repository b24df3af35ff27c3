package mls

import (
	"bytes"
	"fmt"
	"io"
)

// PrivateMessage is an encrypted frame (RFC 9420, section 6.3).
type PrivateMessage struct {
	GroupID             []byte
	Epoch               uint64
	ContentType         ContentType
	AuthenticatedData   []byte
	EncryptedSenderData []byte
	Ciphertext          []byte
}

func (m *PrivateMessage) write(w *writer) {
	w.vec(m.GroupID)
	w.u64(m.Epoch)
	w.u8(uint8(m.ContentType))
	w.vec(m.AuthenticatedData)
	w.vec(m.EncryptedSenderData)
	w.vec(m.Ciphertext)
}

func readPrivateMessage(r *reader) *PrivateMessage {
	m := &PrivateMessage{GroupID: r.vec(), Epoch: r.u64(), ContentType: ContentType(r.u8())}
	if m.ContentType < ContentTypeApplication || m.ContentType > ContentTypeCommit {
		r.fail(fmt.Errorf("%w: content type %d", ErrMalformed, m.ContentType))
	}
	m.AuthenticatedData, m.EncryptedSenderData, m.Ciphertext = r.vec(), r.vec(), r.vec()
	return m
}

// contentAAD is PrivateContentAAD; without authenticated_data it is SenderDataAAD.
func (m *PrivateMessage) senderDataAAD() *writer {
	w := &writer{}
	w.vec(m.GroupID)
	w.u64(m.Epoch)
	w.u8(uint8(m.ContentType))
	return w
}

func (m *PrivateMessage) contentAAD() []byte {
	w := m.senderDataAAD()
	w.vec(m.AuthenticatedData)
	return w.buf
}

// senderData is RFC 9420, section 6.3.2.
type senderData struct {
	leaf       LeafIndex
	generation uint32
	guard      [4]byte // reuse_guard
}

// senderDataKey derives key and nonce from a sample of the ciphertext.
func (s *suite) senderDataKey(secret, ciphertext []byte) (key, nonce []byte) {
	sample := ciphertext[:min(len(ciphertext), s.nh)]
	return s.expandWithLabel(secret, "key", sample, s.nk), s.expandWithLabel(secret, "nonce", sample, s.nn)
}

func (m *PrivateMessage) openSenderData(s *suite, secret []byte) (senderData, error) {
	key, nonce := s.senderDataKey(secret, m.Ciphertext)
	defer wipe(key, nonce)
	b, err := s.aeadOpen(key, nonce, m.senderDataAAD().buf, m.EncryptedSenderData)
	if err != nil {
		return senderData{}, fmt.Errorf("%w: sender data", ErrDecrypt)
	}
	r := newReader(b)
	d := senderData{leaf: LeafIndex(r.u32()), generation: r.u32()}
	copy(d.guard[:], r.raw(4))
	return d, r.done()
}

func (m *PrivateMessage) sealSenderData(s *suite, secret []byte, d senderData) error {
	w := &writer{}
	w.u32(uint32(d.leaf))
	w.u32(d.generation)
	w.raw(d.guard[:])
	key, nonce := s.senderDataKey(secret, m.Ciphertext)
	defer wipe(key, nonce)
	var err error
	m.EncryptedSenderData, err = s.aeadSeal(key, nonce, m.senderDataAAD().buf, w.buf)
	return err
}

// guarded is nonce with the reuse guard XORed onto its first four bytes.
func guarded(nonce []byte, guard [4]byte) []byte {
	out := bytes.Clone(nonce)
	for i, b := range guard {
		out[i] ^= b
	}
	return out
}

// unpadded is PrivateMessageContent without padding.
func (a *AuthenticatedContent) unpadded() []byte {
	w := &writer{}
	a.Content.writeBody(w)
	a.Auth.write(w, a.Content.ContentType)
	return w.buf
}

// framer turns content into PrivateMessages and back: everything of an epoch
// that this needs, so that the official vectors can drive it alone.
type framer struct {
	suite      *suite
	schedule   KeySchedule
	context    []byte // the epoch's GroupContext
	senderData []byte // sender_data_secret
}

// reuseGuard is random in RFC 9420; in DMLS it is a function of the content,
// so that one content has one frame.
func (f *framer) reuseGuard(a *AuthenticatedContent, rand io.Reader) (guard [4]byte, err error) {
	if f.schedule == DMLS {
		copy(guard[:], a.contentHash(f.suite, f.context, labelReuseGuard))
		return guard, nil
	}
	_, err = io.ReadFull(rand, guard[:])
	return guard, err
}

// seal encrypts signed content with a key of the sender's ratchet.
func (f *framer) seal(a *AuthenticatedContent, k ratchetKey, rand io.Reader) (*PrivateMessage, error) {
	guard, err := f.reuseGuard(a, rand)
	if err != nil {
		return nil, fmt.Errorf("mls: reuse guard: %w", err)
	}
	c := &a.Content
	m := &PrivateMessage{GroupID: c.GroupID, Epoch: c.Epoch, ContentType: c.ContentType, AuthenticatedData: c.AuthenticatedData}
	plain := a.unpadded()
	padded := make([]byte, padme(len(plain)))
	copy(padded, plain)
	defer wipe(plain, padded)
	if m.Ciphertext, err = f.suite.aeadSeal(k.key, guarded(k.nonce, guard), m.contentAAD(), padded); err != nil {
		return nil, err
	}
	d := senderData{leaf: LeafIndex(c.Sender.Index), generation: k.generation, guard: guard}
	return m, m.sealSenderData(f.suite, f.senderData, d)
}

// open decrypts content with the key that the sender data names. Signature and
// canonical form are still to be checked.
func (f *framer) open(m *PrivateMessage, d senderData, k ratchetKey) (a *AuthenticatedContent, padding int, err error) {
	plain, err := f.suite.aeadOpen(k.key, guarded(k.nonce, d.guard), m.contentAAD(), m.Ciphertext)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: content of leaf %d, generation %d", ErrDecrypt, d.leaf, d.generation)
	}
	defer wipe(plain)
	a = &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: FramedContent{
		GroupID: m.GroupID, Epoch: m.Epoch, Sender: Sender{SenderTypeMember, uint32(d.leaf)},
		AuthenticatedData: m.AuthenticatedData, ContentType: m.ContentType,
	}}
	r := newReader(plain)
	a.Content.readBody(r)
	a.Auth = readAuthData(r, m.ContentType)
	if r.err != nil {
		return nil, 0, r.err
	}
	rest := r.buf
	if !allZero(rest) {
		return nil, 0, fmt.Errorf("%w: padding is not zero", ErrMalformed)
	}
	return a, len(rest), nil
}

// canonical recomputes what the sender of a DMLS frame may not choose.
func (f *framer) canonical(a *AuthenticatedContent, d senderData, padding int) error {
	want, err := f.reuseGuard(a, nil)
	if err != nil {
		return err
	}
	if d.guard != want {
		return fmt.Errorf("%w: reuse guard", ErrNotCanonical)
	}
	if !bytes.Equal(a.Auth.Signature, f.suite.sig.normal(a.Auth.Signature)) {
		return fmt.Errorf("%w: signature with the greater s", ErrNotCanonical)
	}
	n := len(a.unpadded())
	if padding != padme(n)-n {
		return fmt.Errorf("%w: %d bytes of padding after %d", ErrNotCanonical, padding, n)
	}
	return nil
}
