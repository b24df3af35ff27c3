package sim

import (
	"slices"
	"testing"
	"time"
)

// dwindling is a group of six that loses half of its founders one by one, each
// removal final before the next, and then hears three commits.
func dwindling(seed uint64) Scenario {
	s := Scenario{Name: "dwindling", Seed: seed, Members: 6, Found: FoundAtOnce, After: Span(time.Minute),
		Network: Network{MinLatency: Span(10 * time.Millisecond), MaxLatency: Span(50 * time.Millisecond)}}
	s.work(Load{Do: Say, Until: Span(34 * time.Second), Count: 150})
	for i := range 3 {
		s.Events = append(s.Events,
			Event{At: Span(8+8*i) * Span(time.Second), Do: Remove, By: Devices{0}, Of: Devices{3 + i}},
			Event{At: Span(40+4*i) * Span(time.Second), Do: Update, By: Devices{1}})
	}
	return s
}

// Where half of the founders are gone, epochs become final all the same if each
// removal did, and devices that confirm nothing are seen.
func TestBoundsOfADwindlingGroup(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 3; seed++ {
		e := finished(t, dwindling(seed), nil).evidence()
		if got := e.judge(); len(got.Violations) > 0 {
			t.Errorf("seed %d: %q", seed, got.Violations)
		}
		lazy := finished(t, dwindling(seed), func(r *run) { r.engine.AckMin, r.engine.AckMax = time.Hour, time.Hour })
		if got := complaints(lazy.evidence().judge()); !slices.Contains(got, "bounds") {
			t.Errorf("seed %d: nobody confirms anything, and %q complain", seed, got)
		}
	}
}

// Where half of the voters of one epoch go at once, nothing below it becomes
// final, and the reference says why.
func TestHeldUp(t *testing.T) {
	t.Parallel()
	s := dwindling(1)
	s.Loads, s.Events = nil, s.Events[:0]
	s.Partitions = []Partition{{At: Span(5 * time.Second), Until: Span(12 * time.Second), Islands: []Devices{{0}, {1, 2}, {3, 4, 5}}}}
	for i := range 3 {
		s.Events = append(s.Events, Event{At: Span(6+i) * Span(time.Second), Do: Remove, By: Devices{0}, Of: Devices{3 + i}})
	}
	e := finished(t, s, nil).evidence()
	a := agree(e.standings())
	for _, w := range e.witnesses {
		if a.members[w.id] && (w.held == "" || w.st.RetainedEpochs <= maxRetained) {
			t.Errorf("%s is held up by %q, and retains %d epochs", w.name, w.held, w.st.RetainedEpochs)
		}
	}
	if got := e.judge(); len(got.Violations) > 0 {
		t.Errorf("%q", got.Violations)
	}
}
