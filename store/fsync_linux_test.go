package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/faulty"
	"github.com/dmlsd/dmls/store"
)

func init() { failing = failingChild }

var syncCalls = map[string][]uint32{
	"msync": {unix.SYS_MSYNC},                     // badger's log and tables
	"fsync": {unix.SYS_FSYNC, unix.SYS_FDATASYNC}, // root file, manifest, directories
	"both":  faulty.Syncs,
	"write": {unix.SYS_PWRITE64}, // root file and mark
}

// failingChild goes on where the store ends, until its disk fails. The store
// must say so, refuse everything from then on, and end.
func failingChild(s *store.Store, n int) error {
	ctx := context.Background()
	what, after, _ := strings.Cut(os.Getenv(failEnv), " ")
	var begin int
	if _, err := fmt.Sscan(after, &begin); err != nil {
		return err
	}
	for i := 1; ; i++ {
		if i == begin {
			if err := faulty.Fail(syncCalls[what]...); err != nil {
				fmt.Println("skip", err)
				return nil
			}
		}
		n++
		if err := s.Commit(ctx, batch(n)); err != nil {
			if !errors.Is(err, store.ErrBroken) || i < begin {
				return fmt.Errorf("Commit: %w", err)
			}
			break
		}
		fmt.Println(n)
		if i > begin+400 {
			return errors.New("400 batches were acknowledged on a disk that fails")
		}
	}
	if err := s.Commit(ctx, batch(n)); !errors.Is(err, store.ErrBroken) {
		return fmt.Errorf("the next Commit: %w, want ErrBroken", err)
	}
	if _, err := s.Get(ctx, "d/n"); !errors.Is(err, store.ErrBroken) {
		return fmt.Errorf("the next Get: %w, want ErrBroken", err)
	}
	begun := time.Now()
	s.Close()
	fmt.Println("end", time.Since(begun).Round(time.Millisecond))
	return nil
}

// TestFailingSync lets the system calls that make writes durable fail under
// real processes: nothing is acknowledged that may not be durable, and the next
// process finds all that was.
func TestFailingSync(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	dir, total := home(t), 0
	model := map[string]group.Op{}
	for round := range 8 {
		what := []string{"msync", "fsync", "both", "write"}[round%4]
		interval := []time.Duration{store.EraseNow, 20 * time.Millisecond}[round/4]
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir, intervalEnv+"="+interval.String(), fmt.Sprintf("%s=%s %d", failEnv, what, 1+r.IntN(30)))
		var out, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		stop.Stop()
		lines := strings.Fields(out.String())
		if strings.HasPrefix(out.String(), "skip") {
			t.Skip(out.String())
		}
		if err != nil || len(lines) < 2 || lines[len(lines)-2] != "end" {
			t.Fatalf("round %d, %s: %v: %s%s", round, what, err, out.String(), stderr.String())
		}
		acked := total
		for _, l := range lines[:len(lines)-2] {
			fmt.Sscan(l, &acked)
		}
		s := open(t, dir)
		n, err := batches(s)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s fails: %d batches acknowledged, %d there, closed in %s", what, acked-total, n-total, lines[len(lines)-1])
		if n < acked || n > acked+1 {
			t.Fatalf("round %d, %s: %d batches are there, %d were acknowledged", round, what, n, acked)
		}
		advance(model, total, n)
		if err := same(s, model); err != nil {
			t.Fatalf("round %d, %s: %v", round, what, err)
		}
		total = n
		shut(t, s)
	}
}
