package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/sim"
)

// oneSeed is a verb of the simulator that looks at one run.
func oneSeed(cmd *cobra.Command, do func(context.Context, sim.Scenario) error) {
	src := &simSource{}
	seed := cmd.Flags().Uint64("seed", 1, "seed of the run")
	src.flags(cmd)
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		of, own, err := src.scenarios()
		if err != nil {
			return err
		}
		if own != 0 && !src.changed("seed") {
			*seed = own
		}
		return do(cmd.Context(), of(*seed))
	}
}

// orEnd returns what f does, or the error of ctx when that ends first. A run knows no
// context: it is left behind, and ends with the process.
func orEnd[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (a *app) simReplayCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "replay", Short: "Run one seed and show what happened",
		Long: `Runs one seed again and prints its history: what every device did and was told,
in virtual time. Exits with 1 on any violation.`,
	}
	oneSeed(cmd, func(ctx context.Context, s sim.Scenario) error {
		defer collector(s, 1)()
		res, err := orEnd(ctx, func() (*sim.Result, error) { return sim.Run(s) })
		if err != nil {
			return badScenario(err)
		}
		if _, err := a.out.Write(res.History); err != nil {
			return api.Explain("cannot print the history", err)
		}
		if res.Vacuous != "" {
			fmt.Fprintf(a.talk, "vacuous: %s\n", res.Vacuous)
		}
		return brokenPromise(res)
	})
	return cmd
}

// brokenPromise is the error of a run that broke promises.
func brokenPromise(res *sim.Result) error {
	if len(res.Violations) == 0 {
		return nil
	}
	return &api.Error{What: fmt.Sprintf("seed %d broke %d promises", res.Scenario.Seed, len(res.Violations)), Why: res.Violations[0],
		Fix: "shrink it with: dmlsd sim minimize", Code: api.Failed}
}

func (a *app) simMinimizeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "minimize", Short: "Shrink a scenario as long as it breaks the same promise",
		Long: `Runs a seed that breaks a promise again and again, each time with less: fewer
events, partitions, adversaries and members, a calmer network. What is left when
the same checker would fall silent is written as a scenario file.`,
		Example: "  dmlsd sim minimize --scenario nested --seed 7 --out small.toml\n  dmlsd sim replay --scenario small.toml",
	}
	out := cmd.Flags().String("out", "minimal.toml", "where to write the scenario")
	budget := cmd.Flags().Int("runs", 500, "most runs to try")
	parallel := cmd.Flags().Int("parallel", runtime.GOMAXPROCS(0), "runs at a time")
	oneSeed(cmd, func(ctx context.Context, s sim.Scenario) error {
		if *budget < 1 || *parallel < 1 {
			return &api.Error{What: "cannot shrink that", Why: "--runs and --parallel must be 1 or more", Fix: "leave them out", Code: api.Usage}
		}
		if err := writable(*out); err != nil { // before all the work
			return api.Explain("cannot write the scenario", err)
		}
		defer collector(s, *parallel)()
		m, err := sim.Minimize(ctx, s, *budget, *parallel, func(m sim.Shrinking) {
			fmt.Fprintf(a.talk, "%d runs: %s\n", m.Runs, size(m.Scenario))
		})
		switch {
		case errors.Is(err, sim.ErrNoViolation):
			return &api.Error{What: "nothing to shrink", Why: fmt.Sprintf("seed %d breaks no promise", s.Seed),
				Fix: "find one that does with: dmlsd sim run --seeds 1..1000", Code: api.Usage}
		case errors.Is(err, sim.ErrScenario):
			return badScenario(err)
		case err != nil && m.Runs == 0:
			return api.Explain("the simulation broke off", err)
		}
		b, err := m.Scenario.TOML()
		if err != nil {
			return api.Explain("cannot write the scenario", err)
		}
		b = fmt.Appendf(nil, "# %s, seed %d, shrunk in %d runs. It breaks a promise:\n# %.400s\n%s", s.Name, s.Seed, m.Runs, m.Says, b)
		if err := os.WriteFile(*out, b, 0o644); err != nil { // nothing in it is secret
			return api.Explain("cannot write the scenario", err)
		}
		fmt.Fprintf(a.out, "violation   %s\nleft        %s\nreplay      dmlsd sim replay --scenario %s\n", m.Says, size(m.Scenario), *out)
		return nil
	})
	return cmd
}

