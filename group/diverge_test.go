package group_test

import (
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// parted: two islands run past MaxAge, so that the epoch where they parted is
// erased on both sides.
func parted(t *testing.T, small ...string) *world {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.cfg.MaxAge = time.Minute
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, small...)
	for range 6 {
		w.update("cleo")
		w.update(small[0])
		w.say("cleo", "here")
		w.say(small[0], "there")
		w.run(time.Minute)
	}
	return w
}

func (w *world) mend(minutes int) {
	w.t.Helper()
	w.heal()
	for range minutes {
		w.run(time.Minute)
		w.sync()
	}
}

func TestDivergedIslandsAreRepaired(t *testing.T) {
	for _, small := range [][]string{{"dan", "eve"}, {"eve"}, {"ada", "ben"}} {
		w := parted(t, small...)
		w.mend(6)
		st := w.agree("ada", "ben", "cleo", "dan", "eve")
		if len(st.Members) != 5 {
			t.Errorf("%v apart: members %s", small, members(st))
		}
		for _, n := range w.names() {
			d := w.devices[n]
			if d.g.Status().State != "member" || !d.has(group.KindDiverged) {
				t.Errorf("%v apart: %s is %s, was told of it: %v", small, n, d.g.Status().State, d.has(group.KindDiverged))
			}
		}
		for _, n := range small {
			if !w.devices[n].has(group.KindRejoined) {
				t.Errorf("%s was not added again", n)
			}
		}
		w.say(small[0], "together")
		if texts := w.devices["cleo"].texts(); texts[len(texts)-1] != small[0]+": together" {
			t.Errorf("cleo reads %q", texts)
		}
	}
}

// What the smaller side did is done again by those who did it.
func TestDivergedIslandsKeepTheirWork(t *testing.T) {
	w := parted(t, "dan", "eve")
	w.join("dan", "finn")
	w.run(20 * time.Second)
	w.mend(8)
	st := w.agree("ada", "ben", "cleo", "dan", "eve")
	if len(st.Members) != 6 {
		t.Errorf("members %s; finn is %s", members(st), w.devices["finn"].g.Status().State)
	}
	w.agree("ada", "finn")
}

// A device that was away for longer than anything is kept, and made a commit,
// is a side of its own.
func TestTooStaleDeviceReturns(t *testing.T) {
	w := parted(t, "eve")
	w.reload("eve")
	w.mend(6)
	w.agree("ada", "ben", "cleo", "dan", "eve")
}

// Half of the group removes the other half and is removed by it: two groups,
// and both are told.
func TestHalvesAreTwoGroups(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan")
	w.policy = group.PolicyOpen
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "cleo", "dan")
	for _, x := range [][2]string{{"ada", "cleo"}, {"ada", "dan"}, {"cleo", "ada"}, {"cleo", "ben"}} {
		w.remove(x[0], x[1])
	}
	w.run(10 * time.Second)
	w.mend(2)
	for range 3 {
		w.say("ada", "we")
		w.say("cleo", "we")
		w.mend(1)
	}
	w.agree("ada", "ben")
	w.agree("cleo", "dan")
	for _, n := range w.names() {
		if !w.devices[n].has(group.KindDiverged) {
			t.Errorf("%s was not told", n)
		}
	}
}

// A guest whose inviter was removed before anybody heard of the guest is told
// by nobody, since nobody can open its branch; it finds out by itself.
func TestGuestOfARemovedInviterIsTold(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "eve")
	w.join("eve", "finn")
	w.remove("ada", "eve")
	w.run(time.Minute) // the removal is final among the others
	w.mend(3)
	w.agree("ada", "ben", "cleo")
	finn := w.devices["finn"]
	if !finn.has(group.KindDiverged) {
		t.Errorf("finn is %s and was told nothing", finn.g.Status().State)
	}
	if away := finn.g.Status().Away; len(away) != 4 { // eve, who was removed, stands with the others
		t.Errorf("finn misses %v", away)
	}
}
