package pprf_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/dmlsd/dmls/pprf"
)

// constantKDF costs nothing, so that what is left is the tree's own work.
type constantKDF struct{ left, right [32]byte }

func (k *constantKDF) Size() int { return 32 }
func (k *constantKDF) Children(left, right, _ []byte) {
	copy(left, k.left[:])
	copy(right, k.right[:])
}
func (k *constantKDF) Output(leaf []byte) []byte { return k.left[:] }

// stackKDF is sha256KDF as mls has it: HMAC on the stack.
type stackKDF struct{}

func (stackKDF) Size() int { return sha256.Size }

func (stackKDF) Children(left, right, node []byte) {
	inner, outer := padded(node, 0x36), padded(node, 0x5c)
	stackMAC(left, inner, outer, infoLeft)
	stackMAC(right, inner, outer, infoRight)
}

func (stackKDF) Output(leaf []byte) []byte {
	out := make([]byte, sha256.Size)
	stackMAC(out, padded(leaf, 0x36), padded(leaf, 0x5c), infoPPRF)
	return out
}

type block [sha256.BlockSize + sha256.Size]byte

// padded is a key of 32 bytes as the first block of a hash.
func padded(key []byte, pad byte) (b block) {
	copy(b[:], key)
	for i := 0; i < sha256.BlockSize; i += 8 {
		word := binary.LittleEndian.Uint64(b[i:]) ^ uint64(pad)*0x0101010101010101
		binary.LittleEndian.PutUint64(b[i:], word)
	}
	return b
}

func stackMAC(out []byte, inner, outer block, info string) {
	n := sha256.BlockSize + copy(inner[sha256.BlockSize:], info)
	h := sha256.Sum256(inner[:n])
	copy(outer[sha256.BlockSize:], h[:])
	h = sha256.Sum256(outer[:])
	copy(out, h[:])
}

// Both KDFs are one function.
func TestStackKDF(t *testing.T) {
	input := randomInput(rand.New(rand.NewPCG(3, 3)), 32)
	a, _, err := pprf.New(sha256KDF{}, testRoot(1), 256).Eval(input)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := pprf.New(stackKDF{}, testRoot(1), 256).Eval(input)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("two outputs")
	}
}

// BenchmarkEval is a first evaluation: 256 levels, 512 HKDF-Expands.
func BenchmarkEval(b *testing.B) {
	b.Run("sha256", func(b *testing.B) { benchmarkEval(b, stackKDF{}) })
	b.Run("tree-alone", func(b *testing.B) { benchmarkEval(b, &constantKDF{}) })
}

func benchmarkEval(b *testing.B, kdf pprf.KDF) {
	tree := pprf.New(kdf, testRoot(1), 256)
	input := randomInput(rand.New(rand.NewPCG(1, 1)), 32)
	b.ReportAllocs()
	for b.Loop() {
		_, p, err := tree.Eval(input)
		if err != nil {
			b.Fatal(err)
		}
		p.Wipe()
	}
}

// BenchmarkPuncture evaluates and punctures at random points, 100 a tree: the
// tree's own work as it grows to 24,000 nodes.
func BenchmarkPuncture(b *testing.B) {
	random := rand.New(rand.NewPCG(2, 2))
	kdf := &constantKDF{}
	var tree *pprf.Tree
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%100 == 0 {
			tree = pprf.New(kdf, testRoot(1), 256)
		}
		n++
		_, p, err := tree.Eval(randomInput(random, 32))
		if err != nil {
			b.Fatal(err)
		}
		if err := tree.Apply(&p); err != nil {
			b.Fatal(err)
		}
	}
}

// The tree allocates a fixed number of objects per evaluation, not per level.
func TestEvalAllocations(t *testing.T) {
	for _, bits := range []int{16, 256, 512} {
		tree := pprf.New(&constantKDF{}, testRoot(1), bits)
		input := make([]byte, bits/8)
		n := testing.AllocsPerRun(10, func() {
			if _, _, err := tree.Eval(input); err != nil {
				t.Fatal(err)
			}
		})
		if n > 4 {
			t.Errorf("%d bits: %v allocations", bits, n)
		}
	}
}
