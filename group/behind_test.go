package group_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// A member that was away for longer than blocks are kept cannot replay what it
// missed, whatever it did meanwhile. It is added again, and what it did and said
// alone is done and said again; only what the others said is lost to it.
func TestTooStaleMemberIsAddedAgain(t *testing.T) {
	for _, did := range []string{"nothing", "spoke", "committed"} {
		t.Run(did, func(t *testing.T) {
			w := newWorld(t, "ada", "ben", "cleo", "dan", "eve")
			w.cfg.MaxAge, w.cfg.BlockAge = time.Minute, 3*time.Minute
			w.create("ada")
			for _, n := range []string{"ben", "cleo", "dan", "eve"} {
				w.join("ada", n)
			}
			w.run(20 * time.Second)
			w.cut(1, "dan")
			switch did {
			case "spoke":
				w.say("dan", "said alone")
			case "committed":
				w.say("dan", "said alone")
				w.remove("dan", "eve")
			}
			for i := range 24 {
				w.update([]string{"ada", "ben", "cleo"}[i%3])
				w.say("ada", fmt.Sprint("meanwhile ", i))
				w.run(30 * time.Second)
			}
			ada, dan := w.devices["ada"], w.devices["dan"]
			if ada.g.Has(ada.firstUpdate()) {
				t.Fatal("ada still has the first commit that dan missed")
			}
			w.mend(8)
			st := w.agree("ada", "ben", "cleo", "dan")
			if rejoined := dan.events1(group.KindRejoined); len(rejoined) != 1 || !dan.has(group.KindDiverged) {
				t.Errorf("dan was told of %d re-adds, and that it is behind: %v", len(rejoined), dan.has(group.KindDiverged))
			}
			for _, n := range []string{"ada", "ben", "cleo", "dan"} {
				if s := w.devices[n].g.Status(); s.Parked != 0 || s.RetainedEpochs > 2 || len(s.Away) > 0 {
					t.Errorf("%s has %d parked frames, %d epochs, misses %v", n, s.Parked, s.RetainedEpochs, s.Away)
				}
			}
			if did == "nothing" {
				return
			}
			if n := strings.Count(strings.Join(ada.texts(), "\n"), "dan: said alone"); n != 1 {
				t.Errorf("ada read %d times what dan said alone", n)
			}
			if has := slices.ContainsFunc(st.Members, func(m group.Member) bool { return m.Name == "eve" }); has == (did == "committed") {
				t.Errorf("members %s", members(st))
			}
		})
	}
}

// firstUpdate is the first commit of this device after the group was formed.
func (d *device) firstUpdate() cid.Cid {
	for _, e := range d.events1(group.KindCommit) {
		if e.Mine && slices.Equal(e.Actions, []string{"update"}) {
			c, _ := cid.Decode(e.CID)
			return c
		}
	}
	return cid.Undef
}

// A frame that anybody with the gossip secret can make, in the name of a member and
// with a number beyond all, stops nothing: finality goes on, and the next word of
// that member ends what it hints at.
func TestForgedNumberStopsNothing(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.create("ada")
	w.join("ada", "ben")
	ben := w.devices["ben"]
	added, leaf := mustCID(t, ben.g.Status().Head), w.leaf("ada", "ben")
	w.join("ada", "cleo")
	w.update("ada")
	w.run(time.Minute)
	for _, n := range []string{"ada", "ben", "cleo"} {
		l := frame.Links{Leaf: leaf, Joined: added, Seq: 1 << 63, Prev: someCID("prev"), Parent: someCID("parent")}
		w.step(w.devices[n], group.Receive{Blocks: [][]byte{forgeHeader(t, w.devices["ada"], 0, l, 64)}, From: "mal"})
	}
	w.say("ben", "still here")
	w.update("cleo")
	w.run(time.Minute)
	for _, n := range []string{"ada", "ben", "cleo"} {
		if s := w.devices[n].g.Status(); s.RetainedEpochs > 1 || s.Final != s.Head || len(s.Away) > 0 {
			t.Errorf("%s retains %d epochs, misses %v", n, s.RetainedEpochs, s.Away)
		}
	}
}
