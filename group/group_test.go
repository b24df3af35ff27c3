package group_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

func TestChat(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.create("ada")
	w.join("ada", "ben")
	w.say("ada", "hello ben")
	w.join("ben", "cleo")
	w.say("cleo", "hello all")
	w.say("ben", "hello cleo")
	w.run(10 * time.Second)
	st := w.agree("ada", "ben", "cleo")
	if len(st.Members) != 3 || st.Epoch != 2 {
		t.Fatalf("members %s at epoch %d, want 3 at 2", members(st), st.Epoch)
	}
	want := map[string]string{
		"ada":  "ada: hello ben|cleo: hello all|ben: hello cleo",
		"ben":  "ada: hello ben|cleo: hello all|ben: hello cleo",
		"cleo": "cleo: hello all|ben: hello cleo",
	}
	for n, texts := range want {
		if got := strings.Join(w.devices[n].texts(), "|"); got != texts {
			t.Errorf("%s read %q, want %q", n, got, texts)
		}
	}
}

// After two rounds of confirming frames, nothing but the head is retained.
func TestFinality(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "cleo")
	w.update("ben")
	w.run(30 * time.Second)
	for _, n := range w.names() {
		if st := w.devices[n].g.Status(); st.RetainedEpochs != 1 || st.Final != st.Head {
			t.Errorf("%s retains %d epochs, final %s, head %s", n, st.RetainedEpochs, st.Final, st.Head)
		}
		if !w.devices[n].has(group.KindErased) {
			t.Errorf("%s erased nothing", n)
		}
	}
}

// split builds the history of the issue: the smaller island adds somebody, the
// larger one removes a member and updates keys.
func split(t *testing.T) *world {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn", "gus")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve", "gus"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.say("eve", "before")
	w.run(10 * time.Second)
	w.cut(1, "eve", "gus")
	w.join("eve", "finn")
	w.say("finn", "i am new")
	w.say("gus", "welcome")
	w.remove("ada", "dan")
	w.update("ben")
	w.say("cleo", "keys are fresh")
	w.run(5 * time.Second)
	return w
}

func TestForkHeals(t *testing.T) {
	w := split(t)
	w.agree("ada", "ben", "cleo")
	w.agree("eve", "gus", "finn")
	w.heal()
	w.run(90 * time.Second)
	w.sync()
	w.run(30 * time.Second)
	st := w.agree("ada", "ben", "cleo", "eve", "gus", "finn")
	if len(st.Members) != 6 {
		t.Fatalf("members %s", members(st))
	}
	if got := w.devices["dan"].g.Status().State; got != "removed" {
		t.Errorf("dan is %q", got)
	}
	finn := w.devices["finn"]
	if !finn.has(group.KindStranded) || !finn.has(group.KindRejoined) {
		t.Error("finn was not stranded or did not come back")
	}
	for _, n := range []string{"ada", "ben", "cleo", "eve", "gus"} {
		texts := w.devices[n].texts()
		for _, want := range []string{"eve: before", "finn: i am new", "gus: welcome", "cleo: keys are fresh"} {
			if c := slices.Index(texts, want); c < 0 || slices.Contains(texts[c+1:], want) {
				t.Errorf("%s should have read %q once: %q", n, want, texts)
			}
		}
	}
}
