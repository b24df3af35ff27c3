package group_test

import (
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// A device that leaves and is never let go wipes after MaxAge, and loads.
func TestLeavingWipes(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.cfg.MaxAge = time.Minute
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "cleo")
	w.run(20 * time.Second)
	w.cut(1, "cleo")
	w.step(w.devices["cleo"], group.Leave{})
	w.run(3 * time.Minute)
	st := w.devices["cleo"].g.Status()
	t.Log(st.State, st.RetainedEpochs)
	if _, err := w.try(w.devices["cleo"], group.Tick{}); err != nil {
		t.Error(err)
	}
	w.reload("cleo")
}
