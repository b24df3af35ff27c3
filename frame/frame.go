package frame

import (
	"bytes"
	"fmt"
)

// Content types of an MLS message (RFC 9420, section 6).
const (
	Application uint8 = 1
	Proposal    uint8 = 2
	Commit      uint8 = 3
)

// From RFC 9420, section 6.
const (
	versionMLS10       uint16 = 1
	wirePrivateMessage uint16 = 2
)

// Frame is the draft's
//
//	struct { MLSMessage message; opaque dmls_epoch<V>; } DMLSMessage;
//
// where message is always a PrivateMessage that bears [Links].
type Frame struct {
	Message   []byte // the MLSMessage as serialised
	DMLSEpoch []byte // id of the epoch it is sent in, Nh bytes: a hint for routing, not authenticated

	header Header
}

// Header is what a frame tells without keys. All of it is authenticated when
// the message opens, and none of it before.
type Header struct {
	GroupID     []byte // shares the memory of Frame.Message
	Epoch       uint64 // integer epoch; rivals can share it
	ContentType uint8
	Links       Links
}

// New makes a frame of a serialised MLSMessage, of which it checks as much as
// [Parse]. The slices are kept, not copied.
func New(message, dmlsEpoch []byte) (*Frame, error) {
	switch len(dmlsEpoch) {
	case 32, 48, 64: // the Nh of all registered cipher suites
	default:
		return nil, fmt.Errorf("%w: dmls_epoch of %d bytes", ErrMalformed, len(dmlsEpoch))
	}
	r := &reader{rest: message}
	header, err := parseHeader(r)
	if err == nil {
		err = r.done()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	f := &Frame{Message: message, DMLSEpoch: dmlsEpoch, header: header}
	if n := f.size(); n > MaxFrame {
		return nil, fmt.Errorf("%w: frame of %d bytes, limit %d", ErrSize, n, MaxFrame)
	}
	return f, nil
}

// Parse decodes a frame: all of b, in the one form that [Frame.Marshal] makes.
// Errors wrap [ErrMalformed] or [ErrSize]; a bad link also wraps [ErrLinks].
func Parse(b []byte) (*Frame, error) {
	if len(b) > MaxFrame {
		return nil, fmt.Errorf("%w: frame of %d bytes, limit %d", ErrSize, len(b), MaxFrame)
	}
	b = bytes.Clone(b)
	r := &reader{rest: b}
	if _, err := parseHeader(r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	message := b[: len(b)-len(r.rest) : len(b)-len(r.rest)]
	dmlsEpoch := r.vector()
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: dmls_epoch: %w", ErrMalformed, err)
	}
	return New(message, dmlsEpoch)
}

// Marshal encodes the frame.
func (f *Frame) Marshal() []byte {
	b := make([]byte, 0, f.size())
	b = append(b, f.Message...)
	return appendVector(b, f.DMLSEpoch)
}

func (f *Frame) size() int {
	return len(f.Message) + varintLen(len(f.DMLSEpoch)) + len(f.DMLSEpoch)
}

// Header gives the part that is readable without keys. It is empty for a Frame
// that neither [New] nor [Parse] made.
func (f *Frame) Header() Header { return f.header }

// parseHeader reads an MLSMessage that holds a PrivateMessage (RFC 9420,
// section 6.3) and leaves in r what follows it:
//
//	ProtocolVersion version; WireFormat wire_format;
//	opaque group_id<V>; uint64 epoch; ContentType content_type;
//	opaque authenticated_data<V>; opaque encrypted_sender_data<V>; opaque ciphertext<V>;
func parseHeader(r *reader) (Header, error) {
	var h Header
	if v := r.uint16(); r.err == nil && v != versionMLS10 {
		return Header{}, fmt.Errorf("protocol version %d", v)
	}
	if w := r.uint16(); r.err == nil && w != wirePrivateMessage {
		return Header{}, fmt.Errorf("wire format %d, want a PrivateMessage", w)
	}
	h.GroupID = r.vector()
	h.Epoch = r.uint64()
	h.ContentType = r.uint8()
	aad := r.vector()
	r.vector() // encrypted_sender_data
	r.vector() // ciphertext
	if r.err != nil {
		return Header{}, r.err
	}
	if h.ContentType < Application || h.ContentType > Commit {
		return Header{}, fmt.Errorf("content type %d", h.ContentType)
	}
	links, err := ParseLinks(aad)
	if err != nil {
		return Header{}, err
	}
	h.Links = links
	return h, nil
}
