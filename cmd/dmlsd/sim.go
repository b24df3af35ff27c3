package main

import "github.com/spf13/cobra"

// simCmd groups the verbs of the simulator.
func (a *app) simCmd() *cobra.Command {
	return &cobra.Command{
		Use: "sim", Short: "Run the engine in virtual time", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}
