package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Summary adds up the runs of a range of seeds.
type Summary struct {
	Runs       int      `json:"runs"`
	Converged  int      `json:"converged"` // of those that are not vacuous
	Vacuous    int      `json:"vacuous"`
	Stranded   int      `json:"stranded"`
	Forks      int      `json:"forks"`
	Messages   int      `json:"messages"`
	Violations []string `json:"violations"`

	Commits    int     `json:"commits_apart"`
	Crashes    int     `json:"crashes"`
	Failed     int     `json:"failed"`        // runs with a violation
	HealMedian float64 `json:"heal_median_s"` // virtual seconds from heal to one head
	HealWorst  float64 `json:"heal_worst_s"`
	Slowest    float64 `json:"slowest_message_s"` // longest way of a message sent while nobody was cut off

	heals []time.Duration
}

// Add counts one run.
func (s *Summary) Add(r *Result) {
	s.Runs++
	s.Stranded += r.Stranded
	s.Forks += r.Forks
	s.Messages += r.Messages
	s.Commits += r.Commits
	s.Crashes += r.Crashes
	switch {
	case r.Vacuous != "":
		s.Vacuous++
	case r.Converged:
		s.Converged++
		s.heals = append(s.heals, r.Heal)
	}
	s.Slowest = max(s.Slowest, r.Slowest.Seconds())
	if len(r.Violations) > 0 {
		s.Failed++
	}
	if s.Violations == nil {
		s.Violations = []string{}
	}
	for _, v := range r.Violations {
		s.Violations = append(s.Violations, fmt.Sprintf("seed %d: %s", r.Scenario.Seed, v))
	}
	if len(s.heals) > 0 {
		slices.Sort(s.heals)
		s.HealMedian = s.heals[len(s.heals)/2].Seconds()
		s.HealWorst = s.heals[len(s.heals)-1].Seconds()
	}
}

// Series runs the scenarios of the seeds from first to last, some of them at a
// time, and hands each result over in the order of seeds. It ends early when
// ctx ends or each returns an error.
func Series(ctx context.Context, of func(seed uint64) Scenario, first, last uint64, parallel int, each func(*Result) error) error {
	if last < first || parallel < 1 {
		return fmt.Errorf("%w: seeds %d..%d, %d at a time", ErrScenario, first, last, parallel)
	}
	ctx, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	// A slot holds a run that is under way or waits for an earlier one.
	slots := make(chan chan outcome, parallel-1)
	go func() {
		defer close(slots)
		for seed := first; ctx.Err() == nil; seed++ {
			out := make(chan outcome, 1)
			select {
			case slots <- out:
			case <-ctx.Done():
				return
			}
			workers.Add(1)
			go func() {
				defer workers.Done()
				r, err := Run(of(seed))
				out <- outcome{r, err}
			}()
			if seed == last {
				return
			}
		}
	}()
	for out := range slots {
		o := <-out
		if err := cmp.Or(o.err, ctx.Err()); err != nil {
			return err
		}
		if err := each(o.result); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type outcome struct {
	result *Result
	err    error
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
