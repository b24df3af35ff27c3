package mls

import (
	"fmt"
	"io"
)

// PSKType tells how a PSK was provisioned.
type PSKType uint8

// The types and usages of RFC 9420, section 8.4.
const (
	PSKTypeExternal   PSKType = 1
	PSKTypeResumption PSKType = 2

	ResumptionApplication uint8 = 1
	ResumptionReInit      uint8 = 2
	ResumptionBranch      uint8 = 3
)

// PreSharedKeyID names a PSK and its one use.
type PreSharedKeyID struct {
	Type    PSKType
	ID      []byte // external: psk_id
	Usage   uint8  // resumption
	GroupID []byte // resumption
	Epoch   uint64 // resumption
	Nonce   []byte // Nh random bytes
}

func (id PreSharedKeyID) write(w *writer) {
	w.u8(uint8(id.Type))
	if id.Type == PSKTypeExternal {
		w.vec(id.ID)
	} else {
		w.u8(id.Usage)
		w.vec(id.GroupID)
		w.u64(id.Epoch)
	}
	w.vec(id.Nonce)
}

// succeeds tells the PSKs that bind a group to the one it comes from.
func (id PreSharedKeyID) succeeds() bool {
	return id.Type == PSKTypeResumption && id.Usage != ResumptionApplication
}

func readPreSharedKeyID(r *reader) PreSharedKeyID {
	id := PreSharedKeyID{Type: PSKType(r.u8())}
	switch id.Type {
	case PSKTypeExternal:
		id.ID = r.vec()
	case PSKTypeResumption:
		id.Usage = r.u8()
		if id.Usage < ResumptionApplication || id.Usage > ResumptionBranch {
			r.fail(fmt.Errorf("%w: resumption usage %d", ErrMalformed, id.Usage))
		}
		id.GroupID = r.vec()
		id.Epoch = r.u64()
	default:
		r.fail(fmt.Errorf("%w: PSK type %d", ErrMalformed, id.Type))
	}
	id.Nonce = r.vec()
	return id
}

// maxPSKs is how many PSKs an epoch can take: PSKLabel counts them in 16 bits.
const maxPSKs = 1<<16 - 1

// NewPreSharedKey proposes a PSK with a fresh nonce from rand, as each injection
// needs one of its own (section 8.4). suite is that of the group.
func NewPreSharedKey(suite CipherSuite, id PreSharedKeyID, rand io.Reader) (*PreSharedKey, error) {
	s, err := suiteByID(suite)
	if err != nil {
		return nil, err
	}
	if id.Nonce, err = randomBytes(rand, s.nh); err != nil {
		return nil, fmt.Errorf("mls: PSK nonce: %w", err)
	}
	return &PreSharedKey{ID: id}, nil
}

// PSKLookup gives the secret of a PSK. The caller keeps it; nil: not known.
type PSKLookup func(id PreSharedKeyID) []byte

// psk pairs an id with its secret.
type psk struct {
	id     PreSharedKeyID
	secret []byte
}

// findPSKs looks up the secrets of ids in their order.
func findPSKs(ids []PreSharedKeyID, lookup PSKLookup) ([]psk, error) {
	out := make([]psk, 0, len(ids))
	for _, id := range ids {
		var secret []byte
		if lookup != nil {
			secret = lookup(id)
		}
		if secret == nil {
			return nil, fmt.Errorf("%w: type %d, id %x", ErrPSK, id.Type, id.ID)
		}
		out = append(out, psk{id, secret})
	}
	return out, nil
}

// pskSecret chains PSKs (RFC 9420, section 8.4); none gives Nh zero bytes.
func (s *suite) pskSecret(psks []psk) []byte {
	zero := make([]byte, s.nh)
	secret := make([]byte, s.nh)
	for i, p := range psks {
		label := &writer{}
		p.id.write(label)
		label.u16(uint16(i))
		label.u16(uint16(len(psks)))
		extracted := s.extract(zero, p.secret)
		input := s.expandWithLabel(extracted, "derived psk", label.buf, s.nh)
		next := s.extract(input, secret)
		wipe(extracted, input, secret)
		secret = next
	}
	return secret
}

// wipe overwrites secrets.
func wipe(secrets ...[]byte) {
	for _, s := range secrets {
		clear(s)
	}
}
