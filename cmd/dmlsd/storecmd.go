package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/spf13/cobra"

	dmls "github.com/dmlsd/dmls"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/store"
)

func (a *app) fsckCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "fsck", Short: "Check every file, key and record of the store; change nothing", Args: cobra.NoArgs,
		Long: "Check every file, key and record of the store and change nothing. The daemon must\nnot run. Needs space for a copy of the newest data in the temporary directory.",
	}
	u := unlockFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := a.homeDir()
		if err != nil {
			return err
		}
		if !api.Initialised(home) {
			return api.NotInitialised(home)
		}
		r, err := store.Check(cmd.Context(), store.Options{Dir: dmls.StoreDir(home), Sealing: u.opens()})
		if err != nil {
			return api.Explain("cannot check the store", err, causes...)
		}
		if *asJSON {
			err = a.printJSON(r)
		} else {
			fmt.Fprintf(a.out, "store    format %d, generation %d, batch %d, %s\n", r.Format, r.Generation, r.Batch, sealed(r.Sealing))
			fmt.Fprintf(a.out, "records  %d, of which %d have a key in %d nodes of the erasure tree\n", r.Records, r.Keys, r.Nodes)
			for _, n := range r.Notes {
				fmt.Fprintf(a.out, "note     %s\n", n)
			}
			for _, f := range r.Findings {
				fmt.Fprintf(a.out, "fault    %s\n", f)
			}
		}
		if err == nil && len(r.Findings) > 0 {
			err = &api.Error{What: "the store is damaged", Why: fmt.Sprintf("%d faults were found", len(r.Findings)), Fix: damagedFix, Code: api.Damaged}
		}
		return err
	}
	return cmd
}

func (a *app) wipeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "wipe", Short: "Destroy this device's keys and groups for good", Args: cobra.NoArgs,
		Long: "Destroy this device's keys and groups: first the root key, without which nothing\nelse can be read, then the files. The groups are not told; leave them first.",
	}
	yes := cmd.Flags().Bool("yes", false, "really do it")
	cmd.RunE = func(*cobra.Command, []string) error {
		home, err := a.homeDir()
		if err != nil {
			return err
		}
		if !*yes {
			return &api.Error{What: "nothing was destroyed", Why: "this cannot be undone", Fix: "if you mean it, say so: --yes", Code: api.Usage}
		}
		err = store.Wipe(dmls.StoreDir(home))
		if errors.Is(err, fs.ErrNotExist) && !api.Initialised(home) {
			return api.NotInitialised(home)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // an interrupted wipe goes on
			return api.Explain("cannot wipe "+home, err, causes...)
		}
		if err := api.Unmark(home); err != nil {
			return api.Explain("the keys are destroyed, but some files are left", err)
		}
		fmt.Fprintf(a.talk, "wiped  %s\n", home)
		return nil
	}
	return cmd
}

func (a *app) backupCmd() *cobra.Command {
	return &cobra.Command{
		Use: "backup", Short: "Refused, with the reason; see export", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return &api.Error{
				What: "no backup is made",
				Why: "a restored copy would use keys a second time that this device has used already, which lets others read and forge messages, " +
					"and it would keep what was erased; other members take two running copies for an attack",
				Fix: "keep messages with dmlsd export, and after a loss join again with a new ticket", Code: api.Denied,
			}
		},
	}
}

// exported is one line of an export.
type exported struct {
	Schema string         `json:"schema"`
	Group  api.Group      `json:"group"`
	DAG    api.DAG        `json:"dag"`
	Log    []api.LogEntry `json:"log"`
}

// source is what an export reads: a running daemon or the home itself.
type source interface {
	list(ctx context.Context) ([]api.Group, error)
	dag(ctx context.Context, gid string) (api.DAG, error)
	log(ctx context.Context, gid string) ([]api.LogEntry, error)
}

type fromDaemon struct{ c *api.Client }

func (f fromDaemon) list(ctx context.Context) ([]api.Group, error) { return f.c.Groups(ctx) }
func (f fromDaemon) dag(ctx context.Context, gid string) (api.DAG, error) {
	return f.c.DAG(ctx, gid)
}
func (f fromDaemon) log(ctx context.Context, gid string) ([]api.LogEntry, error) {
	return f.c.Log(ctx, gid)
}

type fromHome struct{ d device }

func (f fromHome) list(context.Context) ([]api.Group, error)                 { return f.d.Groups(), nil }
func (f fromHome) dag(_ context.Context, gid string) (api.DAG, error)        { return f.d.DAG(gid) }
func (f fromHome) log(_ context.Context, gid string) ([]api.LogEntry, error) { return f.d.Log(gid) }

func (a *app) exportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Print all groups with messages and history, without keys, as JSON lines", Args: cobra.NoArgs,
		Long: "Print one line of JSON for each group: members, commit DAG, and the log with all\nmessages that this device has opened. It holds plaintext, but no keys.",
	}
	u := unlockFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := a.homeDir()
		if err != nil {
			return err
		}
		if api.Live(home) {
			return a.ask(cmd, func(ctx context.Context, c *api.Client) error { return a.export(ctx, fromDaemon{c}) })
		}
		if !api.Initialised(home) {
			return api.NotInitialised(home)
		}
		d, err := a.open(cmd.Context(), deviceConfig{home: home, offline: true, sealing: u.opens(), log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return api.Explain("cannot open the home", err, causes...)
		}
		err = a.export(cmd.Context(), fromHome{d})
		if cerr := d.Close(); err == nil && cerr != nil {
			err = api.Explain("cannot close the home", cerr, causes...)
		}
		return err
	}
	return cmd
}

func (a *app) export(ctx context.Context, from source) error {
	groups, err := from.list(ctx)
	for _, g := range groups {
		if err != nil {
			break
		}
		line := exported{Schema: "dmlsd/export/v1", Group: g}
		line.Group.Authenticator = "" // comes from the epoch's secret
		if line.DAG, err = from.dag(ctx, g.Group); err != nil {
			break
		}
		if line.Log, err = from.log(ctx, g.Group); err == nil {
			err = a.printJSON(line)
		}
	}
	if err != nil {
		return api.Explain("cannot export", err, causes...)
	}
	return nil
}
