package group_test

import (
	"testing"
	"time"
)

// copied: ben runs from two copies of one store, each of which commits, and is
// proved an equivocator by ada, cleo and dan.
func copied(t *testing.T) *world {
	t.Helper()
	w := six(t, "ada", "ben", "cleo", "dan")
	w.clone("ben")
	w.update("ben")
	w.update("ben'")
	w.run(2 * time.Second)
	w.heal()
	w.run(20 * time.Second)
	w.sync()
	w.run(20 * time.Second)
	for _, n := range []string{"ada", "cleo", "dan"} {
		if !equivocates(w.devices[n], "ben") {
			t.Fatalf("to %s ben is no equivocator", n)
		}
	}
	return w
}

// Who joins later learns of earlier equivocators, or it would wait for ever for
// what a copied device, which sends nothing more, should confirm.
func TestJoinerLearnsOfEquivocators(t *testing.T) {
	w := copied(t)
	w.add("joy")
	w.join("ada", "joy")
	w.run(20 * time.Second)
	w.update("cleo")
	w.run(20 * time.Second)
	joy := w.devices["joy"]
	if !equivocates(joy, "ben") {
		t.Error("joy was not told of ben")
	}
	for _, n := range []string{"ada", "cleo", "dan", "joy"} {
		if st := w.devices[n].g.Status(); st.RetainedEpochs > 2 {
			t.Errorf("%s retains %d epochs", n, st.RetainedEpochs)
		}
	}
	w.reload("joy")
	if !equivocates(joy, "ben") {
		t.Error("joy forgot it")
	}
}

// Three of a fork's voters see mal go to ben's side with a commit that does not
// open for dan and eve. Those two verify its signature, so they know as well
// where mal went: heads must not differ.
func TestUnopenableCommitMovesItsAuthor(t *testing.T) {
	w := six(t, "mal", "ada", "ben", "cleo", "dan", "eve")
	mal := w.devices["mal"]
	left := twoSides(w)
	if h := mal.g.Status().Head; h != left {
		t.Fatalf("mal is at %s, not on ben's side at %s", h, left)
	}
	spoil(t, w, "mal", "dan", "eve")
	w.meet("mal", "ben", "cleo", "dan", "eve")
	w.agree("ben", "cleo", "dan", "eve")
	w.reload("dan")
	w.agree("ben", "dan")
}

// twoSides forks the group: ben and cleo on one side, dan and eve on the other,
// where mal has spoken before it was cut off from all; ada is away. On the side
// of ben a second commit wins over all that hangs beside it. It returns ben's
// first.
func twoSides(w *world) string {
	w.cut(1, "ben", "cleo")
	w.cut(2, "dan", "eve", "mal")
	w.cut(3, "ada")
	w.update("dan")
	w.ack(w.devices["mal"], w.devices["dan"].g.Status().Head)
	w.cut(4, "mal")
	w.say("eve", "with dan, too")
	w.update("ben")
	left := w.devices["ben"].g.Status().Head
	w.say("cleo", "with ben")
	w.pull(w.devices["ben"], w.devices["mal"])
	w.update("ben")
	w.say("cleo", "with ben, still")
	return left
}

// ack sends an empty frame in an epoch, whatever the sender's head is.
func (w *world) ack(d *device, epoch string) {
	w.t.Helper()
	out, err := d.g.AckIn(w.env(d), epoch)
	if err != nil {
		w.t.Fatal(err)
	}
	w.take(d, out)
	w.flush()
}

// meet lets the others have what mal has sent, and then each other, for a minute.
func (w *world) meet(mal string, others ...string) {
	w.t.Helper()
	w.cut(4, others...)
	w.sync()
	w.cut(5, mal, mal+"'")
	for range 3 {
		w.run(20 * time.Second)
		w.sync()
	}
}

// Mal, proved long ago, signs two more frames with one number, one of them below
// a commit that does not open for dan and eve. Whoever saw both counts mal's
// vote at the fork above them no more, so the others must be told again.
func TestEquivocatorIsProvedAgain(t *testing.T) {
	w := six(t, "mal", "ada", "ben", "cleo", "dan", "eve")
	w.clone("mal")
	w.update("mal")
	w.update("mal'")
	w.run(2 * time.Second)
	w.heal()
	w.run(20 * time.Second)
	w.update("ada")
	w.run(20 * time.Second)
	for _, n := range []string{"ben", "dan", "eve"} {
		if !equivocates(w.devices[n], "mal") {
			t.Fatalf("to %s mal is no equivocator", n)
		}
	}
	delete(w.devices, "mal'")
	delete(w.island, "mal'")

	left, right := twoSides(w), w.devices["dan"].g.Status().Head
	mal := w.devices["mal"]
	if h := mal.g.Status().Head; h != left {
		t.Fatalf("mal is at %s, not on ben's side at %s", h, left)
	}
	spoil(t, w, "mal", "dan", "eve")
	twin := w.clone("mal")
	w.ack(mal, mal.g.Status().Head)
	w.ack(twin, right)
	w.pull(twin, mal)
	w.cut(4, twin.name)
	w.meet("mal", "ben", "cleo", "dan", "eve")
	w.agree("ben", "cleo", "dan", "eve")
}

// Until the proof reaches it, a joiner counts an equivocator's vote at forks
// below its base, and so do all others.
func TestJoinerCountsAsElders(t *testing.T) {
	w := copied(t)
	w.cut(6, "ben", "ben'")
	w.add("joy")
	w.join("ada", "joy")
	ben := w.devices["ben"]
	w.pull(w.devices["ada"], ben)
	w.cut(1, "cleo")
	w.cut(2, "dan")
	w.update("cleo")
	w.update("dan")
	right := w.devices["dan"].g.Status().Head
	w.pull(w.devices["dan"], ben)
	w.ack(ben, right)
	for _, n := range []string{"cleo", "dan", "ben", "ben"} { // joy asks for what ben's frame follows
		for _, to := range []string{"ada", "joy", "cleo", "dan"} {
			w.pull(w.devices[n], w.devices[to])
		}
	}
	if st := w.agree("ada", "cleo", "dan", "joy"); st.Head != right {
		t.Fatalf("at %s, and not at %s, which dan and ben are for", st.Head, right)
	}
	if equivocates(w.devices["joy"], "ben") {
		t.Fatal("joy knows already")
	}
	w.cut(0, "cleo", "dan")
	w.run(20 * time.Second)
	w.sync()
	w.run(20 * time.Second)
	if st := w.agree("ada", "cleo", "dan", "joy"); st.RetainedEpochs > 2 {
		t.Errorf("%d epochs retained", st.RetainedEpochs)
	}
	if !equivocates(w.devices["joy"], "ben") {
		t.Error("joy was not told")
	}
}
