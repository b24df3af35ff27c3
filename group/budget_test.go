package group_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// Commits of one author beyond its budget are delayed, not refused: in the end
// every one is opened, and the others' are never held up.
func TestCommitMinter(t *testing.T) {
	w := six(t, "ada", "mal", "cleo")
	w.cut(1, "mal")
	const commits = 30
	var blocks [][]byte
	for range commits {
		w.update("mal")
		blocks = append(blocks, w.devices["mal"].last.Publish[0].Data)
	}
	ada := w.devices["ada"]
	w.cut(2, "ada")
	opened := 0
	for i, b := range blocks {
		switch r := w.step(ada, group.Receive{Blocks: [][]byte{b}, From: "mal"}).Results[0]; r.Verdict {
		case group.Applied:
			opened++
		case group.Buffered:
		default:
			t.Fatalf("commit %d: %+v", i, r)
		}
	}
	if want := w.cfg.CommitBurst + 3; opened != want {
		t.Errorf("%d commits opened at once, the budget is %d", opened, want)
	}
	if st := ada.g.Status(); st.Parked != commits-opened {
		t.Errorf("%d parked", st.Parked)
	}
	w.step(ada, group.Send{Text: []byte("not held up")})
	w.run(time.Duration(commits-opened) * w.cfg.CommitEvery)
	if st := ada.g.Status(); st.Parked != 0 || st.Epoch != w.devices["mal"].g.Status().Epoch {
		t.Errorf("epoch %d of %d, %d parked", st.Epoch, w.devices["mal"].g.Status().Epoch, st.Parked)
	}
}

// junk is a frame that waits for ever, made with nothing but the gossip key.
func junk(t *testing.T, d *device, n, size int) []byte {
	t.Helper()
	return forgeHeader(t, d, 1<<30, frame.Links{Seq: uint64(n), Prev: someCID("prev"), Parent: someCID(fmt.Sprint("nowhere ", n))}, size)
}

// A flooder uses up all room for frames that wait, and displaces none but its
// own; nothing that it sends is kept on the disk.
func TestParkedFlood(t *testing.T) {
	w := six(t, "ada", "ben", "mal")
	w.cfg.MaxParked = 1 << 18
	w.reload("ada")
	ada := w.devices["ada"]
	w.cut(1, "ben")
	w.update("ben")
	first := w.devices["ben"].last.Publish[0].Data
	var late [][]byte
	for i := range 5 {
		late = append(late, w.say("ben", fmt.Sprint("late ", i)).Publish[0].Data)
	}
	before := ada.digest()
	if r := w.step(ada, group.Receive{Blocks: late[:2], From: "ben"}).Results[0]; r.Verdict != group.Buffered {
		t.Fatalf("%+v", r)
	}
	for i := range 600 {
		if r := w.step(ada, group.Receive{Blocks: [][]byte{junk(t, ada, i, 700)}, From: "mal"}).Results[0]; r.Verdict != group.Buffered {
			t.Fatalf("junk %d: %+v", i, r)
		}
	}
	full := ada.g.Status().Parked
	w.step(ada, group.Receive{Blocks: late[2:], From: "ben"})
	if now := ada.g.Status().Parked; full < 200 || now < full {
		t.Errorf("%d parked, then %d", full, now)
	}
	if ada.digest() != before {
		t.Error("parked frames changed the records")
	}
	w.step(ada, group.Receive{Blocks: [][]byte{first}, From: "ben"})
	if got := ada.texts(); len(got) != 5 {
		t.Errorf("of ben's frames %d were kept: %q", len(got), got)
	}
}
