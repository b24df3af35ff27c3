package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dmlsd/dmls/internal/api"
)

// broken fails after some bytes.
type broken struct {
	left int
	err  error
}

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, b.err
	}
	return len(p), nil
}

func TestOutputThatFails(t *testing.T) {
	home := daemon(t).home
	for _, tc := range []struct {
		name string
		err  error
		code int
		talk string
	}{
		{"closed pipe", syscall.EPIPE, api.ExitClosed, ""},
		{"full disk", syscall.ENOSPC, 9, "dmlsd: error: cannot print: no space left on device; see where standard output goes\n"},
		{"other", errors.New("x"), 1, "dmlsd: error: cannot print: x; see where standard output goes\n"},
	} {
		for _, args := range [][]string{{"group", "list"}, {"group", "list", "--json"}, {"tail", "friends"}, {"--help"}} {
			var talk bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &broken{10, tc.err}, talk: &talk}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			code := a.execute(ctx, append([]string{"--home", home}, args...))
			cancel()
			if code != tc.code || talk.String() != tc.talk {
				t.Errorf("%s, %v: exit code %d, %q", tc.name, args, code, talk.String())
			}
		}
	}
}

// Ctrl-C ends a send that waits for its text.
func TestInterruptedInput(t *testing.T) {
	in, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	a := &app{in: in, out: io.Discard, talk: io.Discard}
	if code := a.execute(ctx, []string{"--home", t.TempDir(), "send", "friends"}); code == 0 {
		t.Error("sent nothing and said 0")
	}
}

// A demo that is broken off, by its reader or by Ctrl-C, leaves nothing behind.
func TestDemoBrokenOff(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(out io.Closer, p *os.Process) error
		code int
	}{
		"closed pipe": {func(out io.Closer, _ *os.Process) error { return out.Close() }, api.ExitClosed},
		"interrupt":   {func(_ io.Closer, p *os.Process) error { return p.Signal(os.Interrupt) }, api.ExitInterrupted},
	} {
		tmp, talk := t.TempDir(), &syncBuffer{}
		cmd := dmlsd("demo")
		cmd.Env, cmd.Stderr = append(cmd.Env, "TMPDIR="+tmp), talk
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() && !strings.Contains(lines.Text(), "is up") {
		}
		if err := tc.end(out, cmd.Process); err != nil {
			t.Fatal(err)
		}
		if tc.code == api.ExitInterrupted {
			_, _ = io.Copy(io.Discard, out)
		}
		_ = cmd.Wait() // its exit code says the same
		if code := cmd.ProcessState.ExitCode(); code != tc.code || talk.String() != "" {
			t.Errorf("%s: exit code %d, %s", name, code, talk)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", name, left, err)
		}
	}
}
