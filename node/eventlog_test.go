package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// stored is the event log of a device as its store has it.
func (d *device) stored(gid string) (events []group.Event) {
	d.world.t.Helper()
	for op, err := range d.store.Load(context.Background(), group.EventPrefix(gid)) {
		var e group.Event
		if err == nil {
			e, err = group.DecodeEvent(op.Value)
		}
		if err != nil || op.Key != group.EventKey(gid, e.Cursor) || op.Class != group.History {
			d.world.t.Fatalf("%s: %+v, %v", op.Key, e, err)
		}
		events = append(events, e)
	}
	return events
}

// accounts checks that every event of a log is there or counted by an event that
// stands for it, and returns the texts that are left.
func accounts(t *testing.T, log []group.Event, cursor uint64) (texts []string, minors, gone int) {
	t.Helper()
	there, last := 0, uint64(0)
	for _, e := range log {
		if last = e.Cursor; e.Kind == group.KindCompacted {
			gone += e.Count
			continue
		}
		there++
		switch {
		case e.Kind == group.KindMessage:
			texts = append(texts, e.Text)
		case minor(e):
			minors++
		}
	}
	if uint64(there+gone) != cursor || last != cursor {
		t.Fatalf("%d events are there and %d are counted as removed, the last at %d of %d", there, gone, last, cursor)
	}
	return texts, minors, gone
}

// talk lets a device send n messages, each followed by m commits.
func (d *device) talk(gid string, n, m int) (texts []string) {
	for range n {
		texts = append(texts, fmt.Sprint("message ", d.world.now.UnixMilli()))
		d.must(Step{gid, group.Send{Text: []byte(texts[len(texts)-1])}})
		for range m {
			d.must(Step{gid, group.Change{Update: true}})
		}
		d.world.now = d.world.now.Add(time.Second)
		d.must(Tick{})
	}
	return texts
}

