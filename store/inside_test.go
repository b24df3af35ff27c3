package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/dmlsd/dmls/group"
)

// TestDiskFull lets the free space shrink below the watermark under a store.
func TestDiskFull(t *testing.T) {
	const floor, reserve = 64 << 20, 1 << 20
	free := uint64(1 << 30)
	dir := filepath.Join(t.TempDir(), "home")
	o := Options{Dir: dir, MinFreeBytes: floor, ReserveBytes: reserve}
	o.free = func(string) (uint64, error) { return free, nil }
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	reserved := func() bool {
		fi, err := os.Stat(filepath.Join(dir, reserveFile))
		return err == nil && fi.Size() == reserve
	}
	if !reserved() {
		t.Fatal("there is no reserve")
	}
	put := []group.Op{{Key: "d/1", Value: []byte("x"), Class: group.Secret}}
	if err := s.Commit(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	free = floor
	put[0].Value = []byte("y")
	if err := s.Commit(t.Context(), put); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("Commit at the watermark: %v, want ErrDiskFull", err)
	}
	if v, err := s.Get(t.Context(), "d/1"); err != nil || string(v) != "x" {
		t.Fatalf("after ErrDiskFull, Get = %q, %v", v, err)
	}
	if !reserved() {
		t.Error("a refused write took the reserve")
	}
	if err := s.Commit(t.Context(), []group.Op{{Key: "d/1"}}); err != nil {
		t.Fatalf("a deletion at the watermark: %v", err)
	}
	if reserved() {
		t.Error("the deletion did not give up the reserve")
	}
	free = floor / 4
	if err := s.Commit(t.Context(), []group.Op{{Key: "d/1"}}); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("a deletion far below the watermark: %v, want ErrDiskFull", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("Open far below the watermark: %v, want ErrDiskFull", err)
	}
	free = 1 << 30
	if s, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	if !reserved() {
		t.Error("the reserve did not come back")
	}
}

// TestNewer plants a format version and a root slot of the future.
func TestNewer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	s := openInside(t, dir)
	if err := s.write([]entry{{key: keyFormat, value: []byte{0, formatVersion + 1}}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("Open: %v, want ErrNewerFormat", err)
	}

	dir = filepath.Join(t.TempDir(), "home")
	openInside(t, dir).Close()
	path := filepath.Join(dir, rootFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := bothSlots(t, b)
	sl := b[at*slotStride:]
	binary.BigEndian.PutUint16(sl[8:], rootVersion+1)
	sum := sha256.Sum256(sl[:slotBody])
	copy(sl[slotBody:], sum[:])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("Open: %v, want ErrNewerFormat", err)
	}
}

// TestSlots puts what an interrupted erasure leaves beside the present slot, in
// either place: the present one counts, the other is drawn anew.
func TestSlots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	s := openInside(t, dir)
	put := group.Op{Key: "d/1", Value: []byte("x"), Class: group.Secret}
	if err := s.Commit(t.Context(), []group.Op{put}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	path := filepath.Join(dir, rootFile)
	for round := range 8 {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at, present := bothSlots(t, b)
		planted := secret{byte(round), 0xd1, 0x5c}
		beside := [][]byte{
			(&sealer{}).slot(present.gen+1, &planted).marshal(),
			(&sealer{}).slot(present.gen-1, &planted).marshal(),
			bytes.Repeat([]byte{0xa5}, slotSize/2),
			make([]byte, slotSize), // what a version before left
		}[round/2]
		clear(b)
		if round%2 == 1 { // to the other place
			at = 1 - at
		}
		copy(b[at*slotStride:], present.marshal())
		copy(b[(1-at)*slotStride:], beside)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openInside(t, dir)
		if v, err := s.Get(t.Context(), "d/1"); err != nil || string(v) != "x" {
			t.Fatalf("Get = %q, %v", v, err)
		}
		if b, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		if _, now := bothSlots(t, b); now.gen != present.gen+1 || bytes.Contains(b, planted[:]) || s.current.root == planted {
			t.Fatalf("generation %d after %d, or with the key that was found", now.gen, present.gen)
		}
		s.Close()
	}
}

// bothSlots wants the slots of two successive generations and nothing else, and
// returns the earlier one, which counts.
func bothSlots(t *testing.T, b []byte) (at int, s slot) {
	t.Helper()
	var found [slotCount]slot
	for i := range slotCount {
		var err error
		if found[i], err = parseSlot(b[i*slotStride : i*slotStride+slotSize]); err != nil {
			t.Fatalf("slot %d: %v", i, err)
		}
	}
	if found[1].gen < found[0].gen {
		at = 1
	}
	if found[1-at].gen != found[at].gen+1 || bytes.Equal(found[0].key, found[1].key) {
		t.Fatalf("the slots are of the generations %d and %d", found[0].gen, found[1].gen)
	}
	return at, found[at]
}

// TestKeyIDs: no two records of a store have one key, also across reopening and
// overwriting.
func TestKeyIDs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	seen := map[uint64]bool{}
	for range 3 {
		s := openInside(t, dir)
		for range 3 {
			if err := s.Commit(t.Context(), []group.Op{
				{Key: "d/1", Value: []byte("x"), Class: group.Secret},
				{Key: "d/2", Value: []byte("x"), Class: group.History},
			}); err != nil {
				t.Fatal(err)
			}
			txn := s.db.NewTransaction(false)
			for _, key := range []string{"d/1", "d/2"} {
				b, err := get(txn, recordKey(key))
				if err != nil {
					t.Fatal(err)
				}
				h, _, err := parseHeader(b)
				if err != nil || h.keyID == 0 || seen[h.keyID] {
					t.Fatalf("key id %d of %s was used before, or %v", h.keyID, key, err)
				}
				seen[h.keyID] = true
			}
			txn.Discard()
		}
		s.Close()
	}
}

// TestBound: a sealed record that is moved to another key does not open.
func TestBound(t *testing.T) {
	s := openInside(t, filepath.Join(t.TempDir(), "home"))
	if err := s.Commit(t.Context(), []group.Op{{Key: "d/1", Value: []byte("x"), Class: group.Secret}}); err != nil {
		t.Fatal(err)
	}
	txn := s.db.NewTransaction(false)
	b, err := get(txn, recordKey("d/1"))
	txn.Discard()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write([]entry{{key: recordKey("d/2"), value: b}}); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(t.Context(), "d/2"); !errors.Is(err, ErrCorrupt) || v != nil {
		t.Fatalf("Get of a moved record = %q, %v, want ErrCorrupt", v, err)
	}
}

// TestPartsGo: nothing of a long value stays in badger under a shorter one.
func TestPartsGo(t *testing.T) {
	s := openInside(t, filepath.Join(t.TempDir(), "home"))
	for _, size := range []int{5*partSize + 1, 2 * partSize, 10} {
		op := group.Op{Key: "d/1", Value: make([]byte, size), Class: group.Public}
		if err := s.Commit(t.Context(), []group.Op{op}); err != nil {
			t.Fatal(err)
		}
		txn := s.db.NewTransaction(false)
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{spacePart}})
		n := 0
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		it.Close()
		txn.Discard()
		if want := (size - 1) / partSize; n != want {
			t.Errorf("%d parts beside a value of %d bytes, want %d", n, size, want)
		}
	}
}

// TestSynced: a killed process cannot show that writes are synced, the page
// cache outlives it; so the option is looked at.
func TestSynced(t *testing.T) {
	s := openInside(t, filepath.Join(t.TempDir(), "home"))
	if o := s.db.Opts(); !o.SyncWrites || o.InMemory {
		t.Error("badger does not sync its writes")
	}
}
