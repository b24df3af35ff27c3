package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
	"github.com/dmlsd/dmls/store"
)

// finding is what doctor says of one thing.
type finding struct {
	State string `json:"state"` // ok, warn or fail
	What  string `json:"what"`
	Fix   string `json:"fix,omitempty"`
}

// diagnosis is what doctor --json prints.
type diagnosis struct {
	Findings []finding `json:"findings"`
	OK       int       `json:"ok"`
	Warnings int       `json:"warnings"`
	Faults   int       `json:"faults"`
}

func (d *diagnosis) ok(format string, args ...any) { d.add("ok", "", format, args...) }

func (d *diagnosis) warn(fix, format string, args ...any) { d.add("warn", fix, format, args...) }

func (d *diagnosis) fail(fix, format string, args ...any) { d.add("fail", fix, format, args...) }

func (d *diagnosis) add(state, fix, format string, args ...any) {
	d.Findings = append(d.Findings, finding{state, fmt.Sprintf(format, args...), fix})
	switch state {
	case "ok":
		d.OK++
	case "warn":
		d.Warnings++
	default:
		d.Faults++
	}
}

func (a *app) doctorCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong with home, daemon, network and groups, and say what to do", Args: cobra.NoArgs,
		Long: "Look for what is wrong with this device's home, its daemon, its network and its\ngroups, and say what to do. Changes nothing. Exits with 1 if anything is at fault;\nwarnings do not count.",
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := a.homeDir()
		if err != nil {
			return err
		}
		d := &diagnosis{}
		if d.home(home) {
			a.askDaemon(cmd, d)
		}
		if *asJSON {
			if err := a.printJSON(d); err != nil {
				return err
			}
		} else {
			a.printFindings(d)
		}
		if d.Faults > 0 {
			return &api.Error{What: fmt.Sprintf("%d at fault", d.Faults), Fix: "do what is said above", Code: api.Failed}
		}
		return nil
	}
	return cmd
}

func (a *app) printFindings(d *diagnosis) {
	for _, f := range d.Findings {
		fmt.Fprintf(a.out, "%-4s  %s\n", f.State, f.What)
		if f.Fix != "" {
			fmt.Fprintf(a.out, "      fix: %s\n", f.Fix)
		}
	}
	fmt.Fprintf(a.out, "%d ok, %d to know, %d at fault\n", d.OK, d.Warnings, d.Faults)
}

// home looks at the files and says whether there is a device in them.
func (d *diagnosis) home(home string) bool {
	fi, err := os.Stat(home)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !api.Initialised(home):
		d.fail("dmlsd init --name NAME, or name another home with --home", "%s holds no device", home)
		return false
	case err != nil:
		d.fail("run it as the user who owns the home", "%s cannot be looked into: %v", home, err)
		return false
	case fi.Mode().Perm()&0o077 != 0:
		d.fail("chmod 700 "+home, "others may enter %s (mode %04o)", home, fi.Mode().Perm())
	default:
		d.ok("home %s, mode %04o", home, fi.Mode().Perm())
	}
	if open := looseFiles(home); len(open) > 0 {
		d.fail("chmod 600 "+open[0], "others may read or write %d files, the first is %s", len(open), open[0])
	} else {
		d.ok("no file is open to others")
	}
	d.space(home)
	return true
}

// looseFiles lists files that others may read or write.
func looseFiles(home string) (open []string) {
	if runtime.GOOS == "windows" {
		return nil
	}
	_ = filepath.WalkDir(home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return nil // gone meanwhile, or the daemon will say it
		}
		if fi, err := e.Info(); err == nil && !e.IsDir() && fi.Mode().Perm()&0o077 != 0 {
			open = append(open, path)
		}
		return nil
	})
	return open
}

func (d *diagnosis) space(home string) {
	free, err := store.FreeSpace(home)
	switch {
	case err != nil:
		d.warn("", "free space is not known: %v", err)
	case free < store.DefaultMinFree:
		d.fail("free some space; nothing is lost", "%d MiB free: the store takes no more", free>>20)
	case free < 4*store.DefaultMinFree:
		d.warn("free some space", "%d MiB free; writing stops at %d MiB", free>>20, store.DefaultMinFree>>20)
	default:
		d.ok("%d MiB free", free>>20)
	}
}

