package sim

import (
	"testing"

	"github.com/dmlsd/dmls/node/nodetest"
)

type mortal struct{ *Store }

// Crash: a simulated device dies before the batch is on the disk or after.
func (m mortal) Crash(n int) {
	if n <= 2 {
		m.crash = func() (durable bool) { return n == 2 }
	}
}

func (m mortal) Restart() nodetest.Crashing { return mortal{m.reopen()} }

// TestCrashContract runs what the real store runs too (package store).
func TestCrashContract(t *testing.T) {
	nodetest.TestCrash(t, func(*testing.T) nodetest.Crashing { return mortal{NewStore()} })
}
