package mls

import (
	"crypto/hmac"
	"fmt"
)

// PublicMessage is a signed frame in the clear (RFC 9420, section 6.2).
type PublicMessage struct {
	Content       FramedContent
	Auth          FramedContentAuthData
	MembershipTag []byte // members only
}

func (m *PublicMessage) write(w *writer) {
	m.Content.write(w)
	m.Auth.write(w, m.Content.ContentType)
	if m.Content.Sender.Type == SenderTypeMember {
		w.vec(m.MembershipTag)
	}
}

func readPublicMessage(r *reader) *PublicMessage {
	m := &PublicMessage{Content: readFramedContent(r)}
	m.Auth = readAuthData(r, m.Content.ContentType)
	if m.Content.Sender.Type == SenderTypeMember {
		m.MembershipTag = r.vec()
	}
	return m
}

// authenticated is the message without its membership tag.
func (m *PublicMessage) authenticated() *AuthenticatedContent {
	return &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: m.Content, Auth: m.Auth}
}

// membershipTag is the MAC over AuthenticatedContentTBM.
func (a *AuthenticatedContent) membershipTag(s *suite, key, context []byte) []byte {
	w := &writer{}
	w.raw(a.tbs(context))
	a.Auth.write(w, a.Content.ContentType)
	return s.hmac(key, w.buf)
}

// protectPublic adds the membership tag. Application data must not travel in
// the clear.
func (a *AuthenticatedContent) protectPublic(s *suite, key, context []byte) (*PublicMessage, error) {
	if a.Content.ContentType == ContentTypeApplication {
		return nil, fmt.Errorf("%w: application data as PublicMessage", ErrConfig)
	}
	m := &PublicMessage{Content: a.Content, Auth: a.Auth}
	if a.Content.Sender.Type == SenderTypeMember {
		m.MembershipTag = a.membershipTag(s, key, context)
	}
	return m, nil
}

// unprotectPublic verifies the membership tag; the signature is still to be
// verified.
func (m *PublicMessage) unprotectPublic(s *suite, key, context []byte) (*AuthenticatedContent, error) {
	if m.Content.ContentType == ContentTypeApplication {
		return nil, fmt.Errorf("%w: application data as PublicMessage", ErrMalformed)
	}
	a := m.authenticated()
	if m.Content.Sender.Type == SenderTypeMember && !hmac.Equal(m.MembershipTag, a.membershipTag(s, key, context)) {
		return nil, ErrMAC
	}
	return a, nil
}
