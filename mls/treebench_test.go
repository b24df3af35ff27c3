package mls

import (
	"fmt"
	"testing"
)

// benchTree is a full tree: every parent set, by leaves that can commit but
// whose neighbours' signatures are made up.
func benchTree(b *testing.B, n int) *crowd {
	c := newCrowd(b, 1)
	e := c.tree.edit()
	c.add(e, 1) // leaf 1 can open and send
	var ids uint64
	for range n - 2 {
		e.addLeaf(mockLeaf(&ids, LeafNodeSourceKeyPackage, nil))
	}
	c.settle(e)
	for l := LeafIndex(2); uint32(l) < uint32(n); l += 2 { // any 32 bytes are an X25519 key
		steps := c.tree.filteredDirectPath(l)
		nodes := make([]UpdatePathNode, len(steps))
		for k := range nodes {
			nodes[k].EncryptionKey = mockKey(&ids)
		}
		parents, hash := c.tree.pathParents(steps, nodes)
		e := c.tree.edit()
		if err := e.setPath(l, mockLeaf(&ids, LeafNodeSourceCommit, hash), steps, parents); err != nil {
			b.Fatal(err)
		}
		c.settle(e)
	}
	b.ResetTimer()
	return c
}

func eachSize(b *testing.B, f func(b *testing.B, n int)) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) { f(b, n) })
	}
}

// BenchmarkTreePath: make, encrypt and hash a path from leaf 0.
func BenchmarkTreePath(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		c := benchTree(b, n)
		b.ReportAllocs()
		for b.Loop() {
			f, err := c.tree.createPath(0, c.signers[0], LeafChange{}, []byte(crowdID), testRand(1))
			if err != nil {
				b.Fatal(err)
			}
			if err := f.encrypt(f.tree.TreeHash(), nil, Env{Rand: testRand(2)}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(f.steps)), "levels")
		}
	})
}

// BenchmarkTreeApplyPath: verify and merge leaf 0's path and open it as leaf
// 1, the worst place.
func BenchmarkTreeApplyPath(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		c := benchTree(b, n)
		f, err := c.tree.createPath(0, c.signers[0], LeafChange{}, []byte(crowdID), testRand(1))
		if err != nil {
			b.Fatal(err)
		}
		context := f.tree.TreeHash()
		if err := f.encrypt(context, nil, Env{Rand: testRand(2)}); err != nil {
			b.Fatal(err)
		}
		raw := f.path.Marshal()
		b.ReportAllocs()
		for b.Loop() {
			p, err := ParseUpdatePath(raw)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.tree.applyPath(0, p, []byte(crowdID), nil); err != nil {
				b.Fatal(err)
			}
			if _, err := c.tree.openPath(1, 0, p, context, nil, c.privs[1]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkTreeAddRemove: one add (and its removal, to stay at the size).
func BenchmarkTreeAddRemove(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		c := benchTree(b, n)
		ids := uint64(1) << 40
		b.ReportAllocs()
		for b.Loop() {
			e := c.tree.edit()
			i := e.addLeaf(mockLeaf(&ids, LeafNodeSourceKeyPackage, nil))
			if err := e.removeLeaf(i); err != nil {
				b.Fatal(err)
			}
			if _, err := e.tree(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkTreeParse: all but the signatures of joining.
func BenchmarkTreeParse(b *testing.B) {
	eachSize(b, func(b *testing.B, n int) {
		c := benchTree(b, n)
		raw := c.tree.Marshal()
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			t, err := ParseRatchetTree(1, raw)
			if err != nil {
				b.Fatal(err)
			}
			if err := t.checkParents(t.root, rootIndex(t.width)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
