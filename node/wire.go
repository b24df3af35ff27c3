package node

import (
	"encoding/binary"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// writer writes messages and records of this package: integers big-endian,
// byte strings behind a length of four bytes, lists behind a count of four.
type writer struct{ b []byte }

func (w *writer) u8(v uint8)   { w.b = append(w.b, v) }
func (w *writer) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) raw(v []byte) { w.b = append(w.b, v...) }
func (w *writer) bytes(v []byte) {
	w.u32(uint32(len(v)))
	w.raw(v)
}

func (w *writer) list(v [][]byte) {
	w.u32(uint32(len(v)))
	for _, b := range v {
		w.bytes(b)
	}
}

// reader reads what writer wrote. The first fault sticks; done reports it.
// What it returns shares memory with the input.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

func (r *reader) raw(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)) {
		r.fail("%d bytes where %d are needed", len(r.b), n)
	}
	if r.err != nil {
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if v := r.raw(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u32() uint32 {
	if v := r.raw(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.raw(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// bytes reads a string of at most limit bytes.
func (r *reader) bytes(limit int) []byte {
	n := r.u32()
	if int64(n) > int64(limit) {
		r.fail("string of %d bytes, at most %d are allowed", n, limit)
	}
	return r.raw(int(n))
}

// list reads at most count strings of at most limit bytes each. It allocates
// no more than what the input has bytes for.
func (r *reader) list(count, limit int) [][]byte {
	n := r.u32()
	if int64(n) > int64(count) {
		r.fail("list of %d, at most %d are allowed", n, count)
	}
	if r.err == nil && int64(n)*4 > int64(len(r.b)) {
		r.fail("list of %d in %d bytes", n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	v := make([][]byte, 0, n)
	for range n {
		v = append(v, r.bytes(limit))
	}
	if r.err != nil {
		return nil
	}
	return v
}

func (r *reader) done() error {
	if len(r.b) != 0 {
		r.fail("%d bytes left over", len(r.b))
	}
	return r.err
}

// cidSize is the length of the only form of CID that frames have: version 1,
// raw, sha2-256.
const cidSize = 36

func parseCID(b []byte) (cid.Cid, error) {
	c, err := cid.Cast(b)
	if err != nil {
		return cid.Undef, fmt.Errorf("%w: CID: %w", ErrMalformed, err)
	}
	if p := c.Prefix(); p.Version != 1 || p.Codec != cid.Raw || p.MhType != multihash.SHA2_256 || len(b) != cidSize {
		return cid.Undef, fmt.Errorf("%w: CID %s is not a block's", ErrMalformed, c)
	}
	return c, nil
}

func (w *writer) cids(ids []cid.Cid) {
	w.u32(uint32(len(ids)))
	for _, c := range ids {
		s := c.KeyString()
		w.u32(uint32(len(s)))
		w.b = append(w.b, s...)
	}
}

func (r *reader) cids(count int) []cid.Cid {
	var ids []cid.Cid
	for _, b := range r.list(count, cidSize) {
		c, err := parseCID(b)
		if err != nil {
			if r.err == nil {
				r.err = err
			}
			return nil
		}
		ids = append(ids, c)
	}
	return ids
}
