package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// privateMessage assembles an MLSMessage around a PrivateMessage's fields.
func privateMessage(h Header, aad, senderData, ciphertext []byte) []byte {
	b := []byte{0, 1, 0, 2}
	b = appendVector(b, h.GroupID)
	b = binary.BigEndian.AppendUint64(b, h.Epoch)
	b = append(b, h.ContentType)
	b = appendVector(b, aad)
	b = appendVector(b, senderData)
	return appendVector(b, ciphertext)
}

func testHeader() Header {
	return Header{GroupID: []byte("group"), Epoch: 42, ContentType: Commit, Links: testLinks()}
}

func testMessage() []byte {
	h := testHeader()
	return privateMessage(h, h.Links.Marshal(), make([]byte, 28), bytes.Repeat([]byte{0xcc}, 300))
}

func TestFrameRoundTrip(t *testing.T) {
	for _, nh := range []int{32, 48, 64} {
		made, err := New(testMessage(), bytes.Repeat([]byte{0xee}, nh))
		if err != nil {
			t.Fatal(err)
		}
		b := made.Marshal()
		// message FIRST, dmls_epoch after it.
		if want := append(testMessage(), made.DMLSEpoch...); len(b) <= len(want) || !bytes.HasPrefix(b, testMessage()) || !bytes.HasSuffix(b, made.DMLSEpoch) {
			t.Fatalf("marshalled %x", b)
		}
		parsed, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		clear(b) // Parse copied
		if !reflect.DeepEqual(parsed, made) || !reflect.DeepEqual(parsed.Header(), testHeader()) {
			t.Fatalf("got %+v, want %+v", parsed, made)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	epoch := bytes.Repeat([]byte{0xee}, 32)
	raw := func(message, epoch []byte) []byte { return appendVector(slices.Clone(message), epoch) }
	with := func(change func(h *Header)) []byte {
		h := testHeader()
		change(&h)
		return privateMessage(h, h.Links.Marshal(), nil, nil)
	}
	patched := func(at int, v byte) []byte {
		m := testMessage()
		m[at] = v
		return m
	}
	good := raw(testMessage(), epoch)
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	cases := map[string][]byte{
		"nothing":              nil,
		"no dmls_epoch":        testMessage(),
		"empty dmls_epoch":     raw(testMessage(), nil),
		"31 bytes dmls_epoch":  raw(testMessage(), epoch[:31]),
		"trailing byte":        append(slices.Clone(good), 0),
		"cut off":              good[:len(good)-1],
		"version 2":            raw(patched(1, 2), epoch),
		"a PublicMessage":      raw(patched(3, 1), epoch),
		"a Welcome":            raw(patched(3, 3), epoch),
		"content type 0":       raw(with(func(h *Header) { h.ContentType = 0 }), epoch),
		"content type 4":       raw(with(func(h *Header) { h.ContentType = 4 }), epoch),
		"no links":             raw(privateMessage(testHeader(), nil, nil, nil), epoch),
		"malformed links":      raw(privateMessage(testHeader(), []byte{1, 2}, nil, nil), epoch),
		"too many links after": raw(with(func(h *Header) { h.Links.After = testCIDs(1, 17) }), epoch),
		"long form of length":  raw(append([]byte{0, 1, 0, 2, 0x40, 5}, testMessage()[5:]...), epoch),
	}
	for name, b := range cases {
		if f, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	if _, err := Parse(cases["malformed links"]); !errors.Is(err, ErrLinks) {
		t.Errorf("malformed links: %v", err)
	}
	if _, err := New(append(testMessage(), 0), epoch); !errors.Is(err, ErrMalformed) {
		t.Errorf("New with a trailing byte: %v", err)
	}
}

func TestFrameSize(t *testing.T) {
	links := Links{}.Marshal()
	frameOf := func(ciphertext int) (*Frame, error) {
		return New(privateMessage(Header{ContentType: Application}, links, nil, make([]byte, ciphertext)), make([]byte, 32))
	}
	small, err := frameOf(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	room := MaxFrame - len(small.Marshal()) + 1<<20
	largest, err := frameOf(room)
	if err != nil || len(largest.Marshal()) != MaxFrame {
		t.Fatalf("largest frame: %v", err)
	}
	g := NewGossip(make([]byte, 32), 0)
	block := g.Seal(largest.Marshal())
	if len(block.Data) != MaxBlock {
		t.Fatalf("largest block has %d bytes", len(block.Data))
	}
	if _, _, err := g.Open(block.Data); err != nil {
		t.Fatal(err)
	}
	if _, err := frameOf(room + 1); !errors.Is(err, ErrSize) {
		t.Fatalf("too large: %v", err)
	}
	if _, err := Parse(make([]byte, MaxFrame+1)); !errors.Is(err, ErrSize) {
		t.Fatalf("too large: %v", err)
	}
}

// Theorem: what parses is what marshals, byte for byte, and New agrees.
func FuzzParse(f *testing.F) {
	made, err := New(testMessage(), make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(made.Marshal())
	f.Add(testMessage())
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSize) {
				t.Fatal(err)
			}
			return
		}
		if again := parsed.Marshal(); !bytes.Equal(again, b) {
			t.Fatalf("parsed %x, marshalled %x", b, again)
		}
		made, err := New(parsed.Message, parsed.DMLSEpoch)
		if err != nil || !reflect.DeepEqual(made, parsed) {
			t.Fatalf("New: %v", err)
		}
	})
}

func TestVarint(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 16383, 16384, 1<<30 - 1} {
		r := &reader{rest: appendVarint(nil, n)}
		if len(r.rest) != varintLen(n) {
			t.Errorf("%d takes %d bytes", n, len(r.rest))
		}
		if got := r.varint(); got != n || r.done() != nil {
			t.Errorf("%d came back as %d, %v", n, got, r.err)
		}
	}
	for _, b := range [][]byte{{0x40, 0x3f}, {0x80, 0, 0x3f, 0xff}, {0xc0}, {0x40}, {}} {
		r := &reader{rest: b}
		if n := r.varint(); r.err == nil {
			t.Errorf("%x read as %d", b, n)
		}
	}
}
