package frame

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"golang.org/x/crypto/chacha20poly1305"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func TestSealOpen(t *testing.T) {
	g := NewGossip(secret, 3)
	for _, n := range []int{0, 1, 1000} {
		frame := bytes.Repeat([]byte{7}, n)
		block := g.Seal(frame)
		if len(block.Data) != n+Overhead || block.CID != CIDOf(block.Data) {
			t.Fatalf("block of %d bytes, %v", len(block.Data), block.CID)
		}
		got, c, err := g.Open(block.Data)
		if err != nil || !bytes.Equal(got, frame) || c != block.CID {
			t.Fatalf("%x, %v, %v", got, c, err)
		}
		if again := NewGossip(secret, 3).Seal(frame); !bytes.Equal(again.Data, block.Data) {
			t.Fatal("the same frame gave another block")
		}
	}
}

// The derivation as the comment on Gossip states it, written out: HKDF-Expand
// of up to 32 bytes is HMAC(secret, info || 0x01).
func TestDerivationAsDocumented(t *testing.T) {
	derived := func(label string, n int) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte{0, byte(n), byte(len("dmls 1 " + label))})
		mac.Write([]byte("dmls 1 " + label))
		mac.Write([]byte{0, 0, 1, 2, 1}) // generation 258, counter of HKDF
		return mac.Sum(nil)[:n]
	}
	g := NewGossip(secret, 258)
	base := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	if want := "dmls/1/" + base.EncodeToString(derived("topic", 20)); g.Topic() != want {
		t.Fatalf("topic %s, want %s", g.Topic(), want)
	}
	frame := []byte("a frame")
	hash := sha256.Sum256(frame)
	for _, c := range []struct {
		name, aad string
		sealed    []byte
	}{
		{"block", g.Topic(), g.Seal(frame).Data},
		{"signal", g.Topic() + "/signal", g.SealSignal(frame)},
	} {
		mac := hmac.New(sha256.New, derived(c.name+" nonce", 32))
		mac.Write(hash[:])
		nonce := mac.Sum(nil)[:24]
		aead, _ := chacha20poly1305.NewX(derived(c.name+" key", 32))
		want := aead.Seal(append([]byte{1}, nonce...), nonce, frame, []byte(c.aad))
		if !bytes.Equal(c.sealed, want) {
			t.Errorf("%s: got  %x\nwant %x", c.name, c.sealed, want)
		}
	}
}

