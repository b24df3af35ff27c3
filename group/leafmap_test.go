package group

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// A leafMap is a map, in the order of its keys, and every version stays as it
// is whatever is made of it.
func TestLeafMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, span := range []uint32{1, 31, 32, 33, 1024, 1025, 1 << 20, 1<<32 - 1} {
		type version struct {
			got  leafMap[uint32]
			want map[uint32]uint32
		}
		versions := []version{{want: map[uint32]uint32{}}}
		for range 300 {
			from := versions[random.IntN(len(versions))]
			leaf, v := random.Uint32N(span), random.Uint32N(4)
			want := maps.Clone(from.want)
			if want[leaf] = v; v == 0 {
				delete(want, leaf)
			}
			versions = append(versions, version{from.got.set(leaf, v), want})
		}
		for _, v := range versions {
			if v.got.len() != len(v.want) {
				t.Fatalf("span %d: %d values, want %d", span, v.got.len(), len(v.want))
			}
			var want []uint32
			for _, leaf := range slices.Sorted(maps.Keys(v.want)) {
				want = append(want, v.want[leaf])
				if got := v.got.get(leaf); got != v.want[leaf] {
					t.Fatalf("span %d: leaf %d is %d, want %d", span, leaf, got, v.want[leaf])
				}
			}
			if got := slices.Collect(v.got.all()); !slices.Equal(got, want) {
				t.Fatalf("span %d: %v, want %v", span, got, want)
			}
			if leaf := random.Uint32N(span); v.got.get(leaf) != v.want[leaf] {
				t.Fatalf("span %d: leaf %d", span, leaf)
			}
		}
	}
}
