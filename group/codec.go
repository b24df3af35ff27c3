package group

import (
	"encoding/binary"
	"fmt"
)

// buffer writes the engine's own structures: integers big-endian, byte strings
// behind a length of four bytes. Nothing here is hashed by MLS.
type buffer struct{ b []byte }

func (w *buffer) u8(v uint8)   { w.b = append(w.b, v) }
func (w *buffer) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *buffer) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *buffer) flag(v bool) {
	if v {
		w.u8(1)
	} else {
		w.u8(0)
	}
}
func (w *buffer) bytes(v []byte) {
	w.u32(uint32(len(v)))
	w.b = append(w.b, v...)
}

// cursor reads what buffer wrote. The first fault sticks; done reports it, or
// bytes left over.
type cursor struct {
	b   []byte
	err error
}

func (r *cursor) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		if r.err == nil {
			r.err = fmt.Errorf("group: %d bytes where %d are needed", len(r.b), n)
		}
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *cursor) u8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *cursor) flag() bool {
	v := r.u8()
	if v > 1 && r.err == nil {
		r.err = fmt.Errorf("group: flag %d", v)
	}
	return v == 1
}

func (r *cursor) u32() uint32 {
	if v := r.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (r *cursor) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// bytes returns a copy: what is parsed outlives the message it came in.
func (r *cursor) bytes() []byte {
	n := r.u32()
	if r.err != nil {
		return nil
	}
	return append([]byte{}, r.take(int(n))...)
}

func (r *cursor) done() error {
	if r.err == nil && len(r.b) != 0 {
		r.err = fmt.Errorf("group: %d bytes left over", len(r.b))
	}
	return r.err
}
