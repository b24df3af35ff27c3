package group_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// The tests of this file, with those that docs/attacks.md names beside them,
// are the cases of the list that the engine was built against.

// Case 1: a commit comes twice, and again after a restart.
func TestCommitAgain(t *testing.T) {
	w := six(t, "ada", "ben", "cleo")
	w.cut(1, "ben")
	block := w.step(w.devices["ada"], group.Change{Update: true}).Publish[0].Data
	ben := w.devices["ben"]
	for i, want := range []group.Verdict{group.Applied, group.Duplicate, group.Duplicate} {
		if i == 2 {
			w.reload("ben")
		}
		before := ben.g.Status()
		out := w.step(ben, group.Receive{Blocks: [][]byte{block}})
		if out.Results[0].Verdict != want {
			t.Errorf("time %d: verdict %d, want %d", i+1, out.Results[0].Verdict, want)
		}
		if want == group.Duplicate && (len(out.Batch) > 0 || ben.g.Status().Retained != before.Retained) {
			t.Errorf("time %d: a repeat changed %d records", i+1, len(out.Batch))
		}
	}
}

// Case 23: dmls_epoch is a hint outside AEAD and signature. A flipped one
// misroutes that copy and nothing else.
func TestFlippedEpochID(t *testing.T) {
	w := six(t, "ada", "ben", "cleo")
	w.cut(1, "ben")
	block := w.step(w.devices["ada"], group.Change{Update: true}).Publish[0].Data
	ben := w.devices["ben"]
	g := gossip(t, ben)
	plain, _, err := g.Open(block)
	if err != nil {
		t.Fatal(err)
	}
	f, err := frame.Parse(plain)
	if err != nil {
		t.Fatal(err)
	}
	id := bytes.Clone(f.DMLSEpoch)
	id[3] ^= 1
	bad, err := frame.New(f.Message, id)
	if err != nil {
		t.Fatal(err)
	}
	r := w.step(ben, group.Receive{Blocks: [][]byte{g.Seal(bad.Marshal()).Data}}).Results[0]
	if r.Verdict != group.Rejected || !errors.Is(r.Reason, group.ErrWrongEpoch) {
		t.Errorf("a flipped dmls_epoch: verdict %d, %v", r.Verdict, r.Reason)
	}
	if r := w.step(ben, group.Receive{Blocks: [][]byte{block}}).Results[0]; r.Verdict != group.Applied {
		t.Errorf("the true frame after it: verdict %d, %v", r.Verdict, r.Reason)
	}
}

// Case 24: the own commit comes back, before and after a restart; the own
// branch loses and is still there when it wins later.
func TestOwnCommitEchoed(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan", "eve")
	w.cut(1, "dan")
	own := w.step(w.devices["dan"], group.Change{Update: true}).Publish[0].Data
	child := w.devices["dan"].g.Status().Head
	w.reload("dan")
	dan := w.devices["dan"]
	if r := w.step(dan, group.Receive{Blocks: [][]byte{own}}).Results[0]; r.Verdict != group.Duplicate {
		t.Errorf("the own commit: verdict %d, %v", r.Verdict, r.Reason)
	}
	// A rival that wins the tie, then votes for the own branch.
	for i, n := range []string{"ben", "cleo", "eve"} {
		w.cut(2+i, n)
	}
	rival := w.step(w.devices["ada"], group.Change{Update: true}).Publish[0].Data
	w.step(dan, group.Receive{Blocks: [][]byte{rival}})
	if dan.g.Status().Head == child {
		t.Fatal("the lower leaf did not win the tie")
	}
	w.reload("dan")
	for _, n := range []string{"ben", "cleo", "eve"} {
		w.step(w.devices[n], group.Receive{Blocks: [][]byte{own}})
		vote := w.step(w.devices[n], group.Send{Text: []byte("here")}).Publish[0].Data
		r := w.step(dan, group.Receive{Blocks: [][]byte{vote}}).Results[0]
		if r.Verdict != group.Applied {
			t.Errorf("the vote of %s: verdict %d, %v, %v", n, r.Verdict, r.Missing, r.Reason)
		}
	}
	if dan.g.Status().Head != child {
		t.Error("the own branch won, and its author cannot return to it")
	}
}

// Case 29: a member heals itself by an update, and a rival commit that was made
// before it wins. The update is done again before the member says anything.
func TestHealIsRedone(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan")
	w.cut(1, "dan")
	w.update("dan")
	w.update("ada")
	w.run(5 * time.Second)
	clear(w.island)
	dan := w.devices["dan"]
	for _, from := range []string{"ada", "ben", "cleo"} {
		w.pull(w.devices[from], dan)
	}
	w.step(dan, group.Send{Text: []byte("after the heal")})
	w.flush()
	said := slices.IndexFunc(dan.events, func(e group.Event) bool { return e.Text == "after the heal" })
	if said < 0 {
		t.Fatal("nothing was said")
	}
	head := dan.events[said].Head
	i := slices.IndexFunc(dan.events, func(e group.Event) bool {
		return e.Kind == group.KindCommit && e.Mine && e.CID == head && slices.Contains(e.Actions, "update")
	})
	if i < 0 {
		t.Errorf("dan spoke in %s, which is not its own update on the branch that won", head)
	}
	w.heal()
	w.run(10 * time.Second)
	w.agree("ada", "ben", "cleo", "dan")
}
