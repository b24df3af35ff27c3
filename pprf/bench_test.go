package pprf_test

import (
	"math/rand/v2"
	"testing"

	"github.com/dmlsd/dmls/pprf"
)

// constantKDF costs nothing, so that what is left is the tree's own work.
type constantKDF struct{ left, right [32]byte }

func (k *constantKDF) Size() int                            { return 32 }
func (k *constantKDF) Children([]byte) (left, right []byte) { return k.left[:], k.right[:] }
func (k *constantKDF) Output(leaf []byte) []byte            { return k.left[:] }

// BenchmarkEval is a first evaluation: 256 levels, 512 HKDF-Expands.
func BenchmarkEval(b *testing.B) {
	b.Run("sha256", func(b *testing.B) { benchmarkEval(b, sha256KDF{}) })
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
