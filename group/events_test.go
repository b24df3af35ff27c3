package group_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// of returns the events of a kind.
func (d *device) of(k group.Kind) []group.Event {
	var out []group.Event
	for _, e := range d.events {
		if e.Kind == k {
			out = append(out, e)
		}
	}
	return out
}

// What a fork is told as: who opened it, who votes for what and why it was
// decided so, what the merge found and did, what is left to a person and how it
// goes away, and why epochs are kept and erased.
func TestEventsOfAFork(t *testing.T) {
	w := ruled(t, 2, "ada", "ben", "cleo", "dan", "eve")
	w.cut(1, "ben", "eve")
	w.demote("ada", "ben")
	w.remove("ben", "dan") // ben has no say any more where ada is
	w.add("finn2")
	w.join("eve", "finn2")    // anybody may add
	w.say("eve", "over here") // one vote, two with ben's
	w.run(5 * time.Second)
	if k := keptBut(w, "cleo"); len(k) == 0 || !strings.Contains(k[0].Why, "not heard below it yet: ben eve") {
		t.Errorf("cleo keeps %+v", k)
	}
	w.heal()
	if f := w.devices["cleo"].g.View().Forks; len(f) != 1 || f[0].Branches[0].Commits+f[0].Branches[1].Commits != 3 {
		t.Errorf("forks %+v", f)
	}
	for range 4 {
		w.run(15 * time.Second)
		w.sync()
	}
	st := w.agree("ada", "ben", "cleo", "dan", "eve", "finn2")
	wantAdmins(t, st, "ada")

	cleo := w.devices["cleo"]
	opened := cleo.of(group.KindForkOpened)
	if len(opened) == 0 || len(opened[0].Votes) != 2 {
		t.Fatalf("opened %+v", opened)
	}
	resolved := cleo.of(group.KindForkResolved)
	if len(resolved) == 0 {
		t.Fatal("no fork was resolved")
	}
	for _, b := range resolved[0].Votes {
		if b.Chosen != (b.Child == resolved[0].Winner) || !b.Admin || b.Chosen && b.Author != "ada" {
			t.Errorf("branch %+v of %s", b, resolved[0].Winner)
		}
	}
	if !strings.Contains(resolved[0].Why, "vote") {
		t.Errorf("resolved because %q", resolved[0].Why)
	}
	told := func(e group.Event) bool {
		return slices.Contains(e.Plan.Done, "add finn2") && slices.Contains(e.Plan.Ask, "remove dan")
	}
	if !slices.ContainsFunc(cleo.of(group.KindMerge), told) {
		t.Errorf("merged %+v", cleo.of(group.KindMerge))
	}
	asked := cleo.of(group.KindNeedsApproval)
	dan := w.devices["dan"]
	if len(asked) != 1 || asked[0].Member != hexOf(dan.id.ID()) || asked[0].Actions[0] != "remove dan" || !strings.Contains(asked[0].Why, "no admin any more") {
		t.Fatalf("asked %+v", asked)
	}
	w.reload("cleo")
	w.run(time.Minute)
	if n := len(cleo.of(group.KindNeedsApproval)); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if ask := w.devices["ada"].g.View().Ask; len(ask) != 1 || ask[0].Verb != "remove" || ask[0].Member != asked[0].Member || ask[0].By != "ben" {
		t.Fatalf("left to decide: %+v", ask)
	}
	w.remove("ada", "dan") // an admin approves by doing it
	w.run(30 * time.Second)
	w.agree("ada", "ben", "cleo", "eve", "finn2")
	if ask := w.devices["ada"].g.View().Ask; len(ask) != 0 {
		t.Errorf("still left to decide: %+v", ask)
	}
	for _, k := range []group.Kind{group.KindPunctured, group.KindErased} {
		for _, e := range cleo.of(k) {
			if e.Why == "" || e.Head == "" || e.Count == 0 {
				t.Errorf("%s %+v", k, e)
			}
		}
	}
	if k := cleo.g.Status().Kept; len(k) == 0 || k[0].Why != "in use" || k[0].Opens == "" || k[0].Secrets == 0 {
		t.Errorf("kept %+v", k)
	}
}

func keptBut(w *world, name string) []group.Kept {
	return slices.DeleteFunc(w.devices[name].g.Status().Kept, func(k group.Kept) bool { return k.Why == "in use" })
}

// A member who stays silent is named when an epoch goes for its sake.
func TestSilentMemberIsNamed(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.cfg.MaxAge = time.Minute
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "cleo")
	w.run(20 * time.Second)
	w.cut(1, "cleo")
	w.update("ada")
	w.run(2 * time.Minute)
	erased := w.devices["ben"].of(group.KindErased)
	if last := erased[len(erased)-1]; last.Why != "kept for 1m0s while cleo stayed silent" {
		t.Errorf("erased because %q", last.Why)
	}
}
