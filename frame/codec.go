package frame

import (
	"encoding/binary"
	"fmt"
)

// The presentation language of RFC 9420, section 2.1: fixed-size integers in
// network order and vectors with a variable-size length in its shortest form.

// varintLen is the number of bytes that the length n takes.
func varintLen(n int) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	default:
		return 4
	}
}

// appendVarint appends the length n, below 1<<30 (all lengths here are below
// MaxBlock).
func appendVarint(b []byte, n int) []byte {
	switch varintLen(n) {
	case 1:
		return append(b, byte(n))
	case 2:
		return binary.BigEndian.AppendUint16(b, uint16(n)|1<<14)
	default:
		return binary.BigEndian.AppendUint32(b, uint32(n)|2<<30)
	}
}

// appendVector appends opaque<V>.
func appendVector(b, v []byte) []byte { return append(appendVarint(b, len(v)), v...) }

// reader takes values from the front of rest. The first error sticks, and all
// later values are zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.rest = nil
}

// take gives the next n bytes, not copied.
func (r *reader) take(n int) []byte {
	if r.err != nil || len(r.rest) < n {
		r.fail("cut off")
		return nil
	}
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uint8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if v := r.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if v := r.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// varint reads a length. RFC 9420, section 2.1.2: a length that would fit a
// shorter form, and the prefix 3, are malformed.
func (r *reader) varint() int {
	first := r.uint8()
	if first>>6 == 3 {
		r.fail("length with prefix 3")
		return 0
	}
	size := 1 << (first >> 6)
	n := int(first & 0x3f)
	for _, b := range r.take(size - 1) {
		n = n<<8 | int(b)
	}
	if r.err == nil && varintLen(n) != size {
		r.fail("length not in its shortest form")
		return 0
	}
	return n
}

// vector reads opaque<V>, not copied.
func (r *reader) vector() []byte { return r.take(r.varint()) }

// done gives the first error, or one if bytes are left.
func (r *reader) done() error {
	if r.err == nil && len(r.rest) > 0 {
		r.fail("%d trailing bytes", len(r.rest))
	}
	return r.err
}
