package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/dmlsd/dmls/node/nodetest"
)

// mortal is a store whose writes can be made to end, each at a step of its own.
type mortal struct {
	*Store
	t *testing.T
	o Options
}

func (m mortal) Crash(n int) {
	m.hook = func(string) error {
		if n--; n == 0 {
			return errFault
		}
		return nil
	}
}

func (m mortal) Restart() nodetest.Crashing {
	m.breakOn(errFault) // so that Close ends nothing that was under way
	m.Close()
	return mortal{openErase(m.t, m.o), m.t, m.o}
}

// TestCrashContract runs what the simulated store runs too (package sim).
func TestCrashContract(t *testing.T) {
	for name, interval := range map[string]time.Duration{"gathered": maxErase, "before acknowledging": EraseNow} {
		t.Run(name, func(t *testing.T) {
			nodetest.TestCrash(t, func(t *testing.T) nodetest.Crashing {
				o := Options{Dir: filepath.Join(t.TempDir(), "home"), EraseInterval: interval}
				return mortal{openErase(t, o), t, o}
			})
		})
	}
}
