package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// history is a batch of a store under test: new records, overwritten ones, a
// ratchet that every batch advances, deletions, and a large batch now and then.
func history(r *rand.Rand, n int) []group.Op {
	ops := []group.Op{
		{Key: "g/ratchet", Value: fmt.Appendf(nil, "ratchet %d", n), Class: group.Secret},
		{Key: fmt.Sprintf("g/epoch/%03d", n), Value: fmt.Appendf(nil, "epoch %d", n), Class: group.Secret},
		{Key: fmt.Sprintf("g/log/%03d", n), Value: fmt.Appendf(nil, "text %d", n), Class: group.History},
		{Key: "g/public", Value: fmt.Appendf(nil, "public %d", n), Class: group.Public},
	}
	for range 2 {
		ops = append(ops, group.Op{Key: fmt.Sprintf("g/epoch/%03d", r.IntN(n+1))})
	}
	switch n % 12 {
	case 5: // parts and the journal
		ops = append(ops, group.Op{Key: "g/long", Value: bytes.Repeat([]byte{byte(n)}, 3*partSize), Class: group.Secret})
	case 8:
		ops = append(ops, group.Op{Key: "g/long"})
	case 11: // an epoch with many records
		for i := range 40 {
			ops = append(ops, group.Op{Key: fmt.Sprintf("g/tree/%02d", i), Value: []byte{byte(n), byte(i)}, Class: group.Secret})
		}
	}
	return ops
}

func openErase(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestTheorem: once an erasure is acknowledged, nothing that was ever written
// opens an erased record, whatever one has copied before.
func TestTheorem(t *testing.T) {
	for _, c := range []struct {
		name     string
		interval time.Duration
	}{{"before acknowledging", EraseNow}, {"gathered", maxErase}} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			th := newThief(t, dir)
			var s *Store
			o := Options{Dir: dir, EraseInterval: c.interval}
			o.hook = func(point string) error {
				if s != nil && strings.HasSuffix(point, "done") {
					th.copy(s.db)
				}
				return nil
			}
			r := rand.New(rand.NewPCG(1, 2))
			s = openErase(t, o)
			for n := range 24 {
				if err := s.Commit(t.Context(), history(r, n)); err != nil {
					t.Fatal(err)
				}
				if n == 13 {
					shutInside(t, s)
					s = nil
					s = openErase(t, o)
					th.copy(s.db)
				}
				if n%8 == 7 {
					if c.interval > 0 {
						if st := s.Status(); st.Pending == 0 || th.judge(liveRecords(t, s)) == nil {
							t.Error("nothing was pending, or the thief overlooks it")
						}
						if err := s.Erase(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					if err := th.judge(liveRecords(t, s)); err != nil {
						t.Fatalf("after batch %d: %v", n, err)
					}
				}
			}
			th.copy(s.db)
			if err := th.hidden(s); err != nil {
				t.Error(err)
			}
			found, all := th.onDisk()
			t.Logf("%d values copied, %d of %d found in the %d copied files, %d root keys, %d live records",
				len(th.values), found, all, len(th.files), len(th.roots), len(liveRecords(t, s)))
			if found < all*9/10 {
				t.Error("the copies are not what was written")
			}
		})
	}
}

func shutInside(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// constant draws one kind of key always the same.
func constant(what drawn) func(drawn, *secret) {
	return func(asked drawn, k *secret) {
		*k = secret{7}
		if asked != what {
			for i := range k {
				k[i] = byte(rand.Uint32())
			}
		}
	}
}

var brokenErasures = []struct {
	name string
	draw func(drawn, *secret)
	hook func(dir string) func(point string) error
	raw  bool // only files tell
}{
	{name: "paths keep their keys", draw: constant(drawNode)},
	{name: "the root key stays", draw: constant(drawRoot)},
	{name: "the former slot is not overwritten", hook: keepSlot},
	{name: "a temporary file has the former root key", hook: keepCopy, raw: true},
}

// TestBrokenErasure breaks the erasure in several ways. The theorem's test must
// see each of them.
func TestBrokenErasure(t *testing.T) {
	for _, c := range brokenErasures {
		if c.raw {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			th := newThief(t, dir)
			s := openErase(t, Options{Dir: dir, EraseInterval: EraseNow, draw: c.draw})
			if c.hook != nil {
				s.hook = c.hook(dir)
			}
			r := rand.New(rand.NewPCG(1, 2))
			var err error
			for n := 0; n < 20 && !errors.Is(err, errOpens); n++ {
				if err := s.Commit(t.Context(), history(r, n)); err != nil {
					t.Fatal(err)
				}
				th.copy(s.db)
				err = th.judge(liveRecords(t, s))
			}
			if !errors.Is(err, errOpens) {
				t.Fatalf("the thief did not notice: %v", err)
			}
			t.Log(err)
		})
	}
}

