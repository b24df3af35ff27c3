package mls

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// testRand is a reproducible stream of randomness.
func testRand(seed uint64) *rand.ChaCha8 {
	var s [32]byte
	s[0], s[1], s[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	return rand.NewChaCha8(s)
}

// TestDeserialization runs deserialization.json (RFC 9420, Section 2.1.2).
func TestDeserialization(t *testing.T) {
	type vector struct {
		Header hexBytes `json:"vlbytes_header"`
		Length int
	}
	vs := loadVectors[vector](t, "deserialization.json")
	for _, v := range vs {
		r := newReader(v.Header)
		if n := r.varint(); n != v.Length || r.done() != nil {
			t.Errorf("%x = %d (%v), want %d", v.Header, n, r.err, v.Length)
		}
		equal(t, "header", appendVarint(nil, v.Length), v.Header)
	}
	t.Logf("deserialization.json: %d cases ran", len(vs))
}

func TestVarintRefused(t *testing.T) {
	for _, b := range [][]byte{{}, {0x40}, {0x40, 0x3f}, {0x80, 0, 0}, {0x80, 0, 0x3f, 0xff}, {0xc0}, {0xff, 0, 0, 0, 0, 0, 0, 0}} {
		r := newReader(b)
		if r.varint(); !errors.Is(r.err, ErrMalformed) {
			t.Errorf("%x: %v", b, r.err)
		}
	}
}

// TestVector: T<V> written through a callback has the header of its length,
// whatever number of bytes the header takes.
func TestVector(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 16383, 16384, 70000} {
		body := bytes.Repeat([]byte{7}, n)
		var a, b writer
		a.u8(9)
		a.vec(body)
		b.u8(9)
		b.vector(func(w *writer) { w.raw(body) })
		if !bytes.Equal(a.buf, b.buf) {
			t.Fatalf("vector of %d bytes differs from opaque", n)
		}
		r := newReader(a.buf)
		if r.u8(); !bytes.Equal(r.vec(), body) || r.done() != nil {
			t.Errorf("%d bytes do not come back: %v", n, r.err)
		}
	}
}

// TestReaderSticks: an error in a part is an error of the whole, and reading
// on yields zeros.
func TestReaderSticks(t *testing.T) {
	r := newReader([]byte{2, 0, 1, 9})
	sub := r.sub()
	sub.u64()
	if !sub.empty() || r.u8() != 0 || !errors.Is(r.done(), ErrMalformed) {
		t.Errorf("error did not stick: %v", r.err)
	}
	if r := newReader([]byte{1, 2}); r.u8() != 1 || !errors.Is(r.done(), ErrMalformed) {
		t.Error("trailing byte accepted")
	}
	if r := newReader([]byte{2}); r.optional() || !errors.Is(r.err, ErrMalformed) {
		t.Error("presence byte 2 accepted")
	}
}

func TestCopies(t *testing.T) {
	b := []byte{1, 5}
	v := newReader(b).vec()
	b[1] = 6
	if v[0] != 5 {
		t.Error("vec shares the input")
	}
}
