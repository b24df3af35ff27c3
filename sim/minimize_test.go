package sim

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A run that is given too little time to converge shrinks to a fork of few
// events, whatever is done at a time, and the file that comes out breaks the
// same promise.
func TestMinimize(t *testing.T) {
	t.Parallel()
	p := DefaultPlain()
	p.Members, p.Joiners, p.Messages, p.Crashes = 5, 1, 6, 1
	p.Apart, p.After = 10*time.Second, time.Second
	s := p.Scenario(3)
	var results []Shrinking
	for _, parallel := range []int{1, 3} {
		steps := 0
		m, err := Minimize(t.Context(), s, 60, parallel, func(Shrinking) { steps++ })
		if err != nil {
			t.Fatal(err)
		}
		if m.Checker != "convergence" || steps == 0 || m.Runs > 60 {
			t.Errorf("%s: %d steps in %d runs", m.Checker, steps, m.Runs)
		}
		if len(m.Scenario.Events) > 3 || m.Scenario.Members > 4 {
			t.Errorf("%d members and %d events are left", m.Scenario.Members, len(m.Scenario.Events))
		}
		results = append(results, m)
	}
	if !reflect.DeepEqual(results[0].Scenario, results[1].Scenario) {
		t.Error("what is done at a time shows in the result")
	}
	b, err := results[0].Scenario.TOML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	res, err := Run(again)
	if err != nil || len(res.Violations) == 0 || !strings.HasPrefix(res.Violations[0], "convergence: ") {
		t.Errorf("the file gives %v, %v", res, err)
	}
}

func TestMinimizeNothing(t *testing.T) {
	t.Parallel()
	p := DefaultPlain()
	p.Members, p.Joiners, p.Messages, p.Crashes, p.Apart = 4, 0, 2, 0, 5*time.Second
	if _, err := Minimize(t.Context(), p.Scenario(1), 10, 1, nil); !errors.Is(err, ErrNoViolation) {
		t.Errorf("an honest run shrinks: %v", err)
	}
}

// Of what a class draws, all that is left of a run with a planted bug is what
// the bug needs: a device that hears nobody once it was cut off stays behind
// if there is a cut and a commit. The same promise stays broken, and what is
// written down breaks it in the same words.
func TestMinimizeClass(t *testing.T) {
	t.Parallel()
	const deaf = 2
	planted := func(s Scenario) (*Result, error) {
		if err := s.Validate(); err != nil {
			return nil, err
		}
		w, err := newWorld(s)
		if err != nil {
			return nil, err
		}
		r := &run{world: w}
		if len(w.devices) > deaf {
			r.deaf = w.devices[deaf]
		}
		r.safely()
		return r.evidence().judge(), nil
	}
	of, err := Named("nested")
	if err != nil {
		t.Fatal(err)
	}
	s := of(1)
	s.After = Span(50 * time.Second) // enough for all without the bug
	m, err := minimize(t.Context(), planted, s, 150, 2, func(Shrinking) {})
	if err != nil {
		t.Fatal(err)
	}
	left := m.Scenario
	if m.Checker != "convergence" || left.Members != deaf+1 || left.Joiners != 0 || len(left.Events) > 2 || len(left.Partitions) != 1 {
		t.Errorf("%s: %d members, %d joiners, %d events and %d partitions are left after %d runs",
			m.Checker, left.Members, left.Joiners, len(left.Events), len(left.Partitions), m.Runs)
	}
	b, err := left.TOML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	res, err := planted(again)
	if err != nil || len(res.Violations) == 0 || res.Violations[0] != m.Says {
		t.Fatalf("the file gives %v, %v, want %s", res, err, m.Says)
	}
	if res, err = Run(again); err != nil || len(res.Violations) > 0 {
		t.Errorf("without the bug the file gives %v, %q", err, res.Violations)
	}
}
