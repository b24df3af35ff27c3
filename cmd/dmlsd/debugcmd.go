package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
)

func (a *app) debugCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "debug", Short: "Cut and heal connections, to try forks by hand; profile the daemon", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	gate := func(verb, short, done string, f func(ctx context.Context, c *api.Client, peer string) error) *cobra.Command {
		return &cobra.Command{
			Use: verb + " PEER", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
					if err := f(ctx, c, args[0]); err != nil {
						return err
					}
					fmt.Fprintf(a.talk, "%s %s\n", done, args[0])
					return nil
				})
			},
		}
	}
	profile := &cobra.Command{
		Use: "profile NAME", Short: "Print a profile of the daemon: goroutine, heap, allocs, mutex, block or threadcreate", Args: cobra.ExactArgs(1),
		ValidArgs: []string{"goroutine", "heap", "allocs", "mutex", "block", "threadcreate"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd, func(ctx context.Context, c *api.Client) error { return c.Profile(ctx, args[0], a.out) })
		},
	}
	cmd.AddCommand(profile,
		gate("block", "Cut the connection to a peer id and refuse new ones, also after a restart", "blocked", func(ctx context.Context, c *api.Client, p string) error { return c.Block(ctx, p) }),
		gate("unblock", "Allow a peer again", "unblocked", func(ctx context.Context, c *api.Client, p string) error { return c.Unblock(ctx, p) }))
	return cmd
}
