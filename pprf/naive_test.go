package pprf_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"testing"

	"github.com/dmlsd/dmls/pprf"
)

// sha256KDF is the KDF of a DMLS group whose suite hashes with SHA-256:
// ExpandWithLabel (RFC 9420, section 8) with the labels "tree" and "pprf".
type sha256KDF struct{}

func (sha256KDF) Size() int { return sha256.Size }

func (sha256KDF) Children(left, right, node []byte) {
	mac := hmac.New(sha256.New, node)
	copy(left, expand(mac, "tree", "left"))
	mac.Reset() // back to the state after the key: half of the work is shared
	copy(right, expand(mac, "tree", "right"))
}

func (sha256KDF) Output(leaf []byte) []byte { return expand(hmac.New(sha256.New, leaf), "pprf", "") }

// expand is HKDF-Expand for one block of output: HMAC(prk, KDFLabel || 0x01).
func expand(mac hash.Hash, label, context string) []byte {
	label = "MLS 1.0 " + label
	info := binary.BigEndian.AppendUint16(nil, sha256.Size)
	info = append(append(info, byte(len(label))), label...)
	info = append(append(info, byte(len(context))), context...)
	mac.Write(append(info, 1))
	return mac.Sum(nil)
}

// oracle is the function without any puncturing, written from the draft's text
// and sharing nothing with the package: it derives by walking from the root
// each time, and it writes KDFLabel out byte by byte.
type oracle struct {
	root []byte
	bits int
}

// info bytes of ExpandWithLabel: uint16 length 32, label<V>, context<V>, and
// the block counter of HKDF.
const (
	infoLeft  = "\x00\x20\x0cMLS 1.0 tree\x04left\x01"
	infoRight = "\x00\x20\x0cMLS 1.0 tree\x05right\x01"
	infoPPRF  = "\x00\x20\x0cMLS 1.0 pprf\x00\x01"
)

func hmacSHA256(key []byte, info string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(info))
	return mac.Sum(nil)
}

// path spells input as a string of 0 and 1.
func path(input []byte) string {
	var s []byte
	for _, b := range input {
		for mask := byte(0x80); mask != 0; mask >>= 1 {
			if b&mask == 0 {
				s = append(s, '0')
			} else {
				s = append(s, '1')
			}
		}
	}
	return string(s)
}

// node derives the secret at a path of 0 and 1.
func (o oracle) node(path string) []byte {
	secret := o.root
	for _, step := range path {
		if step == '0' {
			secret = hmacSHA256(secret, infoLeft)
		} else {
			secret = hmacSHA256(secret, infoRight)
		}
	}
	return secret
}

func (o oracle) eval(input []byte) []byte { return hmacSHA256(o.node(path(input)), infoPPRF) }

// held is what may be left after the inputs were punctured, by definition: the
// greatest subtrees without a punctured leaf, as "path=secret", left to right.
func (o oracle) held(punctured [][]byte) []string {
	leaves := make([]string, len(punctured))
	for i, input := range punctured {
		leaves[i] = path(input)
	}
	return o.heldBelow("", o.root, leaves)
}

func (o oracle) heldBelow(at string, secret []byte, punctured []string) []string {
	if len(punctured) == 0 {
		return []string{at + "=" + hex.EncodeToString(secret)}
	}
	if len(at) == o.bits {
		return nil
	}
	var left, right []string
	for _, p := range punctured {
		if p[len(at)] == '0' {
			left = append(left, p)
		} else {
			right = append(right, p)
		}
	}
	out := o.heldBelow(at+"0", hmacSHA256(secret, infoLeft), left)
	return append(out, o.heldBelow(at+"1", hmacSHA256(secret, infoRight), right)...)
}

// describe puts a node into the oracle's spelling.
func describe(n pprf.Node) string {
	return path(n.ID.Prefix[:])[:n.ID.Depth] + "=" + hex.EncodeToString(n.Secret)
}

// heldBy lists a tree's nodes from left to right in the oracle's spelling.
func heldBy(t *pprf.Tree) []string {
	var all []pprf.Node
	for _, i := range t.Deltas() {
		all = append(all, t.Delta(i)...)
	}
	sortNodes(all)
	out := make([]string, len(all))
	for i, n := range all {
		out[i] = describe(n)
	}
	return out
}

// restored sends a tree through its records and back.
func restored(tb testing.TB, t *pprf.Tree, bits int) *pprf.Tree {
	tb.Helper()
	deltas := make(map[uint32][]pprf.Node)
	for _, i := range t.Deltas() {
		nodes, err := pprf.ParseNodes(pprf.MarshalNodes(t.Delta(i)))
		if err != nil {
			tb.Fatalf("delta %d: %v", i, err)
		}
		deltas[i] = nodes
	}
	back, err := pprf.Restore(sha256KDF{}, bits, deltas)
	if err != nil {
		tb.Fatal(err)
	}
	for _, nodes := range deltas {
		pprf.WipeNodes(nodes) // Restore must have copied
	}
	return back
}

// use evaluates and punctures, and checks the output against the oracle.
func use(tb testing.TB, t *pprf.Tree, o oracle, input []byte) pprf.Puncture {
	tb.Helper()
	out, p, err := t.Eval(input)
	if err != nil {
		tb.Fatalf("%x: %v", input, err)
	}
	if !bytes.Equal(out, o.eval(input)) {
		tb.Fatalf("%x: output differs from the unpunctured tree's", input)
	}
	if err := t.Apply(&p); err != nil {
		tb.Fatalf("%x: %v", input, err)
	}
	return p
}
