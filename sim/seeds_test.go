package sim

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// permanent is a seed that broke a promise once.
type permanent struct {
	scenario string
	seed     uint64
	open     bool // it does still
	cause    string
}

// permanents reads testdata/seeds.txt.
func permanents(t *testing.T) []permanent {
	t.Helper()
	b, err := os.ReadFile("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parsePermanents(b)
	if err != nil {
		t.Fatalf("testdata/seeds.txt: %v", err)
	}
	return all
}

func parsePermanents(b []byte) ([]permanent, error) {
	var out []permanent
	seen := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		f := strings.Fields(text)
		if len(f) < 4 {
			return nil, fmt.Errorf("line %d: %d words, want scenario, seed, state and cause", n, len(f))
		}
		seed, err := strconv.ParseUint(f[1], 10, 64)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: seed %q", n, f[1])
		case f[2] != "open" && f[2] != "fixed":
			return nil, fmt.Errorf("line %d: state %q, want open or fixed", n, f[2])
		case seen[f[0]+" "+f[1]]:
			return nil, fmt.Errorf("line %d: %s %s once more", n, f[0], f[1])
		}
		seen[f[0]+" "+f[1]] = true
		out = append(out, permanent{f[0], seed, f[2] == "open", strings.Join(f[3:], " ")})
	}
	return out, lines.Err()
}

// run plays the seed.
func (p permanent) run(t *testing.T) *Result {
	t.Helper()
	of := Default
	if p.scenario != "default" {
		var err error
		if of, err = Named(p.scenario); of == nil || err != nil {
			t.Fatalf("no scenario %q: %v", p.scenario, err)
		}
	}
	r, err := Run(of(p.seed))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// passes reports whether a run kept all promises and was of use.
func passes(r *Result) bool { return len(r.Violations) == 0 && (r.Vacuous != "" || r.Converged) }

// What was found once is not lost again. With DMLS_SIM_OPEN it is told what is
// open still, and what is no longer (make sim-seeds).
func TestPermanentSeeds(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var mended, open []string
	t.Run("all", func(t *testing.T) {
		for _, p := range permanents(t) {
			name := fmt.Sprintf("%s %d", p.scenario, p.seed)
			if p.open && os.Getenv("DMLS_SIM_OPEN") == "" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := p.run(t)
				switch ok := passes(r); {
				case !ok && !p.open:
					t.Errorf("%s\n\t%s\nreplay: %s", p.cause, strings.Join(r.Violations, "\n\t"), r.Scenario.Replay())
				case p.open:
					mu.Lock()
					defer mu.Unlock()
					if ok {
						mended = append(mended, name)
					} else {
						open = append(open, fmt.Sprintf("%s (%s): %.120s\n\treplay: %s", name, p.cause, r.Violations[0], r.Scenario.Replay()))
					}
				}
			})
		}
	})
	if len(mended) > 0 {
		t.Logf("open in testdata/seeds.txt, but they pass: %s", strings.Join(mended, ", "))
	}
	if len(open) > 0 {
		t.Logf("open:\n%s", strings.Join(open, "\n"))
	}
}

func TestParsePermanents(t *testing.T) {
	for text, want := range map[string]string{
		"plain 1 open":                     "3 words",
		"plain one open why":               "seed",
		"plain 1 closed why":               "state",
		"plain 1 open a\nplain 1 fixed b":  "once more",
		"# plain\n\n plain 1 open x y\n":   "",
		"plain 1 open x\nnested 1 fixed z": "",
	} {
		if _, err := parsePermanents([]byte(text)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
