package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
)

func (a *app) groupCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "group", Short: "Create, look at and change groups", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.groupCreateCmd(), a.groupListCmd(), a.groupShowCmd(), a.groupMembersCmd(), a.groupDagCmd(), a.groupForksCmd(), a.groupLogCmd(), a.groupCompactCmd(),
		a.onMember("remove GROUP MEMBER", "Remove a member: an id, a unique prefix, or a name", "removed",
			func(ctx context.Context, c *api.Client, g, m string) error { return c.Remove(ctx, g, m) }),
		a.onMember("promote GROUP MEMBER", "Make a member an admin", "promoted",
			func(ctx context.Context, c *api.Client, g, m string) error { return c.Promote(ctx, g, m) }),
		a.onMember("demote GROUP MEMBER", "Make an admin an ordinary member", "demoted",
			func(ctx context.Context, c *api.Client, g, m string) error { return c.Demote(ctx, g, m) }),
		a.changes("update GROUP", "Replace this device's keys in the group", "updated", func(ctx context.Context, c *api.Client, g string) error { return c.Update(ctx, g) }),
		a.changes("leave GROUP", "Ask the others to remove this device", "leaving", func(ctx context.Context, c *api.Client, g string) error { return c.Leave(ctx, g) }),
		a.changes("forget GROUP", "Wipe the group from this device and tell nobody", "forgotten", func(ctx context.Context, c *api.Client, g string) error { return c.Forget(ctx, g) }))
	return cmd
}

func (a *app) groupCreateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Found a group and print its id", Args: cobra.ExactArgs(1),
		Long: `Found a group and print its id. The policy says who may do what, and does not
change: with "admins", of whom the founder is the first, admins remove, promote
and demote, and every member adds, updates its keys and leaves; with "open" all
have equal rights.`,
	}
	policy := cmd.Flags().String("policy", "admins", "who may remove others: admins or open")
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions([]string{"admins", "open"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			d, err := c.Create(ctx, args[0], *policy)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, d.Group)
			return nil
		})
	}
	return cmd
}

// changes is a verb that changes a group and says so on stderr.
func (a *app) changes(use, short, done string, f func(ctx context.Context, c *api.Client, ref string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeGroup,
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

// onMember is a verb that concerns one member of a group.
func (a *app) onMember(use, short, done string, f func(ctx context.Context, c *api.Client, ref, member string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(2), ValidArgsFunction: a.completeGroup,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
				if err := f(ctx, c, args[0], args[1]); err != nil {
					return err
				}
				fmt.Fprintf(a.talk, "%s %s\n", done, args[1])
				return nil
			})
		},
	}
}

func (a *app) groupListCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List this device's groups", Args: cobra.NoArgs}
	return reads(a, cmd, func(ctx context.Context, c *api.Client, _ []string) ([]api.Group, error) { return c.Groups(ctx) }, a.groups)
}

// onGroup is a reading verb with GROUP as its only argument.
func (a *app) onGroup(use, short string) *cobra.Command {
	return &cobra.Command{Use: use + " GROUP", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeGroup}
}

func (a *app) groupShowCmd() *cobra.Command {
	return reads(a, a.onGroup("show", "Show a group's state"), getGroup, func(g api.Group) {
		fmt.Fprintf(a.out, "group      %s  %s\n", g.Group, dagview.Clean(g.Name))
		fmt.Fprintf(a.out, "policy     %s\n", g.Policy)
		fmt.Fprintf(a.out, "state      %s\n", g.State)
		fmt.Fprintf(a.out, "head       %s\n", g.Head)
		fmt.Fprintf(a.out, "epoch      %d, authenticator %s\n", g.Epoch, dash(g.Authenticator[:min(16, len(g.Authenticator))]))
		fmt.Fprintf(a.out, "final      %s\n", dash(g.Final))
		fmt.Fprintf(a.out, "forks      %d open\n", g.ForksOpen)
		fmt.Fprintf(a.out, "retained   %d epochs, %d secrets, %d bytes\n", g.RetainedEpochs, g.SecretsRetained, g.SecretBytes)
		fmt.Fprintf(a.out, "blocks     %d held, %d frames parked\n", g.Blocks, g.Parked)
		fmt.Fprintf(a.out, "members    %d: %s\n", g.MemberCount, memberNames(g.Members))
	})
}

func getGroup(ctx context.Context, c *api.Client, args []string) (api.Group, error) {
	return c.Group(ctx, args[0])
}

func memberNames(list []api.Member) string {
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = dagview.Clean(m.Name)
		if m.Self {
			names[i] += " (this device)"
		}
	}
	return strings.Join(names, ", ")
}

func (a *app) groupMembersCmd() *cobra.Command {
	cmd := a.onGroup("members", "List a group's members")
	return reads(a, cmd, func(ctx context.Context, c *api.Client, args []string) ([]api.Member, error) {
		return c.Members(ctx, args[0])
	}, func(list []api.Member) {
		var rows [][]string
		for _, m := range list {
			name := dagview.Clean(m.Name)
			if m.Self {
				name += " *"
			}
			rows = append(rows, []string{strconv.FormatUint(uint64(m.Leaf), 10), name, role(m), m.ID, dash(dagview.Short(m.Stands))})
		}
		a.table("LEAF NAME ROLE ID STANDS", rows)
	})
}

func role(m api.Member) string {
	if m.Admin {
		return "admin"
	}
	return "member"
}

