package mls

import (
	"crypto/sha256"
	"io"
	"time"
)

// Env is everything impure that an operation may use, handed in by the caller.
type Env struct {
	Now      time.Time
	Rand     io.Reader                  // source of all keys, seeds and nonces; must be secret and uniform
	Parallel func(n int, f func(i int)) // runs f(0) … f(n-1) in any order; nil: a loop. Results never depend on it
	// Once runs check and reports what it says, or reports true if check said so
	// before for the same sum: then a signature is good. It is for who runs many
	// devices in one process. nil: each check runs. Results never depend on it.
	Once func(sum [sha256.Size]byte, check func() bool) bool
}

// verify verifies a signature of the suite.
func (e Env) verify(s *suite, public, message, signature []byte) bool {
	if e.Once == nil {
		return s.sig.verify(public, message, signature)
	}
	w := writer{make([]byte, 0, len(public)+len(message)+len(signature)+16)}
	w.u16(uint16(s.id))
	w.vec(public)
	w.vec(signature)
	w.raw(message)
	return e.Once(sha256.Sum256(w.buf), func() bool { return s.sig.verify(public, message, signature) })
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
