package sim

import (
	"fmt"
	"time"

	"github.com/dmlsd/dmls/group"
)

// checkBudgets: however many commits an adversary mints, nobody opens more of one
// author's than its budget allows: some at once, then one after the other (design,
// section 5.3). A restart forgets budgets.
func checkBudgets(e *evidence, _ agreement) []string {
	if e.crashes > 0 {
		return nil
	}
	c := e.scenario.config()
	burst := c.CommitBurst + e.scenario.devices() + e.puppets
	for _, w := range e.witnesses {
		for _, by := range sortedKeys(e.bad) {
			var at []time.Time
			for _, ev := range w.shown {
				if ev.Kind != group.KindCommit || ev.From != by {
					continue
				}
				at = append(at, ev.at)
				for i, since := range at {
					if n := len(at) - i; n > burst+1+int(ev.at.Sub(since)/c.CommitEvery) {
						return []string{fmt.Sprintf("%s opened %d commits of one author in %v", w.name, n, ev.at.Sub(since))}
					}
				}
			}
		}
	}
	return nil
}
