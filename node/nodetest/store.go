// Package nodetest holds the contracts of what a node is given, as tests that
// every implementation runs.
package nodetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dmlsd/dmls/group"
)

// Store is what node.Store demands, declared here so that neither an
// implementation nor its test imports node.
type Store interface {
	Commit(ctx context.Context, ops []group.Op) error
	Load(ctx context.Context, prefix string) iter.Seq2[group.Op, error]
	Get(ctx context.Context, key string) ([]byte, error)
	Close() error
}

// TestStore checks the contract of a store. Each call of open makes an empty
// store; its reopen ends the use of it and returns the same records anew. open
// cleans up with t.Cleanup.
func TestStore(t *testing.T, open func(t *testing.T) (s Store, reopen func() Store)) {
	for _, c := range []struct {
		name string
		f    func(t *testing.T, s Store, reopen func() Store)
	}{
		{"empty", testEmpty},
		{"values and classes", testValues},
		{"order", testOrder},
		{"prefix", testPrefix},
		{"overwrite and delete", testOverwrite},
		{"last op counts", testLastOp},
		{"refusal changes nothing", testRefusal},
		{"values are copies", testCopies},
		{"snapshot", testSnapshot},
		{"cancelled", testCancelled},
		{"large batch", testLarge},
		{"concurrent commits", testConcurrent},
		{"random history", testRandom},
		{"closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, reopen := open(t)
			c.f(t, s, reopen)
		})
	}
}

func commit(t *testing.T, s Store, ops ...group.Op) {
	t.Helper()
	if err := s.Commit(t.Context(), ops); err != nil {
		t.Fatalf("Commit of %d ops: %v", len(ops), err)
	}
}

func put(key, value string, class group.Class) group.Op {
	return group.Op{Key: key, Value: []byte(value), Class: class}
}

func load(t *testing.T, s Store, prefix string) []group.Op {
	t.Helper()
	var ops []group.Op
	for op, err := range s.Load(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("Load(%q): %v", prefix, err)
		}
		ops = append(ops, op)
	}
	return ops
}

// want compares the records below prefix, by Load and by Get.
func want(t *testing.T, s Store, prefix string, ops ...group.Op) {
	t.Helper()
	got := load(t, s, prefix)
	if len(got) != len(ops) {
		t.Fatalf("Load(%q) yields %d records, want %d", prefix, len(got), len(ops))
	}
	for i, op := range ops {
		switch {
		case got[i].Key != op.Key:
			t.Fatalf("record %d below %q is %q, want %q", i, prefix, got[i].Key, op.Key)
		case got[i].Class != op.Class:
			t.Fatalf("%q has class %d, want %d", op.Key, got[i].Class, op.Class)
		case got[i].Value == nil:
			t.Fatalf("%q has a nil value, which would read as a deletion", op.Key)
		case !bytes.Equal(got[i].Value, op.Value):
			t.Fatalf("%q has another value (%d bytes, want %d)", op.Key, len(got[i].Value), len(op.Value))
		}
		v, err := s.Get(t.Context(), op.Key)
		if err != nil || v == nil || !bytes.Equal(v, op.Value) {
			t.Fatalf("Get(%q) = %d bytes, %v, want %d bytes", op.Key, len(v), err, len(op.Value))
		}
	}
}

func gone(t *testing.T, s Store, key string) {
	t.Helper()
	if v, err := s.Get(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Get(%q) = %d bytes, %v, want an error that is fs.ErrNotExist", key, len(v), err)
	}
}

func testEmpty(t *testing.T, s Store, reopen func() Store) {
	commit(t, s)
	want(t, s, "")
	gone(t, s, "d/none")
	commit(t, s, group.Op{Key: "d/none", Class: group.Secret})
	s = reopen()
	want(t, s, "")
	gone(t, s, "d/none")
}

func testValues(t *testing.T, s Store, reopen func() Store) {
	var ops []group.Op
	for _, n := range []int{0, 1, 31, 1 << 10, 64 << 10, 256<<10 - 40, 256 << 10, 256<<10 + 1, 600 << 10} {
		for _, c := range []group.Class{group.Public, group.Secret, group.History} {
			v := bytes.Repeat([]byte{byte(n), byte(c), 3}, n/3+1)[:n]
			ops = append(ops, group.Op{Key: fmt.Sprintf("g/%08d/%d", n, c), Value: v, Class: c})
		}
	}
	commit(t, s, ops...)
	want(t, s, "", ops...)
	s = reopen()
	want(t, s, "", ops...)
}

