package mls

import "fmt"

// MLSMessage is RFC 9420, section 6. The field that WireFormat names is set.
type MLSMessage struct {
	WireFormat WireFormat
	Public     *PublicMessage
	Private    *PrivateMessage
	Welcome    *Welcome
	GroupInfo  *GroupInfo
	KeyPackage *KeyPackage
}

func (m *MLSMessage) write(w *writer) {
	w.u16(mls10)
	w.u16(uint16(m.WireFormat))
	switch m.WireFormat {
	case WireFormatPublicMessage:
		m.Public.write(w)
	case WireFormatPrivateMessage:
		m.Private.write(w)
	case WireFormatWelcome:
		m.Welcome.write(w)
	case WireFormatGroupInfo:
		m.GroupInfo.write(w)
	case WireFormatKeyPackage:
		m.KeyPackage.write(w)
	}
}

// Marshal is the encoding that ParseMLSMessage reads.
func (m *MLSMessage) Marshal() []byte {
	w := &writer{}
	m.write(w)
	return w.buf
}

// ParseMLSMessage reads an MLSMessage and nothing after it.
func ParseMLSMessage(b []byte) (*MLSMessage, error) {
	r := newReader(b)
	if v := r.u16(); r.err == nil && v != mls10 {
		return nil, fmt.Errorf("%w: version %d", ErrUnsupported, v)
	}
	m := &MLSMessage{WireFormat: WireFormat(r.u16())}
	switch m.WireFormat {
	case WireFormatPublicMessage:
		m.Public = readPublicMessage(r)
	case WireFormatPrivateMessage:
		m.Private = readPrivateMessage(r)
	case WireFormatWelcome:
		m.Welcome = readWelcome(r)
	case WireFormatGroupInfo:
		m.GroupInfo = readGroupInfo(r)
	case WireFormatKeyPackage:
		kp := readKeyPackage(r)
		m.KeyPackage = &kp
	default:
		r.fail(fmt.Errorf("%w: wire format %d", ErrUnsupported, m.WireFormat))
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return m, nil
}

// ParsePrivateMessage reads an MLSMessage that is a PrivateMessage.
func ParsePrivateMessage(b []byte) (*PrivateMessage, error) {
	m, err := ParseMLSMessage(b)
	if err != nil {
		return nil, err
	}
	if m.Private == nil {
		return nil, fmt.Errorf("%w: wire format %d, want a PrivateMessage", ErrMalformed, m.WireFormat)
	}
	return m.Private, nil
}

// Marshal is the encoding as MLSMessage.
func (m *PrivateMessage) Marshal() []byte {
	return (&MLSMessage{WireFormat: WireFormatPrivateMessage, Private: m}).Marshal()
}

// Marshal is the encoding as MLSMessage.
func (m *PublicMessage) Marshal() []byte {
	return (&MLSMessage{WireFormat: WireFormatPublicMessage, Public: m}).Marshal()
}
