package group_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// A member who is silent beyond a cap becomes stale: the others erase, the
// oldest first, and say why. It still has its old epoch, so it catches up by
// replaying sealed blocks; what it did meanwhile is Stale to the others, and it
// does that again on the head.
func TestStaleMember(t *testing.T) {
	for _, by := range []string{"age", "epochs"} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t, "ada", "ben", "cleo", "dan")
			if by == "epochs" {
				w.cfg.MaxEpochs = 4
			}
			w.create("ada")
			for _, n := range []string{"ben", "cleo", "dan"} {
				w.join("ada", n)
			}
			w.run(20 * time.Second)
			w.cut(1, "dan")
			dan, ada := w.devices["dan"], w.devices["ada"]
			w.say("dan", "said alone")
			deed := dan.last.Publish[0]
			if by == "epochs" { // alone beyond MaxAge, dan's island would have parted for good
				w.step(dan, group.Change{Remove: []uint32{w.leaf("dan", "cleo")}})
				deed = dan.last.Publish[0]
			}
			for i := range 8 {
				w.update([]string{"ada", "ben", "cleo"}[i%3])
				w.say("ada", fmt.Sprint("meanwhile ", i))
				w.run(10 * time.Second)
			}
			if by == "age" {
				w.run(w.cfg.MaxAge + time.Hour)
			}
			want := map[string]string{"age": "silent", "epochs": "more than 4 epochs"}[by]
			erased := ada.events1(group.KindErased)
			if !slices.ContainsFunc(erased, func(e group.Event) bool { return strings.Contains(e.Why, want) }) {
				t.Fatalf("nothing was erased for the reason %q: %+v", want, erased)
			}
			var last uint64
			for _, e := range erased {
				if strings.Contains(e.Why, want) && e.Epoch < last {
					t.Errorf("epoch %d erased after %d", e.Epoch, last)
				}
				last = e.Epoch
			}
			if r := w.step(ada, group.Receive{Blocks: [][]byte{deed.Data}, From: "dan"}).Results[0]; r.Verdict != group.Stale && r.Verdict != group.Buffered {
				t.Errorf("dan's frame of an erased epoch: %+v", r)
			}
			w.heal()
			for range 6 {
				w.run(time.Minute)
				w.sync()
			}
			st := w.agree("ada", "ben", "dan")
			if by == "epochs" && strings.Contains(members(st), "cleo") {
				t.Errorf("dan's removal was not done again: %s", members(st))
			}
			got := dan.texts()
			for i := range 8 {
				if text := fmt.Sprint("ada: meanwhile ", i); !slices.Contains(got, text) {
					t.Errorf("dan never read %q", text)
				}
			}
			if n := strings.Count(strings.Join(ada.texts(), "\n"), "said alone"); n != 1 {
				t.Errorf("ada read %d times what dan said alone", n)
			}
		})
	}
}

// An epoch ages from when it is the head no more: where nobody committed for
// longer than MaxAge, two may still commit at the same time.
func TestForkAfterAQuietTime(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.cfg.MaxAge = time.Minute
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "cleo")
	w.run(5 * time.Minute)
	w.cut(1, "ben")
	w.update("ada")
	w.update("ben")
	w.run(5 * time.Second)
	w.heal()
	w.run(30 * time.Second)
	w.agree("ada", "ben", "cleo")
	for _, n := range w.names() {
		if !w.devices[n].has(group.KindForkOpened) {
			t.Errorf("%s saw no fork", n)
		}
	}
}
