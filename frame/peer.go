package frame

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// ProofLen is the length of a [Proof] in bytes.
const ProofLen = sha256.Size

// Proof shows one peer that another knows a group's gossip secret:
//
//	HMAC-SHA256(peer key, uint16 length || from || uint16 length || to)
//
// It names nothing and fits one direction between two peers, whose connection
// proves who they are. So it is of no use to anybody else, may be shown on every
// connection, and needs no challenge.
type Proof [ProofLen]byte

// Equal compares in constant time.
func (p Proof) Equal(other Proof) bool { return hmac.Equal(p[:], other[:]) }

// PeerKey makes the proofs of one group and generation. It is a secret.
type PeerKey struct{ key [sha256.Size]byte }

// Prove makes the proof that the peer called from shows to the one called to.
func (k PeerKey) Prove(from, to string) (p Proof) {
	mac := hmac.New(sha256.New, k.key[:])
	for _, name := range []string{from, to} {
		_, _ = mac.Write(binary.BigEndian.AppendUint16(nil, uint16(len(name)))) // a hash takes all
		_, _ = io.WriteString(mac, name)
	}
	copy(p[:], mac.Sum(nil))
	return p
}

// Format keeps the key out of whatever is printed.
func (k PeerKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "frame.PeerKey(redacted)") }
