package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/sim"
)

// simCmd groups the verbs of the simulator.
func (a *app) simCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sim", Short: "Run the engine in virtual time", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.simRunCmd())
	return cmd
}

// simRun is one call of `sim run`.
type simRun struct {
	scenario    sim.Scenario
	first, last uint64
	parallel    int
	asJSON      bool
	history     io.Writer // nil: none
	summary     sim.Summary
}

func (a *app) simRunCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Form groups, cut them in two, heal them, and check what became of them", Args: cobra.NoArgs,
		Long: `Runs the real engine with real cryptography in virtual time. In each run a group
is formed by tickets, chats, is cut into two islands that go on chatting and
committing over a bad network with crashing devices, and is healed. Then it
must come to one head, one key, the same members and the same messages.

A run counts only if each side made at least two commits while apart, at least
20 messages were sent and every founder saw the fork; others are "vacuous".
The same seed gives the same bytes of history. Exits with 1 on any violation.`,
	}
	r := &simRun{scenario: sim.Default(1)}
	seed := cmd.Flags().Uint64("seed", 1, "seed of one run")
	seeds := cmd.Flags().String("seeds", "", "range of seeds, A..B")
	history := cmd.Flags().String("history", "", "write what happened to `FILE`")
	cmd.Flags().IntVar(&r.parallel, "parallel", runtime.GOMAXPROCS(0), "runs at a time")
	cmd.Flags().BoolVar(&r.asJSON, "json", false, "print the summary as JSON, on the last line")
	for _, k := range r.scenario.Knobs() {
		knobFlag(cmd, k)
	}
	cmd.MarkFlagsMutuallyExclusive("seed", "seeds")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if r.first, r.last, err = seedRange(*seed, *seeds); err != nil {
			return err
		}
		if err := r.scenario.Validate(); err != nil {
			return &api.Error{What: "cannot simulate that", Why: strings.TrimPrefix(err.Error(), "sim: "), Fix: "see: dmlsd sim run --help", Code: api.Usage}
		}
		if r.parallel < 1 {
			return &api.Error{What: "cannot simulate that", Why: "--parallel must be 1 or more", Fix: "leave it out", Code: api.Usage}
		}
		if *history == "" {
			return r.run(cmd.Context(), a)
		}
		f, err := os.Create(*history)
		if err != nil {
			return api.Explain("cannot write the history", err)
		}
		w := bufio.NewWriter(f)
		r.history = w
		err = r.run(cmd.Context(), a)
		if e := errors.Join(w.Flush(), f.Close()); e != nil && err == nil {
			err = api.Explain("cannot write the history", e)
		}
		return err
	}
	return cmd
}

func knobFlag(cmd *cobra.Command, k sim.Knob) {
	f := cmd.Flags()
	switch v := k.Value.(type) {
	case *int:
		f.IntVar(v, k.Name, *v, k.Help)
	case *float64:
		f.Float64Var(v, k.Name, *v, k.Help)
	case *time.Duration:
		f.DurationVar(v, k.Name, *v, k.Help)
	}
}

// seedRange reads A..B, or takes the one seed.
func seedRange(seed uint64, seeds string) (first, last uint64, err error) {
	if seeds == "" {
		return seed, seed, nil
	}
	a, b, ok := strings.Cut(seeds, "..")
	first, errA := strconv.ParseUint(a, 10, 64)
	last, errB := strconv.ParseUint(b, 10, 64)
	if !ok || errA != nil || errB != nil || last < first {
		return 0, 0, &api.Error{What: "bad range of seeds", Why: strconv.Quote(seeds) + " is not A..B with A at most B", Fix: "for example: --seeds 1..100", Code: api.Usage}
	}
	return first, last, nil
}