// keepSlot puts a slot back after it was overwritten.
func keepSlot(dir string) func(point string) error {
	var before []byte
	return func(point string) (err error) {
		path := filepath.Join(dir, rootFile)
		switch point {
		case "root":
			before, err = os.ReadFile(path)
		case "root done":
			err = os.WriteFile(path, before, 0o600)
		}
		return err
	}
}

// keepCopy leaves a temporary file with the former root key behind, for a moment.
func keepCopy(dir string) func(point string) error {
	return func(point string) error {
		temp := filepath.Join(dir, badgerDir, "scratch")
		if point == "root done" {
			return os.Remove(temp)
		}
		if point != "root" {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(dir, rootFile))
		if err == nil {
			err = os.WriteFile(temp, append(make([]byte, 100), b...), 0o600)
			time.Sleep(20 * time.Millisecond)
		}
		return err
	}
}

// TestCrashPoints ends the writing at every point of every kind of passage and
// opens the store again: the batch is there wholly or not at all, and what the
// store does not hold is erased.
func TestCrashPoints(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	th := newThief(t, dir)
	th.light = true
	var s *Store
	points := map[string]int{}
	at, n := 0, 0 // fail at the at-th point
	crash := func(point string) error {
		if s != nil {
			th.copy(s.db)
		}
		if n++; n == at {
			points[point]++
			return errFault
		}
		return nil
	}
	o := Options{Dir: dir, EraseInterval: maxErase}
	r := rand.New(rand.NewPCG(3, 4))
	s = openErase(t, o)
	batch, model := 0, map[string]string{}
	for round := range 3 {
		for at = 1; ; at++ {
			next := map[string]string{}
			for k, v := range model {
				next[k] = v
			}
			b := history(r, 3+batch%3+round*12) // rounds end in plain, cut and large batches
			batch++
			for _, op := range b {
				if delete(next, op.Key); op.Value != nil {
					next[op.Key] = string(op.Value)
				}
			}
			n = 0
			s.hook = crash
			err := s.Commit(t.Context(), b)
			if err == nil {
				model = next
				err = s.Erase(t.Context())
			}
			s.hook = nil
			if err != nil && !errors.Is(err, ErrBroken) {
				t.Fatal(err)
			}
			s.Close()
			crashed := err != nil
			s = nil
			if round == 0 && crashed { // and once more, while opening
				n = 0
				bad := o
				bad.hook = crash
				if broken, err := Open(t.Context(), bad); err == nil {
					broken.hook = nil
					broken.Close()
				}
			}
			s = openErase(t, o)
			if err := holdsModel(s, model); err != nil {
				if err2 := holdsModel(s, next); err2 != nil {
					t.Fatalf("point %d: neither before (%v) nor after (%v)", at, err, err2)
				}
				model = next
			}
			if th.copy(s.db); at%6 == 1 {
				if err := th.judgeSoon(s); err != nil {
					t.Fatalf("point %d: %v", at, err)
				}
			}
			if !crashed {
				break
			}
		}
	}
	t.Logf("points: %v", points)
	for _, p := range []string{"root", "root done", "write", "write done"} {
		if points[p] < 3 {
			t.Errorf("the point %q was met %d times only", p, points[p])
		}
	}
	if err := th.judge(liveRecords(t, s)); err != nil {
		t.Fatal(err)
	}
}

// judgeSoon is judge without the proof that the thief is able: an opened store
// has erased everything that it does not hold.
func (th *thief) judgeSoon(s *Store) error {
	live := liveRecords(th.t, s)
	for id, key := range th.steal() {
		if live[id] != key {
			return fmt.Errorf("%w: %q (key %d)", errOpens, key, id)
		}
	}
	return nil
}

func holdsModel(s *Store, model map[string]string) error {
	n := 0
	for op, err := range s.Load(context.Background(), "") {
		if err != nil {
			return err
		}
		if v, ok := model[op.Key]; !ok || v != string(op.Value) {
			return fmt.Errorf("%q differs", op.Key)
		}
		n++
	}
	if n != len(model) {
		return fmt.Errorf("%d records of %d", n, len(model))
	}
	return nil
}