func (a *app) groupDagCmd() *cobra.Command {
	cmd := a.onGroup("dag", "Draw a group's commits, oldest first")
	asSVG := cmd.Flags().Bool("svg", false, "print an SVG picture")
	return reads(a, cmd, getDAG, func(g api.DAG) {
		if *asSVG {
			fmt.Fprint(a.out, dagview.SVG(g))
			return
		}
		fmt.Fprint(a.out, dagview.Text(g))
		fmt.Fprintln(a.talk, dagview.Legend)
	})
}

func getDAG(ctx context.Context, c *api.Client, args []string) (api.DAG, error) {
	return c.DAG(ctx, args[0])
}

// forkReport is what `group forks` tells.
type forkReport struct {
	Forks []dagview.Fork `json:"forks"`
	Ask   []dagview.Ask  `json:"ask,omitempty"`
}

func (a *app) groupForksCmd() *cobra.Command {
	cmd := a.onGroup("forks", "Show where a group forked, which branch is followed and why, and what is left to decide")
	return reads(a, cmd, func(ctx context.Context, c *api.Client, args []string) (forkReport, error) {
		g, err := c.DAG(ctx, args[0])
		r := forkReport{Forks: g.Forks, Ask: g.Ask}
		if r.Forks == nil {
			r.Forks = []dagview.Fork{}
		}
		return r, err
	}, a.printForks)
}

func (a *app) printForks(r forkReport) {
	if len(r.Forks) == 0 {
		fmt.Fprintln(a.talk, "no open forks; decided ones are in: dmlsd tail GROUP --events")
	} else {
		var rows [][]string
		for _, f := range r.Forks {
			at := dagview.Short(f.At)
			for _, b := range f.Branches {
				state := "losing"
				if b.Chosen {
					state = "chosen"
				}
				rows = append(rows, []string{at, dagview.Short(b.Child), state, dash(dagview.Clean(b.Author)), strconv.Itoa(b.Commits), votes(b),
					dash(dagview.Clean(strings.Join(b.Voters, ", ")))})
				at = ""
			}
			rows = append(rows, []string{"", "why: " + dagview.Clean(f.Why)})
		}
		a.table("AT BRANCH STATE AUTHOR COMMITS VOTES VOTERS", rows)
	}
	for _, x := range r.Ask {
		fmt.Fprintf(a.out, "left to you: %s, as %s did in %s: %s\n", dagview.Clean(x.Action), dagview.Clean(x.By), dagview.Short(x.CID), dagview.Clean(x.Why))
		if x.Verb == "add" {
			fmt.Fprintf(a.out, "  if you want it: dmlsd invite GROUP\n")
		} else {
			fmt.Fprintf(a.out, "  if you want it: dmlsd group %s GROUP %s\n", x.Verb, x.Member[:min(16, len(x.Member))])
		}
	}
}

// votes counts admins apart, since they are compared first.
func votes(b dagview.Branch) string {
	if b.Admins == 0 {
		return strconv.Itoa(b.Votes)
	}
	return fmt.Sprintf("%d admin, %d other", b.Admins, b.Votes-b.Admins)
}

func (a *app) groupLogCmd() *cobra.Command {
	cmd := a.onGroup("log", "Print what happened in canonical order, equal on all members from their joining on")
	return reads(a, cmd, func(ctx context.Context, c *api.Client, args []string) ([]api.LogEntry, error) {
		return c.Log(ctx, args[0])
	}, func(log []api.LogEntry) {
		var rows [][]string
		names := map[string]string{}
		for _, e := range log {
			names[e.From] = e.Name
		}
		for _, e := range log {
			what := e.Text
			switch e.Kind {
			case "commit":
				what = strings.Join(e.Actions, ", ")
			case "complaint":
				what = "cannot open " + dagview.Short(e.About)
			case "proof":
				what = "that " + cmp.Or(names[e.About], dagview.Short(e.About)) + " equivocated"
			}
			rows = append(rows, []string{dagview.Short(e.CID), "e" + strconv.FormatUint(e.Epoch, 10), e.Kind, dagview.Clean(e.Name), dagview.Clean(what)})
		}
		a.table("CID EPOCH KIND FROM WHAT", rows)
	})
}

func (a *app) groupCompactCmd() *cobra.Command {
	cmd := a.onGroup("compact", "Remove old messages and events from this device's log, for good")
	cmd.Long = `Remove messages and events from this device's log of the group, oldest first, and
erase them for good: up to a cursor that tail has shown, or those older than a
time, or what fits both. Other members keep theirs. Cursors stay valid; tail says
how much is gone. To keep messages for a time only: dmlsd run --keep-messages.`
	through := cmd.Flags().Uint64("through", 0, "remove up to this cursor")
	older := cmd.Flags().Duration("older-than", 0, "remove what is older, such as 720h")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *through == 0 && *older <= 0 {
			return &api.Error{What: "nothing was removed", Why: "neither a cursor nor an age is given", Fix: "say how much: --through CURSOR or --older-than TIME", Code: api.Usage}
		}
		return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			done, err := c.Compact(ctx, args[0], *through, *older)
			if err != nil {
				return err
			}
			if *asJSON {
				return a.printJSON(done)
			}
			fmt.Fprintf(a.talk, "removed %d messages and %d other events\n", done.Messages, done.Events-done.Messages)
			return nil
		})
	}
	return cmd
}

// completeGroup offers the names of the daemon's groups to the shell.
func (a *app) completeGroup(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		_ = a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			groups, err := c.Groups(ctx)
			for _, g := range groups {
				names = append(names, dagview.Clean(g.Name))
			}
			return err
		})
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
