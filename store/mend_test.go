package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// change encodes a change of the manifest as badger does.
func manifestChange(made, deleted []uint64) []byte {
	var body []byte
	for op, ids := range [][]uint64{made, deleted} {
		for _, id := range ids {
			c := binary.AppendUvarint([]byte{1 << 3}, id)
			if op > 0 {
				c = append(c, 2<<3, byte(op))
			}
			body = append(binary.AppendUvarint(append(body, 1<<3|2), uint64(len(c))), c...)
		}
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, body...)
}

// TestMend adds to the manifest of a store what a failed sync leaves there, and
// what only looks like it.
func TestMend(t *testing.T) {
	for _, c := range []struct {
		name          string
		made, deleted []uint64 // 0: the table that is there
		noted         string
		ok            bool
	}{
		{"a flush that failed", []uint64{900}, nil, "900\n", true},
		{"a table that was lost", []uint64{900}, nil, "", false},
		{"another table was noted", []uint64{900}, nil, "901\n", false},
		{"a compaction that failed", []uint64{900, 901}, []uint64{0}, "", true},
		{"a compaction whose tables were lost", []uint64{900}, []uint64{902}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			s := openInside(t, dir)
			if err := s.Commit(t.Context(), largeBatch(7)); err != nil {
				t.Fatal(err)
			}
			shutInside(t, s)
			path := filepath.Join(dir, badgerDir, badger.ManifestFilename)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, sets, err := parseManifest(before)
			if err != nil {
				t.Fatal(err)
			}
			present := uint64(0)
			for _, set := range sets {
				for _, id := range set.made {
					if _, err := os.Stat(filepath.Join(dir, badgerDir, filepath.Base(table.NewFilename(id, "")))); err == nil {
						present = id
					}
				}
			}
			if present == 0 {
				t.Fatal("there is no table")
			}
			for i, id := range c.deleted {
				if id == 0 {
					c.deleted[i] = present
				}
			}
			if err := os.WriteFile(path, append(before, manifestChange(c.made, c.deleted)...), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.noted != "" {
				if err := os.WriteFile(filepath.Join(dir, lostFile), []byte(c.noted), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Check(t.Context(), Options{Dir: dir})
			if err != nil || (len(r.Findings) == 0) != c.ok {
				t.Errorf("Check finds %q, %v", r.Findings, err)
			}
			again, err := Open(t.Context(), Options{Dir: dir})
			if !c.ok {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("Open: %v, want ErrCorrupt", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			for _, op := range largeBatch(7) {
				if v, err := again.Get(t.Context(), op.Key); op.Value != nil && (err != nil || string(v) != string(op.Value)) {
					t.Fatalf("record %q: %v", op.Key, err)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, lostFile)); err == nil {
				t.Error("the note is still there")
			}
		})
	}
}
