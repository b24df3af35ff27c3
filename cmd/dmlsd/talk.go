package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
)

func (a *app) chatCmd() *cobra.Command {
	cmd := a.onGroup("chat", "Talk in a group: lines typed are sent, messages are shown")
	cmd.Long = "Talk in a group. Every line of standard input is sent; messages of others are\nshown as they come. /members lists who is there, /quit or end of input ends it;\na line that begins with a slash is sent by doubling the slash."
	last := cmd.Flags().Int("last", 10, "how many earlier messages to show")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.ask(cmd, func(ctx context.Context, c *api.Client) error {
			t := &talk{app: a, client: c, ref: args[0], mine: map[string]bool{}}
			return t.run(ctx, *last)
		})
	}
	return cmd
}

// talk is one chat.
type talk struct {
	*app
	client *api.Client
	ref    string

	mu   sync.Mutex // a message is not shown before it is known to be ours
	mine map[string]bool
}

func (t *talk) run(ctx context.Context, last int) error {
	cursor, err := t.history(ctx, last)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, 2)
	go func() { ends <- t.listen(ctx, cursor) }()
	go func() { ends <- t.speak(ctx) }() // it may wait for a line for ever; the process ends then
	return <-ends
}

// history shows the latest messages and returns the cursor behind them.
func (t *talk) history(ctx context.Context, last int) (cursor uint64, err error) {
	var shown []group.Event
	for ev, err := range t.client.Events(ctx, t.ref, 0, false) {
		if err != nil {
			return 0, err
		}
		if cursor = ev.Cursor; ev.Kind == group.KindMessage {
			shown = append(shown, ev)
			shown = shown[max(0, len(shown)-max(last, 0)):]
		}
	}
	for _, ev := range shown {
		t.show(ev)
	}
	return cursor, nil
}

func (t *talk) show(ev group.Event) {
	at := time.UnixMilli(ev.Time).Format("15:04")
	switch ev.Kind {
	case group.KindMessage:
		fmt.Fprintf(t.out, "%s %s: %s\n", at, dagview.Clean(dash(ev.Name)), dagview.Clean(ev.Text))
	case group.KindCommit, group.KindForkOpened, group.KindForkResolved, group.KindRemoved, group.KindLeft, group.KindStranded, group.KindRejoined:
		fmt.Fprintf(t.out, "%s * %s\n", at, describe(ev))
	}
}

func (t *talk) listen(ctx context.Context, cursor uint64) error {
	for ev, err := range t.client.Events(ctx, t.ref, cursor, true) {
		if err != nil {
			return err
		}
		t.mu.Lock()
		typed := t.mine[ev.ID]
		delete(t.mine, ev.ID)
		t.mu.Unlock()
		if !typed {
			t.show(ev)
		}
	}
	return nil
}

// speak sends lines until there are no more.
func (t *talk) speak(ctx context.Context) error {
	lines := bufio.NewReaderSize(t.in, 4096)
	for {
		line, err := lines.ReadString('\n')
		if len(line) > maxText {
			return &api.Error{What: "cannot send that line", Why: "it is too long", Fix: "a text has 1 byte to 64 KiB", Code: api.TooLarge}
		}
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			quit, say := t.say(ctx, line)
			if quit || ctx.Err() != nil {
				return say
			}
			if say != nil { // the next line may do better, unless the daemon is gone
				var e *api.Error
				if !errors.As(say, &e) || e.Code == api.NotRunning || err != nil {
					return say
				}
				fmt.Fprintf(t.talk, "dmlsd: error: %v\n", say)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return api.Explain("cannot read the text", err)
		}
	}
}

// say sends a line or does what it says.
func (t *talk) say(ctx context.Context, line string) (quit bool, err error) {
	switch rest, command := strings.CutPrefix(line, "/"); {
	case !command:
	case strings.HasPrefix(rest, "/"):
		line = rest
	case rest == "quit":
		return true, nil
	case rest == "members":
		g, err := t.client.Group(ctx, t.ref)
		if err == nil {
			fmt.Fprintf(t.out, "* %s\n", memberNames(g.Members))
		}
		return false, err
	default:
		return false, &api.Error{What: fmt.Sprintf("no command %.40q", line), Why: "a slash begins a command", Fix: "use /members or /quit, or send it as /" + line[:min(40, len(line))], Code: api.Usage}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.client.Send(ctx, t.ref, line)
	if err == nil {
		t.mine[s.ID] = true
	}
	return false, err
}