func testOrder(t *testing.T, s Store, reopen func() Store) {
	// By bytes, whatever the order and the number of batches.
	keys := []string{"d/a", "g/", "g/0", "g/0/", "g/0/x", "g/00", "g/A", "g/a", "g/a\x00", "g/a\x01", "g/\u00e9", "h"}
	var ops []group.Op
	for _, k := range keys {
		ops = append(ops, put(k, "value of "+k, group.Secret))
	}
	if !slices.IsSortedFunc(ops, func(a, b group.Op) int { return strings.Compare(a.Key, b.Key) }) {
		t.Fatal("the test's keys are not sorted")
	}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(ops)) {
		commit(t, s, ops[i])
	}
	want(t, s, "", ops...)
	s = reopen()
	want(t, s, "", ops...)
	n := 0
	for op, err := range s.Load(t.Context(), "g/") { // a loop may be left
		if err != nil {
			t.Fatal(err)
		}
		if op.Key != ops[1+n].Key {
			t.Fatalf("record %d is %q, want %q", n, op.Key, ops[1+n].Key)
		}
		if n++; n == 3 {
			break
		}
	}
}

func testPrefix(t *testing.T, s Store, _ func() Store) {
	a, ab, b := put("g/a/1", "1", group.Public), put("g/ab/1", "2", group.Public), put("g/b/1", "3", group.Public)
	d := put("d/identity", "4", group.Secret)
	high := put("g/a\xff\xff", "5", group.Public)
	commit(t, s, b, d, ab, a, high)
	want(t, s, "g/a/", a)
	want(t, s, "g/a", a, ab, high)
	want(t, s, "g/a\xff", high)
	want(t, s, "d/", d)
	want(t, s, "g/a/1", a)
	want(t, s, "g/a/1/")
	want(t, s, "x")
	gone(t, s, "g/a/") // a prefix is no key
}

func testOverwrite(t *testing.T, s Store, reopen func() Store) {
	long := strings.Repeat("long ", 200<<10)
	for _, c := range []group.Class{group.Public, group.Secret} {
		commit(t, s, put("g/k", "short", c))
		commit(t, s, put("g/k", long, c))
		want(t, s, "g/k", put("g/k", long, c))
		commit(t, s, put("g/k", "shorter", c))
		want(t, s, "g/k", put("g/k", "shorter", c))
		commit(t, s, put("g/k", long, c))
		commit(t, s, group.Op{Key: "g/k"})
		gone(t, s, "g/k")
		want(t, s, "")
		s = reopen()
		want(t, s, "")
		commit(t, s, put("g/k", "back", c))
	}
	commit(t, s, put("g/k", "other class", group.History))
	s = reopen()
	want(t, s, "", put("g/k", "other class", group.History))
}

func testLastOp(t *testing.T, s Store, reopen func() Store) {
	commit(t, s, put("d/1", "old", group.Secret))
	commit(t, s,
		put("d/1", "first", group.Secret), group.Op{Key: "d/1"}, put("d/1", "last", group.History),
		put("d/2", "first", group.Secret), group.Op{Key: "d/2"})
	want(t, s, "", put("d/1", "last", group.History))
	gone(t, s, "d/2")
	s = reopen()
	want(t, s, "", put("d/1", "last", group.History))
}

func testRefusal(t *testing.T, s Store, reopen func() Store) {
	keep := put("d/1", "kept", group.Secret)
	commit(t, s, keep)
	for _, bad := range []group.Op{
		{Key: "", Value: []byte("no key"), Class: group.Public},
		{Key: "d/3", Value: []byte("no class")},
	} {
		ops := []group.Op{put("d/0", "new", group.Public), {Key: "d/1"}, bad, put("d/9", "new", group.Public)}
		if err := s.Commit(t.Context(), ops); err == nil {
			t.Fatalf("an op with key %q and class %d was taken", bad.Key, bad.Class)
		}
		want(t, s, "", keep)
	}
	s = reopen()
	want(t, s, "", keep)
}

func testCopies(t *testing.T, s Store, _ func() Store) {
	for _, c := range []group.Class{group.Public, group.Secret} {
		v := []byte("the value itself")
		key := fmt.Sprintf("d/%d", c)
		commit(t, s, group.Op{Key: key, Value: v, Class: c})
		clear(v) // the caller wipes its secret
		for range 2 {
			got, err := s.Get(t.Context(), key)
			if err != nil || string(got) != "the value itself" {
				t.Fatalf("Get = %q, %v", got, err)
			}
			clear(got)
			got = load(t, s, key)[0].Value
			if string(got) != "the value itself" {
				t.Fatalf("Load = %q", got)
			}
			clear(got)
		}
	}
}

func testSnapshot(t *testing.T, s Store, _ func() Store) {
	const n = 50
	for i := range n {
		commit(t, s, put(fmt.Sprintf("d/%02d", i), "old", group.Secret))
	}
	seen := 0
	for op, err := range s.Load(t.Context(), "d/") {
		if err != nil {
			t.Fatal(err)
		}
		if string(op.Value) != "old" {
			t.Fatalf("%s shows a batch that came after the loop began", op.Key)
		}
		if seen == 0 { // the store may be written in the loop
			var ops []group.Op
			for i := range n {
				ops = append(ops, put(fmt.Sprintf("d/%02d", i), "new", group.Secret))
			}
			commit(t, s, append(ops, put("d/99", "new", group.Secret))...)
		}
		seen++
	}
	if seen != n {
		t.Fatalf("the loop saw %d records, want %d", seen, n)
	}
	if got := load(t, s, "d/"); len(got) != n+1 || string(got[0].Value) != "new" {
		t.Fatalf("the batch written in the loop is not there")
	}
}

