package store_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/store"
)

// fill makes a store with tables on disk and returns its directory, closed.
func fill(t *testing.T) (dir string, n int) {
	t.Helper()
	dir = home(t)
	for n < 12 {
		s := open(t, dir)
		for range 6 {
			n++
			if err := s.Commit(t.Context(), batch(n)); err != nil {
				t.Fatal(err)
			}
		}
		shut(t, s)
	}
	return dir, n
}

// clone copies the directory from to a new one.
func clone(t *testing.T, from string) string {
	t.Helper()
	to := home(t)
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// files lists the files below dir with content, as paths relative to it.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if fi, err := d.Info(); err == nil && fi.Size() > 0 {
				rel, _ := filepath.Rel(dir, path)
				names = append(names, rel)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	m, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(m) == 0 {
		t.Fatalf("no file %s: %v", pattern, err)
	}
	return m[0]
}

// refused opens a damaged store and wants the error.
func refused(t *testing.T, dir string, want error) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err == nil {
		s.Close()
		t.Fatalf("Open succeeds, want %v", want)
	}
	if !errors.Is(err, want) {
		t.Fatalf("Open: %v, want %v", err, want)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the message has more than one line: %q", err)
	}
}

func TestRootMismatch(t *testing.T) {
	dir, n := fill(t)
	root := filepath.Join(dir, "root")
	good, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := os.ReadFile(filepath.Join(func() string { d, _ := fill(t); return d }(), "root"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		if err := os.WriteFile(root, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := 0 // of the slot that counts: the one of the earlier generation
	if bytes.Compare(good[4096+12:4096+20], good[12:20]) < 0 {
		start = 4096
	}
	for at := start; at < start+512; at += 31 {
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 7)
		write(b)
		refused(t, dir, store.ErrRootMismatch)
	}
	for _, b := range [][]byte{nil, good[:100], make([]byte, len(good)), stranger} {
		write(b)
		refused(t, dir, store.ErrRootMismatch)
	}
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, store.ErrRootMismatch)

	write(good) // nothing was lost meanwhile
	s := open(t, dir)
	if err := same(s, after(n)); err != nil {
		t.Fatal(err)
	}
}

func TestTruncated(t *testing.T) {
	dir, _ := fill(t)
	for _, pattern := range []string{"db/*.sst", "db/MANIFEST"} {
		for _, keep := range []float64{0, 0.3, 0.9} {
			if pattern == "db/MANIFEST" && keep > 0.5 {
				continue // a torn last change is what a crash leaves
			}
			d := clone(t, dir)
			path := one(t, d, pattern)
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, int64(float64(fi.Size())*keep)); err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(t.Context(), store.Options{Dir: d})
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%s cut to %.0f %%: %v, want ErrCorrupt", pattern, keep*100, err)
			}
		}
	}
}

func TestMissing(t *testing.T) {
	dir, _ := fill(t)
	for _, pattern := range []string{"db/*.sst", "db/MANIFEST"} {
		d := clone(t, dir)
		before := len(files(t, d))
		if err := os.Remove(one(t, d, pattern)); err != nil {
			t.Fatal(err)
		}
		refused(t, d, store.ErrCorrupt)
		if now := len(files(t, d)); now != before-1 {
			t.Errorf("without %s, Open went on to delete: %d files of %d", pattern, now, before-1)
		}
	}
	d := clone(t, dir)
	if err := os.RemoveAll(filepath.Join(d, "db")); err != nil {
		t.Fatal(err)
	}
	refused(t, d, store.ErrCorrupt)
}

