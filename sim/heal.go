package sim

import (
	"fmt"
	"io"
	"slices"
	"time"
)

const healHead = `| members | way | runs | one head p50 | p95 | worst | quiet p50 | worst | merges median | worst | commits median | bytes median | secrets most | CPU ms | off the head: commits | removals | messages |
|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

// healing is a way of coming together again.
type healing struct {
	name, rule string
	engine     Engine
}

// healings are the rules of fork choice, and dropping the loser: where nobody
// retains anything but the head, no rival commit opens, and those who were on
// the losing side are added again.
var healings = []healing{
	{"support", "support", Engine{}},
	{"tag", "tag", Engine{}},
	{"depth", "depth", Engine{}},
	{"drop", "support", Engine{MaxEpochs: 1}},
}

func measureHeal(w io.Writer) error {
	fmt.Fprintf(w, `A group is cut in halves for 20 s; each side commits two updates, removes one of its own members (from
8 members on) and says three things; no message is lost, a round trip takes %v. *One head*: all
members stand at one head for the first time, in round trips after the heal. *Quiet*: the last
change of a head, when the losing side's removal and updates are done again. *Merges* are merge
commits per fork, *commits* all that were made after the heal. *Bytes* are what a member receives from
the heal to quiet, *secrets* the most that a member retains of secret records, in bytes, at any time.
*CPU* is processor time per member and fork from the heal to quiet, sync and simulated network
included. *Off the head* is what the head's chain does not have: with the first three ways it was
opened by all, what it did is done again and its messages are read; it would be lost if the loser
were merely dropped. *drop* is that with a remedy: nobody retains more than the head epoch, so that no
rival commit opens, and the members of the losing side are added again.

`+healHead, roundTrip)
	for _, n := range []int{4, 8, 16} {
		for _, h := range healings {
			if err := healRow(w, n, 20, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// healOf measures groups of one size: so many runs for each of the healings.
func healOf(n int, runs ...uint64) func(io.Writer) error {
	return func(w io.Writer) error {
		fmt.Fprint(w, "The same as above.\n\n", healHead)
		for i, h := range healings {
			if err := healRow(w, n, runs[i], h); err != nil {
				return err
			}
		}
		return nil
	}
}

// healed gathers what runs of one kind came to.
type healed struct {
	one, quiet, cpu                 []float64
	merges, after, bytes, secrets   []int
	commits, deeds, messages, stuck int
}

func (h *healed) add(r *run) {
	m := r.meter
	if !r.settled {
		h.stuck++
		return
	}
	if m.oneAt.IsZero() {
		m.oneAt = r.one // who was out came in without a change of anybody's head
	}
	h.one, h.quiet = append(h.one, trips(m.oneAt.Sub(m.healAt))), append(h.quiet, trips(m.lastAt.Sub(m.healAt)))
	h.cpu = append(h.cpu, float64((m.cpuLast-m.cpuHeal).Microseconds())/1000/float64(r.Members))
	h.merges, h.after, h.bytes = append(h.merges, len(m.merges)), append(h.after, m.after), append(h.bytes, m.caughtUp())
	most := 0
	for _, s := range r.trace.samples {
		most = max(most, s.kept)
	}
	h.secrets = append(h.secrets, most)
	c, d, t := m.losses()
	h.commits, h.deeds, h.messages = h.commits+c, h.deeds+d, h.messages+t
}

func healRow(w io.Writer, n int, runs uint64, way healing) error {
	var h healed
	for seed := uint64(1); seed <= runs; seed++ {
		s := halves(n, 2, way.rule, seed)
		s.Engine.MaxEpochs = way.engine.MaxEpochs
		r, err := metered(s)
		if err != nil {
			return err
		}
		h.add(r)
	}
	note := fmt.Sprint(runs)
	if runs == 0 {
		note = "not run"
	}
	if h.stuck > 0 {
		note += fmt.Sprintf(" (%d not within %v)", h.stuck, time.Duration(halves(n, 2, "", 1).After))
	}
	if len(h.one) == 0 {
		_, err := fmt.Fprintf(w, "| %d | %s | %s | | | | | | | | | | | | | | |\n", n, way.name, note)
		return err
	}
	for _, all := range [][]float64{h.one, h.quiet, h.cpu} {
		slices.Sort(all)
	}
	for _, all := range [][]int{h.merges, h.after, h.bytes, h.secrets} {
		slices.Sort(all)
	}
	each := func(v int) float64 { return float64(v) / float64(len(h.one)) }
	_, err := fmt.Fprintf(w, "| %d | %s | %s | %.1f | %.1f | %.1f | %.1f | %.1f | %d | %d | %d | %s | %s | %.1f | %.1f | %.1f | %.1f |\n",
		n, way.name, note, quantile(h.one, 0.5), quantile(h.one, 0.95), h.one[len(h.one)-1], quantile(h.quiet, 0.5), h.quiet[len(h.quiet)-1],
		quantile(h.merges, 0.5), h.merges[len(h.merges)-1], quantile(h.after, 0.5), bytesText(float64(quantile(h.bytes, 0.5))),
		bytesText(float64(h.secrets[len(h.secrets)-1])), quantile(h.cpu, 0.5), each(h.commits), each(h.deeds), each(h.messages))
	return err
}
