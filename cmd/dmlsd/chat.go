package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
)

func (a *app) inviteCmd() *cobra.Command {
	cmd := a.onGroup("invite", "Print a ticket: one line that lets one device join")
	cmd.Long = "Print a ticket: one line that lets one device join, while this daemon runs and for\na day. Whoever has the line can use it: send it as you would send a key."
	asJSON := jsonFlag(cmd)
	asQR := cmd.Flags().Bool("qr", false, "draw the ticket as a QR code on standard error, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			t, err := c.Invite(ctx, args[0])
			if err != nil {
				return err
			}
			if *asQR {
				qrterminal.GenerateHalfBlock(t.Ticket, qrterminal.L, a.talk)
			}
			if *asJSON {
				return a.printJSON(t)
			}
			fmt.Fprintln(a.out, t.Ticket)
			return nil
		})
	}
	return cmd
}

func (a *app) joinCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "join TICKET|-", Short: "Join a group with a ticket and print the group's id", Args: cobra.ExactArgs(1),
		Long: "Join a group with a ticket and print the group's id. With -, the ticket is read\nfrom standard input, where the machine's other users do not see it. The same\nticket can be used again until this device has joined.",
	}
	timeout := cmd.Flags().Duration("timeout", time.Minute, "how long to wait for the inviter")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ticket, err := a.text(cmd.Context(), args)
		if err != nil {
			return err
		}
		return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			ctx, cancel := context.WithTimeout(ctx, *timeout)
			defer cancel()
			d, err := c.Join(ctx, strings.TrimSpace(ticket))
			switch {
			case errors.Is(ctx.Err(), context.DeadlineExceeded):
				return &api.Error{What: "not joined yet", Why: fmt.Sprintf("the inviter did not answer within %v", *timeout), Fix: "see that its daemon runs and can be reached, then join again with the same ticket", Code: api.Timeout}
			case err != nil:
				return err
			}
			fmt.Fprintf(a.talk, "joined %s\n", dagview.Clean(d.Name))
			if *asJSON {
				return a.printJSON(d)
			}
			fmt.Fprintln(a.out, d.Group)
			return nil
		})
	}
	return cmd
}

// maxText bounds what send reads from its input. The daemon's own limit is
// lower; this one keeps a wrong file from being read whole.
const maxText = 256 << 10

func (a *app) sendCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "send GROUP [TEXT|-]", Short: "Send a message and print its id", Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeGroup,
		Long: "Send a message and print its id. Without TEXT, or with -, the text is read\nfrom standard input. When it returns, the message is durable on this device\nand goes out as soon as anybody can be reached.",
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := a.text(cmd.Context(), args[1:])
		if err != nil {
			return err
		}
		return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			s, err := c.Send(ctx, args[0], text)
			if err != nil {
				return err
			}
			if *asJSON {
				return a.printJSON(s)
			}
			fmt.Fprintln(a.out, s.ID)
			return nil
		})
	}
	return cmd
}

func (a *app) text(ctx context.Context, args []string) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		return args[0], nil
	}
	var b []byte
	var err error
	read := make(chan struct{})
	go func() {
		defer close(read)
		b, err = io.ReadAll(io.LimitReader(a.in, maxText+1))
	}()
	select {
	case <-read:
	case <-ctx.Done(): // a terminal may wait for ever; the process ends now
		return "", ctx.Err()
	}
	switch {
	case err != nil:
		return "", api.Explain("cannot read the text", err)
	case len(b) > maxText:
		return "", &api.Error{What: "cannot read standard input", Why: "it is too long", Fix: "a text has 1 byte to 64 KiB", Code: api.TooLarge}
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

// tailLine is what tail --json prints for a message.
type tailLine struct {
	Cursor uint64 `json:"cursor"`
	ID     string `json:"id"`   // message id, hex
	From   string `json:"from"` // identity, hex
	Name   string `json:"name"`
	Text   string `json:"text"`
	Epoch  uint64 `json:"epoch"`
	Head   string `json:"head"` // CID of the epoch it was sent in
	Time   int64  `json:"time"` // Unix milliseconds of its delivery here
	Mine   bool   `json:"mine"`
}

func (a *app) tailCmd() *cobra.Command {
	cmd := a.onGroup("tail", "Follow a group's messages")
	cmd.Long = "Follow a group's messages as this device got them, from its own log: nothing is\nmissed while no tail runs. CURSOR, the first column, says where to go on; it stays\ngood when events before it are removed (group compact), and tail says what is gone."
	after := cmd.Flags().Uint64("after", 0, "begin behind this cursor")
	noFollow := cmd.Flags().Bool("no-follow", false, "end with the newest message")
	everything := cmd.Flags().Bool("events", false, "show epochs, commits, forks and erasures too")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			for ev, err := range c.Events(ctx, args[0], *after, !*noFollow) {
				if err != nil {
					return err
				}
				if err := a.event(ev, *everything, *asJSON); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

func (a *app) event(ev group.Event, everything, asJSON bool) error {
	switch {
	case ev.Kind == group.KindCompacted && ev.Messages > 0 && !everything:
		_, err := fmt.Fprintf(a.talk, "%d messages up to cursor %d were removed from this device (%s)\n", ev.Messages, ev.Cursor, dagview.Clean(ev.Why))
		return err
	case ev.Kind != group.KindMessage && !everything:
		return nil
	case asJSON && ev.Kind == group.KindMessage && !everything:
		return a.printJSON(tailLine{Cursor: ev.Cursor, ID: ev.ID, From: ev.From, Name: ev.Name, Text: ev.Text, Epoch: ev.Epoch, Head: ev.Head, Time: ev.Time, Mine: ev.Mine})
	case asJSON:
		return a.printJSON(ev)
	}
	at := time.UnixMilli(ev.Time).Format("15:04:05")
	what := dagview.Clean(dash(ev.Name)) + ": " + dagview.Clean(ev.Text)
	if ev.Kind != group.KindMessage {
		what = "* " + describe(ev)
	}
	_, err := fmt.Fprintf(a.out, "%-5d %s  %s\n", ev.Cursor, at, what)
	return err
}

// describe tells an event that is no message.
func describe(ev group.Event) string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(string(ev.Kind), "_", " "))
	if ev.Name != "" {
		fmt.Fprintf(&b, " by %s", dagview.Clean(ev.Name))
	}
	if len(ev.Actions) > 0 {
		fmt.Fprintf(&b, ": %s", dagview.Clean(strings.Join(ev.Actions, ", ")))
	}
	if ev.Kind == group.KindCompacted {
		fmt.Fprintf(&b, ": %d messages and %d other events up to here", ev.Messages, ev.Count-ev.Messages)
	} else {
		fmt.Fprintf(&b, " e%d", ev.Epoch)
	}
	for _, x := range []struct{ word, id string }{{"", ev.CID}, {"at", ev.Fork}, {"winner", ev.Winner}} {
		if x.id != "" {
			fmt.Fprintf(&b, " %s", strings.TrimSpace(x.word+" "+dagview.Short(x.id)))
		}
	}
	if ev.Why != "" {
		fmt.Fprintf(&b, " (%s)", dagview.Clean(ev.Why))
	}
	return b.String()
}
