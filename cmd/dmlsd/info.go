package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
)

func (a *app) idCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "id", Short: "Print this device's identity", Args: cobra.NoArgs}
	return reads(a, cmd, func(ctx context.Context, c *api.Client, _ []string) (api.Identity, error) { return c.Identity(ctx) }, func(v api.Identity) {
		fmt.Fprintf(a.out, "name  %s\nid    %s\npeer  %s\n", dagview.Clean(v.Name), v.ID, v.Peer)
		for _, addr := range v.Addrs {
			fmt.Fprintf(a.out, "addr  %s\n", addr)
		}
	})
}

func (a *app) statusCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show the daemon at a glance", Args: cobra.NoArgs}
	return reads(a, cmd, func(ctx context.Context, c *api.Client, _ []string) (api.Status, error) { return c.Status(ctx) }, func(v api.Status) {
		up := time.Duration(v.Uptime * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(a.out, "%s  up %v  dmlsd %s  pid %d\n", dagview.Clean(v.Name), up, v.Version, v.PID)
		fmt.Fprintf(a.out, "peers %d  groups %d\n", v.Peers, len(v.Groups))
		if v.Blocked > 0 {
			fmt.Fprintf(a.out, "! %d peers are blocked: dmlsd peers; dmlsd debug unblock PEER allows one again\n", v.Blocked)
		}
		if len(v.Groups) > 0 {
			fmt.Fprintln(a.out)
			a.groups(v.Groups)
		}
		for _, g := range v.Groups {
			if g.ForksOpen > 0 {
				fmt.Fprintf(a.out, "! %s has %d open forks: dmlsd group forks %s\n", dagview.Clean(g.Name), g.ForksOpen, shortGroup(g.Group))
			}
		}
	})
}

func (a *app) peersCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "peers", Short: "List connected and blocked peers", Args: cobra.NoArgs}
	return reads(a, cmd, func(ctx context.Context, c *api.Client, _ []string) ([]api.Peer, error) { return c.Peers(ctx) }, func(v []api.Peer) {
		var rows [][]string
		for _, p := range v {
			state := "connected"
			if p.Blocked {
				state = "blocked"
			}
			groups := make([]string, len(p.Groups))
			for i, g := range p.Groups {
				groups[i] = shortGroup(g)
			}
			rows = append(rows, []string{p.Peer, state, dash(strings.Join(groups, ",")), dash(strings.Join(p.Addrs, ","))})
		}
		a.table("PEER STATE GROUPS ADDRESSES", rows)
	})
}

func (a *app) versionCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version of this program", Args: cobra.NoArgs}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		v := buildVersion()
		if *asJSON {
			return a.printJSON(v)
		}
		fmt.Fprintln(a.out, strings.Join(strings.Fields("dmlsd "+v.Version+" "+v.Commit+" "+v.Go), " "))
		return nil
	}
	return cmd
}

// release is the version of builds from a work tree; "go install" of a tagged
// version knows better.
const release = "v0.1.0-dev"

func buildVersion() api.Version {
	v := api.Version{Version: release, Go: runtime.Version()}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}

// groups prints a table of groups.
func (a *app) groups(list []api.Group) {
	var rows [][]string
	for _, g := range list {
		rows = append(rows, []string{
			shortGroup(g.Group), dagview.Clean(g.Name), strconv.FormatUint(g.Epoch, 10), strconv.Itoa(g.MemberCount),
			strconv.Itoa(g.ForksOpen), g.State, dagview.Short(g.Head),
		})
	}
	a.table("GROUP NAME EPOCH MEMBERS FORKS STATE HEAD", rows)
}

// shortGroup is a prefix of a group id, long enough to be unique on a device.
func shortGroup(gid string) string { return gid[:min(12, len(gid))] }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
