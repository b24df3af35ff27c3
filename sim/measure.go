package sim

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Measurement is one section of docs/forks.md.
type Measurement struct {
	Name, Title string
	measure     func(w io.Writer) error
}

// Measurements are the sections, in order.
func Measurements() []Measurement {
	return []Measurement{
		{"heal", "From heal to one head", measureHeal},
		{"heal-large", "From heal to one head in larger groups", measureHealLarge},
		{"catchup", "Bytes to catch up", measureCatchUp},
		{"retained", "Secrets retained over time", measureRetained},
		{"children", "Children of one epoch: puncture cost and storage", measureChildren},
		{"acks", "Ack traffic against exposure", measureAcks},
	}
}

// Into measures and puts the section into a page, in place of the one that is
// there.
func (m Measurement) Into(page []byte) ([]byte, error) {
	var b bytes.Buffer
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", m.Name), fmt.Sprintf("<!-- end %s -->\n", m.Name)
	fmt.Fprintf(&b, "%s## %s\n\n", begin, m.Title)
	if err := m.measure(&b); err != nil {
		return nil, fmt.Errorf("sim: measure %s: %w", m.Name, err)
	}
	b.WriteString(end)
	i, j := bytes.Index(page, []byte(begin)), bytes.Index(page, []byte(end))
	if i < 0 || j < i {
		return slices.Concat(page, []byte("\n"), b.Bytes()), nil
	}
	return slices.Concat(page[:i], b.Bytes(), page[j+len(end):]), nil
}

// roundTrip of the network that is measured: each way takes half of it, nothing
// is lost.
const roundTrip = 100 * time.Millisecond

// halves is a group cut in two for 20 s, in which each side commits k updates,
// says three things and, from eight members on, removes somebody of its own.
func halves(n, k int, rule string, seed uint64) Scenario {
	s := Scenario{
		Name: "halves", Seed: seed, Members: n, Found: FoundAtOnce, Rule: rule, After: Span(2 * time.Minute),
		Network: Network{MinLatency: Span(roundTrip / 2), MaxLatency: Span(roundTrip / 2)},
		Engine:  Engine{DeliverWait: Span(3 * time.Second)},
	}
	cut, heal := Span(2*time.Second), Span(22*time.Second)
	islands := []Devices{some(0, n/2-1), some(n/2, n-1)}
	s.Partitions = []Partition{{At: cut, Until: heal, Islands: islands}}
	for _, i := range islands {
		s.work(Load{Do: Update, By: i, From: cut + cut/2, Until: cut + Span(12*time.Second), Count: k})
		s.work(Load{Do: Say, By: i, From: cut + cut/2, Until: heal, Count: 3})
		if n >= 8 {
			s.Events = append(s.Events, Event{At: cut + Span(14*time.Second), Do: Remove, By: i[:len(i)-1], Of: i[len(i)-1:]})
		}
	}
	return s
}

// trips is a time in round trips.
func trips(d time.Duration) float64 { return d.Seconds() / roundTrip.Seconds() }