// askDaemon looks at what only a running daemon knows.
func (a *app) askDaemon(cmd *cobra.Command, d *diagnosis) {
	err := a.ask(cmd, func(ctx context.Context, c *api.Client) error {
		st, err := c.Status(ctx)
		if err != nil {
			return err
		}
		peers, err := c.Peers(ctx)
		if err != nil {
			return err
		}
		v, err := c.Version(ctx)
		if err != nil {
			return err
		}
		if own := buildVersion(); v.Version != own.Version || v.Commit != own.Commit {
			d.warn("restart the daemon", "the daemon is %s %s, this program %s %s", v.Version, v.Commit, own.Version, own.Commit)
		} else {
			d.ok("daemon up %v, pid %d", time.Duration(st.Uptime*float64(time.Second)).Round(time.Second), st.PID)
		}
		d.network(st, peers)
		for _, g := range st.Groups {
			d.group(g, peers)
		}
		return nil
	})
	var e *api.Error
	switch {
	case errors.As(err, &e) && e.Code == api.NotRunning:
		d.fail("dmlsd run", "the daemon does not run: network and groups were not looked at")
	case errors.As(err, &e):
		d.fail(e.Fix, "the daemon does not answer: %s: %s", e.What, e.Why)
	case err != nil:
		d.fail("", "the daemon does not answer: %v", err)
	}
}

func (d *diagnosis) network(st api.Status, peers []api.Peer) {
	near := true
	for _, addr := range st.Addrs {
		near = near && (strings.HasPrefix(addr, "/ip4/127.") || strings.HasPrefix(addr, "/ip6/::1/"))
	}
	switch {
	case len(st.Addrs) == 0:
		d.warn("start it with --listen /ip4/0.0.0.0/tcp/0", "the daemon listens nowhere: it can dial but nobody can dial it, and it cannot invite")
	case near:
		d.warn("start it with --listen /ip4/0.0.0.0/tcp/0 to reach other machines", "the daemon listens on this machine only")
	default:
		d.ok("listens on %d addresses", len(st.Addrs))
	}
	blocked := 0
	for _, p := range peers {
		if p.Blocked {
			blocked++
		}
	}
	if blocked > 0 {
		d.warn("dmlsd peers; dmlsd debug unblock PEER", "%d peers are blocked", blocked)
	}
	if st.Peers == 0 {
		d.warn("start another device, or name one with dmlsd run --peer ADDRESS", "no peer is connected")
	} else {
		d.ok("%d peers are connected", st.Peers)
	}
}

func (d *diagnosis) group(g api.Group, peers []api.Peer) {
	name := fmt.Sprintf("group %s (%s)", dagview.Clean(g.Name), shortGroup(g.Group))
	before := d.Warnings + d.Faults
	switch g.State {
	case "member":
	case "stranded":
		d.warn("wait until a member has added this device again; if nobody does, ask for a new ticket", "%s: this device stands on a branch that lost", name)
	case "removed", "left":
		d.warn("dmlsd group forget "+shortGroup(g.Group)+", or ask for a new ticket", "%s: this device is no member any more (%s)", name, g.State)
	default:
		d.warn("", "%s: this device is %s", name, g.State)
	}
	if g.ForksOpen > 0 {
		d.warn("dmlsd group forks "+shortGroup(g.Group), "%s has %d open forks", name, g.ForksOpen)
	}
	reached := 0
	for _, p := range peers {
		for _, gid := range p.Groups {
			if gid == g.Group {
				reached++
			}
		}
	}
	if g.State == "member" && g.MemberCount > 1 && reached == 0 {
		d.warn("see that another member's daemon runs; dmlsd run --peer ADDRESS", "%s: none of %d other members can be reached", name, g.MemberCount-1)
	}
	if g.Parked > 0 {
		d.warn("it asks for them by itself; a member who has them must be reachable", "%s: %d frames wait for others", name, g.Parked)
	}
	if kept := time.Since(time.UnixMilli(g.OldestRetained)); g.OldestRetained > 0 && g.RetainedEpochs > 1 && kept > 24*time.Hour {
		d.warn("dmlsd keys status", "%s keeps keys since %v: somebody is silent", name, kept.Round(time.Hour))
	}
	if d.Warnings+d.Faults == before {
		d.ok("%s: epoch %d, %d members, %d peers reached", name, g.Epoch, g.MemberCount, reached)
	}
}
