package store

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/dmlsd/dmls/group"
)

// keys finds the key of each record.
type keys struct {
	root []byte // 32 bytes
}

// record derives the key of one record.
func (k *keys) record(id uint64) ([]byte, error) {
	info := string(binary.BigEndian.AppendUint64([]byte("dmls store record "), id))
	return hkdf.Expand(sha256.New, k.root, info, chacha20poly1305.KeySize)
}

// aad binds a sealed value to its place.
func aad(key string, class group.Class, id uint64) []byte {
	b := make([]byte, 0, 16+9+len(key))
	b = append(b, "dmls store v1 "...)
	b = append(b, byte(class))
	b = binary.BigEndian.AppendUint64(b, id)
	return append(b, key...)
}

// seal returns nonce(24) || ciphertext || tag(16).
func (k *keys) seal(key string, class group.Class, id uint64, value []byte) ([]byte, error) {
	rk, err := k.record(id)
	if err != nil {
		return nil, fmt.Errorf("store: deriving a record key: %w", err)
	}
	defer clear(rk)
	a, err := chacha20poly1305.NewX(rk)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	out := make([]byte, a.NonceSize(), a.NonceSize()+len(value)+a.Overhead())
	rand.Read(out) // never fails (crypto/rand)
	return a.Seal(out, out, value, aad(key, class, id)), nil
}

// open undoes seal. A failure means a foreign root key or damage; which of
// them, Open has decided by the canary.
func (k *keys) open(key string, class group.Class, id uint64, sealed []byte) ([]byte, error) {
	rk, err := k.record(id)
	if err != nil {
		return nil, fmt.Errorf("store: deriving a record key: %w", err)
	}
	defer clear(rk)
	a, err := chacha20poly1305.NewX(rk)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	n := a.NonceSize()
	if len(sealed) < n+a.Overhead() {
		return nil, fmt.Errorf("%w: a sealed record is too short", ErrCorrupt)
	}
	// Never nil, also for an empty value: nil would read as a deletion.
	value, err := a.Open(make([]byte, 0, len(sealed)-n), sealed[:n], sealed[n:], aad(key, class, id))
	if err != nil {
		return nil, fmt.Errorf("%w: a sealed record does not open", ErrCorrupt)
	}
	return value, nil
}
