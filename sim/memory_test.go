package sim

import (
	"slices"
	"testing"
)

// Each limit is looked at.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := finished(t, Default(2), nil)
	config := r.engine
	for i, l := range limits {
		e := r.evidence()
		most := l.most(config, e.scenario.devices()+e.puppets)
		e.hold(l.what, most)
		if got := checkMemory(e, agreement{}); len(got) > 0 {
			t.Errorf("as many %s as are allowed: %q", l.what, got)
		}
		e.hold(l.what, most+1)
		if got := checkMemory(e, agreement{}); len(got) != 1 {
			t.Errorf("limit %d: more %s than are allowed: %q", i, l.what, got)
		}
	}
}

// What was parked for a while and is gone at the end is seen, too.
func TestPeaks(t *testing.T) {
	t.Parallel()
	e := finished(t, Default(2), nil).evidence()
	parked := slices.IndexFunc(limits, func(l limit) bool { return l.what == "bytes of parked frames" })
	n := 0
	for _, w := range e.witnesses {
		if w.most != nil && w.most[parked] > 0 && w.st.Parked == 0 {
			n++
		}
	}
	if n == 0 {
		t.Error("nobody had parked anything that it had not at the end")
	}
	e.scenario.Engine.MaxParked = 1
	if got := checkMemory(e, agreement{}); len(got) < n {
		t.Errorf("a cap of one byte: %q", got)
	}
}

// A flooder sends more than may wait, and what waits comes close to the cap.
func TestFlood(t *testing.T) {
	t.Parallel()
	flooder, err := Named("attack-flooder")
	if err != nil {
		t.Fatal(err)
	}
	bytes := slices.IndexFunc(limits, func(l limit) bool { return l.what == "bytes of parked frames" })
	for seed := uint64(1); seed <= 12; seed++ {
		s := flooder(seed)
		s.Engine.MaxParked = 1 << 16
		e := finished(t, s, nil).evidence()
		if got := checkMemory(e, agreement{}); len(got) > 0 {
			t.Error(got)
		}
		for _, w := range e.witnesses {
			if w.most != nil && w.most[bytes] > s.Engine.MaxParked*9/10 {
				return
			}
		}
	}
	t.Error("nobody came near the cap")
}
