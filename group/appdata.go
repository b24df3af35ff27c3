package group

import (
	"fmt"

	"github.com/ipfs/go-cid"
)

// appKind says what an application message is for.
type appKind uint8

const (
	appText appKind = 1 // body: UTF-8 text for people
	appAck  appKind = 2 // empty body: the frame's place and `confirms` are the message
	// Frames of the next two stand nowhere (design, section 5.4).
	appProof     appKind = 3 // body: an equivocation
	appComplaint appKind = 4 // body: CID of a child of the frame's epoch that the sender cannot open
)

// appData is the plaintext of every application message:
//
//	struct { opaque id[16]; uint8 kind; opaque body<V>; } AppData
//
// A message that is sent again keeps its id; it is delivered once for each
// sender and id.
type appData struct {
	ID   [16]byte
	Kind appKind
	Body []byte
}

// messageID returns the id of a text, zero for everything else: only texts are
// delivered, once for each id.
func (a appData) messageID() [16]byte {
	if a.Kind == appText {
		return a.ID
	}
	return [16]byte{}
}

func (a appData) marshal() []byte {
	w := buffer{b: append(make([]byte, 0, 21+len(a.Body)), a.ID[:]...)}
	w.u8(uint8(a.Kind))
	w.bytes(a.Body)
	return w.b
}

// parseAppData refuses kinds that this version does not know: nobody may
// settle a frame whose meaning later versions could read differently.
func parseAppData(b []byte) (appData, error) {
	r := cursor{b: b}
	var a appData
	copy(a.ID[:], r.take(16))
	a.Kind = appKind(r.u8())
	a.Body = r.bytes()
	if err := r.done(); err != nil {
		return appData{}, fmt.Errorf("%w: application data: %w", ErrMalformed, err)
	}
	switch {
	case a.Kind == appText && len(a.Body) > 0:
	case a.Kind == appAck && len(a.Body) == 0:
	case a.Kind == appProof:
		if _, err := parseEquivocation(a.Body); err != nil {
			return appData{}, err
		}
	case a.Kind == appComplaint:
		if _, err := cid.Cast(a.Body); err != nil {
			return appData{}, fmt.Errorf("%w: complaint: %w", ErrMalformed, err)
		}
	default:
		return appData{}, fmt.Errorf("%w: application data of kind %d with %d bytes", ErrMalformed, a.Kind, len(a.Body))
	}
	return a, nil
}