// quantile of sorted values, by the nearest rank.
func quantile[T any](sorted []T, q float64) T {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func measureCatchUp(w io.Writer) error {
	fmt.Fprintf(w, "Bytes that a member receives from the heal to its last change of head, median of the members; k updates\nwere committed on each side. Most of it is what gossip floods and sync sends twice. The ways are those\nof the table above.\n\n| members | way | k = 1 | k = 4 | k = 16 |\n|--:|---|--:|--:|--:|\n")
	for _, n := range []int{4, 8, 16, 32} {
		for _, way := range healings {
			if n == 32 && way.name != "support" {
				continue // as long as all others together
			}
			if err := catchUpRow(w, n, way); err != nil {
				return err
			}
		}
	}
	return nil
}

func catchUpRow(w io.Writer, n int, way healing) error {
	var cells []string
	for _, k := range []int{1, 4, 16} {
		s := halves(n, k, way.rule, 1)
		s.Engine.MaxEpochs = way.engine.MaxEpochs
		r, err := metered(s)
		if err != nil {
			return err
		}
		cell := bytesText(float64(r.meter.caughtUp()))
		if !r.settled {
			cell = "not settled"
		}
		cells = append(cells, cell)
	}
	_, err := fmt.Fprintf(w, "| %d | %s | %s |\n", n, way.name, strings.Join(cells, " | "))
	return err
}

func measureRetained(w io.Writer) error {
	fmt.Fprintf(w, "The same cut with k updates on each side. Most secret records, and bytes in them, that a member\nretains: at the cut, just before the heal, and after it.\n\n| members | k | at the cut | before the heal | 1 s after | 5 s after | 10 s after | at the end |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, c := range [][2]int{{4, 4}, {8, 1}, {8, 4}, {8, 16}, {32, 4}} {
		r, err := metered(halves(c[0], c[1], "", 1))
		if err != nil {
			return err
		}
		heal := r.meter.healAt.Sub(r.start)
		var cells []string
		for _, t := range []time.Duration{2 * time.Second, heal - every, heal + time.Second, heal + 5*time.Second, heal + 10*time.Second, r.since()} {
			s := r.trace.samples[min(len(r.trace.samples)-1, int(t/every))]
			cells = append(cells, fmt.Sprintf("%d, %s", s.secrets, bytesText(float64(s.kept))))
		}
		fmt.Fprintf(w, "| %d | %d | %s |\n", c[0], c[1], strings.Join(cells, " | "))
	}
	return nil
}

func measureAcks(w io.Writer) error {
	fmt.Fprintf(w, `One update is committed in a quiet group. *Exposure* is the time until the last member has erased the
epoch before it, *frames* are what was published for that, *sent* their bytes, *each* what one member
received meanwhile, sync included. The ack delay is drawn from the two bounds; its upper bound grows
to voters/rate (design, section 5.6), and above 128 members 128 vote.

| members | ack delay | rate | exposure | frames | sent | each |
|--:|---|--:|--:|--:|--:|--:|
`)
	for _, n := range []int{4, 16, 64, 256} {
		for _, e := range []Engine{
			{AckMin: Span(200 * time.Millisecond), AckMax: Span(2 * time.Second), AckRate: 5},
			{AckMin: Span(200 * time.Millisecond), AckMax: Span(2 * time.Second), AckRate: 50},
			{AckMin: Span(5 * time.Second), AckMax: Span(30 * time.Second), AckRate: 5},
		} {
			if n == 256 && e.AckRate != 5 {
				continue // as long as all others together
			}
			if err := ackRow(w, n, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func ackRow(w io.Writer, n int, e Engine) error {
	s := Scenario{Name: "acks", Seed: 1, Members: n, Found: FoundAtOnce, After: Span(5 * time.Minute), Engine: e,
		Network: Network{MinLatency: Span(roundTrip / 2), MaxLatency: Span(roundTrip / 2)}}
	s.Engine.DeliverWait = Span(time.Second)
	if n > 64 {
		s.Network.Topology, s.Network.Degree, s.Network.Sync, s.Network.Fanout = Random, 8, Span(15*time.Second), 3
	}
	// The founding must be final before, or its acks are counted.
	begin := 4 * max(time.Duration(e.AckMax), time.Duration(min(n, 128)/e.AckRate)*time.Second)
	s.Events = []Event{{At: Span(begin), Do: Update}}
	s.Partitions = []Partition{{At: Span(begin) - 2, Until: Span(begin) - 1, Islands: []Devices{some(0, n-1)}}} // separates nobody; the meter begins
	r, err := metered(s)
	if err != nil {
		return err
	}
	m := r.meter
	var last time.Time
	for _, t := range m.erased {
		if t.After(last) {
			last = t
		}
	}
	if len(m.erased) < n || last.Before(m.commitAt) {
		_, err := fmt.Fprintf(w, "| %d | %v to %v | %d | not all have erased it |\n", n, e.AckMin, e.AckMax, e.AckRate)
		return err
	}
	got := 0
	for i, d := range r.devices {
		got += d.got - m.gotHeal[i]
	}
	_, err = fmt.Fprintf(w, "| %d | %v to %v | %d | %.1f s | %d | %s | %s |\n", n, e.AckMin, e.AckMax, e.AckRate, last.Sub(m.commitAt).Seconds(),
		m.frames-1, bytesText(float64(m.sent)), bytesText(float64(got)/float64(n)))
	return err
}
