package headline

import (
	"math/bits"
	"testing"
)

func TestMeasure(t *testing.T) {
	for _, n := range []int{10, 100, 1000} {
		tree, each, err := Measure(n)
		if err != nil {
			t.Fatal(err)
		}
		if want := bits.Len(uint(n - 1)); tree.Ciphertexts != want || each.Ciphertexts != n-1 {
			t.Errorf("%d members: %d ciphertexts in a tree, want %d; %d without, want %d", n, tree.Ciphertexts, want, each.Ciphertexts, n-1)
		}
		if tree.Download != (n-1)*tree.Upload || each.Download != each.Upload {
			t.Errorf("%d members: %+v, %+v", n, tree, each)
		}
		if again, _, err := Measure(n); err != nil || again != tree {
			t.Errorf("%d members: %+v, then %+v: %v", n, tree, again, err)
		}
	}
	if _, _, err := Measure(Least - 1); err == nil {
		t.Error("a group that is too small is measured")
	}
}