// Minor events are bounded, messages and the rest stay, also over restarts and
// where a commit fails.
func TestLogIsCompacted(t *testing.T) {
	w, gid := founders(t, "a")
	a := w.devices["a"]
	const keep = 40
	a.keep = Keep{Events: keep}
	a.boot()
	cursor := func() uint64 { s, _ := a.driver.Status(gid); return s.Cursor }
	var want []string
	for i := range 6 {
		want = append(want, a.talk(gid, 10, 3)...)
		texts, minors, gone := accounts(t, a.stored(gid), cursor())
		if !slices.Equal(texts, want) {
			t.Fatalf("%d of %d messages are left", len(texts), len(want))
		}
		if made := 1 + (i+1)*30; minors+gone != made || made > keep+keep/8 && (gone == 0 || minors > keep+keep/8) {
			t.Fatalf("%d of %d minor events are left, %d are counted as removed", minors, made, gone)
		}
		switch i {
		case 1, 3:
			a.boot()
		case 2:
			full := errors.New("disk full")
			a.store.setFail(full)
			for range 3 {
				a.do(Step{gid, group.Change{Update: true}}, Tick{})
			}
			a.store.setFail(nil)
			w.now = w.now.Add(2 * reloadPause)
			a.must(Tick{})
		}
	}
	n := 0
	for _, e := range a.stored(gid) {
		if e.Kind == group.KindCompacted {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d events stand for what was removed, want one", n)
	}
}

// What the owner asks to remove goes with its texts, in order, and is accounted
// for; so is what is too old.
func TestLogIsCut(t *testing.T) {
	w, gid := founders(t, "a")
	a := w.devices["a"]
	a.keep = Keep{Events: 20}
	a.boot()
	cursor := func() uint64 { s, _ := a.driver.Status(gid); return s.Cursor }
	want := a.talk(gid, 30, 2)
	if _, err := a.driver.Compact(context.Background(), gid, Cut{}); !errors.Is(err, ErrKeep) {
		t.Errorf("a cut without bounds: %v", err)
	}
	if _, err := a.driver.Compact(context.Background(), "00", Cut{Through: 1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a cut of no group: %v", err)
	}
	steps := []struct {
		cut  Cut
		left int // messages
	}{
		{Cut{Through: 1}, 30},
		{Cut{Before: w.now.Add(-20 * time.Second)}, 20},
		{Cut{Before: w.now.Add(-25 * time.Second)}, 20},
		{Cut{Through: cursor() - 3*5}, 5},
		{Cut{Through: cursor(), Before: w.now.Add(-3 * time.Second)}, 3},
		{Cut{Through: cursor()}, 0},
	}
	for i, s := range steps {
		texts, _, before := accounts(t, a.stored(gid), cursor())
		done, err := a.driver.Compact(context.Background(), gid, s.cut)
		if err != nil {
			t.Fatal(err)
		}
		left, _, after := accounts(t, a.stored(gid), cursor())
		if !slices.Equal(left, want[30-s.left:]) || done.Messages != len(texts)-len(left) || done.Events != after-before {
			t.Fatalf("cut %d: %d messages are left, %d events more are gone, and it says %+v", i, len(left), after-before, done)
		}
		again, err := a.driver.Compact(context.Background(), gid, s.cut)
		if err != nil || again != (Compacted{}) {
			t.Fatalf("cut %d once more: %+v, %v", i, again, err)
		}
		if i%2 == 1 {
			a.boot()
		}
	}
	want = a.talk(gid, 40, 2)
	if texts, minors, _ := accounts(t, a.stored(gid), cursor()); !slices.Equal(texts, want) || minors > 23 {
		t.Fatalf("after the cuts %d messages and %d minor events are there", len(texts), minors)
	}
}

func TestMessagesExpire(t *testing.T) {
	w, gid := founders(t, "a")
	a := w.devices["a"]
	a.keep = Keep{Messages: time.Minute}
	a.boot()
	for range 5 {
		want := a.talk(gid, 100, 1)
		s, _ := a.driver.Status(gid)
		texts, _, _ := accounts(t, a.stored(gid), s.Cursor)
		if n := len(texts); n < 60 || n > 70 || !slices.Equal(texts, want[100-n:]) {
			t.Fatalf("of a message a second %d are left after a minute", n)
		}
	}
}

// Cursors outlive a compaction: a reader from anywhere gets what is there from
// its cursor on, and the event that stands for what is not.
func TestCursorsAfterCompaction(t *testing.T) {
	n, ctx := openFake(t, newEther(), "a", newMemStore()), t.Context()
	gid, err := n.CreateGroup(ctx, "ops")
	if err != nil {
		t.Fatal(err)
	}
	const all = 700
	for i := range all - 1 {
		if _, err := n.Send(ctx, gid, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	var want []uint64 // the cursors that are left
	for c := uint64(1); c <= all; c++ {
		want = append(want, c)
	}
	check := func() {
		t.Helper()
		for _, after := range []uint64{0, 1, 14, 15, 16, 254, 255, 256, 257, 299, 300, 400, 511, 512, 600, all - 1, all} {
			var got []uint64
			for e, err := range n.Events(ctx, gid, after, false) {
				if err != nil {
					t.Fatalf("after %d: %v", after, err)
				}
				got = append(got, e.Cursor)
			}
			from, _ := slices.BinarySearch(want, after+1)
			if !slices.Equal(got, want[from:]) {
				t.Fatalf("after %d: %d events, want %d", after, len(got), len(want[from:]))
			}
		}
	}
	check()
	for _, through := range []uint64{10, 300, 512} {
		done, err := n.Compact(ctx, gid, Cut{Through: through})
		if err != nil || done.Cursor != through {
			t.Fatalf("%+v, %v", done, err)
		}
		want = want[slices.Index(want, through):]
		check()
	}
	// Gaps in the middle, as minor events leave them.
	for c := uint64(520); c < 620; c++ {
		if err := n.store.Commit(ctx, []group.Op{{Key: group.EventKey(gid, c), Class: group.History}}); err != nil {
			t.Fatal(err)
		}
	}
	want = slices.DeleteFunc(want, func(c uint64) bool { return c >= 520 && c < 620 })
	check()
	for e, err := range n.Events(ctx, gid, 3, false) {
		if err != nil || e.Kind != group.KindCompacted || e.Cursor != 512 || e.Count != 512 || e.Messages != 511 || e.Why != "asked for" {
			t.Fatalf("to one who comes with a cursor of before: %+v, %v", e, err)
		}
		break
	}
	// One who follows notices nothing when it is removed behind it.
	followed := make(chan error, 1)
	go func() {
		for e, err := range n.Events(ctx, gid, 699, true) {
			if err != nil || e.Text == "end" {
				followed <- err
				return
			}
		}
	}()
	if _, err := n.Compact(ctx, gid, Cut{Through: all}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Send(ctx, gid, "end"); err != nil {
		t.Fatal(err)
	}
	if err := <-followed; err != nil {
		t.Error(err)
	}
}