// TestTornSlot tears the write of the root file: after any number of bytes the
// rest is what was there before.
func TestTornSlot(t *testing.T) {
	present := (&sealer{}).slot(5, &secret{2}).marshal()
	fresh := (&sealer{}).slot(6, &secret{3}).marshal()
	dir := t.TempDir()
	for what, from := range map[string][]byte{
		"nothing":        make([]byte, slotSize),
		"the former key": (&sealer{}).slot(4, &secret{1}).marshal(),
		"a next key":     (&sealer{}).slot(6, &secret{4}).marshal(),
	} {
		for cut := range slotSize + 1 {
			b := make([]byte, slotCount*slotStride)
			copy(b[slotStride:], present)
			copy(b, slices.Concat(fresh[:cut], from[cut:]))
			if err := os.WriteFile(filepath.Join(dir, rootFile), b, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := openRoot(dir, os.O_RDWR, func(string) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			sl, stale, err := r.choose(5)
			if err != nil || sl.gen != 5 || sl.key[0] != 2 {
				t.Fatalf("write over %s torn after %d bytes: %v", what, cut, err)
			}
			next, err := parseSlot(b[:slotSize])
			whole := err == nil && next.gen == 6 || bytes.Equal(b[:slotSize], make([]byte, slotSize))
			if stale == whole {
				t.Fatalf("write over %s torn after %d bytes: the rest is overlooked", what, cut)
			}
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestTornPassage tears the same write under a whole store.
func TestTornPassage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	o := Options{Dir: dir, EraseInterval: EraseNow}
	s := openErase(t, o)
	path := filepath.Join(dir, rootFile)
	for i, cut := range []int{0, 1, 8, 21, 22, 40, 54, 480, 481, 511} {
		var before []byte
		s.hook = func(p string) error {
			if p != "root" && p != "root done" {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if p == "root" {
				before = b
				return nil
			}
			for i := range slotCount {
				at := i * slotStride
				copy(b[at+cut:at+slotSize], before[at+cut:at+slotSize])
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				return err
			}
			return errFault
		}
		put := []group.Op{{Key: "d/1", Value: []byte{byte(i)}, Class: group.Secret}}
		if err := s.Commit(t.Context(), put); err == nil && i > 0 || err != nil && !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		former := s.retired
		s.Close()
		s = openErase(t, o)
		if got, err := s.Get(t.Context(), "d/1"); err != nil || got[0] != byte(i) {
			t.Fatalf("torn after %d bytes: %v, %v, want %d", cut, got, err, i)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, sl := bothSlots(t, b); sl.gen != s.current.gen {
			t.Fatalf("generation %d, the store is in %d", sl.gen, s.current.gen)
		}
		if len(former) > 0 {
			t.Error("a former root key is still in memory")
		}
	}
}

// TestInterval: erasures are carried out in time, without a further call, and
// those of a store that is closed are carried out by Close.
func TestInterval(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	o := Options{Dir: dir, EraseInterval: 400 * time.Millisecond}
	s := openErase(t, o)
	put := []group.Op{{Key: "d/1", Value: []byte("x"), Class: group.Secret}}
	for range 3 {
		if err := s.Commit(t.Context(), put); err != nil {
			t.Fatal(err)
		}
	}
	st := s.Status()
	if st.Pending != 2 || st.PendingSince.IsZero() {
		t.Fatalf("%d erasures are pending, want 2", st.Pending)
	}
	for deadline := time.Now().Add(10 * time.Second); s.Status().Pending > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is erased")
		}
	}
	if now := s.Status(); now.Erased != 2 || now.Generation != st.Generation+1 {
		t.Fatalf("%+v after %+v", now, st)
	}
	if err := s.Commit(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	gen := s.Status().Generation
	shutInside(t, s)
	if s.current.gen != gen+1 || s.pending.n != 0 {
		t.Error("Close left erasures pending")
	}
}

// TestReaders: a loop that began before an erasure reads on, and when it ends
// its keys go.
func TestReaders(t *testing.T) {
	s := openErase(t, Options{Dir: filepath.Join(t.TempDir(), "home"), EraseInterval: EraseNow})
	for n := range 100 {
		op := group.Op{Key: fmt.Sprintf("d/%02d", n), Value: []byte("old"), Class: group.Secret}
		if err := s.Commit(t.Context(), []group.Op{op}); err != nil {
			t.Fatal(err)
		}
	}
	former := s.current
	n := 0
	for op, err := range s.Load(t.Context(), "d/") {
		if err != nil || string(op.Value) != "old" {
			t.Fatalf("%q, %v", op.Value, err)
		}
		if n++; n%10 == 1 {
			if err := s.Commit(t.Context(), []group.Op{{Key: fmt.Sprintf("d/%02d", n+5)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 100 {
		t.Fatalf("%d records", n)
	}
	if len(s.retired) > 0 || former.root != (secret{}) {
		t.Error("former keys are still in memory")
	}
}
