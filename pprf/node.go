package pprf

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"strconv"
)

// MaxBits is the greatest depth of a tree: 8·Nh for a hash of 64 bytes.
const MaxBits = 512

// NodeID names a node by the path that leads to it from the root: the first
// Depth bits of Prefix. All later bits are zero, so that ids compare with ==.
type NodeID struct {
	Depth  uint16
	Prefix [MaxBits / 8]byte
}

// Node is a held node. Secret has the length of the KDF's output.
type Node struct {
	ID     NodeID
	Secret []byte
}

// String gives the depth and the prefix in hex, never the secret.
func (n Node) String() string { return n.ID.String() }

// String gives the depth and the prefix in hex: "9:a680".
func (id NodeID) String() string {
	return strconv.Itoa(int(id.Depth)) + ":" + hex.EncodeToString(id.prefix())
}

// prefix is the part of Prefix that Depth fills, rounded up to bytes.
func (id *NodeID) prefix() []byte { return id.Prefix[:(int(id.Depth)+7)/8] }

// canonical says whether the bits after Depth are zero.
func (id *NodeID) canonical() bool {
	if id.Depth > MaxBits {
		return false
	}
	full := int(id.Depth) / 8
	rest := id.Prefix[full:]
	if r := id.Depth % 8; r != 0 {
		if rest[0]&(0xff>>r) != 0 {
			return false
		}
		rest = rest[1:]
	}
	for _, b := range rest {
		if b != 0 {
			return false
		}
	}
	return true
}

// covers says whether the path to the node is a prefix of input, which has at
// least Depth bits.
func (id *NodeID) covers(input []byte) bool {
	full := int(id.Depth) / 8
	if !bytes.Equal(id.Prefix[:full], input[:full]) {
		return false
	}
	r := id.Depth % 8
	return r == 0 || (id.Prefix[full]^input[full])>>(8-r) == 0
}

// compare orders the nodes of a prefix-free set from left to right.
func (id *NodeID) compare(other *NodeID) int {
	if c := bytes.Compare(id.Prefix[:], other.Prefix[:]); c != 0 {
		return c
	}
	return cmp.Compare(id.Depth, other.Depth)
}

// bit is step number i (from 0) of the path to input: 0 left, 1 right.
func bit(input []byte, i int) byte { return input[i/8] >> (7 - i%8) & 1 }

// siblingOf names the sibling of the node of the given depth (at least 1) on
// the path to input.
func siblingOf(input []byte, depth int) NodeID {
	id := NodeID{Depth: uint16(depth)}
	last := depth - 1
	copy(id.Prefix[:], input[:last/8+1])
	id.Prefix[last/8] ^= 0x80 >> (last % 8)
	id.Prefix[last/8] &= 0xff << (7 - last%8)
	return id
}

// ordered says whether nodes stand strictly from left to right and no node is
// an ancestor of another. In a sorted list an ancestor's first descendant
// follows it directly, so looking at neighbours is enough.
func ordered(nodes []Node) bool {
	for i := range nodes {
		if !nodes[i].ID.canonical() {
			return false
		}
		if i == 0 {
			continue
		}
		left, right := &nodes[i-1].ID, &nodes[i].ID
		if left.compare(right) >= 0 || left.Depth <= right.Depth && left.covers(right.Prefix[:]) {
			return false
		}
	}
	return true
}

// WipeNodes overwrites the secrets of nodes with zeros.
func WipeNodes(nodes []Node) {
	for i := range nodes {
		clear(nodes[i].Secret)
	}
}
