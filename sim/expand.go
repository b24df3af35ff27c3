package sim

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Expand is the scenario with its loads drawn as events, in the order of time.
// It gives the same run: each event keeps its own random stream.
func (s Scenario) Expand() Scenario {
	events := slices.Clone(s.Events)
	for i := range events {
		if events[i].Draw == 0 {
			events[i].Draw = uint64(i) + 1
		}
	}
	for i, l := range s.Loads {
		r := rand.New(stream(s.Seed, fmt.Sprintf("load %d", i)))
		for k := range l.times() {
			e := Event{Do: l.Do, By: l.By, Of: l.Of, Draw: uint64(i+1)<<32 | uint64(k)}
			e.At = l.From + Span(r.Int64N(int64(l.Until-l.From)))
			events = append(events, e.round())
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	s.Events, s.Loads = events, nil
	return s
}

// times is how often the load happens.
func (l *Load) times() int {
	if l.Count > 0 {
		return l.Count
	}
	return int(math.Round(l.PerMinute * time.Duration(l.Until-l.From).Minutes()))
}

// round keeps the times in files short.
func (e Event) round() Event {
	e.At = Span(time.Duration(e.At).Round(time.Millisecond))
	return e
}

// end is when the last thing happens: an event, the end of a partition, the
// return of a crashed device.
func (s *Scenario) end() Span {
	end := s.healed()
	for _, e := range s.Events {
		end = max(end, e.At+e.For)
	}
	for _, l := range s.Loads {
		end = max(end, l.Until)
	}
	for _, a := range s.Adversaries {
		end = max(end, a.From, a.Until)
	}
	return end
}

// long is how long a device must be down to count as cut off.
const long = Span(5 * time.Second)

// trouble is when somebody is cut off for the first time; healed is when
// nobody is any more.
func (s *Scenario) trouble() Span {
	first := s.healed()
	for _, p := range s.Partitions {
		first = min(first, p.At)
	}
	for _, e := range s.Events {
		if e.Do == Crash && e.For > long {
			first = min(first, e.At)
		}
	}
	return first
}

func (s *Scenario) healed() Span {
	var last Span
	for _, p := range s.Partitions {
		last = max(last, p.Until)
	}
	for _, e := range s.Events {
		if e.Do == Crash && e.For > long {
			last = max(last, e.At+e.For)
		}
	}
	return last
}
