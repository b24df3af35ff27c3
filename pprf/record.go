package pprf

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// MarshalNodes encodes a delta, nodes from left to right as [Tree.Delta] gives
// them. The result is secret. No node gives no byte; otherwise
//
//	struct {
//	  uint8 size;           // length of a secret
//	  struct {
//	    uint16 depth;
//	    uint8  shared;      // leading bytes of the prefix as in the node before
//	    opaque rest[ceil(depth/8) - shared];
//	    opaque secret[size];
//	  } nodes[];            // to the end of the record
//	}
//
// Neighbours share most of their path: a first puncture at 256 levels and 32
// bytes takes about 9 KiB.
func MarshalNodes(nodes []Node) []byte {
	if len(nodes) == 0 {
		return nil
	}
	size := len(nodes[0].Secret)
	// Room for all, so that growing leaves no stray copy of secrets behind.
	room := 1
	for i := range nodes {
		room += 3 + len(nodes[i].ID.prefix()) + size
	}
	out := append(make([]byte, 0, room), byte(size))
	var before []byte
	for i := range nodes {
		prefix := nodes[i].ID.prefix()
		shared := sharedBytes(before, prefix)
		out = binary.BigEndian.AppendUint16(out, nodes[i].ID.Depth)
		out = append(out, byte(shared))
		out = append(out, prefix[shared:]...)
		out = append(out, nodes[i].Secret...)
		before = prefix
	}
	return out
}

// sharedBytes counts the leading bytes that a and b have in common.
func sharedBytes(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// ParseNodes decodes what [MarshalNodes] made and nothing else. The secrets
// are copied.
func ParseNodes(b []byte) ([]Node, error) {
	if len(b) == 0 {
		return nil, nil
	}
	size, rest := int(b[0]), b[1:]
	if size == 0 || len(rest) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrNodes)
	}
	var nodes []Node
	var before []byte
	for len(rest) > 0 {
		if len(rest) < 3 {
			return nil, fmt.Errorf("%w: cut off", ErrNodes)
		}
		id := NodeID{Depth: binary.BigEndian.Uint16(rest)}
		shared := int(rest[2])
		rest = rest[3:]
		if id.Depth > MaxBits {
			return nil, fmt.Errorf("%w: depth %d", ErrNodes, id.Depth)
		}
		prefix := id.prefix()
		own := len(prefix) - shared
		if shared > len(before) || own < 0 || len(rest) < own+size {
			return nil, fmt.Errorf("%w: cut off", ErrNodes)
		}
		copy(prefix, before[:shared])
		copy(prefix[shared:], rest)
		if sharedBytes(before, prefix) != shared {
			return nil, fmt.Errorf("%w: prefix not in its shortest form", ErrNodes)
		}
		nodes = append(nodes, Node{ID: id, Secret: bytes.Clone(rest[own : own+size])})
		rest = rest[own+size:]
		before = bytes.Clone(prefix)
	}
	if !ordered(nodes) {
		return nil, fmt.Errorf("%w: not in order", ErrNodes)
	}
	return nodes, nil
}
