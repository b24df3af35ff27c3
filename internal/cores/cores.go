// Package cores runs the independent parts of a calculation on all cores: it is
// the Parallel of an Env wherever there is no simulation.
package cores

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Each calls f(0) … f(n-1), in any order and several at a time, and returns when
// all have returned. It takes short runs of them at once, so that a core that
// somebody else uses meanwhile gets fewer.
func Each(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	run := max(1, n/(64*workers))
	var next atomic.Int64
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for {
				end := int(next.Add(int64(run)))
				for i := end - run; i < min(end, n); i++ {
					f(i)
				}
				if end >= n {
					return
				}
			}
		})
	}
	wait.Wait()
}
