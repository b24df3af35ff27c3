package group_test

import (
	"errors"
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

// Two of five followed a branch that lost, and were removed on the one that won
// before they ever stood on it (simulator, plain seed 30). More than a third of
// the voters of the fork could still say that they cannot open its first
// commit, so nothing becomes final until they have said that they did.
func TestRemovedMembersLetTheForkBecomeFinal(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "dan", "eve")
	w.update("dan")
	w.join("ada", "finn")
	w.remove("ada", "dan")
	w.remove("ben", "eve")
	w.run(10 * time.Second)
	w.heal()
	for _, n := range []string{"dan", "eve"} {
		if st := w.devices[n].g.Status(); st.State != "removed" {
			t.Fatalf("%s is %s", n, st.State)
		}
	}
	w.reload("eve")
	for range 3 {
		w.run(time.Minute)
		w.sync()
	}
	if st := w.agree("ada", "ben", "cleo", "finn"); len(st.Members) != 4 {
		t.Errorf("members %s", members(st))
	}
	for _, n := range []string{"ada", "ben", "cleo", "finn"} {
		if st := w.devices[n].g.Status(); st.RetainedEpochs > 1 || st.ForksOpen > 0 {
			t.Errorf("%s retains %d epochs, %d forks open: %s", n, st.RetainedEpochs, st.ForksOpen, st.Kept[len(st.Kept)-1].Why)
		}
	}
	for _, n := range []string{"dan", "eve"} {
		d := w.devices[n]
		if st := d.g.Status(); st.State != "removed" {
			t.Errorf("%s is %s", n, st.State)
		}
		if _, err := w.try(d, group.Send{Text: []byte("still here")}); !errors.Is(err, group.ErrNotMember) {
			t.Errorf("%s may send: %v", n, err)
		}
	}
}

// A device that leaves on a branch that loses is out when it is told so.
func TestLeavingOnALostBranch(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "dan")
	w.join("dan", "eve")
	w.cut(2, "eve")
	w.step(w.devices["eve"], group.Leave{})
	w.update("ada")
	w.say("ben", "x")
	clear(w.island)
	w.island["eve"] = 2
	w.sync()
	w.run(10 * time.Second)
	w.heal()
	w.run(time.Minute)
	if st := w.devices["eve"].g.Status(); st.State != "left" || !w.devices["eve"].has(group.KindLeft) {
		t.Errorf("eve is %s", st.State)
	}
	w.agree("ada", "ben", "cleo", "dan")
}
