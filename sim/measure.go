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
		{"heal-32", "From heal to one head among 32", healOf(32, 5, 2, 2, 1)},
		{"heal-64", "From heal to one head among 64", healOf(64, 3, 1, 1, 0)},
		{"heal-128", "From heal to one head among 128", healOf(128, 1, 1, 1, 0)},
		{"heal-256", "From heal to one head among 256", healOf(256, 1, 1, 1, 0)},
		{"heal-1000", "From heal to one head among 1,000", healOf(1000, 1, 0, 0, 0)},
		{"catchup", "Bytes to catch up", measureCatchUp},
		{"retained", "Secrets retained over time", measureRetained},
		{"children", "Children of one epoch: puncture cost and storage", measureChildren},
		{"acks", "Ack traffic against exposure", measureAcks},
		{"acks-256", "Ack traffic against exposure among 256", measureAcks256},
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
// says three things and, from eight members on, removes somebody of its own. More
// than 64 do not all know each other.
func halves(n, k int, rule string, seed uint64) Scenario {
	s := Scenario{
		Name: "halves", Seed: seed, Members: n, Found: FoundAtOnce, Rule: rule, After: Span(2 * time.Minute),
		Network: Network{MinLatency: Span(roundTrip / 2), MaxLatency: Span(roundTrip / 2)},
		Engine:  Engine{DeliverWait: Span(3 * time.Second)},
	}
	if n > 64 {
		s.Network.sparse()
	}
	if n > 128 { // acks take longer: 128 members have a vote
		s.After *= 2
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

// sparse lets each device know eight others.
func (n *Network) sparse() {
	n.Topology, n.Degree, n.Sync, n.Fanout = Random, 8, Span(15*time.Second), 3
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
	fmt.Fprintf(w, "The same cut with k updates on each side. Most secret records, and bytes in them, that a member\nretains: at the cut, just before the heal, and after it. The ways are those of the tables above.\n\n| members | k | way | at the cut | before the heal | 1 s after | 5 s after | 10 s after | at the end |\n|--:|--:|---|--:|--:|--:|--:|--:|--:|\n")
	support := healings[:1]
	for _, c := range []struct {
		n, k int
		ways []healing
	}{{4, 4, support}, {8, 1, support}, {8, 4, healings}, {8, 16, support}, {32, 4, support}} {
		for _, way := range c.ways {
			if err := retainedRow(w, c.n, c.k, way); err != nil {
				return err
			}
		}
	}
	return nil
}

func retainedRow(w io.Writer, n, k int, way healing) error {
	s := halves(n, k, way.rule, 1)
	s.Engine.MaxEpochs = way.engine.MaxEpochs
	r, err := metered(s)
	if err != nil {
		return err
	}
	heal := r.meter.healAt.Sub(r.start)
	var cells []string
	for _, t := range []time.Duration{2 * time.Second, heal - every, heal + time.Second, heal + 5*time.Second, heal + 10*time.Second, r.since()} {
		s := r.trace.samples[min(len(r.trace.samples)-1, int(t/every))]
		cells = append(cells, fmt.Sprintf("%d, %s", s.secrets, bytesText(float64(s.kept))))
	}
	_, err = fmt.Fprintf(w, "| %d | %d | %s | %s |\n", n, k, way.name, strings.Join(cells, " | "))
	return err
}
