package sim

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// seeds is how many the tests run: fewer where each costs more.
func seeds() uint64 {
	switch {
	case race:
		return 8
	case testing.Short():
		return 10
	}
	return 100
}

// maxVacuous is the share of runs that may prove nothing.
const maxVacuous = 0.05

// TestSeeds is the main test of the whole engine: nothing but a few runs may
// be vacuous, and nothing may be violated.
func TestSeeds(t *testing.T) {
	t.Parallel()
	var sum Summary
	began := time.Now()
	err := Series(t.Context(), Default, 1, seeds(), runtime.GOMAXPROCS(0), func(r *Result) error {
		sum.Add(r)
		switch {
		case len(r.Violations) > 0:
			t.Errorf("seed %d: %s\nreplay: %s", r.Scenario.Seed, strings.Join(r.Violations, "\n\t"), r.Scenario.Replay())
		case r.Vacuous != "":
			t.Logf("seed %d is vacuous: %s", r.Scenario.Seed, r.Vacuous)
		case !r.Converged:
			t.Errorf("seed %d did not converge, and no checker says why", r.Scenario.Seed)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := uint64(sum.Runs); n != seeds() || float64(sum.Vacuous) > maxVacuous*float64(n) {
		t.Errorf("%d runs of %d, %d of them vacuous", n, seeds(), sum.Vacuous)
	}
	t.Logf("%d runs in %v: %d converged, %d vacuous, %d forks, %d commits apart, %d messages, %d crashes; one head %.1f s after the heal (median), %.1f s (worst)",
		sum.Runs, time.Since(began).Round(time.Second), sum.Converged, sum.Vacuous, sum.Forks, sum.Commits, sum.Messages, sum.Crashes, sum.HealMedian, sum.HealWorst)
}

// A run is a function of its scenario, whatever runs beside it.
func TestSameSeedSameBytes(t *testing.T) {
	t.Parallel()
	var histories [][]byte
	for range 2 {
		err := Series(t.Context(), Default, 3, 4, 2, func(r *Result) error {
			histories = append(histories, r.History)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(histories[0], histories[2]) || !bytes.Equal(histories[1], histories[3]) {
		t.Error("the same seed gave two histories")
	}
	if bytes.Equal(histories[0], histories[1]) {
		t.Error("two seeds gave one history")
	}
	for _, h := range histories {
		if !bytes.Contains(h, []byte(" wire ")) || bytes.Count(h, []byte(" disk ")) < 8 {
			t.Errorf("the history does not tell of disks and wire: %s", h[max(0, len(h)-2000):])
		}
	}
}

// Without faults, and with many: the bounds of what the flags allow.
func TestWeather(t *testing.T) {
	t.Parallel()
	if testing.Short() || race {
		t.Skip("many runs: run without -short and without -race")
	}
	for name, change := range map[string]func(*Plain){
		"calm":  func(s *Plain) { s.Loss, s.Duplicate, s.Reorder, s.Crashes = 0, 0, 0, 0 },
		"storm": func(s *Plain) { s.Loss, s.Duplicate, s.Reorder, s.Crashes = 0.25, 0.2, 0.2, 6 },
		"four":  func(s *Plain) { s.Members, s.Joiners = 4, 0 },
		"dozen": func(s *Plain) { s.Members, s.Joiners, s.Commits = 12, 4, 5 },
		"still": func(s *Plain) { s.MinLatency, s.MaxLatency = 0, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 3; seed++ {
				p := DefaultPlain()
				change(&p)
				s := p.Scenario(seed)
				r, err := Run(s)
				if err != nil {
					t.Fatal(err)
				}
				if len(r.Violations) > 0 || r.Vacuous == "" && !r.Converged {
					t.Errorf("%s\nreplay: %s", strings.Join(r.Violations, "\n\t"), s.Replay())
				}
			}
		})
	}
}

// A run in which nothing happened is vacuous, never converged.
func TestVacuous(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Plain){
		"0 forks, want 1":     func(p *Plain) { p.Commits = 0 },
		"5 messages, want 20": func(p *Plain) { p.Messages = 5 },
	} {
		p := DefaultPlain()
		change(&p)
		r, err := Run(p.Scenario(1))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(r.Vacuous, want) {
			t.Errorf("%q, want %q", r.Vacuous, want)
		}
		var sum Summary
		sum.Add(r)
		if sum.Runs != 1 || sum.Vacuous != 1 || sum.Converged != 0 {
			t.Errorf("counted as %+v", sum)
		}
	}
}

func TestReplay(t *testing.T) {
	p := DefaultPlain()
	s := p.Scenario(7)
	if got := s.Replay(); got != "dmlsd sim replay --members 8 --seed 7" {
		t.Error(got)
	}
	p.Loss, p.Apart, p.Crashes = 0.25, time.Minute, 3
	s = p.Scenario(7)
	if got := s.Replay(); got != "dmlsd sim replay --members 8 --crashes 3 --loss 0.25 --apart 1m0s --seed 7" {
		t.Error(got)
	}
}

// Results come in the order of seeds, and a series can be ended.
func TestSeries(t *testing.T) {
	t.Parallel()
	p := DefaultPlain()
	p.Members, p.Joiners, p.Messages, p.Commits, p.Crashes = 4, 0, 2, 0, 0
	p.Before, p.Apart, p.After = time.Second, time.Second, time.Second
	s := p.Scenario
	for _, parallel := range []int{1, 3, 9} {
		var got []uint64
		err := Series(t.Context(), s, 5, 9, parallel, func(r *Result) error {
			got = append(got, r.Scenario.Seed)
			return nil
		})
		if err != nil || len(got) != 5 || got[0] != 5 || got[4] != 9 {
			t.Errorf("%d at a time: %v, %v", parallel, got, err)
		}
	}
	stop := errors.New("enough")
	if err := Series(t.Context(), s, 1, 1<<40, 2, func(*Result) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := Series(ctx, s, 1, 1<<40, 2, func(*Result) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	for _, err := range []error{Series(t.Context(), s, 2, 1, 1, nil), Series(t.Context(), s, 1, 2, 0, nil), Series(t.Context(), func(uint64) Scenario { return Scenario{} }, 1, 1, 1, nil)} {
		if !errors.Is(err, ErrScenario) {
			t.Error(err)
		}
	}
}
