package store_test

import (
	"fmt"
	"testing"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/store"
)

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func openBench(b *testing.B, dir string) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), store.Options{Dir: dir})
	must(b, err)
	return s
}

// records are n values of 512 bytes.
func records(n int) []group.Op {
	ops := make([]group.Op, n)
	for i := range ops {
		ops[i] = group.Op{Key: fmt.Sprintf("g/%06d", i), Value: make([]byte, 512), Class: group.Secret}
	}
	return ops
}

// BenchmarkOpenClose opens a store of 10,000 records, writes once and closes.
func BenchmarkOpenClose(b *testing.B) {
	dir := b.TempDir()
	s := openBench(b, dir)
	must(b, s.Commit(b.Context(), records(10_000)))
	must(b, s.Close())
	for b.Loop() {
		s := openBench(b, dir)
		must(b, s.Commit(b.Context(), records(1)))
		must(b, s.Close())
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 16, 256, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := openBench(b, b.TempDir())
			ops := records(n)
			for b.Loop() {
				must(b, s.Commit(b.Context(), ops))
			}
			must(b, s.Close())
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	s := openBench(b, b.TempDir())
	must(b, s.Commit(b.Context(), records(10_000)))
	for b.Loop() {
		for _, err := range s.Load(b.Context(), "g/") {
			must(b, err)
		}
	}
	must(b, s.Close())
}
