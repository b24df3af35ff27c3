package group_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// TestTranscripts runs each script in testdata: one verb a line; below it, all
// that the devices then said and where they stand. The whole text is golden.
//
//	create ADA | join BY NAME | say NAME TEXT | remove BY NAME | update NAME | leave NAME
//	cut NAME… | heal | run DURATION | reload NAME | replay FROM TO | status
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in testdata: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			golden, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := transcribe(t, string(golden))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(golden) {
				t.Errorf("%s differs at line %d (rewrite with -update):\n%s", f, firstDifference(got, string(golden)), got)
			}
		})
	}
}

func firstDifference(a, b string) int {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i + 1
		}
	}
	return min(len(x), len(y)) + 1
}

// transcribe runs the lines that begin a verb; indented lines are output.
func transcribe(t *testing.T, script string) string {
	s := &scripted{w: newWorld(t), seen: map[string]int{}}
	for _, line := range strings.Split(script, "\n") {
		if line == "" || strings.HasPrefix(line, "  ") {
			continue
		}
		s.out.WriteString(line + "\n")
		if !strings.HasPrefix(line, "#") {
			s.do(strings.Fields(line))
			s.report()
		}
	}
	return s.out.String()
}

type scripted struct {
	w    *world
	seen map[string]int
	out  strings.Builder
}

func (s *scripted) device(name string) *device {
	if d := s.w.devices[name]; d != nil {
		return d
	}
	return s.w.add(name)
}

func (s *scripted) do(f []string) {
	w := s.w
	switch f[0] {
	case "create":
		s.device(f[1])
		w.create(f[1])
	case "join":
		s.device(f[2])
		w.join(f[1], f[2])
	case "say":
		w.say(f[1], strings.Join(f[2:], " "))
	case "remove":
		w.remove(f[1], f[2])
	case "update":
		w.update(f[1])
	case "leave":
		w.step(w.devices[f[1]], group.Leave{})
		w.flush()
	case "cut":
		w.cut(1, f[1:]...)
	case "heal":
		w.heal()
	case "run":
		d, err := time.ParseDuration(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		w.run(d)
	case "reload":
		w.reload(f[1])
	case "replay":
		s.replay(w.devices[f[1]], w.devices[f[2]])
	case "status":
		s.status()
	default:
		w.t.Fatalf("no verb %q", f[0])
	}
}

// replay hands every block of one device to another, who has them all.
func (s *scripted) replay(from, to *device) {
	counts := map[group.Verdict]int{}
	for _, c := range from.g.Missing(nil, nil, 10000) {
		out := s.w.step(to, group.Receive{Blocks: [][]byte{s.w.block(from, c)}, From: from.name})
		counts[out.Results[0].Verdict]++
	}
	fmt.Fprintf(&s.out, "  %s: %d duplicates of %d\n", to.name, counts[group.Duplicate], len(from.g.Missing(nil, nil, 10000)))
}

// report prints the new events of all devices.
func (s *scripted) report() {
	for _, n := range s.w.names() {
		d := s.w.devices[n]
		for _, e := range d.events[s.seen[n]:] {
			s.out.WriteString("  " + n + ": " + describe(e) + "\n")
		}
		s.seen[n] = len(d.events)
	}
}

func describe(e group.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s e%d", e.Kind, e.Epoch)
	for _, f := range []struct{ name, value string }{
		{"head", end(e.Head)}, {"cid", end(e.CID)}, {"by", e.Name}, {"text", e.Text}, {"fork", end(e.Fork)},
		{"winner", end(e.Winner)}, {"did", strings.Join(e.Actions, ", ")}, {"why", e.Why},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s=%s", f.name, f.value)
		}
	}
	return b.String()
}

func end(cid string) string { return cid[max(0, len(cid)-6):] }

func (s *scripted) status() {
	for _, n := range s.w.names() {
		st := s.w.devices[n].g.Status()
		fmt.Fprintf(&s.out, "  %s: %s head=%s e%d members=[%s] forks=%d retained=%d parked=%d\n",
			n, st.State, end(st.Head), st.Epoch, members(st), st.ForksOpen, st.RetainedEpochs, st.Parked)
	}
}
