package mls

import "fmt"

// Evidence is what a member signed, apart from the frame that carried it: it
// convinces everybody who knows the signature key, also those who cannot open
// the frame. It shows the content of the frame.
type Evidence struct {
	Signed    []byte // FramedContentTBS (RFC 9420, section 6.1)
	Signature []byte
}

// Evidence of the frame. The epoch's GroupContext is part of it.
func (o *Opened) Evidence() Evidence {
	return Evidence{Signed: o.content.tbs(o.context), Signature: o.content.Auth.Signature}
}

// Verify checks the signature, made with the private key that belongs to
// public, and returns the content that was signed.
func (v Evidence) Verify(c CipherSuite, public []byte) (*FramedContent, error) {
	s, err := suiteByID(c)
	if err != nil {
		return nil, err
	}
	if err := s.verifyWithLabel(public, "FramedContentTBS", v.Signed, v.Signature); err != nil {
		return nil, fmt.Errorf("mls: evidence: %w", err)
	}
	r := newReader(v.Signed)
	if version, format := r.u16(), WireFormat(r.u16()); r.err == nil && (version != mls10 || format != WireFormatPrivateMessage) {
		return nil, fmt.Errorf("%w: evidence of version %d, wire format %d", ErrMalformed, version, format)
	}
	content := readFramedContent(r)
	context := readGroupContext(r)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("mls: evidence: %w", err)
	}
	if content.Sender.Type != SenderTypeMember || content.Epoch != context.Epoch || string(content.GroupID) != string(context.GroupID) {
		return nil, fmt.Errorf("%w: evidence of no member's frame", ErrMalformed)
	}
	return &content, nil
}
