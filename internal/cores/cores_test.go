package cores

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestEach: each index once, whatever the number of cores.
func TestEach(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(procs)
		for _, n := range []int{0, 1, 2, 6, 7, 8, 100, 1000, 12_345} {
			calls := make([]atomic.Int32, n)
			Each(n, func(i int) { calls[i].Add(1) })
			for i := range calls {
				if c := calls[i].Load(); c != 1 {
					t.Errorf("%d cores, n=%d: %d called %d times", procs, n, i, c)
				}
			}
		}
	}
}
