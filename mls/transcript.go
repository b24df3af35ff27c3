package mls

// confirmedTranscriptHash covers a commit up to its signature (RFC 9420,
// section 8.2); interim is the hash of the epoch that the commit was sent in.
func (a *AuthenticatedContent) confirmedTranscriptHash(s *suite, interim []byte) []byte {
	w := &writer{}
	w.u16(uint16(a.WireFormat))
	a.Content.write(w)
	w.vec(a.Auth.Signature)
	return s.hash(interim, w.buf)
}

// interimTranscriptHash adds the confirmation tag.
func (s *suite) interimTranscriptHash(confirmed, tag []byte) []byte {
	w := &writer{}
	w.vec(tag)
	return s.hash(confirmed, w.buf)
}
