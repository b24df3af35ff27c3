package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/crypto/chacha20"

	"github.com/dmlsd/dmls/group"
)

// rawThief is a thief that asks badger for nothing. It reads every file under a
// directory at every step of a write, through the page cache, so that what lies
// in memory maps and is not synced yet counts too, and copies tables and temporary
// files every millisecond, so that none is lost when it is deleted.
// In all these bytes it looks
//
//   - at every offset for an entry of badger's logs with a valid checksum,
//   - in whole tables for all versions of all entries,
//   - at every offset for the header of a sealed record: what follows is tried
//     without its name and tag,
//   - at every offset but in the root file for a slot of a root file, whose key
//     is the thief's as well.
type rawThief struct {
	*thief
	bare   map[[32]byte][]byte // records of which the name is not known: header and 64 bytes of ciphertext
	texts  map[string]bool     // beginnings of all plaintexts that were ever there
	seen   map[[32]byte]bool
	tables map[uint64]bool // read as such
	made   map[uint64]bool // that badger's manifest names
	keys   map[string]bool // root keys outside of the root file
	stop   chan struct{}
	ended  sync.WaitGroup

	mu      sync.Mutex
	fetched map[string]fetched // by path
	copies  map[[32]byte]copied
}

const bareText = 64

func newRawThief(t *testing.T, dir string) *rawThief {
	th := &rawThief{thief: newThief(t, dir), bare: map[[32]byte][]byte{}, texts: map[string]bool{},
		seen: map[[32]byte]bool{}, tables: map[uint64]bool{}, made: map[uint64]bool{}, keys: map[string]bool{}, stop: make(chan struct{}),
		fetched: map[string]fetched{}, copies: map[[32]byte]copied{}}
	th.extra = func() (roots [][]byte) {
		for k := range th.keys {
			roots = append(roots, []byte(k))
		}
		return roots
	}
	th.ended.Go(func() {
		for {
			select {
			case <-th.stop:
				return
			case <-time.After(time.Millisecond):
				th.fetch()
			}
		}
	})
	t.Cleanup(th.close)
	return th
}

func (th *rawThief) close() {
	if th.stop != nil {
		close(th.stop)
		th.ended.Wait()
		th.stop = nil
	}
}

// fetch copies the files that have changed since it copied them, but for those
// that are read at every step anyway: badger empties a table before it deletes it.
func (th *rawThief) fetch() {
	th.mu.Lock()
	defer th.mu.Unlock()
	_ = filepath.WalkDir(th.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == rootFile || d.Name() == reserveFile || filepath.Ext(path) == ".mem" {
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return nil // deleted meanwhile
		}
		// What is written through a map shows in the times of a file later.
		state := fmt.Sprintf("%d %d", fi.Size(), fi.ModTime().UnixNano())
		if f := th.fetched[path]; f.state != state || f.times < 3 {
			if f.state != state {
				f.times = 0
			}
			th.fetched[path] = fetched{state, f.times + 1}
			if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
				th.copies[sha256.Sum256(b)] = copied{path, b}
			}
		}
		return nil
	})
}

type fetched struct {
	state string // size and time
	times int    // copied since
}

type copied struct {
	path  string
	bytes []byte
}

// look reads what is there now and what was fetched.
func (th *rawThief) look() {
	th.t.Helper()
	th.fetch()
	_ = filepath.WalkDir(th.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != rootFile && filepath.Ext(path) != ".mem" {
			return nil
		}
		if b, err := readSparse(path); err == nil {
			th.read(path, b)
		}
		return nil
	})
	th.mu.Lock()
	defer th.mu.Unlock()
	for _, c := range th.copies {
		th.read(c.path, c.bytes)
	}
	clear(th.copies)
}

func (th *rawThief) read(path string, whole []byte) {
	b := append(bytes.TrimRight(whole, "\x00"), make([]byte, 128)...) // logs are sparse
	id := sha256.Sum256(b)
	if th.seen[id] {
		return
	}
	th.seen[id] = true
	if filepath.Base(path) != rootFile {
		for _, at := range indices(b, rootMagic) {
			if s, err := parseSlot(b[at:min(at+slotSize, len(b))]); err == nil {
				th.keys[string(s.key)] = true
			}
		}
	}
	switch id, isTable := table.ParseFileID(filepath.Base(path)); {
	case isTable:
		// One that is not written wholly yet is not read; it comes again.
		if th.table(whole) == nil {
			th.tables[id] = true
		}
	case filepath.Base(path) == badger.ManifestFilename:
		if _, sets, err := parseManifest(whole); err == nil {
			for _, s := range sets {
				for _, id := range s.made {
					th.made[id] = true
				}
			}
		}
	default:
		logEntries(b, th.keep)
	}
	th.headers(b)
}

