package group_test

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/overlay"
)

// Members without a vote exist in groups of more than dag.MaxVoters. The tests below
// are for an engine in which there are two voters, which TestSmallElectorate builds.
func smallElectorate(t *testing.T) {
	t.Helper()
	if dag.MaxVoters > 2 {
		t.Skip("for an engine with two voters: TestSmallElectorate runs it")
	}
}

func TestSmallElectorate(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package once more: run without -short")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go tool at hand")
	}
	const file, was = "../dag/types.go", "const MaxVoters = 128"
	small := strings.Replace(overlay.Source(t, file, was, 1), was, "const MaxVoters = 2", 1)
	out, err := exec.Command(goTool, "test", "-count=1", "-v", "-vet=off", "-overlay", overlay.Of(t, file, small), "-run", "^TestVoteless", ".").CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("--- SKIP")) || !bytes.Contains(out, []byte("--- PASS: TestVoteless")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// Who has no vote and cannot open a commit is added again, also if that commit
// becomes final first: finality does not wait for it.
func TestVotelessCannotOpen(t *testing.T) {
	smallElectorate(t)
	w := six(t, "ada", "cleo", "mal", "dan", "eve", "ben")
	w.run(time.Minute)
	w.cfg.ReaddDelay = time.Minute // as in a LAN
	for _, n := range w.names() {
		w.reload(n)
	}
	spoil(t, w, "mal", "ben")
	w.flush()
	w.run(3 * time.Second)
	if !w.devices["ben"].has(group.KindUnopenable) {
		t.Fatal("it did open for ben")
	}
	w.say("ada", "life goes on")
	w.say("ben", "from behind")
	for range 30 {
		w.run(20 * time.Second)
		w.sync()
	}
	w.agree("ada", "ben", "cleo", "dan", "eve", "mal")
	w.say("dan", "welcome back")
	if got := w.devices["ben"].texts(); !slices.Contains(got, "dan: welcome back") || !slices.Contains(got, "ada: life goes on") {
		t.Errorf("ben read %q", got)
	}
	if got := w.devices["dan"].texts(); !slices.Contains(got, "ben: from behind") {
		t.Errorf("dan read %q", got)
	}
}

// Islands that run past MaxAge find together if those who have no vote are apart.
func TestVotelessIslandReturns(t *testing.T) {
	smallElectorate(t)
	w := parted(t, "dan", "eve")
	w.mend(20)
	w.agree("ada", "ben", "cleo", "dan", "eve")
}

// A late frame of one without a vote does not part it from the others: it is where
// they are, and says so when it is told where that is.
func TestVotelessLateFrame(t *testing.T) {
	smallElectorate(t)
	w := six(t, "ada", "ben", "cleo", "dan", "eve")
	w.run(time.Minute)
	w.cut(1, "eve")
	eve := w.devices["eve"]
	for range 2 {
		out, err := eve.g.AckIn(w.env(eve), eve.g.Status().Head)
		if err != nil {
			t.Fatal(err)
		}
		w.take(eve, out)
	}
	w.update("ada")
	w.run(time.Minute)
	w.heal()
	for range 20 {
		w.run(time.Minute)
		w.sync()
	}
	st := w.agree("ada", "ben", "cleo", "dan", "eve")
	if len(st.Away) > 0 {
		t.Errorf("away: %v", st.Away)
	}
}

// A joiner without a vote that was added again says so once, or the others would tell
// it where the head is for ever.
func TestVotelessReturnIsNoticed(t *testing.T) {
	smallElectorate(t)
	w := six(t, "ada", "ben", "cleo", "dan", "eve")
	w.add("finn")
	w.run(time.Minute)
	w.cut(1, "eve")
	w.join("eve", "finn")
	w.update("ada")
	w.cut(1, "finn")
	w.run(5 * time.Second)
	w.heal()
	for range 10 {
		w.run(20 * time.Second)
		w.sync()
	}
	w.agree("ada", "ben", "cleo", "dan", "eve", "finn")
	if !w.devices["finn"].has(group.KindRejoined) {
		t.Fatal("finn was not stranded")
	}
	w.run(10 * time.Minute)
	for _, n := range w.names() {
		if due := w.devices[n].g.Due(); !strings.Contains(due, "notice 0") {
			t.Errorf("%s: %s", n, due)
		}
	}
}
