package group_test

import (
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// What an ejected member did on a losing branch is nobody else's, also where it took
// more than one commit to carry it over: the second one names what it carries, although
// the first one covered it.
func TestSecondMergeCarriesOver(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn", "gus", "mal")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve", "finn", "gus", "mal"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "ben", "dan")
	w.cut(2, "mal")
	w.remove("ada", "mal")
	for _, n := range []string{"cleo", "eve", "finn", "gus"} {
		w.say(n, "here")
	}
	mal := w.devices["mal"]
	for _, of := range [][]string{{"eve", "finn", "gus"}, {"cleo"}} {
		var leaves []uint32
		for _, n := range of {
			leaves = append(leaves, w.leaf("mal", n))
		}
		w.step(mal, group.Change{Remove: leaves})
	}
	w.update("ben")
	w.say("dan", "with ben")
	w.cut(1, "mal")
	w.sync()
	w.cut(2, "mal")
	w.run(30 * time.Second)
	w.cut(0, "ben", "dan")
	w.sync()
	for range 4 {
		w.run(20 * time.Second)
		w.sync()
	}
	if st := w.agree("ada", "ben", "dan"); len(st.Members) != 7 {
		t.Errorf("members %s", members(st))
	}
}
