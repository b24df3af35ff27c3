// Command dmlsd is a daemon for end-to-end encrypted groups without a server,
// and its own client: "dmlsd run" is the daemon, the other verbs ask it over a
// Unix socket in its home. "dmlsd demo" shows the whole in one process.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/dmlsd/dmls/internal/api"
)

func main() {
	// A reader that goes away ends a command by an error, so that it can tidy
	// up, and never a daemon whose log it read.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	a := &app{in: os.Stdin, out: os.Stdout, talk: os.Stderr, open: openNode}
	code := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// execute runs one command line and returns the exit code. Data goes to out,
// talk and errors to talk.
func (a *app) execute(ctx context.Context, args []string) int {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out := &output{w: a.out, stop: stop}
	a.out = out
	cmd := a.rootCmd()
	cmd.SetArgs(args)
	cmd.SetIn(a.in)
	cmd.SetOut(a.out)
	cmd.SetErr(a.talk)
	ran, err := cmd.ExecuteContextC(ctx)
	lost, closed := out.failure()
	switch {
	case closed:
		return api.ExitClosed
	case lost != nil:
		err = lost
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		return api.ExitInterrupted
	}
	var e *api.Error
	if !errors.As(err, &e) {
		// Only cobra's own complaints come as plain errors.
		e = &api.Error{What: err.Error(), Fix: "see: " + ran.CommandPath() + " --help", Code: api.Usage}
	}
	fmt.Fprintf(a.talk, "dmlsd: error: %s\n", e)
	return e.Code.Exit()
}
