package sim

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// suiteSeeds is how many seeds of the suite are run: DMLS_SIM_SUITE, or one
// round.
func suiteSeeds(t *testing.T) uint64 {
	t.Helper()
	if s := os.Getenv("DMLS_SIM_SUITE"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n == 0 {
			t.Fatalf("DMLS_SIM_SUITE=%s", s)
		}
		return n
	}
	return uint64(len(classes) + siegeTurns)
}

// TestSuite plays every class and every adversary in turn. Seeds that are open
// in testdata/seeds.txt are told and forgiven, no others.
func TestSuite(t *testing.T) {
	t.Parallel()
	open := map[string]bool{}
	for _, p := range permanents(t) {
		open[fmt.Sprintf("%s %d", p.scenario, p.seed)] = p.open
	}
	var sum Summary
	began, forgiven := time.Now(), []string{}
	n := suiteSeeds(t)
	err := Series(t.Context(), Suite, 1, n, runtime.GOMAXPROCS(0), func(r *Result) error {
		name := fmt.Sprintf("%s %d", r.Scenario.Name, r.Scenario.Seed)
		sum.Add(r)
		switch {
		case passes(r):
		case open[name]:
			forgiven = append(forgiven, name)
		default:
			t.Errorf("%s: %s\nreplay: %s", name, strings.Join(r.Violations, "\n\t"), r.Scenario.Replay())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if uint64(sum.Runs) != n || float64(sum.Vacuous) > 2*maxVacuous*float64(n) {
		t.Errorf("%d runs of %d, %d of them vacuous", sum.Runs, n, sum.Vacuous)
	}
	for _, c := range sum.Classes {
		t.Logf("%-24s %4d runs, %4d converged, %2d vacuous, %4d forks, one head after %5.1f s at worst, %5.2f s each",
			c.Name, c.Runs, c.Converged, c.Vacuous, c.Forks, c.HealWorst, c.Took.Seconds()/float64(c.Runs))
	}
	t.Logf("%d runs in %v, %d converged, %d vacuous", sum.Runs, time.Since(began).Round(time.Second), sum.Converged, sum.Vacuous)
	if len(forgiven) > 0 {
		t.Logf("open and broken still: %s", strings.Join(forgiven, ", "))
	}
}

// Every class and every siege has its turn, and a seed plays the same scenario
// as under the name of its class.
func TestSuiteTurns(t *testing.T) {
	t.Parallel()
	met := map[string]int{}
	for seed := range uint64(1000) {
		s := Suite(seed)
		met[s.Name]++
		of, err := Named(s.Name)
		if err != nil || of == nil {
			t.Fatalf("seed %d: no scenario %q: %v", seed, s.Name, err)
		}
		if again := of(seed); again.Replay() != s.Replay() {
			t.Fatalf("seed %d: %s is another scenario", seed, s.Replay())
		}
	}
	for _, c := range slices.Concat(Classes(), Sieges()) {
		if met[c.Name] < 10 {
			t.Errorf("%s has %d turns in 1,000", c.Name, met[c.Name])
		}
	}
}

// A slow run does not hold up those behind it, and the order stays.
func TestSeriesOvertakes(t *testing.T) {
	t.Parallel()
	quick := DefaultPlain()
	quick.Members, quick.Joiners, quick.Messages, quick.Commits, quick.Crashes = 2, 0, 0, 0, 0
	quick.Before, quick.Apart, quick.After = time.Second, time.Second, time.Second
	wait := make(chan struct{})
	var got []uint64
	err := Series(t.Context(), func(seed uint64) Scenario {
		switch seed {
		case 1: // ends when the last has begun
			select {
			case <-wait:
			case <-time.After(time.Minute):
				t.Error("the first run holds up the others")
			}
		case 12:
			close(wait)
		}
		return quick.Scenario(seed)
	}, 1, 12, 2, func(r *Result) error {
		got = append(got, r.Scenario.Seed)
		return nil
	})
	if err != nil || len(got) != 12 || !slices.IsSorted(got) {
		t.Errorf("%v, %v", got, err)
	}
}