// TestEmptyLogs plants what a crash leaves between the two steps in which badger
// makes and removes a log.
func TestEmptyLogs(t *testing.T) {
	dir, n := fill(t)
	for _, name := range []string{"99990.mem", "999990.vlog"} {
		if err := os.WriteFile(filepath.Join(dir, "db", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		if err := same(s, after(n)); err != nil {
			t.Fatal(err)
		}
		shut(t, s)
	}
}

// TestFlippedBit damages every kind of file in many places, of a store that was
// closed and of one that was killed: either Open or Load says so, or nothing is
// missing.
func TestFlippedBit(t *testing.T) {
	closed, n := fill(t)
	killed := clone(t, closed)
	acked := kill(t, killed, 8, 0, time.Second)
	r := rand.New(rand.NewPCG(8, 9))
	detected, harmless := 0, 0
	for _, c := range []struct {
		dir string
		min int
		max int
	}{{closed, n, n}, {killed, acked, acked + 1}} {
		for _, name := range files(t, c.dir) {
			if name == "reserve" || name == "lock" {
				continue
			}
			content, err := os.ReadFile(filepath.Join(c.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			used := len(bytes.TrimRight(content, "\x00")) // logs are sparse
			for range 2 {
				if used == 0 {
					break
				}
				bit := r.IntN(8 * used)
				d := clone(t, c.dir)
				content[bit/8] ^= 1 << (bit % 8)
				err := os.WriteFile(filepath.Join(d, name), content, 0o600)
				content[bit/8] ^= 1 << (bit % 8)
				if err != nil {
					t.Fatal(err)
				}
				found, err := look(d, c.min, c.max)
				if err != nil {
					t.Errorf("%s, bit %d: %v", name, bit, err)
				}
				if found {
					detected++
				} else {
					harmless++
				}
				os.RemoveAll(d)
			}
		}
	}
	t.Logf("%d flipped bits detected, %d harmless", detected, harmless)
}

// look opens a damaged store; err says that the damage had an effect unseen.
func look(dir string, lo, hi int) (found bool, err error) {
	s, err := store.Open(context.Background(), store.Options{Dir: dir})
	if err != nil {
		if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrRootMismatch) || errors.Is(err, store.ErrNewerFormat) {
			return true, nil
		}
		return false, fmt.Errorf("an error without a name: %w", err)
	}
	defer s.Close()
	n, err := batches(s)
	if err != nil {
		return errors.Is(err, store.ErrCorrupt), nil
	}
	if n < lo || n > hi {
		return false, fmt.Errorf("%d batches are there, not %d to %d", n, lo, hi)
	}
	if err := same(s, after(n)); errors.Is(err, store.ErrCorrupt) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	return false, nil
}

func TestNoPlaintext(t *testing.T) {
	dir := home(t)
	s := open(t, dir)
	secret := []byte("planted secret 7d1f0a52c9e84b36")
	visible := []byte("planted public 0c88e1b7aa5f4d19")
	long := bytes.Repeat(secret, 40_000) // takes parts and the journal
	if err := s.Commit(t.Context(), []group.Op{
		{Key: "d/secret", Value: secret, Class: group.Secret},
		{Key: "d/history", Value: secret, Class: group.History},
		{Key: "d/long", Value: long, Class: group.Secret},
		{Key: "d/public", Value: visible, Class: group.Public},
	}); err != nil {
		t.Fatal(err)
	}
	seen := false
	scan := func(when string) {
		for _, name := range files(t, dir) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, needle := range [][]byte{secret, secret[8:24], []byte(hex.EncodeToString(secret))} {
				if bytes.Contains(b, needle) {
					t.Errorf("%s: %s holds the secret in plaintext", when, name)
				}
			}
			seen = seen || bytes.Contains(b, visible)
		}
	}
	scan("while open")
	shut(t, s)
	scan("after close")
	if !seen {
		t.Error("the scan does not find the public value either, so it proves nothing")
	}
	// The value log, which nothing rewrites, stays empty.
	for _, name := range files(t, dir) {
		if filepath.Ext(name) == ".vlog" {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || len(bytes.TrimRight(b[20:], "\x00")) > 0 {
				t.Errorf("%s holds values, %v", name, err)
			}
		}
	}
}

func TestModes(t *testing.T) {
	dir, n := fill(t)
	s := open(t, dir)
	for range 30 { // enough for new logs and tables while open
		n++
		if err := s.Commit(t.Context(), batch(n)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			if fi.Mode().Perm() != want {
				t.Errorf("%s: %s has mode %v, want %v", when, path, fi.Mode().Perm(), want)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	shut(t, s)
	check("after close")
	s = open(t, dir)
	check("after open")
	shut(t, s)

	for path, mode := range map[string]fs.FileMode{dir: 0o755, filepath.Join(dir, "db"): 0o777, filepath.Join(dir, "root"): 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir)
	check("after loosening")
	shut(t, s)

	target := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(filepath.Join(dir, "root"), target); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, store.ErrUnsafe)
}

func TestDiskFullAtOpen(t *testing.T) {
	_, err := store.Open(t.Context(), store.Options{Dir: home(t), MinFreeBytes: 1 << 62})
	if !errors.Is(err, store.ErrDiskFull) {
		t.Fatalf("Open: %v, want ErrDiskFull", err)
	}
	t.Log(err)
}

func TestOptions(t *testing.T) {
	if _, err := store.Open(t.Context(), store.Options{}); !errors.Is(err, store.ErrOptions) {
		t.Errorf("Open without a directory: %v, want ErrOptions", err)
	}
	for _, o := range []store.Options{
		{MinFreeBytes: 1}, {ReserveBytes: 1}, {ReserveBytes: 9 << 20}, {MemTableBytes: 1 << 20}, {VerifyBytes: -1},
	} {
		o.Dir = home(t)
		if _, err := store.Open(t.Context(), o); !errors.Is(err, store.ErrOptions) {
			t.Errorf("Open(%+v): %v, want ErrOptions", o, err)
		}
	}
}