// table reads all versions of all entries of a table.
func (th *rawThief) table(b []byte) error {
	return guard("reading a table", func() error {
		t, err := table.OpenInMemoryTable(b, 1, &table.Options{})
		if err != nil {
			return err
		}
		it := t.NewIterator(0)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if v := it.Value().Value; len(v) > 0 {
				th.keep(bytes.Clone(y.ParseKey(it.Key())), bytes.Clone(v))
			}
		}
		return nil
	})
}

// logEntries finds
//
//	struct {
//	  uint8 meta; uint8 user_meta;
//	  varint key length; varint value length; varint expires_at;
//	  opaque key[]; // of which the last 8 bytes are a version
//	  opaque value[];
//	  uint32 crc32c;
//	} Entry;
//
// wherever its checksum fits.
func logEntries(b []byte, f func(key, value []byte)) (n int) {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	for at := 0; at < len(b); at++ {
		rest := b[at:]
		size, keyAt := entrySize(rest)
		if size == 0 || len(rest) < size+4 || crc32.Checksum(rest[:size], castagnoli) != binary.BigEndian.Uint32(rest[size:]) {
			continue
		}
		nk, _ := binary.Uvarint(rest[2:])
		if key, value := rest[keyAt:keyAt+int(nk)-8], rest[keyAt+int(nk):size]; len(value) > 0 {
			f(bytes.Clone(key), bytes.Clone(value))
		}
		n++
		at += size + 3
	}
	return n
}

// entrySize is zero if b does not begin like an entry.
func entrySize(b []byte) (size, keyAt int) {
	if len(b) < 16 {
		return 0, 0
	}
	at := 2
	var v [3]uint64
	for i := range v {
		var n int
		if v[i], n = binary.Uvarint(b[at:]); n <= 0 {
			return 0, 0
		}
		at += n
	}
	if v[0] < 9 || v[0] > maxKey+16 || v[1] > 2*pieceSize || v[2] != 0 || at >= len(b) || !bytes.ContainsRune([]byte("rpnjm"), rune(b[at])) {
		return 0, 0
	}
	return at + int(v[0]+v[1]), at
}

// headers finds sealed records by their header alone.
func (th *rawThief) headers(b []byte) {
	for at := 0; at+headerSize+24+bareText <= len(b); at++ {
		if b[at] != headerVersion || b[at+1] < byte(group.Secret) || b[at+1] > byte(group.History) || b[at+2] != byte(wrapByID) ||
			binary.BigEndian.Uint64(b[at+3:]) > 1<<20 || binary.BigEndian.Uint64(b[at+11:]) > 1<<26 {
			continue
		}
		v := b[at : at+headerSize+24+bareText]
		th.bare[sha256.Sum256(v)] = bytes.Clone(v)
	}
}

func indices(b []byte, what string) (at []int) {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(what))
		if i < 0 {
			return at
		}
		at = append(at, from+i)
		from += i + 1
	}
}

// note remembers what a batch puts, to be known again when it is opened without
// a tag. Values shorter than a cipher block are not used.
func (th *rawThief) note(ops []group.Op) {
	for _, op := range ops {
		if op.Class > group.Public && len(op.Value) >= bareText {
			th.texts[string(op.Value[:bareText])] = true
		}
	}
}

// judge is that of the thief, and then for the records found by their header.
func (th *rawThief) judge(live map[uint64]string) error {
	th.t.Helper()
	th.look()
	if err := th.thief.judge(live); err != nil {
		return err
	}
	opened := map[uint64]bool{}
	for _, v := range th.bare {
		id := binary.BigEndian.Uint64(v[3:])
		for k := range th.known {
			c, err := chacha20.NewUnauthenticatedCipher([]byte(k), v[headerSize:headerSize+24])
			if err != nil {
				th.t.Fatal(err)
			}
			c.SetCounter(1)
			plain := make([]byte, bareText)
			if c.XORKeyStream(plain, v[headerSize+24:]); !th.texts[string(plain)] {
				continue
			}
			if opened[id] = true; live[id] == "" {
				return fmt.Errorf("%w: key %d, found by its header", errOpens, id)
			}
		}
	}
	if len(opened) < len(live)/2 {
		return fmt.Errorf("of %d records that are there %d open by their header, so it proves nothing", len(live), len(opened))
	}
	return nil
}

