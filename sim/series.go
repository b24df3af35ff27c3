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

	Classes []Tally `json:"classes"` // the same by name of the scenario, in the order of names

	heals []time.Duration
}

// Tally adds up the runs of one class of scenarios.
type Tally struct {
	Name      string        `json:"name"`
	Runs      int           `json:"runs"`
	Converged int           `json:"converged"`
	Vacuous   int           `json:"vacuous"`
	Forks     int           `json:"forks"`
	Failed    int           `json:"failed"`
	HealWorst float64       `json:"heal_worst_s"`
	Took      time.Duration `json:"-"` // real time, all runs together
}

// tally finds or makes the class's.
func (s *Summary) tally(name string) *Tally {
	i, found := slices.BinarySearchFunc(s.Classes, name, func(t Tally, name string) int { return cmp.Compare(t.Name, name) })
	if !found {
		s.Classes = slices.Insert(s.Classes, i, Tally{Name: name})
	}
	return &s.Classes[i]
}

// Add counts one run.
func (s *Summary) Add(r *Result) {
	s.Runs++
	s.Stranded += r.Stranded
	s.Forks += r.Forks
	s.Messages += r.Messages
	s.Commits += r.Commits
	s.Crashes += r.Crashes
	t := s.tally(r.Scenario.Name)
	t.Runs++
	t.Forks += r.Forks
	t.Took += r.Took
	switch {
	case r.Vacuous != "":
		s.Vacuous++
		t.Vacuous++
	case r.Converged:
		s.Converged++
		s.heals = append(s.heals, r.Heal)
		t.Converged++
		t.HealWorst = max(t.HealWorst, r.Heal.Seconds())
	}
	s.Slowest = max(s.Slowest, r.Slowest.Seconds())
	if len(r.Violations) > 0 {
		s.Failed++
		t.Failed++
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

// ahead is how many results wait, for each run at a time, behind a slow one.
const ahead = 32

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
	results := make(chan chan outcome, ahead*parallel) // in the order of seeds, some still under way
	busy := make(chan struct{}, parallel)
	workers.Go(func() {
		defer close(results)
		for seed := first; ctx.Err() == nil; seed++ {
			out := make(chan outcome, 1)
			select {
			case results <- out:
			case <-ctx.Done():
				return
			}
			select {
			case busy <- struct{}{}:
			case <-ctx.Done():
				return
			}
			workers.Go(func() {
				r, err := Run(of(seed))
				out <- outcome{r, err}
				<-busy
			})
			if seed == last {
				return
			}
		}
	})
	for out := range results {
		var o outcome
		select {
		case o = <-out:
		case <-ctx.Done():
			return ctx.Err()
		}
		if o.err != nil {
			return o.err
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
