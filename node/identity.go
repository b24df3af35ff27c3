package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// identity is the device's: what signs in groups, and apart from it what names
// it on the network.
//
//	struct {
//	  uint8 version = 1;
//	  opaque signature_seed[32];  // Ed25519, RFC 8032
//	  opaque transport_seed[32];
//	  opaque name<V>;
//	} Identity;
type identity struct {
	seed          [ed25519.SeedSize]byte
	transportSeed [ed25519.SeedSize]byte
	name          string
}

// MaxName bounds the names of devices and groups, in bytes.
const MaxName = 64

// CheckName says whether a device or a group may have the name. Names that
// look like nothing, or like another one, are refused: they have something to
// see, no space at their ends, and no invisible characters but the two joiners
// that scripts and emoji need.
func CheckName(name string) error {
	ok := len(name) <= MaxName && utf8.ValidString(name) && strings.TrimSpace(name) == name
	visible := false
	for _, r := range name {
		joiner := r == '\u200c' || r == '\u200d'
		ok = ok && (joiner || unicode.IsGraphic(r))
		visible = visible || unicode.IsGraphic(r) && !unicode.IsSpace(r)
	}
	if !ok || !visible {
		return fmt.Errorf("%w: %.80q", ErrName, name)
	}
	return nil
}

func (id *identity) signer() (mls.Signer, error) {
	s, err := mls.NewEd25519Signer(id.seed[:])
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	return s, nil
}

func (id *identity) public() []byte {
	return ed25519.NewKeyFromSeed(id.seed[:]).Public().(ed25519.PublicKey)
}

func (id *identity) marshal() []byte {
	var w writer
	w.u8(recordVersion)
	w.raw(id.seed[:])
	w.raw(id.transportSeed[:])
	w.bytes([]byte(id.name))
	return w.b
}

func parseIdentity(b []byte) (identity, error) {
	r := reader{b: b}
	if v := r.u8(); v != recordVersion {
		r.fail("record version %d", v)
	}
	var id identity
	copy(id.seed[:], r.raw(len(id.seed)))
	copy(id.transportSeed[:], r.raw(len(id.transportSeed)))
	id.name = string(r.bytes(MaxName))
	if err := r.done(); err != nil {
		return identity{}, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	return id, nil
}

// loadIdentity reads the stored identity, gives it another name if one is
// wanted, or makes a new one.
func loadIdentity(ctx context.Context, s Store, name string, rand io.Reader) (identity, error) {
	if name != "" {
		if err := CheckName(name); err != nil {
			return identity{}, err
		}
	}
	stored, err := get(ctx, s, keyIdentity)
	if err != nil {
		return identity{}, err
	}
	var id identity
	switch {
	case stored != nil:
		if id, err = parseIdentity(stored); err != nil {
			return identity{}, err
		}
	case name == "":
		return identity{}, ErrNoIdentity
	default:
		for _, seed := range [][]byte{id.seed[:], id.transportSeed[:]} {
			if _, err := io.ReadFull(rand, seed); err != nil {
				return identity{}, fmt.Errorf("node: identity: %w", err)
			}
		}
	}
	if name != "" {
		id.name = name
	}
	if record := id.marshal(); !bytes.Equal(record, stored) {
		op := group.Op{Key: keyIdentity, Value: record, Class: group.Secret}
		if err := s.Commit(ctx, []group.Op{op}); err != nil {
			return identity{}, fmt.Errorf("node: identity: %w", err)
		}
	}
	return id, nil
}

// Init makes sure that the store holds an identity with the given name and
// returns its public key in hex and its name. With an empty name it only
// reads. The store stays open.
func Init(ctx context.Context, s Store, name string, rand io.Reader) (id, storedName string, err error) {
	i, err := loadIdentity(ctx, s, name, rand)
	if err != nil {
		return "", "", err
	}
	return fmt.Sprintf("%x", i.public()), i.name, nil
}
