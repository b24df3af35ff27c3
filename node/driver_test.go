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

// sameFrames fails unless all devices hold the same frames of the group.
func (w *world) sameFrames(gid string, n int) {
	w.t.Helper()
	for _, name := range sortedKeys(w.devices) {
		s, err := w.devices[name].driver.Status(gid)
		if err != nil {
			w.t.Fatal(err)
		}
		if s.Blocks != n {
			w.t.Errorf("%s holds %d frames, want %d", name, s.Blocks, n)
		}
	}
}

func founders(t *testing.T, names ...string) (*world, string) {
	t.Helper()
	w := newWorld(t, names...)
	gid := w.devices[names[0]].must(Create{Name: "ops"}).Group
	for _, n := range names[1:] {
		w.invite(gid, names[0], n)
	}
	w.sameFrames(gid, len(names)) // the first one and an Add for each of the others
	return w, gid
}

func TestSyncAfterPartition(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	w, gid := founders(t, names...)
	left, right := names[:3], names[3:]
	w.partition(true, left, right)
	for i := range 20 {
		w.devices[names[i%6]].must(Step{gid, group.Send{Text: fmt.Appendf(nil, "m%d", i)}})
		w.run(10 * time.Millisecond)
	}
	w.partition(false, left, right)
	w.run(500 * time.Millisecond) // Spread, and no period of rounds
	w.sameFrames(gid, 26)
}

// Over a line a-b-c the ends see each other's frames only through the middle.
func TestSyncAcrossMiddle(t *testing.T) {
	w, gid := founders(t, "a", "b", "c")
	w.partition(true, []string{"a"}, []string{"c"})
	w.partition(true, []string{"a"}, []string{"b"})
	for i := range 5 {
		w.devices["a"].must(Step{gid, group.Send{Text: fmt.Appendf(nil, "m%d", i)}})
	}
	w.partition(false, []string{"a"}, []string{"b"})
	w.run(time.Second) // far less than the period of rounds
	w.sameFrames(gid, 8)
}

func TestSyncWithLoss(t *testing.T) {
	for _, loss := range []float64{0.1, 0.3, 0.5} {
		w, gid := founders(t, "a", "b", "c", "d")
		w.loss = loss
		for i := range 40 {
			w.devices[[]string{"a", "b", "c", "d"}[i%4]].must(Step{gid, group.Send{Text: fmt.Appendf(nil, "m%d", i)}})
			w.run(50 * time.Millisecond)
		}
		w.run(3 * time.Minute)
		w.sameFrames(gid, 44)
	}
}

// What gossip drops arrives all the same, and soon.
func TestSyncWithoutGossip(t *testing.T) {
	w, gid := founders(t, "a", "b", "c")
	w.run(time.Minute)
	w.silent = true
	w.devices["b"].must(Step{gid, group.Send{Text: []byte("dropped")}})
	w.run(2 * time.Second)
	w.sameFrames(gid, 4)
}

// A group at rest must not keep its members busy.
func TestSyncQuiet(t *testing.T) {
	w, _ := founders(t, "a", "b", "c", "d")
	w.run(time.Minute)
	w.sent = 0
	w.run(10 * time.Minute)
	// 60 rounds of 4 members, each asking 3 peers, who answer.
	if limit := 60 * 4 * 3 * 2; w.sent > limit+8 {
		t.Errorf("%d messages in 10 minutes of silence, expected about %d", w.sent, limit)
	}
}

func TestSyncLongHistory(t *testing.T) {
	w, gid := founders(t, "a", "b")
	w.partition(true, []string{"a"}, []string{"b"})
	text := make([]byte, 4000)
	for i := range 600 {
		for j := range text {
			text[j] = byte('a' + (i*7+j*j)%26)
		}
		w.devices["a"].must(Step{gid, group.Send{Text: text}})
	}
	w.run(time.Second)
	w.bytes = 0
	w.partition(false, []string{"a"}, []string{"b"})
	w.run(10 * time.Second)
	w.sameFrames(gid, 602)
	if payload := 600 * 4100; w.bytes > payload*3/2 {
		t.Errorf("%d bytes sent for %d of frames", w.bytes, payload)
	}
}

func TestOneCommitForManyInputs(t *testing.T) {
	w := newWorld(t, "a")
	d := w.devices["a"]
	g1, g2 := d.must(Create{Name: "one"}).Group, d.must(Create{Name: "two"}).Group
	var in []Input
	for i := range 300 {
		in = append(in, Step{[]string{g1, g2}[i%2], group.Send{Text: fmt.Appendf(nil, "%d", i)}})
	}
	before := d.store.commits
	for i, o := range d.do(in...) {
		if o.Err != nil || !o.Sent.CID.Defined() {
			t.Fatalf("input %d: %+v", i, o)
		}
	}
	if n := d.store.commits - before; n != 2 {
		t.Errorf("%d commits for 300 inputs, want 2", n)
	}
}

