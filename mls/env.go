package mls

import (
	"io"
	"time"
)

// Env is everything impure that an operation may use, handed in by the caller.
type Env struct {
	Now      time.Time
	Rand     io.Reader                  // source of all keys, seeds and nonces; must be secret and uniform
	Parallel func(n int, f func(i int)) // runs f(0) … f(n-1) in any order; nil: a loop. Results never depend on it
}

// each runs f for 0 … n-1 by Parallel or in a loop.
func (e Env) each(n int, f func(i int)) {
	if e.Parallel != nil {
		e.Parallel(n, f)
		return
	}
	for i := range n {
		f(i)
	}
}
