package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/dmlsd/dmls/group"
)

var errFault = errors.New("fault of the test")

func openInside(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir, EraseInterval: maxErase})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// largeBatch changes, adds, cuts and deletes.
func largeBatch(v byte) []group.Op {
	ops := []group.Op{{Key: "d/v", Value: []byte{v}, Class: group.Secret}}
	for i := range 9 {
		value := bytes.Repeat([]byte{v, byte(i)}, 150<<10)
		if (i+int(v))%4 == 0 {
			value = nil
		}
		ops = append(ops, group.Op{Key: fmt.Sprintf("g/%d", i), Value: value, Class: group.Class(1 + i%3)})
	}
	return ops
}

func holds(t *testing.T, s *Store, v byte) {
	t.Helper()
	for _, op := range largeBatch(v) {
		got, err := s.Get(t.Context(), op.Key)
		if (err != nil) != (op.Value == nil) || !bytes.Equal(got, op.Value) {
			t.Fatalf("%s is not of batch %d: %d bytes, %v", op.Key, v, len(got), err)
		}
	}
}

// TestJournalFault lets the n-th transaction of a large batch fail, for every
// n, and opens the store again: the batch is there wholly or not at all.
func TestJournalFault(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	s := openInside(t, dir)
	if err := s.Commit(t.Context(), largeBatch(1)); err != nil {
		t.Fatal(err)
	}
	before, afterwards := 0, 0
	have := byte(1)
	for n := 1; ; n++ {
		calls := 0
		s.hook = func(point string) error {
			if point != "write" {
				return nil
			}
			if calls++; calls == n {
				return errFault
			}
			return nil
		}
		next := have + 1
		err := s.Commit(t.Context(), largeBatch(next))
		if err == nil {
			holds(t, s, next)
			break
		}
		if !errors.Is(err, ErrBroken) || !errors.Is(err, errFault) {
			t.Fatalf("transaction %d fails: %v, want ErrBroken with its cause", n, err)
		}
		if _, err := s.Get(t.Context(), "d/v"); !errors.Is(err, ErrBroken) {
			t.Fatalf("Get after a failed write: %v, want ErrBroken", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openInside(t, dir)
		v, err := s.Get(t.Context(), "d/v")
		if err != nil {
			t.Fatal(err)
		}
		switch v[0] {
		case have:
			before++
		case next:
			afterwards++
			have = next
		default:
			t.Fatalf("the store holds batch %d", v[0])
		}
		holds(t, s, have)
		pieces, seal, err := s.readJournal()
		if err != nil || len(pieces) > 0 || seal != nil {
			t.Fatalf("%d pieces of the journal are left, %v", len(pieces), err)
		}
	}
	t.Logf("faults: %d before the seal, %d after it", before, afterwards)
	if before < 3 || afterwards < 3 {
		t.Error("too few places were tried")
	}
}

func FuzzEntries(f *testing.F) {
	f.Add(appendEntry(appendEntry(nil, entry{key: []byte("rk"), value: []byte("v"), meta: 1}), entry{key: []byte("x")}))
	f.Add(appendEntry(nil, entry{key: []byte("k"), value: []byte{}}))
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 'v'})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseEntries(b)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			again = appendEntry(again, e)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("parse and marshal change %x to %x", b, again)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(header{class: group.Public, length: 1}.append(nil))
	f.Add(append(header{class: group.Secret, wrap: wrapByID, keyID: 7, length: 2}.append(nil), 1, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := parseHeader(b)
		if err != nil {
			return
		}
		if again := append(h.append(nil), body...); !bytes.Equal(again, b) {
			t.Fatalf("parse and marshal change %x to %x", b, again)
		}
	})
}

func FuzzSlot(f *testing.F) {
	f.Add(slot{gen: 1, key: make([]byte, len(secret{}))}.marshal())
	f.Add((&sealer{kind: sealedKeyFile}).slot(2, &secret{}).marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSlot(b)
		if err != nil {
			return
		}
		if again := s.marshal(); !bytes.Equal(again, b) {
			t.Fatalf("parse and marshal change %x to %x", b, again)
		}
	})
}

func FuzzNode(f *testing.F) {
	n := &node{level: 1, index: 3, has: 1 << 5}
	f.Add(n.seal(&secret{1}), 1, uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, level int, index uint64) {
		n, err := openNode(&secret{1}, level, index, b)
		if err != nil {
			return
		}
		if again := n.seal(&secret{1}); !bytes.Equal(again, b) {
			t.Fatalf("open and seal change %x to %x", b, again)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(state{gen: 1, seq: 2, nextKey: 9, young: 3, levels: 1, tidy: true}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(formatVersion, b)
		if err != nil {
			return
		}
		if again := s.marshal(); !bytes.Equal(again, b) {
			t.Fatalf("parse and marshal change %x to %x", b, again)
		}
	})
}
