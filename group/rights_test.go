package group_test

import (
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// A removed device must wipe after MaxAge and stay removed.
func TestRemovedDeviceWipes(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.cfg.MaxAge = time.Minute
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "cleo")
	w.run(20 * time.Second)
	w.remove("ada", "cleo")
	w.run(20 * time.Second)
	cleo := w.devices["cleo"]
	if st := cleo.g.Status(); st.State != "removed" {
		t.Fatalf("cleo is %s", st.State)
	}
	w.now = w.now.Add(2 * time.Minute)
	if _, err := w.try(cleo, group.Tick{}); err != nil {
		t.Fatal(err)
	}
	st := cleo.g.Status()
	if st.State != "removed" || st.RetainedEpochs != 0 {
		t.Fatalf("state %s, %d epochs", st.State, st.RetainedEpochs)
	}
}

// A Change that everybody else must refuse is refused to the caller.
func TestTooManyRemovals(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve", "finn"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	var leaves []uint32
	for _, n := range []string{"cleo", "dan", "eve"} {
		leaves = append(leaves, w.leaf("ada", n))
	}
	_, err := w.try(w.devices["ada"], group.Change{Remove: leaves})
	if err == nil {
		w.run(20 * time.Second)
		w.sync()
		w.run(20 * time.Second)
		for _, r := range w.devices["ben"].last.Results {
			t.Log(r)
		}
		w.agree("ada", "ben")
	}
}

// A commit by reference whose proposal has not come waits for it, also if
// its `after` names only a frame that follows the proposal.
func TestCommitBeforeItsProposal(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "dan") // dan hears what we hand over only
	w.step(w.devices["ben"], group.Leave{})
	w.flush()
	g := w.say("cleo", "bye ben").Publish[0].Data
	dan := w.devices["dan"]
	w.step(dan, group.Receive{Blocks: [][]byte{g}})
	w.run(10 * time.Second) // somebody commits the leave
	st := w.agree("ada", "cleo")
	out := w.step(dan, group.Receive{Blocks: [][]byte{w.block(w.devices["ada"], mustCID(t, st.Head))}})
	for _, r := range out.Results {
		t.Log("the commit:", r.Verdict, r.Reason)
		if r.Verdict == group.Rejected {
			t.Error("a valid commit was rejected for good because its proposal is late")
		}
	}
	w.heal()
	w.run(20 * time.Second)
	w.sync()
	w.agree("ada", "cleo", "dan")
}

// A leave that was committed on a losing branch is repeated on the head.
func TestLeaveOnLosingBranch(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "dan", "eve")
	w.update("ada")
	w.say("ben", "x")
	w.say("cleo", "x")
	w.step(w.devices["dan"], group.Leave{})
	w.run(10 * time.Second) // eve commits it
	if got := w.devices["dan"].g.Status().State; got != "left" {
		t.Fatalf("dan is %s", got)
	}
	w.heal()
	for range 6 {
		w.run(30 * time.Second)
		w.sync()
	}
	st := w.agree("ada", "ben", "cleo", "eve")
	if len(st.Members) != 4 {
		t.Errorf("members %s: dan left, but the head holds it still (dan: %s)", members(st), w.devices["dan"].g.Status().State)
	}
}

// Two members leave at once: both get away.
func TestBothLeave(t *testing.T) {
	w := newWorld(t, "ada", "ben")
	w.cfg.MaxAge = time.Minute
	w.create("ada")
	w.join("ada", "ben")
	w.run(20 * time.Second)
	w.step(w.devices["ada"], group.Leave{})
	w.step(w.devices["ben"], group.Leave{})
	w.run(10 * time.Minute)
	for _, n := range []string{"ada", "ben"} {
		if st := w.devices[n].g.Status(); st.State != "left" || st.RetainedEpochs > 0 {
			t.Errorf("%s is %s with %d epochs", n, st.State, st.RetainedEpochs)
		}
	}
}

// A device that becomes stranded while an ack or work is due must not wake again and again.
func TestStrandedIsQuiet(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "eve")
	w.update("ada")
	w.say("ben", "x")
	w.say("cleo", "x")
	w.join("eve", "finn")
	w.cfg.ReaddDelay = time.Hour
	w.heal()
	w.run(5 * time.Millisecond)
	if st := w.devices["finn"].g.Status(); st.State != "stranded" {
		t.Logf("finn is %s", st.State)
	}
	w.run(time.Minute)
}

// A leaving device with timers of its own must not wake again and again.
func TestLeavingIsQuiet(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "eve")
	w.update("ada")
	w.say("ben", "x")
	w.say("cleo", "x")
	w.join("eve", "finn")
	w.heal()
	w.cut(2, "ben")
	t.Log(w.devices["ben"].wake.Sub(w.now))
	w.step(w.devices["ben"], group.Leave{})
	w.run(time.Minute)
}