// run runs the seeds, tells how far it is, and ends with the summary.
func (r *simRun) run(ctx context.Context, a *app) error {
	began := time.Now()
	p := newProgress(a.talk, r.last-r.first+1)
	err := sim.Series(ctx, r.scenario, r.first, r.last, r.parallel, func(res *sim.Result) error {
		r.summary.Add(res)
		if r.history != nil {
			if _, err := r.history.Write(res.History); err != nil {
				return fmt.Errorf("history: %w", err)
			}
		}
		if len(res.Violations) > 0 {
			p.clear()
			failure(a.talk, res)
		}
		p.show(&r.summary)
		return nil
	})
	p.clear()
	if err != nil {
		return api.Explain("the simulation broke off", err)
	}
	if r.asJSON {
		if err := a.printJSON(&r.summary); err != nil {
			return err
		}
	} else {
		r.print(a.out, time.Since(began))
	}
	if n := r.summary.Failed; n > 0 {
		return &api.Error{What: fmt.Sprintf("%d of %d runs broke a promise", n, r.summary.Runs), Why: "see above",
			Fix: "run the replay command to see one alone", Code: api.Failed}
	}
	return nil
}

// lastLines is how much of a failed run's history is shown.
const lastLines = 40

// failure says what a run did wrong, what happened last, and how to see it
// again.
func failure(w io.Writer, res *sim.Result) {
	fmt.Fprintf(w, "seed %d\n", res.Scenario.Seed)
	for _, v := range res.Violations {
		fmt.Fprintf(w, "  violation  %s\n", v)
	}
	lines := bytes.Split(bytes.TrimRight(res.History, "\n"), []byte("\n"))
	for _, l := range lines[max(0, len(lines)-lastLines):] {
		fmt.Fprintf(w, "  | %s\n", l)
	}
	fmt.Fprintf(w, "  replay     %s\n", res.Scenario.Replay())
}

// print is the summary for people.
func (r *simRun) print(w io.Writer, took time.Duration) {
	s := &r.summary
	fmt.Fprintf(w, "runs        %d of %d founders, in %v\n", s.Runs, r.scenario.Members, took.Round(time.Millisecond))
	fmt.Fprintf(w, "converged   %d\n", s.Converged)
	fmt.Fprintf(w, "vacuous     %d (%.1f %%)\n", s.Vacuous, 100*float64(s.Vacuous)/float64(max(1, s.Runs)))
	fmt.Fprintf(w, "stranded    %d\n", s.Stranded)
	fmt.Fprintf(w, "forks       %d, of %d commits made while apart\n", s.Forks, s.Commits)
	fmt.Fprintf(w, "messages    %d\n", s.Messages)
	fmt.Fprintf(w, "crashes     %d\n", s.Crashes)
	if s.Converged > 0 {
		fmt.Fprintf(w, "one head    %.1f s after the heal in the median, %.1f s at worst (virtual)\n", s.HealMedian, s.HealWorst)
	}
	fmt.Fprintf(w, "violations  %d\n", len(s.Violations))
}

// progress is a line on the terminal that is written over, or one line now and
// then where there is none. One run alone shows none.
type progress struct {
	w        io.Writer
	total    uint64
	terminal bool
	next     time.Time
}

func newProgress(w io.Writer, total uint64) *progress {
	p := &progress{w: w, total: total}
	if f, ok := w.(*os.File); ok {
		st, err := f.Stat()
		p.terminal = err == nil && st.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) show(s *sim.Summary) {
	now := time.Now()
	if p.total == 1 || now.Before(p.next) && uint64(s.Runs) < p.total {
		return
	}
	line := fmt.Sprintf("%d of %d runs: %d converged, %d vacuous, %d with violations", s.Runs, p.total, s.Converged, s.Vacuous, s.Failed)
	if p.terminal {
		p.next = now.Add(100 * time.Millisecond)
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		return
	}
	p.next = now.Add(5 * time.Second)
	fmt.Fprintln(p.w, line)
}

// clear makes room for other lines.
func (p *progress) clear() {
	if p.terminal && p.total > 1 {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
