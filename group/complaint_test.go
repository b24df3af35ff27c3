package group_test

import (
	"slices"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// spoil lets mal commit an update that does not open for the members named.
func spoil(t *testing.T, w *world, mal string, victims ...string) group.Output {
	t.Helper()
	m := w.devices[mal]
	var leaves []uint32
	for _, v := range victims {
		leaves = append(leaves, w.leaf(mal, v))
	}
	out, err := m.g.CommitSpoiled(w.env(m), mls.CommitRequest{}, leaves...)
	if err != nil {
		t.Fatal(err)
	}
	w.take(m, out)
	return out
}

// A path that is rubbish for more than a third of the voters is void for all,
// whoever could open it, in whatever order commit and complaints come; mal's
// work is lost, nobody else's.
func TestPoisonedPath(t *testing.T) {
	w := six(t, "mal", "ben", "cleo", "dan", "eve", "ada")
	bad := spoil(t, w, "mal", "ben", "cleo", "dan") // what opens for eve does for ada
	w.flush()
	w.say("ada", "sent by one who could open it")
	w.say("ben", "sent by one who could not")
	w.run(30 * time.Second)
	w.sync()
	w.run(30 * time.Second)
	names := []string{"ada", "ben", "cleo", "dan", "eve", "mal"}

	st := w.agree(names...)
	cid := bad.Publish[0].CID.String()
	for _, n := range names[:5] {
		d := w.devices[n]
		if len(d.events1(group.KindUnopenable)) == 0 {
			t.Errorf("%s has no event", n)
		}
		if slices.ContainsFunc(d.g.View().Vertices, func(v group.VertexView) bool { return v.CID == cid && v.OnHead }) {
			t.Errorf("%s follows the void commit", n)
		}
		if got := d.texts(); !slices.Contains(got, "ada: sent by one who could open it") {
			t.Errorf("%s read %q", n, got)
		}
		if got := d.texts(); !slices.Contains(got, "ben: sent by one who could not") {
			t.Errorf("%s read %q", n, got)
		}
	}
	if len(st.Members) != 6 {
		t.Errorf("members %s", members(st))
	}
	// It goes on: the next commit is everybody's.
	w.update("ben")
	w.run(20 * time.Second)
	if st := w.agree(names...); st.RetainedEpochs > 2 || st.ForksOpen > 0 {
		t.Errorf("%d epochs retained, %d forks open", st.RetainedEpochs, st.ForksOpen)
	}
	for _, n := range names {
		head := w.devices[n].g.Status().Head
		w.reload(n)
		if now := w.devices[n].g.Status().Head; now != head {
			t.Errorf("%s loaded anew is at %s, was at %s", n, now, head)
		}
	}
}

// Complaints of a third or less void nothing: the others go on, also when the
// complaint is a lie.
func TestFewComplaints(t *testing.T) {
	w := six(t, "mal", "ben", "cleo", "dan", "eve", "ada")
	spoil(t, w, "mal", "ben")
	w.flush()
	w.run(3 * time.Second)
	if st := w.agree("ada", "cleo", "dan", "eve", "mal"); st.Epoch != 6 {
		t.Errorf("epoch %d", st.Epoch)
	}
	w.say("ada", "life goes on")
	if got := w.devices["dan"].texts(); len(got) != 1 {
		t.Errorf("dan read %q", got)
	}
	if !w.devices["ben"].has(group.KindUnopenable) {
		t.Fatal("it did open for ben")
	}
	// ben stays behind, but nothing blocks his sending,
	w.say("ben", "from behind")
	if got := w.devices["dan"].texts(); !slices.Contains(got, "ben: from behind") {
		t.Errorf("dan read %q", got)
	}
	// until he is added again, like a stranded joiner.
	for range 3 {
		w.run(20 * time.Second)
		w.sync()
	}
	if st := w.agree("ada", "ben", "cleo", "dan", "eve", "mal"); len(st.Members) != 6 {
		t.Errorf("members %s", members(st))
	}
	w.say("dan", "welcome back")
	if got := w.devices["ben"].texts(); !slices.Contains(got, "dan: welcome back") || !slices.Contains(got, "ada: life goes on") {
		t.Errorf("ben read %q", got)
	}
	if got := w.devices["dan"].texts(); len(got) != 3 {
		t.Errorf("dan read %q", got) // what ada said twice once
	}
}

// Lies: complaints by whoever stood below the commit count for nothing, nor do
// complaints about no commit, about one's own, or in another epoch.
func TestLyingComplaints(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan", "mal", "eve")
	w.cut(1, "cleo") // so that the epoch stays
	parent := w.devices["ada"].g.Status().Head
	w.update("ada")
	child := w.devices["ada"].g.Status().Head
	w.run(10 * time.Second)
	for _, n := range []string{"ben", "dan", "mal", "eve"} { // they opened it, and said so by standing there
		d := w.devices[n]
		for _, about := range []string{child, parent, someCID("none").String()} {
			out, err := d.g.Complain(w.env(d), about, parent)
			if err != nil {
				t.Fatal(err)
			}
			w.take(d, out)
		}
	}
	w.flush()
	w.run(10 * time.Second)
	if st := w.agree("ada", "ben", "dan", "mal", "eve"); st.Head != child {
		t.Errorf("liars moved the head to %s, from %s", st.Head, child)
	}
	w.heal()
	w.run(20 * time.Second)
	w.update("cleo")
	w.run(20 * time.Second)
	if st := w.agree("ada", "ben", "cleo", "dan", "mal", "eve"); st.RetainedEpochs > 2 {
		t.Errorf("%d epochs retained", st.RetainedEpochs)
	}
}