func testCancelled(t *testing.T, s Store, _ func() Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ctx, []group.Op{put("d/1", "x", group.Public)}); !errors.Is(err, context.Canceled) {
		t.Fatalf("Commit = %v, want context.Canceled", err)
	}
	want(t, s, "")
}

// testLarge writes 20 MiB in one batch while readers look for a part of it.
func testLarge(t *testing.T, s Store, reopen func() Store) {
	r := rand.New(rand.NewPCG(3, 4))
	batch := func(round byte) []group.Op {
		var ops []group.Op
		for i, size := 0, 0; size < 20<<20; i++ {
			v := make([]byte, 1+r.IntN(40<<10))
			if i%200 == 7 {
				v = make([]byte, 3<<20)
			}
			for j := range v {
				v[j] = byte(r.Uint32())
			}
			v[0] = round
			ops = append(ops, group.Op{Key: fmt.Sprintf("g/%05d", i), Value: v, Class: group.Class(1 + i%3)})
			size += len(v)
		}
		return ops
	}
	commit(t, s, put("g/", "1", group.Public), put("g/00000", "\x01", group.Public))
	ops := append([]group.Op{put("g/", "2", group.Public)}, batch(2)...)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			first := byte(0)
			for op, err := range s.Load(t.Context(), "g/0000") {
				if err == nil && first != 0 && op.Value[0] != first {
					err = fmt.Errorf("%s is of another batch than its neighbour", op.Key)
				}
				if err != nil {
					stopped <- err
					return
				}
				first = op.Value[0]
			}
		}
	}()
	commit(t, s, ops...)
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	want(t, s, "", ops...)
	s = reopen()
	want(t, s, "", ops...)
	for i := range ops {
		ops[i].Value = nil
	}
	commit(t, s, ops...)
	want(t, s, "")
}

func testConcurrent(t *testing.T, s Store, reopen func() Store) {
	const writers, batches = 8, 6
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				// A pair on keys that all share: both of one writer, or neither.
				v := fmt.Sprintf("%d/%d", w, b)
				err := s.Commit(t.Context(), []group.Op{
					put("d/left", v, group.Secret), put("d/right", v, group.Public),
					put(fmt.Sprintf("g/%d/%d", w, b), v, group.History),
				})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				var pair []string
				for op, err := range s.Load(t.Context(), "d/") {
					if err != nil {
						t.Errorf("writer %d: %v", w, err)
					}
					pair = append(pair, string(op.Value))
				}
				if len(pair) != 2 || pair[0] != pair[1] {
					t.Errorf("writer %d reads half a batch: %q", w, pair)
				}
			}
		})
	}
	wg.Wait()
	s = reopen()
	if got := load(t, s, "g/"); len(got) != writers*batches {
		t.Fatalf("%d records after %d acknowledged batches", len(got), writers*batches)
	}
}

// testRandom compares with a map over a random history with reopens.
func testRandom(t *testing.T, s Store, reopen func() Store) {
	r := rand.New(rand.NewPCG(5, 6))
	model := map[string]group.Op{}
	for step := range 60 {
		var ops []group.Op
		for range r.IntN(12) {
			op := group.Op{Key: fmt.Sprintf("g/%d", r.IntN(40)), Class: group.Class(1 + r.IntN(3))}
			if r.IntN(3) > 0 {
				op.Value = bytes.Repeat([]byte{byte(step)}, r.IntN(5000))
			}
			ops = append(ops, op)
		}
		commit(t, s, ops...)
		for _, op := range ops {
			if delete(model, op.Key); op.Value != nil {
				model[op.Key] = op
			}
		}
		if step%20 == 19 {
			s = reopen()
		}
		var all []group.Op
		for _, op := range model {
			all = append(all, op)
		}
		slices.SortFunc(all, func(a, b group.Op) int { return strings.Compare(a.Key, b.Key) })
		want(t, s, "", all...)
	}
}

func testClosed(t *testing.T, s Store, _ func() Store) {
	commit(t, s, put("d/1", "x", group.Public))
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	if err := s.Commit(t.Context(), []group.Op{put("d/2", "x", group.Public)}); err == nil {
		t.Error("Commit after Close succeeds")
	}
	if _, err := s.Get(t.Context(), "d/1"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get after Close: %v, want an error that is not fs.ErrNotExist", err)
	}
	failed := false
	for _, err := range s.Load(t.Context(), "") {
		failed = failed || err != nil
	}
	if !failed {
		t.Error("Load after Close yields no error")
	}
}
