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

const healHead = `| members | rule | runs | one head p50 | p95 | worst | quiet p50 | worst | merges median | worst | commits median | CPU ms | dropped: commits | removals | messages |
|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

func measureHeal(w io.Writer) error {
	fmt.Fprintf(w, `A group is cut in halves for 20 s; each side commits two updates, removes one of its own members (from
8 members on) and says three things; no message is lost, a round trip takes %v. *One head*: all
members stand at one head for the first time, in round trips after the heal. *Quiet*: the last
change of a head, when the losing side's removal and updates are done again. *Merges* are merge
commits per fork, *commits* all that were made after the heal. *CPU* is processor time per member and
fork from the heal to quiet, sync and simulated network included. *Dropped* is what is lost for good
if the losing side is dropped instead of carried over: commits, removals among them, messages.

`+healHead, roundTrip)
	for _, n := range []int{4, 8, 16} {
		for _, rule := range []string{"support", "tag", "depth"} {
			if err := healRow(w, n, 20, rule); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureHealLarge has fewer runs: one costs half a minute of a core.
func measureHealLarge(w io.Writer) error {
	fmt.Fprint(w, "The same as above.\n\n", healHead)
	for _, c := range []struct {
		n    int
		runs uint64
		rule string
	}{{32, 5, "support"}, {32, 2, "tag"}, {32, 2, "depth"}, {64, 3, "support"}, {64, 1, "tag"}, {64, 1, "depth"}} {
		if err := healRow(w, c.n, c.runs, c.rule); err != nil {
			return err
		}
	}
	return nil
}

func healRow(w io.Writer, n int, runs uint64, rule string) error {
	var one, quiet, cpu []float64
	var merges, after []int
	var commits, deeds, messages, bad int
	for seed := uint64(1); seed <= runs; seed++ {
		r, err := metered(halves(n, 2, rule, seed))
		if err != nil {
			return err
		}
		m := r.meter
		if m.oneAt.IsZero() || !r.settled {
			bad++
			continue
		}
		one, quiet = append(one, trips(m.oneAt.Sub(m.healAt))), append(quiet, trips(m.lastAt.Sub(m.healAt)))
		cpu = append(cpu, float64((m.cpuLast-m.cpuHeal).Microseconds())/1000/float64(n))
		merges, after = append(merges, len(m.merges)), append(after, m.after)
		c, d, t := m.losses()
		commits, deeds, messages = commits+c, deeds+d, messages+t
	}
	if len(one) == 0 {
		_, err := fmt.Fprintf(w, "| %d | %s | %d | none settled |\n", n, rule, runs)
		return err
	}
	slices.Sort(one)
	slices.Sort(quiet)
	slices.Sort(cpu)
	slices.Sort(merges)
	slices.Sort(after)
	note := fmt.Sprint(runs)
	if bad > 0 {
		note += fmt.Sprintf(" (%d did not settle)", bad)
	}
	each := func(v int) float64 { return float64(v) / float64(len(one)) }
	_, err := fmt.Fprintf(w, "| %d | %s | %s | %.1f | %.1f | %.1f | %.1f | %.1f | %d | %d | %d | %.1f | %.1f | %.1f | %.1f |\n",
		n, rule, note, quantile(one, 0.5), quantile(one, 0.95), one[len(one)-1], quantile(quiet, 0.5), quiet[len(quiet)-1],
		quantile(merges, 0.5), merges[len(merges)-1], quantile(after, 0.5), quantile(cpu, 0.5), each(commits), each(deeds), each(messages))
	return err
}

func measureCatchUp(w io.Writer) error {
	fmt.Fprintf(w, "Bytes that a member receives from the heal to its last change of head, median of the members; k updates\nwere committed on each side. Most of it is what gossip floods and sync sends twice.\n\n| members | k = 1 | k = 4 | k = 16 |\n|--:|--:|--:|--:|\n")
	for _, n := range []int{4, 8, 16, 32} {
		var cells []string
		for _, k := range []int{1, 4, 16} {
			r, err := metered(halves(n, k, "", 1))
			if err != nil {
				return err
			}
			cells = append(cells, bytesText(float64(r.meter.caughtUp())))
		}
		fmt.Fprintf(w, "| %d | %s |\n", n, strings.Join(cells, " | "))
	}
	return nil
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
		s.Network.Topology, s.Network.Degree = Random, 8
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
