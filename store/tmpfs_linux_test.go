package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/store"
)

// TestSmallDisk fills a real file system of 128 MiB, in which badger alone dies
// of SIGBUS: the store refuses in time, deletions go on, nothing is lost, and
// a disk that has become read-only is refused with the system's own error. It
// needs the right to mount.
func TestSmallDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=128m,mode=0700"); err != nil {
		t.Skipf("no right to mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	o := store.Options{Dir: filepath.Join(disk, "home"), MinFreeBytes: 48 << 20}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n := 0
	for ; n < 2000; n++ {
		op := group.Op{Key: fmt.Sprintf("g/%04d", n), Value: make([]byte, 200<<10), Class: group.Secret}
		if err = s.Commit(t.Context(), []group.Op{op}); err != nil {
			break
		}
	}
	if !errors.Is(err, store.ErrDiskFull) || n < 20 {
		t.Fatalf("after %d batches: %v, want ErrDiskFull", n, err)
	}
	if err := s.Commit(t.Context(), []group.Op{{Key: "g/0000"}}); err != nil {
		t.Fatalf("a deletion on the full disk: %v", err)
	}
	if err := s.Erase(t.Context()); err != nil {
		t.Fatalf("an erasure on the full disk: %v", err)
	}
	shut(t, s)
	if s, err = store.Open(t.Context(), o); err != nil {
		t.Fatalf("Open on the full disk: %v", err)
	}
	seen := 0
	for _, err := range s.Load(t.Context(), "g/") {
		if err != nil {
			t.Fatal(err)
		}
		seen++
	}
	if seen != n-1 {
		t.Fatalf("%d records of %d", seen, n-1)
	}
	shut(t, s)
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("no right to remount: %v", err)
	}
	if _, err := store.Open(t.Context(), o); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("Open on a read-only disk: %v", err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, "size=256m"); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(t.Context(), o); err != nil {
		t.Fatalf("Open once the disk has grown: %v", err)
	}
	if err := s.Commit(t.Context(), []group.Op{{Key: "g/after", Value: []byte("x"), Class: group.Secret}}); err != nil {
		t.Fatal(err)
	}
}
