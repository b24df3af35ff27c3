package main

import (
	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/demo"
)

func (a *app) demoCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "Watch seven devices chat, fork and heal (some seconds)", Args: cobra.NoArgs,
		Long: "Seven devices with real network hosts on loopback and stores of their own form\na group, are cut into two islands that go on chatting and committing, are healed,\nand converge. Exits with 1 if any of them ends elsewhere.",
	}
	c := demo.Config{}
	cmd.Flags().BoolVar(&c.JSON, "json", false, "print JSON lines")
	cmd.Flags().BoolVar(&c.Keep, "keep", false, "keep the devices' homes")
	cmd.Flags().Uint64Var(&c.Seed, "seed", 1, "what is said and in which order")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c.Out = a.out
		if err := demo.Run(cmd.Context(), c); err != nil {
			e := api.Explain("the demo did not end as it must", err)
			e.Code, e.Fix = api.Failed, "run it again with --keep --json and report the output"
			return e
		}
		return nil
	}
	return cmd
}