// Pinned bytes: whoever changes these splits the network.
func TestGossipGolden(t *testing.T) {
	g := NewGossip(secret, 0)
	block := g.Seal([]byte("frame"))
	got := g.Topic() + " " + hex.EncodeToString(block.Data) + " " + block.CID.String()
	const want = "dmls/1/ulfskedn7mnqifyhnrlcebbbibuafxxe " +
		"017c2631e43b7c18d68904c5a16747f3613b9e07a75d74a925633d392ff499040d50441082dfb69554fff7d3b5f0 " +
		"bafkreiamcdy3qqxjo2cyhoiq3p2ksplk2i6okd76felo7x5s45wfa36kni"
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestTopicsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for generation := range uint32(4) {
		for _, s := range [][]byte{secret, make([]byte, 32)} {
			topic := NewGossip(s, generation).Topic()
			if seen[topic] || !strings.HasPrefix(topic, "dmls/1/") || len(topic) != len("dmls/1/")+32 {
				t.Fatalf("topic %s", topic)
			}
			seen[topic] = true
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	g := NewGossip(secret, 1)
	block := g.Seal([]byte("frame")).Data
	version := bytes.Clone(block)
	version[0] = 2
	// Sealed by a member who chose the nonce: it opens, but is not the block.
	nonce := bytes.Repeat([]byte{9}, 24)
	aead, _ := chacha20poly1305.NewX(g.block.key[:])
	chosen := aead.Seal(append([]byte{1}, nonce...), nonce, []byte("frame"), g.block.aad)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":            {nil, ErrMalformed},
		"too short":          {block[:Overhead-1], ErrMalformed},
		"cut off":            {block[:len(block)-1], ErrSealed},
		"longer":             {append(bytes.Clone(block), 0), ErrSealed},
		"too long":           {make([]byte, MaxBlock+1), ErrSize},
		"version 2":          {version, ErrVersion},
		"a signal":           {g.SealSignal([]byte("frame")), ErrSealed},
		"another generation": {NewGossip(secret, 2).Seal([]byte("frame")).Data, ErrSealed},
		"another group":      {NewGossip(make([]byte, 32), 1).Seal([]byte("frame")).Data, ErrSealed},
		"chosen nonce":       {chosen, ErrNonce},
	} {
		frame, id, err := g.Open(c.data)
		if !errors.Is(err, c.want) || frame != nil || id != cid.Undef {
			t.Errorf("%s: %x, %v, %v", name, frame, id, err)
		}
	}
	if _, err := g.OpenSignal(block); !errors.Is(err, ErrSealed) {
		t.Errorf("a block opened as a signal: %v", err)
	}
	if payload, err := g.OpenSignal(g.SealSignal([]byte("p"))); err != nil || string(payload) != "p" {
		t.Errorf("signal: %q, %v", payload, err)
	}
}

func TestGossipWipe(t *testing.T) {
	g := NewGossip(secret, 1)
	block := g.Seal([]byte("frame")).Data
	g.Wipe()
	if g.block.key != [32]byte{} || g.block.nonceKey != [32]byte{} || g.signal.key != [32]byte{} || g.signal.nonceKey != [32]byte{} {
		t.Fatal("keys are still there")
	}
	if _, _, err := g.Open(block); !errors.Is(err, ErrSealed) {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Fatal("sealed under a key of zeros")
		}
	}()
	g.Seal([]byte("frame"))
}

func TestCIDOf(t *testing.T) {
	// Of the empty block, as other CID tools print it.
	const empty = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
	if got := CIDOf(nil).String(); got != empty {
		t.Fatalf("got %s", got)
	}
	if b := CIDOf([]byte("x")).Bytes(); len(b) != CIDLen || !isBlockCID(b) {
		t.Fatalf("%x", b)
	}
}

// Theorem: Open(Seal(x)) = x, and a block with any bit flipped, or opened as a
// signal, is refused.
func FuzzSeal(f *testing.F) {
	f.Add([]byte("frame"), uint32(0), uint(100), byte(1))
	f.Add([]byte{}, uint32(1), uint(0), byte(3))
	f.Fuzz(func(t *testing.T, frame []byte, generation uint32, at uint, flip byte) {
		g := NewGossip(secret, generation)
		block := g.Seal(frame)
		got, c, err := g.Open(block.Data)
		if err != nil || !bytes.Equal(got, frame) || c != block.CID {
			t.Fatalf("%x, %v, %v", got, c, err)
		}
		if _, err := g.OpenSignal(block.Data); err == nil {
			t.Fatal("a block opened as a signal")
		}
		if flip == 0 {
			return
		}
		block.Data[at%uint(len(block.Data))] ^= flip
		if _, _, err := g.Open(block.Data); err == nil {
			t.Fatalf("byte %d changed by %02x opens", at%uint(len(block.Data)), flip)
		}
	})
}

// Theorem: whatever opens is exactly what sealing its content gives.
func FuzzOpen(f *testing.F) {
	g := NewGossip(secret, 0)
	f.Add(g.Seal([]byte("frame")).Data)
	f.Add(g.SealSignal([]byte("frame")))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, c, err := g.Open(data)
		if err != nil {
			return
		}
		if again := g.Seal(frame); !bytes.Equal(again.Data, data) || again.CID != c {
			t.Fatal("a second block of one frame opened")
		}
	})
}
