package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	dmls "github.com/dmlsd/dmls"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
	"github.com/dmlsd/dmls/store"
)

func (a *app) keysCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "See which keys are kept, and why; change the root key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.keysStatusCmd(), a.keysRotateCmd())
	return cmd
}

func (a *app) keysStatusCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show what is kept, since when and why, and what is still to be erased", Args: cobra.NoArgs}
	return reads(a, cmd, func(ctx context.Context, c *api.Client, _ []string) (api.Keys, error) { return c.Keys(ctx) }, a.printKeys)
}

func (a *app) printKeys(k api.Keys) {
	fmt.Fprintf(a.out, "root key  generation %d, %s\n", k.Store.Generation, sealed(k.Store.Sealing))
	pending := "none pending"
	if k.Store.Pending > 0 {
		pending = fmt.Sprintf("%d pending", k.Store.Pending)
		if k.Store.PendingSince != nil {
			pending += " since " + k.Store.PendingSince.Local().Format(time.TimeOnly)
		}
	}
	within := "before a change is acknowledged"
	if k.Store.EraseInterval > 0 {
		within = "within " + time.Duration(k.Store.EraseInterval*float64(time.Second)).String()
	}
	fmt.Fprintf(a.out, "erasures  %s, %d done since the start, %s\n", pending, k.Store.Erased, within)
	if len(k.Groups) == 0 {
		return
	}
	var rows [][]string
	oldest := time.Time{}
	for _, g := range k.Groups {
		since := ""
		if g.Since != nil {
			since = g.Since.Local().Format(time.DateTime)
			if oldest.IsZero() || g.Since.Before(oldest) {
				oldest = *g.Since
			}
		}
		rows = append(rows, []string{shortGroup(g.Group), dagview.Clean(g.Name), strconv.Itoa(g.Epochs), strconv.Itoa(g.Secrets),
			strconv.Itoa(g.Bytes), dash(since), dagview.Clean(g.Why)})
	}
	fmt.Fprintln(a.out)
	a.table("GROUP NAME EPOCHS SECRETS BYTES SINCE WHY", rows)
	for _, g := range k.Groups {
		a.printKept(g)
	}
	if !oldest.IsZero() {
		fmt.Fprintf(a.out, "\nA thief of this device reads the event log, and what was sent since %s in epochs that are kept\nand was not opened here.\n",
			oldest.Local().Format(time.DateTime))
	}
}

// maxKept is how many epochs of a group are listed; --json lists all.
const maxKept = 8

// printKept tells of each epoch what it is kept for and what it opens.
func (a *app) printKept(g api.Kept) {
	if len(g.Each) == 0 {
		return
	}
	var rows [][]string
	for _, e := range g.Each[:min(maxKept, len(g.Each))] {
		rows = append(rows, []string{"e" + strconv.FormatUint(e.Epoch, 10), dagview.Short(e.CID), time.UnixMilli(e.Since).Local().Format(time.DateTime),
			strconv.Itoa(e.Secrets), strconv.Itoa(e.Commits), dagview.Clean(e.Why), e.Opens})
	}
	fmt.Fprintf(a.out, "\n%s:\n", dagview.Clean(g.Name))
	a.table("EPOCH CID SINCE SECRETS COMMITS WHY OPENS", rows)
	if more := len(g.Each) - maxKept; more > 0 {
		fmt.Fprintf(a.out, "and %d more: --json\n", more)
	}
}

func (a *app) keysRotateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate-root", Short: "Replace the store's root key, or the way in which it is sealed", Args: cobra.NoArgs,
		Long: `Replace the root key now; what was waiting to be erased is erased with it. A
running daemon does that itself. To change the sealing, stop the daemon and name
the new one: --seal-passphrase, --seal-passphrase-file, --seal-key-file or
--seal-none.`,
	}
	u := unlockFlags(cmd)
	to := sealFlags(cmd, "seal-")
	none := cmd.Flags().Bool("seal-none", false, "do not seal it; the file's mode alone protects it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := a.homeDir()
		if err != nil {
			return err
		}
		reseal := to.wanted() || *none
		if api.Live(home) {
			if reseal {
				return &api.Error{What: "cannot change the sealing", Why: "a daemon runs on " + home, Fix: "stop it first", Code: api.Conflict}
			}
			return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
				k, err := c.RotateRoot(ctx)
				if err == nil {
					a.rotated(k.Store.Generation, k.Store.Sealing)
				}
				return err
			})
		}
		if to.wanted() && *none {
			return &api.Error{What: "two sealings", Why: "--seal-none excludes the others", Fix: "name one", Code: api.Usage}
		}
		return a.rotateOffline(cmd.Context(), home, u, to, reseal)
	}
	return cmd
}

func (a *app) rotateOffline(ctx context.Context, home string, u *unlock, to seal, reseal bool) error {
	if !api.Initialised(home) {
		return api.NotInitialised(home)
	}
	s, err := dmls.OpenStore(ctx, dmls.Config{Home: home, Sealing: u.opens()})
	if err != nil {
		return api.Explain("cannot open the store", err, causes...)
	}
	defer s.Close()
	if reseal {
		var with store.Sealing
		if with, err = to.sealing(); err == nil {
			err = s.Reseal(ctx, with)
		}
	} else {
		err = s.RotateRoot(ctx)
	}
	if err != nil {
		return api.Explain("cannot rotate the root key", err, causes...)
	}
	st := s.Status()
	a.rotated(st.Generation, st.Sealing)
	return nil
}

func (a *app) rotated(generation uint64, sealing string) {
	fmt.Fprintf(a.talk, "rotated  root key of generation %d, %s\n", generation, sealed(sealing))
}

// sealed says in words what protects the root key.
func sealed(sealing string) string {
	switch sealing {
	case "none":
		return "not sealed: whoever can read its file can use it"
	case "passphrase", "key file":
		return "sealed with a " + sealing
	}
	return "sealed with " + dash(sealing)
}
