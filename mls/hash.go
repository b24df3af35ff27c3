package mls

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
)

// hashAlgorithm is the hash of a cipher suite or KEM. HMAC and HKDF over short
// inputs, which is nearly all that MLS does, are computed here on the stack:
// the standard library's need a dozen allocations and twice the time.
type hashAlgorithm uint8

const (
	hashSHA256 hashAlgorithm = iota + 1
	hashSHA384
	hashSHA512
)

func (h hashAlgorithm) new() hash.Hash {
	switch h {
	case hashSHA384:
		return sha512.New384()
	case hashSHA512:
		return sha512.New()
	}
	return sha256.New()
}

// size is Nh.
func (h hashAlgorithm) size() int {
	switch h {
	case hashSHA384:
		return sha512.Size384
	case hashSHA512:
		return sha512.Size
	}
	return sha256.Size
}

// block is the block size that HMAC fills its key up to.
func (h hashAlgorithm) block() int {
	if h == hashSHA256 {
		return sha256.BlockSize
	}
	return sha512.BlockSize
}

// appendSum appends Hash(b).
func (h hashAlgorithm) appendSum(dst, b []byte) []byte {
	switch h {
	case hashSHA384:
		s := sha512.Sum384(b)
		return append(dst, s[:]...)
	case hashSHA512:
		s := sha512.Sum512(b)
		return append(dst, s[:]...)
	}
	s := sha256.Sum256(b)
	return append(dst, s[:]...)
}

// shortMAC is the longest message that appendMAC copies to the stack.
const shortMAC = 512

// appendMAC appends HMAC(key, a || b) to dst (RFC 2104). Neither a nor b may
// share memory with the free part of dst.
func (h hashAlgorithm) appendMAC(dst, key, a, b []byte) []byte {
	n := h.block()
	if len(key) > n || len(a)+len(b) > shortMAC {
		m := hmac.New(h.new, append([]byte(nil), key...))
		m.Write(append([]byte(nil), a...)) // copies: what an interface gets would escape to the heap
		m.Write(append([]byte(nil), b...))
		return m.Sum(dst)
	}
	var stack [sha512.BlockSize + shortMAC]byte
	buf := append(stack[:0], key...)[:n]
	xorEach(buf, 0x36)
	buf = append(append(buf, a...), b...)
	inner := h.appendSum(dst, buf)[len(dst):]
	xorEach(buf[:n], 0x36^0x5c)
	clear(buf[n:])
	end := n + copy(buf[n:n+len(inner)], inner)
	dst = h.appendSum(dst, buf[:end])
	clear(buf)
	clear(buf[:end])
	return dst
}

// macs computes HMAC(key, a) and HMAC(key, b) in place. The key, of up to a
// block, is set once; neither a nor b is longer than 64 bytes.
func (h hashAlgorithm) macs(macA, macB, key, a, b []byte) {
	var in, out [sha512.BlockSize + 64]byte
	n := h.block()
	copy(in[:], key)
	copy(out[:], key)
	xorEach(in[:n], 0x36)
	xorEach(out[:n], 0x5c)
	h.appendSum(macA[:0], h.appendSum(out[:n], append(in[:n], a...)))
	h.appendSum(macB[:0], h.appendSum(out[:n], append(in[:n], b...)))
	clear(in[:])
	clear(out[:])
}

// xorEach xors each of 8k bytes with c, eight at a time.
func xorEach(b []byte, c byte) {
	for word := uint64(c) * 0x0101010101010101; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
	}
}

// extract is HKDF-Extract (RFC 5869); a nil salt is Nh zeros.
func (h hashAlgorithm) extract(salt, ikm []byte) []byte {
	return h.appendMAC(make([]byte, 0, h.size()), salt, ikm, nil)
}

// expand is HKDF-Expand of up to 255 blocks, which no caller exceeds: exporters
// check their length before.
func (h hashAlgorithm) expand(prk, info []byte, n int) []byte {
	size := h.size()
	if n > 255*size {
		panic("mls: HKDF-Expand: more than 255 blocks")
	}
	out := make([]byte, 0, (n+size-1)/size*size)
	var stack [192]byte
	for counter := byte(1); len(out) < n; counter++ {
		end := append(append(stack[:0], info...), counter)
		previous := out[max(0, len(out)-size):]
		out = h.appendMAC(out, prk, previous, end)
	}
	clear(out[n:])
	return out[:n:n]
}
