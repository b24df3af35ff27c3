package mls

import (
	"encoding/binary"
	"fmt"
)

// maxVector is the largest length that the variable-size length header of
// Section 2.1.2 can express.
const maxVector = 1<<30 - 1

// writer appends the TLS presentation language of RFC 9420, Section 2.1.
type writer struct{ buf []byte }

func (w *writer) u8(v uint8)   { w.buf = append(w.buf, v) }
func (w *writer) u16(v uint16) { w.buf = binary.BigEndian.AppendUint16(w.buf, v) }
func (w *writer) u32(v uint32) { w.buf = binary.BigEndian.AppendUint32(w.buf, v) }
func (w *writer) u64(v uint64) { w.buf = binary.BigEndian.AppendUint64(w.buf, v) }
func (w *writer) raw(b []byte) { w.buf = append(w.buf, b...) }

// vec writes opaque<V>.
func (w *writer) vec(b []byte) {
	w.buf = appendVarint(w.buf, len(b))
	w.buf = append(w.buf, b...)
}

// vector writes T<V>: the elements that f writes, after their length in bytes.
func (w *writer) vector(f func(w *writer)) {
	start := len(w.buf)
	// One byte is reserved for the header; a longer one moves the elements.
	w.buf = append(w.buf, 0)
	f(w)
	n := len(w.buf) - start - 1
	extra := varintLen(n) - 1
	if extra > 0 {
		var pad [3]byte
		w.buf = append(w.buf, pad[:extra]...)
		copy(w.buf[start+1+extra:], w.buf[start+1:start+1+n])
	}
	appendVarint(w.buf[:start], n)
}

// optional writes optional<T>: a presence byte, then what f writes.
func (w *writer) optional(present bool, f func(w *writer)) {
	if !present {
		w.u8(0)
		return
	}
	w.u8(1)
	f(w)
}

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

// appendVarint appends the shortest header for n. Lengths above maxVector
// cannot be written; nothing that this package builds comes near 1 GiB, so
// that would be a broken invariant.
func appendVarint(b []byte, n int) []byte {
	switch {
	case n < 1<<6:
		return append(b, byte(n))
	case n < 1<<14:
		return binary.BigEndian.AppendUint16(b, 0x4000|uint16(n))
	case n <= maxVector:
		return binary.BigEndian.AppendUint32(b, 0x80000000|uint32(n))
	default:
		panic("mls: vector longer than 2^30-1 bytes")
	}
}

// reader parses the TLS presentation language. The first error sticks, in the
// reader and in all readers that it was cut from; later reads yield zeros.
type reader struct {
	buf   []byte
	err   error
	up    *reader
	alias bool // vec and raw return parts of buf and not copies
}

func newReader(b []byte) *reader { return &reader{buf: b} }

// failf records the first error.
func (r *reader) failf(format string, args ...any) {
	r.fail(fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...)))
}

func (r *reader) fail(err error) {
	for ; r != nil; r = r.up {
		if r.err == nil {
			r.err = err
		}
		r.buf = nil
	}
}

// take cuts the next n bytes off, or fails.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.buf) {
		r.failf("%d bytes wanted, %d left", n, len(r.buf))
		return nil
	}
	b := r.buf[:n:n]
	r.buf = r.buf[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// raw reads n bytes.
func (r *reader) raw(n int) []byte {
	b := r.take(n)
	if b == nil || r.alias {
		return b
	}
	return append(make([]byte, 0, n), b...)
}

// varint reads a vector length. Section 2.1.2: prefix 3 is invalid and a
// header longer than needed is refused, so that encodings are unique.
func (r *reader) varint() int {
	first := r.take(1)
	if first == nil {
		return 0
	}
	prefix := first[0] >> 6
	if prefix == 3 {
		r.failf("vector length with the invalid prefix 3")
		return 0
	}
	size := 1 << prefix
	n := int(first[0] & 0x3f)
	for _, b := range r.take(size - 1) {
		n = n<<8 | int(b)
	}
	if r.err == nil && varintLen(n) != size {
		r.failf("vector length %d in %d bytes is not minimal", n, size)
	}
	if r.err != nil {
		return 0
	}
	return n
}

// vec reads opaque<V>: a copy, unless the reader aliases.
func (r *reader) vec() []byte { return r.raw(r.varint()) }

// part cuts off the content of a vector.
func (r *reader) part() []byte { return r.take(r.varint()) }

// sub reads T<V> and returns a reader of its elements. Its errors are also
// the errors of r; a loop over "for !s.empty()" therefore needs no check.
// It is short enough to be inlined, and the reader then needs no allocation.
func (r *reader) sub() *reader {
	b := r.part()
	return &reader{buf: b, err: r.err, up: r, alias: r.alias}
}

// optional reads the presence byte of optional<T>.
func (r *reader) optional() bool {
	switch v := r.u8(); v {
	case 0:
		return false
	case 1:
		return true
	default:
		r.failf("presence byte %d", v)
		return false
	}
}

// empty reports whether nothing is left to read; it is true after an error.
func (r *reader) empty() bool { return r.err != nil || len(r.buf) == 0 }

// done returns the first error, or an error when bytes are left.
func (r *reader) done() error {
	if r.err == nil && len(r.buf) != 0 {
		r.failf("%d bytes after the end", len(r.buf))
	}
	return r.err
}
