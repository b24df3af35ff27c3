package store_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/store"
)

// childEnv names the directory in which the test binary, run again, writes
// batches until it is killed.
const (
	childEnv    = "DMLS_STORE_CHILD"
	intervalEnv = "DMLS_STORE_INTERVAL" // its EraseInterval
	killsEnv    = "DMLS_STORE_KILLS"    // rounds of TestKill, 20 if empty ("make kill": 500)
)

// failEnv makes a child's disk fail: which system calls, and before which of its
// batches; failing is the child that expects it.
const failEnv = "DMLS_STORE_FAIL"

var failing func(s *store.Store, n int) error

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child goes on where the store ends and acknowledges each batch on its
// standard output.
func child(dir string) error {
	ctx := context.Background()
	interval, err := time.ParseDuration(os.Getenv(intervalEnv))
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Options{Dir: dir, EraseInterval: interval})
	if err != nil {
		return err
	}
	n, err := batches(s)
	if err != nil {
		return err
	}
	if os.Getenv(failEnv) != "" {
		return failing(s, n)
	}
	for {
		n++
		if err := s.Commit(ctx, batch(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// batches is the number of batches in s, by its record d/n.
func batches(s *store.Store) (int, error) {
	for op, err := range s.Load(context.Background(), "d/n") {
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(string(op.Value))
	}
	return 0, nil
}

// batch is a function of n: small changes, and a large batch now and then.
func batch(n int) []group.Op {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	ops := []group.Op{{Key: "d/n", Value: []byte(strconv.Itoa(n)), Class: group.Secret}}
	keys, size := 4, 4<<10
	if n%9 == 0 {
		keys, size = 8, 500<<10
	}
	for range keys {
		op := group.Op{Key: fmt.Sprintf("g/%02d", r.IntN(20)), Class: group.Class(1 + r.IntN(3))}
		if r.IntN(4) > 0 {
			op.Value = bytes.Repeat([]byte{byte(n), byte(n >> 8), byte(r.Uint32())}, 1+r.IntN(size)/3)
		}
		ops = append(ops, op)
	}
	return ops
}

// after is what the store holds after n batches.
func after(n int) map[string]group.Op {
	model := map[string]group.Op{}
	advance(model, 0, n)
	return model
}

func advance(model map[string]group.Op, from, to int) {
	for i := from + 1; i <= to; i++ {
		for _, op := range batch(i) {
			if delete(model, op.Key); op.Value != nil {
				model[op.Key] = op
			}
		}
	}
}

func same(s *store.Store, model map[string]group.Op) error {
	keys := slices.Sorted(maps.Keys(model))
	i := 0
	for op, err := range s.Load(context.Background(), "") {
		if err != nil {
			return err
		}
		if i == len(keys) || op.Key != keys[i] {
			return fmt.Errorf("record %d is %q", i, op.Key)
		}
		if want := model[op.Key]; op.Class != want.Class || !bytes.Equal(op.Value, want.Value) {
			return fmt.Errorf("record %q differs", op.Key)
		}
		i++
	}
	if i != len(keys) {
		return fmt.Errorf("%d records of %d", i, len(keys))
	}
	return nil
}

// kill runs a child in dir until it has acknowledged some batches, kills it at
// a random moment and returns the last acknowledged one, 0 if none was.
func kill(t *testing.T, dir string, acks int, wait, interval time.Duration) int {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+dir, intervalEnv+"="+interval.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() }).Stop()
	last, seen := 0, 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if last, err = strconv.Atoi(strings.TrimSpace(lines.Text())); err != nil {
			t.Fatal(err)
		}
		if seen++; seen == acks {
			time.AfterFunc(wait, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	if stderr.Len() > 0 {
		t.Fatalf("the child failed: %s", stderr.String())
	}
	return last
}

// TestKill kills real processes at random moments. After each: the store opens,
// holds the batches up to some number, all acknowledged ones among them, has
// erased what they deleted, and goes on under a root key of its own.
func TestKill(t *testing.T) {
	rounds := 20
	if v := os.Getenv(killsEnv); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	dir := home(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	intervals := []time.Duration{store.EraseNow, 5 * time.Millisecond, 50 * time.Millisecond, time.Hour}
	total, beyond, gen := 0, 0, uint64(0)
	model := map[string]group.Op{}
	for round := range rounds {
		acked := kill(t, dir, 1+r.IntN(4), time.Duration(r.IntN(40_000))*time.Microsecond, intervals[r.IntN(len(intervals))])
		s := open(t, dir)
		n, err := batches(s)
		if err != nil {
			t.Fatal(err)
		}
		// The child writes one batch at a time, so at most one is there whose
		// acknowledgement was cut off.
		if n < acked || n > acked+1 {
			t.Fatalf("round %d: %d batches are there, %d were acknowledged", round, n, acked)
		}
		advance(model, total, n)
		if err := same(s, model); err != nil {
			t.Fatalf("round %d: not the state after %d batches: %v", round, n, err)
		}
		if st := s.Status(); st.Pending > 0 || st.Generation <= gen {
			t.Fatalf("round %d: generation %d after %d, %d erasures pending", round, st.Generation, gen, st.Pending)
		} else {
			gen = st.Generation
		}
		if n > acked {
			beyond++
		}
		total = n
		shut(t, s)
	}
	t.Logf("%d kills, %d batches, %d of them durable but not acknowledged, %d root keys", rounds, total, beyond, gen)
	if total < rounds {
		t.Fatalf("only %d batches were written; the test says nothing", total)
	}
}

func TestLocked(t *testing.T) {
	dir := home(t)
	s := open(t, dir)
	_, err := store.Open(t.Context(), store.Options{Dir: dir})
	if !errors.Is(err, store.ErrLocked) {
		t.Fatalf("a second Open: %v, want ErrLocked", err)
	}
	if msg := err.Error(); strings.Contains(msg, "\n") || !strings.Contains(msg, strconv.Itoa(os.Getpid())) {
		t.Errorf("the message is not one line with the process: %q", msg)
	}
	if err := s.Commit(t.Context(), batch(1)); err != nil {
		t.Errorf("the first store after a refused second one: %v", err)
	}
	shut(t, s)
	open(t, dir)
}

func TestLockDiesWithItsHolder(t *testing.T) {
	dir := home(t)
	kill(t, dir, 1, 0, time.Second)
	open(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
		t.Error(err)
	}
}
