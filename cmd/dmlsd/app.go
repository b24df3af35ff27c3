package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
)

// app is what the commands share.
type app struct {
	in        io.Reader
	out, talk io.Writer
	home      string // of --home
	open      func(context.Context, deviceConfig) (device, error)
}

func (a *app) rootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "dmlsd",
		Short: "End-to-end encrypted groups without a server",
		Long: `dmlsd runs encrypted groups (MLS, RFC 9420) among devices that talk to each
other directly. Groups survive being cut apart: islands go on, and when they
meet again they agree on one history.

Try it:     dmlsd demo
By hand:    dmlsd init --name ada
            dmlsd run                      (leave it running)
            dmlsd group create friends
            dmlsd invite friends           (give the line to the other device)
            dmlsd send friends "hello"

GROUP is a group's id, a unique prefix of it, or its name. The home is --home,
else DMLSD_HOME, else $XDG_DATA_HOME/dmlsd, else ~/.local/share/dmlsd.
Data goes to standard output, talk to standard error; nothing is coloured.

` + exitCodes(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&a.home, "home", "", "directory of this device's keys and groups")
	root.AddGroup(&cobra.Group{ID: "device", Title: "Device:"}, &cobra.Group{ID: "groups", Title: "Groups:"}, &cobra.Group{ID: "try", Title: "Try:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("device", a.initCmd(), a.runCmd(), a.idCmd(), a.statusCmd(), a.peersCmd(), a.doctorCmd(), a.versionCmd(),
		a.keysCmd(), a.fsckCmd(), a.exportCmd(), a.backupCmd(), a.wipeCmd())
	add("groups", a.groupCmd(), a.inviteCmd(), a.joinCmd(), a.sendCmd(), a.tailCmd(), a.chatCmd())
	add("try", a.demoCmd(), a.simCmd(), a.benchCmd(), a.debugCmd())
	return root
}

func exitCodes() string {
	var b strings.Builder
	b.WriteString("Exit codes:")
	codes, meanings := api.ExitCodes()
	for i := range codes {
		fmt.Fprintf(&b, "\n  %3d  %s", codes[i], meanings[i])
	}
	return b.String()
}

// homeDir is the home that the flags and the environment name, as an absolute
// path.
func (a *app) homeDir() (string, error) {
	dir := a.home
	if dir == "" {
		dir = os.Getenv("DMLSD_HOME")
	}
	if dir == "" {
		if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
			dir = filepath.Join(data, "dmlsd")
		} else if user, err := os.UserHomeDir(); err == nil {
			dir = filepath.Join(user, ".local", "share", "dmlsd")
		} else {
			return "", &api.Error{What: "no home", Why: err.Error(), Fix: "name one with --home or DMLSD_HOME", Code: api.Usage}
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", api.Explain("no home", err)
	}
	return abs, nil
}

// ask runs f with a client of the home's daemon.
func (a *app) ask(cmd *cobra.Command, f func(ctx context.Context, c *api.Client) error) error {
	home, err := a.homeDir()
	if err != nil {
		return err
	}
	c, err := api.Dial(home)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(cmd.Context(), c)
}

// reads adds --json to a command that reads one value: get fetches it, show
// prints it for people.
func reads[T any](a *app, cmd *cobra.Command, get func(ctx context.Context, c *api.Client, args []string) (T, error), show func(v T)) *cobra.Command {
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			v, err := get(ctx, c, args)
			if err != nil {
				return err
			}
			if *asJSON {
				return a.printJSON(v)
			}
			show(v)
			return nil
		})
	}
	return cmd
}

func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

// printJSON prints one value on one line.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return api.Explain("cannot print", err)
	}
	_, err = fmt.Fprintf(a.out, "%s\n", b)
	return err
}

// table prints rows in columns.
func (a *app) table(head string, rows [][]string) {
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, " ", "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush()
}
