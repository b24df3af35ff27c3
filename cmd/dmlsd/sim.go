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
	cmd.AddCommand(a.simRunCmd(), a.simReplayCmd(), a.simMinimizeCmd(), a.simReportCmd(), a.simMeasureCmd(), a.simThiefCmd())
	return cmd
}

// simSource says which scenarios are meant: flags that the verbs share.
type simSource struct {
	plain    sim.Plain
	scenario string
	changed  func(flag string) bool
}

func (src *simSource) flags(cmd *cobra.Command) {
	src.plain = sim.DefaultPlain()
	src.changed = cmd.Flags().Changed
	cmd.Flags().StringVar(&src.scenario, "scenario", "", "NAME or FILE instead of the plain cut; see sim/scenarios/README.md.\n"+
		"Names: "+strings.Join(sim.Names(), ", "))
	for _, k := range src.plain.Knobs() {
		knobFlag(cmd, k)
		cmd.MarkFlagsMutuallyExclusive("scenario", k.Name)
	}
}

// scenarios returns the scenario of each seed, once one of them was found to
// make sense. own is the seed that a file names.
func (src *simSource) scenarios() (of func(seed uint64) sim.Scenario, own uint64, err error) {
	of = src.plain.Scenario
	if src.scenario != "" {
		if of, own, err = namedScenario(src.scenario); err != nil {
			return nil, 0, err
		}
	}
	s := of(max(1, own))
	return of, own, badScenario(s.Validate())
}

// namedScenario finds a scenario by name or in a file.
func namedScenario(ref string) (of func(seed uint64) sim.Scenario, own uint64, err error) {
	if of, err = sim.Named(ref); of != nil || err != nil {
		return of, 0, badScenario(err)
	}
	b, err := os.ReadFile(ref)
	if err != nil {
		return nil, 0, &api.Error{What: "no such scenario", Why: fmt.Sprintf("%q is neither a name nor a file that can be read", ref),
			Fix: "names: " + strings.Join(sim.Names(), ", "), Code: api.Usage}
	}
	s, err := sim.Parse(b)
	if err != nil {
		return nil, 0, badScenario(fmt.Errorf("%s: %w", ref, err))
	}
	return s.Seeded(ref), s.Seed, nil
}

func badScenario(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &api.Error{What: "cannot simulate that", Why: strings.Replace(err.Error(), "sim: bad scenario: ", "", 1), Fix: "see: dmlsd sim run --help", Code: api.Usage}
}

// simRun is one call of `sim run`.
type simRun struct {
	source      simSource
	first, last uint64
	parallel    int
	asJSON      bool
	history     io.Writer // nil: none
	summary     sim.Summary
}

func (a *app) simRunCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Form groups, cut them apart, heal them, and check what became of them", Args: cobra.NoArgs,
		Long: `Runs the real engine with real cryptography in virtual time. In each run a group
is formed, chats, is cut into islands that go on chatting and committing over a
bad network with crashing devices, and is healed. Then it must come to one
head, one key, the same members and the same messages.

A run counts only if it came to what its scenario asks for at least, above all
forks that every founder saw; others are "vacuous". The same seed gives the
same bytes of history. Exits with 1 on any violation.

Each signature is verified by the first device that gets it, and not by all
others again; "sim measure" has them verify it, too.`,
		Example: "  dmlsd sim run --members 8 --seeds 1..1000\n  dmlsd sim run --scenario suite --seeds 1..1000\n  dmlsd sim run --scenario mine.toml --seed 7 --history seed-7.txt",
	}
	r := &simRun{}
	seed := cmd.Flags().Uint64("seed", 1, "seed of one run")
	seeds := cmd.Flags().String("seeds", "", "range of seeds, A..B")
	history := cmd.Flags().String("history", "", "write what happened to `FILE`")
	cmd.Flags().IntVar(&r.parallel, "parallel", runtime.GOMAXPROCS(0), "runs at a time")
	cmd.Flags().BoolVar(&r.asJSON, "json", false, "print the summary as JSON, on the last line")
	r.source.flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("seed", "seeds")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		of, own, err := r.source.scenarios()
		if err != nil {
			return err
		}
		if own != 0 && !r.source.changed("seed") {
			*seed = own
		}
		if r.first, r.last, err = seedRange(*seed, *seeds); err != nil {
			return err
		}
		if r.parallel < 1 {
			return &api.Error{What: "cannot simulate that", Why: "--parallel must be 1 or more", Fix: "leave it out", Code: api.Usage}
		}
		if *history == "" {
			return r.run(cmd.Context(), a, of)
		}
		f, err := os.Create(*history)
		if err != nil {
			return api.Explain("cannot write the history", err)
		}
		w := bufio.NewWriter(f)
		r.history = w
		err = r.run(cmd.Context(), a, of)
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
func (r *simRun) run(ctx context.Context, a *app, of func(seed uint64) sim.Scenario) error {
	defer collector(of(r.first), min(r.parallel, int(r.last-r.first)+1))()
	began := time.Now()
	p := newProgress(a.talk, r.last-r.first+1)
	_, err := orEnd(ctx, func() (any, error) {
		return nil, sim.Series(ctx, of, r.first, r.last, r.parallel, func(res *sim.Result) error { return r.note(a, p, res) })
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

// note counts a run.
func (r *simRun) note(a *app, p *progress, res *sim.Result) error {
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
	what := fmt.Sprintf("plain, %d founders", r.source.plain.Members)
	if r.source.scenario != "" {
		what = r.source.scenario
	}
	fmt.Fprintf(w, "runs        %d of %s, in %v\n", s.Runs, what, took.Round(time.Millisecond))
	fmt.Fprintf(w, "converged   %d\n", s.Converged)
	fmt.Fprintf(w, "vacuous     %d (%.1f %%)\n", s.Vacuous, 100*float64(s.Vacuous)/float64(max(1, s.Runs)))
	fmt.Fprintf(w, "stranded    %d\n", s.Stranded)
	fmt.Fprintf(w, "forks       %d, of %d commits made while apart\n", s.Forks, s.Commits)
	fmt.Fprintf(w, "messages    %d\n", s.Messages)
	fmt.Fprintf(w, "crashes     %d\n", s.Crashes)
	if s.Converged > 0 {
		fmt.Fprintf(w, "one head    %.1f s after the heal in the median, %.1f s at worst (virtual)\n", s.HealMedian, s.HealWorst)
	}
	if len(s.Classes) > 1 {
		printClasses(w, s.Classes)
	}
	fmt.Fprintf(w, "violations  %d\n", len(s.Violations))
}

// printClasses is the summary by class of scenarios. Seconds are of real time,
// each run by itself.
func printClasses(w io.Writer, classes []sim.Tally) {
	fmt.Fprintf(w, "\n%-24s %6s %9s %7s %6s %6s  %-13s %s\n", "class", "runs", "converged", "vacuous", "forks", "failed", "one head", "each")
	for _, c := range classes {
		fmt.Fprintf(w, "%-24s %6d %9d %7d %6d %6d  %5.1f s worst %5.2f s\n",
			c.Name, c.Runs, c.Converged, c.Vacuous, c.Forks, c.Failed, c.HealWorst, c.Took.Seconds()/float64(c.Runs))
	}
	fmt.Fprintln(w)
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
