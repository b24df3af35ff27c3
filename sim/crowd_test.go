package sim

import (
	"os"
	"strings"
	"testing"
)

// TestCrowds plays large groups: DMLS_SIM_CROWD names them (crowd-64, crowd-256,
// crowd-1000). The largest takes some minutes and gigabytes.
func TestCrowds(t *testing.T) {
	names := strings.Fields(os.Getenv("DMLS_SIM_CROWD"))
	if len(names) == 0 {
		t.Skip("set DMLS_SIM_CROWD to the scenarios to run, such as crowd-64")
	}
	for _, name := range names {
		of, err := Named(name)
		if of == nil || err != nil {
			t.Fatalf("no scenario %q: %v", name, err)
		}
		r, err := Run(of(1))
		if err != nil {
			t.Fatal(err)
		}
		if !passes(r) || r.Vacuous != "" {
			t.Errorf("%s: vacuous %q, %.2000q\nreplay: %s", name, r.Vacuous, r.Violations, r.Scenario.Replay())
		}
		t.Logf("%s: %v, one head %v after the heal", name, r.Took, r.Heal)
	}
}
