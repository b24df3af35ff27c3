package sim

import (
	"testing"
	"time"
)

// The table of docs/forward-secrecy.md in its order: what a puncture saves, and
// what retention saves. Compare itself fails where thief and model differ.
func TestCompare(t *testing.T) {
	t.Parallel()
	of, err := Named("thief-islands")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Compare(of(1), 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	on, off, vanilla := c.Regimes[0], c.Regimes[1], c.Regimes[2]
	t.Logf("%+v", c.Regimes)
	if on.Reread >= off.Reread || on.Thefts == 0 {
		t.Errorf("with punctures %.1f messages are opened again, without %.1f", on.Reread, off.Reread)
	}
	if on.CommitsLost != 0 || on.MessagesLost != 0 || on.OneHead < 0 {
		t.Errorf("with retention %d commits and %d messages are lost, one head after %.1f s", on.CommitsLost, on.MessagesLost, on.OneHead)
	}
	if vanilla.CommitsLost == 0 {
		t.Error("without retention nothing is lost: the scenario has no late commits")
	}
}
