package group_test

import (
	"testing"
	"time"
)

// Ada and cleo remove each other's side: cleo removed ada, ben cleo. More of
// those who have a vote follow cleo, but of ada's head they are no majority,
// since it has guests. Ada sees by links how the vote goes (seed nested 3628).
func TestOutvotedAmongGuests(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn", "gus", "hal")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "cleo", "dan", "eve")
	w.remove("cleo", "ada")
	w.remove("ben", "cleo")
	for _, n := range []string{"finn", "gus", "hal"} {
		w.join("ben", n)
	}
	w.run(5 * time.Second)
	w.mend(4)
	w.agree("ben", "dan", "eve", "finn", "gus", "hal")
	for _, n := range []string{"ada", "cleo"} {
		if s := w.devices[n].g.State(); s != "removed" {
			t.Errorf("%s is %s", n, s)
		}
	}
	w.reload("ada")
	if s := w.devices["ada"].g.State(); s != "removed" {
		t.Errorf("ada loaded is %s", s)
	}
}

// The mirror of it: more follow ada's side, so cleo's removal of ada did not
// hold, though nobody who made it is on her head.
func TestOutvotingStays(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan", "eve")
	w.cut(1, "cleo", "dan")
	w.remove("cleo", "ada")
	w.say("dan", "with cleo")
	w.remove("ben", "cleo")
	w.say("eve", "with ada")
	w.run(5 * time.Second)
	w.mend(4)
	w.agree("ada", "ben", "dan", "eve")
	if s := w.devices["ada"].g.State(); s != "member" {
		t.Errorf("ada is %s", s)
	}
}