// writable reports why a file cannot be written. It leaves no trace.
func writable(name string) error {
	_, err := os.Stat(name)
	f, failed := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if failed != nil {
		return failed
	}
	if errors.Is(err, fs.ErrNotExist) {
		defer os.Remove(name)
	}
	return f.Close()
}

// size is what is left of a scenario.
func size(s sim.Scenario) string {
	return fmt.Sprintf("%d members, %d joiners, %d events, %d partitions, %d adversaries",
		s.Members, s.Joiners, len(s.Events), len(s.Partitions), len(s.Adversaries))
}

func (a *app) simReportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "report", Short: "Run one seed and write a page about it",
		Long: `Runs one seed and writes one HTML page that needs nothing else: the graph of
commits, what each member did and when, curves, and the checks. Exits with 1 on
any violation, the page written all the same.`,
	}
	out := cmd.Flags().String("out", "report.html", "where to write the page")
	oneSeed(cmd, func(ctx context.Context, s sim.Scenario) error {
		defer collector(s, 1)()
		var page []byte
		res, err := orEnd(ctx, func() (res *sim.Result, err error) {
			page, res, err = sim.Report(s)
			return res, err
		})
		if err != nil {
			return badScenario(err)
		}
		if err := os.WriteFile(*out, page, 0o644); err != nil { // nothing in it is secret
			return api.Explain("cannot write the report", err)
		}
		fmt.Fprintf(a.out, "report      %s\n", *out)
		return brokenPromise(res)
	})
	return cmd
}

func (a *app) simMeasureCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "measure", Short: "Measure what forks cost, and write the tables of docs/forks.md", Args: cobra.NoArgs,
		Long: `Measures forks in virtual time and writes the tables into a page, each in place of
the one that is there. Times and bytes of the network are a function of the
scenario; processor times are this machine's.`,
	}
	out := cmd.Flags().String("out", "docs/forks.md", "page to write into")
	var names []string
	for _, m := range sim.Measurements() {
		names = append(names, m.Name)
	}
	only := cmd.Flags().StringSlice("only", names, "sections to measure")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range *only {
			if !slices.Contains(names, name) {
				return &api.Error{What: "cannot measure that", Why: fmt.Sprintf("there is no section %q", name), Fix: "sections: " + strings.Join(names, ", "), Code: api.Usage}
			}
		}
		page, err := os.ReadFile(*out)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return api.Explain("cannot read the page", err)
		}
		for _, m := range sim.Measurements() {
			if !slices.Contains(*only, m.Name) {
				continue
			}
			fmt.Fprintf(a.talk, "%s\n", m.Title)
			if page, err = orEnd(cmd.Context(), func() ([]byte, error) { return m.Into(page) }); err != nil {
				return api.Explain("the measurement broke off", err)
			}
			if err := os.WriteFile(*out, page, 0o644); err != nil { // nothing in it is secret
				return api.Explain("cannot write the page", err)
			}
		}
		return nil
	}
	return cmd
}

// Of a scenario with up to fewDevices devices a run keeps little, and the collector
// runs less often. A large group keeps some MiB for each device: from perDevice on
// it runs as often as it takes to stay there.
const (
	simGC      = 400 // percent
	fewDevices = 64
	perDevice  = 10 << 20
)

// collector sets the garbage collector for runs of a scenario, some at a time,
// and returns what puts it back.
func collector(s sim.Scenario, parallel int) (restore func()) {
	percent, limit := debug.SetGCPercent(simGC), debug.SetMemoryLimit(-1)
	if devices := s.Members + s.Joiners; devices > fewDevices {
		debug.SetMemoryLimit(min(limit, int64(devices)*int64(parallel)*perDevice))
	}
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
