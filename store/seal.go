package store

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/dmlsd/dmls/group"
)

// derive makes a key of the root key. Whoever lacks the root key of a
// generation can derive none of the keys that hung on it.
func (k *secret) derive(label string, id uint64) secret {
	info := string(binary.BigEndian.AppendUint64([]byte(label), id))
	out, err := hkdf.Expand(sha256.New, k[:], info, len(secret{}))
	if err != nil {
		panic("store: HKDF of 32 bytes: " + err.Error()) // only a wrong length fails
	}
	s := secret(out)
	clear(out)
	return s
}

// young is the key of a record that was written in this root key's generation.
func (k *secret) young(id uint64) secret { return k.derive(youngLabel, id) }

const youngLabel = "dmls store record "

// youngKeys is young for many ids. HKDF-Expand of one block is one HMAC, whose
// keyed state serves them all.
func (k *secret) youngKeys() func(id uint64) secret {
	mac := hmac.New(sha256.New, k[:])
	var sum [sha256.Size]byte
	return func(id uint64) secret {
		mac.Reset()
		b := binary.BigEndian.AppendUint64([]byte(youngLabel), id)
		mac.Write(append(b, 1)) // never fails (hash.Hash)
		defer clear(sum[:])
		return secret(mac.Sum(sum[:0]))
	}
}

// topKey is the key of the tree's top node.
func (k *secret) topKey() secret { return k.derive("dmls store top ", 0) }

// aad binds a sealed value to its place.
func aad(key string, class group.Class, id uint64) []byte {
	b := make([]byte, 0, 16+9+len(key))
	b = append(b, "dmls store v1 "...)
	b = append(b, byte(class))
	b = binary.BigEndian.AppendUint64(b, id)
	return append(b, key...)
}

// sealRecord returns nonce(24) || ciphertext || tag(16).
func sealRecord(k *secret, key string, class group.Class, id uint64, value []byte) []byte {
	a := aead(k)
	out := make([]byte, a.NonceSize(), a.NonceSize()+len(value)+a.Overhead())
	rand.Read(out) // never fails (crypto/rand)
	return a.Seal(out, out, value, aad(key, class, id))
}

func aead(k *secret) interface {
	NonceSize() int
	Overhead() int
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
} {
	a, err := chacha20poly1305.NewX(k[:])
	if err != nil {
		panic("store: XChaCha20-Poly1305 with 32 bytes: " + err.Error()) // only a wrong length fails
	}
	return a
}

// openRecord undoes sealRecord. A failure means a foreign key or damage; which
// of them, Open has decided by the canary.
func openRecord(k *secret, key string, class group.Class, id uint64, sealed []byte) ([]byte, error) {
	a := aead(k)
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

// The canary tells a root file of another store, which may well have the right
// generation. It is sealed anew with each root key.
func sealCanary(root *secret) []byte {
	k := root.young(0) // no record has the id 0
	defer k.wipe()
	return sealRecord(&k, string(keyCanary), 0, 0, nil)
}

func openCanary(root *secret, sealed []byte) bool {
	k := root.young(0)
	defer k.wipe()
	_, err := openRecord(&k, string(keyCanary), 0, 0, sealed)
	return err == nil
}