func TestFailedCommit(t *testing.T) {
	w, gid := founders(t, "a", "b")
	a := w.devices["a"]
	full := errors.New("disk full")
	a.store.setFail(full)
	sent, events := w.sent, len(a.events[gid])
	outcomes := a.do(Step{gid, group.Send{Text: []byte("lost")}}, Create{Name: "never"}, Step{gid, group.Send{}})
	for i, want := range []error{full, full, group.ErrTextSize} {
		if !errors.Is(outcomes[i].Err, want) {
			t.Errorf("outcome %d: %v, want %v", i, outcomes[i].Err, want)
		}
	}
	if len(w.queue) > 0 || w.sent != sent || len(a.events[gid]) != events {
		t.Error("something left the device before it was durable")
	}
	if got := a.driver.Groups(); !slices.Equal(got, []string{gid}) {
		t.Errorf("groups %v after the failure, want %s", got, gid)
	}
	if s, _ := a.driver.Status(gid); s.Blocks != 2 {
		t.Errorf("%d frames in memory, want the 2 of the store", s.Blocks)
	}
	a.store.setFail(nil)
	a.must(Step{gid, group.Send{Text: []byte("again")}})
	w.run(time.Second)
	w.sameFrames(gid, 3)
}

func TestBrokenEngineIsReloaded(t *testing.T) {
	w, gid := founders(t, "a")
	a := w.devices["a"]
	outcomes := a.do(Step{gid, group.Send{Text: []byte("kept")}}, Step{gid, group.Send{Text: []byte("break")}},
		Step{gid, group.Send{Text: []byte("after")}})
	if outcomes[0].Err != nil || !errors.Is(outcomes[1].Err, group.ErrInternal) || outcomes[2].Err == nil {
		t.Fatalf("outcomes %v", outcomes)
	}
	a.must(Step{gid, group.Send{Text: []byte("later")}})
	w.sameFrames(gid, 3)
}

func TestOutboxAfterRestart(t *testing.T) {
	w, gid := founders(t, "a", "b")
	w.partition(true, []string{"a"}, []string{"b"})
	a := w.devices["a"]
	a.must(Step{gid, group.Send{Text: []byte("unheard")}})
	w.run(time.Second)
	a.boot()
	w.partition(false, []string{"a"}, []string{"b"})
	w.run(time.Second)
	w.sameFrames(gid, 3)
}

// A block that came before its parent is ignored at the door; when it opens it
// is published from here, or gossip would end at this node.
func TestIgnoredBlockIsPublishedOnceItOpens(t *testing.T) {
	w, gid := founders(t, "a", "b", "c")
	w.partition(true, []string{"a"}, []string{"b", "c"})
	var blocks [][]byte
	for i := range 2 {
		o := w.devices["a"].must(Step{gid, group.Send{Text: fmt.Appendf(nil, "m%d", i)}})
		b, err := w.devices["a"].store.Get(context.Background(), group.BlockKey(gid, o.Sent.CID))
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, b)
	}
	w.queue = nil
	b, topic := w.devices["b"], "topic-"+gid
	if o := b.must(Deliver{topic, "a", blocks[1]}); verdict(o) != Ignore || o.Results[0].Verdict != group.Buffered {
		t.Fatalf("child before its parent: %+v", o)
	}
	if o := b.must(Deliver{topic, "a", blocks[0]}); verdict(o) != Accept {
		t.Fatalf("parent: %+v", o)
	}
	if len(w.queue) != 1 {
		t.Fatalf("%d deliveries queued, want the child to c", len(w.queue))
	}
	if o := b.must(Deliver{topic, "a", []byte("{")}); verdict(o) != Reject {
		t.Fatalf("garbage: %+v", o)
	}
}

func TestForget(t *testing.T) {
	w, gid := founders(t, "a", "b")
	b := w.devices["b"]
	b.must(Step{gid, group.Send{Text: []byte("x")}})
	outcomes := b.do(Step{gid, group.Send{Text: []byte("y")}}, Forget{gid}, Step{gid, group.Send{Text: []byte("z")}})
	if outcomes[0].Err != nil || outcomes[1].Err != nil || !errors.Is(outcomes[2].Err, ErrNotFound) {
		t.Fatalf("outcomes %v", outcomes)
	}
	if n := b.store.count(group.Prefix(gid)); n != 0 {
		t.Errorf("%d records of the forgotten group are left", n)
	}
	if len(b.driver.Groups()) != 0 || len(b.topics) != 0 {
		t.Error("the group or its topic is still there")
	}
	b.boot()
	if len(b.driver.Groups()) != 0 {
		t.Error("the group came back with a restart")
	}
}