// wordy is history with values long enough to be known again, and enough of them
// to fill memtables.
func wordy(r *rand.Rand, n int) []group.Op {
	ops := history(r, n)
	for i := range ops {
		if ops[i].Value != nil && len(ops[i].Value) < bareText {
			ops[i].Value = append(ops[i].Value, bytes.Repeat([]byte{'.'}, bareText)...)
			for j := range 24 {
				ops[i].Value[len(ops[i].Value)-1-j] = 'a' + byte(r.IntN(26))
			}
		}
	}
	bulk := bytes.Repeat(fmt.Appendf(nil, "%07d", r.IntN(10_000_000)), 20<<10)
	return append(ops, group.Op{Key: fmt.Sprintf("g/bulk/%d", n%5), Value: bulk, Class: group.Secret})
}

// TestTheoremRaw is TestTheorem by the bytes of files alone: badger's logs,
// tables and temporary files, deleted ones and those of fsck included.
func TestTheoremRaw(t *testing.T) {
	for _, c := range []struct {
		name     string
		interval time.Duration
	}{{"before acknowledging", EraseNow}, {"gathered", maxErase}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			th := newRawThief(t, dir)
			th.mu.Lock()
			th.dir = filepath.Join(dir, "home")
			th.mu.Unlock()
			known := newThief(t, th.dir) // what badger gives
			known.light = true
			t.Setenv("TMPDIR", dir)
			var s *Store
			o := Options{Dir: th.dir, EraseInterval: c.interval}
			o.hook = func(point string) error {
				if strings.HasSuffix(point, "done") {
					if th.look(); s != nil {
						known.copy(s.db)
					}
				}
				return nil
			}
			r := rand.New(rand.NewPCG(5, 6))
			s = openErase(t, o)
			for n := range 40 {
				b := wordy(r, n)
				th.note(b)
				if err := s.Commit(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				if n%7 == 6 {
					shutInside(t, s)
					s = nil
					th.look()
					if _, err := Check(t.Context(), Options{Dir: th.dir}); err != nil {
						t.Fatal(err)
					}
					s = openErase(t, o)
				}
				if n%20 == 19 {
					if err := s.Erase(t.Context()); err != nil {
						t.Fatal(err)
					}
					if err := th.judge(liveRecords(t, s)); err != nil {
						t.Fatalf("after batch %d: %v", n, err)
					}
				}
			}
			th.close()
			missed := 0
			for v := range known.values {
				if _, ok := th.values[v]; !ok {
					missed++
				}
			}
			th.look()
			t.Logf("%d of %d values that badger gave are in files, %d values in all, %d of %d tables read, %d records by their header, %d copies of files",
				len(known.values)-missed, len(known.values), len(th.values), len(th.tables), len(th.made), len(th.bare), len(th.seen))
			if missed > 0 || len(th.tables) < 5 || len(th.keys) > 0 {
				t.Errorf("%d values were overlooked, %d tables and %d root keys found", missed, len(th.tables), len(th.keys))
			}
		})
	}
}

// TestBrokenErasureRaw breaks the erasure; the files must tell.
func TestBrokenErasureRaw(t *testing.T) {
	for _, c := range brokenErasures {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			th := newRawThief(t, dir)
			s := openErase(t, Options{Dir: dir, EraseInterval: EraseNow, draw: c.draw})
			if c.hook != nil {
				s.hook = c.hook(dir)
			}
			r := rand.New(rand.NewPCG(1, 2))
			var err error
			for n := 0; n < 20 && !errors.Is(err, errOpens); n++ {
				b := wordy(r, n)
				th.note(b)
				if err := s.Commit(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				err = th.judge(liveRecords(t, s))
			}
			if !errors.Is(err, errOpens) {
				t.Fatalf("the thief did not notice: %v", err)
			}
			t.Log(err)
		})
	}
}
