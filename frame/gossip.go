package frame

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"golang.org/x/crypto/chacha20poly1305"
)

// Sizes in bytes.
const (
	SecretLen = 32 // of a gossip secret

	// MaxBlock is the longest block or sealed signal that opens.
	MaxBlock = 16 << 20
	// Overhead is what sealing adds: version, nonce and tag.
	Overhead = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
	// MaxFrame is the longest frame or signal that can be sealed.
	MaxFrame = MaxBlock - Overhead

	blockVersion = 1
	topicPrefix  = "dmls/1/"
	topicLen     = 20 // 160 bits: enough that nobody finds another secret for it
)

// Block is a sealed frame under the name that it has everywhere.
type Block struct {
	CID  cid.Cid
	Data []byte
}

// Gossip holds what a group's gossip secret gives for one generation: the
// topic and the keys that seal. All branches of a group share it.
//
// With
//
//	KDFLabel = uint16 length || opaque label<V> = "dmls 1 " + Label || uint32 generation
//	Derive(Label, n) = HKDF-Expand-SHA256(gossip_secret, KDFLabel, n)
//
// the topic is "dmls/1/" and the lower-case, unpadded base32 of
// Derive("topic", 20), and the keys are Derive("block key", 32),
// Derive("block nonce", 32), Derive("signal key", 32),
// Derive("signal nonce", 32) and Derive("peer key", 32).
type Gossip struct {
	topic         string
	block, signal domain
	peer          PeerKey
	wiped         bool
}

// domain is one kind of sealed object. Its own keys and additional data keep a
// sealed object of one kind from opening as another.
type domain struct {
	key, nonceKey [32]byte
	aad           []byte
}

// NewGossip derives topic and keys from a group's gossip secret, 32 bytes, and
// the generation number. It panics on another length, which no input from
// outside can cause.
func NewGossip(secret []byte, generation uint32) *Gossip {
	if len(secret) != SecretLen {
		panic(fmt.Sprintf("frame: gossip secret of %d bytes, want %d", len(secret), SecretLen))
	}
	encoding := base32.StdEncoding.WithPadding(base32.NoPadding)
	topic := topicPrefix + strings.ToLower(encoding.EncodeToString(derive(secret, "topic", generation, topicLen)))
	g := &Gossip{
		topic:  topic,
		block:  newDomain(secret, "block", generation, topic),
		signal: newDomain(secret, "signal", generation, topic+"/signal"),
	}
	copy(g.peer.key[:], derive(secret, "peer key", generation, len(g.peer.key)))
	return g
}

func newDomain(secret []byte, name string, generation uint32, aad string) domain {
	d := domain{aad: []byte(aad)}
	copy(d.key[:], derive(secret, name+" key", generation, len(d.key)))
	copy(d.nonceKey[:], derive(secret, name+" nonce", generation, len(d.nonceKey)))
	return d
}

func derive(secret []byte, label string, generation uint32, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = appendVector(info, []byte("dmls 1 "+label))
	info = binary.BigEndian.AppendUint32(info, generation)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil { // only for lengths above 255 hashes
		panic("frame: " + err.Error())
	}
	return out
}

// Topic is the name of the gossip topic. It tells nothing about the group and
// changes with the generation.
func (g *Gossip) Topic() string { return g.topic }

// PeerKey is what members prove to each other with that they are members.
func (g *Gossip) PeerKey() PeerKey { return g.peer }

// Seal makes the block of a frame:
//
//	version(1) || nonce(24) || XChaCha20-Poly1305(key, nonce, frame, AAD = topic)
//	nonce = HMAC-SHA256(nonce key, SHA-256(frame))[:24]
//
// The same frame always gives the same block. The frame is not looked at; one
// above MaxFrame (which [New] refuses) gives a block that nobody opens.
func (g *Gossip) Seal(frame []byte) Block {
	data := g.seal(&g.block, frame)
	return Block{CID: CIDOf(data), Data: data}
}

// Open opens the block data and gives the frame and the block's CID. It fails
// with [ErrSize], [ErrVersion], [ErrSealed] or [ErrNonce]. The frame is not
// parsed.
func (g *Gossip) Open(data []byte) (frame []byte, c cid.Cid, err error) {
	frame, err = g.open(&g.block, data)
	if err != nil {
		return nil, cid.Undef, err
	}
	return frame, CIDOf(data), nil
}

// SealSignal seals an object that stands in no DAG. The form is a block's, the
// keys and the additional data (topic + "/signal") are others.
func (g *Gossip) SealSignal(payload []byte) []byte { return g.seal(&g.signal, payload) }

// OpenSignal opens what [Gossip.SealSignal] made, with the errors of
// [Gossip.Open].
func (g *Gossip) OpenSignal(data []byte) (payload []byte, err error) { return g.open(&g.signal, data) }

// Wipe overwrites the keys. Opening fails afterwards; sealing panics, because
// it would happen under a key that everybody knows.
func (g *Gossip) Wipe() {
	for _, d := range []*domain{&g.block, &g.signal} {
		clear(d.key[:])
		clear(d.nonceKey[:])
	}
	clear(g.peer.key[:])
	g.wiped = true
}

func (g *Gossip) seal(d *domain, plaintext []byte) []byte {
	if g.wiped {
		panic("frame: sealing with wiped keys")
	}
	aead, err := chacha20poly1305.NewX(d.key[:])
	if err != nil { // only for keys of another length
		panic("frame: " + err.Error())
	}
	nonce := d.nonce(plaintext)
	data := make([]byte, 0, len(plaintext)+Overhead)
	data = append(data, blockVersion)
	data = append(data, nonce...)
	return aead.Seal(data, nonce, plaintext, d.aad)
}

func (g *Gossip) open(d *domain, data []byte) ([]byte, error) {
	switch {
	case len(data) > MaxBlock:
		return nil, fmt.Errorf("%w: %d bytes sealed, limit %d", ErrSize, len(data), MaxBlock)
	case len(data) < Overhead:
		return nil, fmt.Errorf("%w: %d bytes, at least %d", ErrMalformed, len(data), Overhead)
	case data[0] != blockVersion:
		return nil, fmt.Errorf("%w: %d", ErrVersion, data[0])
	case g.wiped:
		return nil, ErrSealed
	}
	aead, err := chacha20poly1305.NewX(d.key[:])
	if err != nil {
		return nil, ErrSealed
	}
	nonce := data[1 : 1+chacha20poly1305.NonceSizeX]
	plaintext, err := aead.Open(nil, nonce, data[1+len(nonce):], d.aad)
	if err != nil {
		return nil, ErrSealed
	}
	// A member could seal one frame under many nonces and so give it many
	// CIDs; only the frame's own nonce counts.
	if !hmac.Equal(nonce, d.nonce(plaintext)) {
		return nil, ErrNonce
	}
	return plaintext, nil
}

// nonce of a plaintext: equal nonces mean equal plaintexts.
func (d *domain) nonce(plaintext []byte) []byte {
	hash := sha256.Sum256(plaintext)
	mac := hmac.New(sha256.New, d.nonceKey[:])
	mac.Write(hash[:])
	return mac.Sum(nil)[:chacha20poly1305.NonceSizeX]
}
