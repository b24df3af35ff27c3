package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/sim"
)

func (a *app) simThiefCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "thief", Short: "Compare what a thief of a device gets under three ways of keeping keys", Args: cobra.NoArgs,
		Long: `Plays scenarios in which every founder is robbed at intervals, of its disk and
its memory, and lets the thief try every block that was ever sent with the real
key schedule. Compares DMLS with a plain init secret that is kept per epoch (the
same run) and with no retention at all (the scenario played again). What the
thief opens is checked against a model that has no keys; any difference is an
error. The table of docs/forward-secrecy.md is the output of this command.`,
	}
	names := cmd.Flags().StringSlice("scenario", []string{"thief-quiet", "thief-islands", "thief-silent"}, "`NAMES` or files of scenarios")
	seed := cmd.Flags().Uint64("seed", 1, "seed of the runs")
	every := cmd.Flags().Duration("every", 10*time.Second, "virtual time between two thefts of a device")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *every <= 0 {
			return badScenario(errors.New("--every must be positive"))
		}
		var all []*sim.Comparison
		for _, name := range *names {
			of, _, err := namedScenario(name)
			if err != nil {
				return err
			}
			c, err := orEnd(cmd.Context(), func() (*sim.Comparison, error) { return sim.Compare(of(*seed), *every) })
			if errors.Is(err, sim.ErrScenario) || errors.Is(err, context.Canceled) {
				return badScenario(err)
			}
			if err != nil {
				return &api.Error{What: "the thief found something else than the model", Why: err.Error(),
					Fix: "report it with the scenario and the seed", Code: api.Failed}
			}
			all = append(all, c)
		}
		if *asJSON {
			return a.printJSON(all)
		}
		_, err := fmt.Fprint(a.out, sim.Table(all))
		return err
	}
	return cmd
}
