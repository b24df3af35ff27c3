package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/dmlsd/dmls/group"
)

// thief has kept every value that was ever in badger, journal and old versions
// included, and every byte of every file. In the end it gets the root file. It
// does its own cryptography, so that an error of the store is not its own too.
type thief struct {
	t      *testing.T
	dir    string
	values map[string][]byte // badger key || 0xff || value -> value
	files  map[[32]byte][]byte
	roots  map[string]bool // every root key that was in the root file
	light  bool            // do not copy files
	extra  func() [][]byte // further root keys that it has found
	known  map[string]bool // all keys that it had at the end
}

func newThief(t *testing.T, dir string) *thief {
	return &thief{t: t, dir: dir, values: map[string][]byte{}, files: map[[32]byte][]byte{}, roots: map[string]bool{}}
}

// copy keeps all that is there now.
func (th *thief) copy(db *badger.DB) {
	th.t.Helper()
	if db != nil {
		txn := db.NewTransaction(false)
		it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
		for it.Rewind(); it.Valid(); it.Next() {
			if it.Item().IsDeletedOrExpired() {
				continue
			}
			v, err := it.Item().ValueCopy(nil)
			if err != nil {
				th.t.Fatal(err)
			}
			th.keep(it.Item().KeyCopy(nil), v)
		}
		it.Close()
		txn.Discard()
	}
	if th.light {
		return
	}
	err := filepath.WalkDir(th.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == reserveFile {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b = bytes.Clone(bytes.TrimRight(b, "\x00"))
		th.files[sha256.Sum256(b)] = b
		if d.Name() == rootFile {
			for _, r := range slotKeys(b) {
				th.roots[string(r)] = true
			}
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) { // badger deletes files meanwhile
		th.t.Fatal(err)
	}
}

func (th *thief) keep(key, value []byte) {
	th.values[string(key)+"\xff"+string(value)] = value
	if key[0] == spaceJournal {
		entries, err := parseEntries(value)
		if err != nil {
			th.t.Fatal(err)
		}
		for _, e := range entries {
			if e.value != nil {
				th.keep(e.key, e.value)
			}
		}
	}
}

// slotKeys are the unsealed keys in a root file, torn or not.
func slotKeys(b []byte) (keys [][]byte) {
	for i := range 2 {
		if at := i*4096 + 22; len(b) >= at+32 && !bytes.Equal(b[at:at+32], make([]byte, 32)) {
			keys = append(keys, b[at:at+32])
		}
	}
	return keys
}

func expand(t *testing.T, root []byte, label string, id uint64) string {
	k, err := hkdf.Expand(sha256.New, root, string(binary.BigEndian.AppendUint64([]byte(label), id)), 32)
	if err != nil {
		t.Fatal(err)
	}
	return string(k)
}

// steal returns the key ids of all records that open with what the root file
// leads to.
func (th *thief) steal() map[uint64]string {
	b, err := os.ReadFile(filepath.Join(th.dir, rootFile))
	if err != nil {
		th.t.Fatal(err)
	}
	known, ids := map[string]bool{}, uint64(0)
	for v, value := range th.values {
		if v[0] == spaceRecord && value[2] != 0 {
			ids = max(ids, binary.BigEndian.Uint64(value[3:]))
		}
	}
	roots := slotKeys(b)
	if th.extra != nil {
		roots = append(roots, th.extra()...)
	}
	for _, root := range roots {
		known[expand(th.t, root, "dmls store top ", 0)] = true
		for id := range ids + 1 {
			known[expand(th.t, root, "dmls store record ", id)] = true
		}
	}
	shut := map[string][]byte{}
	for v, value := range th.values {
		if v[0] == spaceNode {
			shut[v] = value
		}
	}
	for tried := map[string]bool{}; len(tried) < len(known); {
		for k := range known {
			if tried[k] {
				continue
			}
			tried[k] = true
			a, err := chacha20poly1305.New([]byte(k))
			if err != nil {
				th.t.Fatal(err)
			}
			for v, value := range shut {
				plain, err := a.Open(nil, make([]byte, 12), value, []byte("dmls store node "+v[:10]))
				if err != nil {
					continue
				}
				delete(shut, v)
				for plain = plain[2:]; len(plain) > 0; plain = plain[32:] {
					known[string(plain[:32])] = true
				}
			}
		}
	}
	th.known = known
	return th.open(known)
}

// open tries every record with every key. Of what was cut into parts it opens
// the beginning only, without the tag: the tests' long values are one byte,
// repeated.
func (th *thief) open(known map[string]bool) map[uint64]string {
	opened := map[uint64]string{}
	for v, value := range th.values {
		if v[0] != spaceRecord || value[2] == 0 {
			continue
		}
		h, body, err := parseHeader(value)
		if err != nil {
			th.t.Fatal(err)
		}
		key := v[1 : len(v)-len(value)-1]
		place := append([]byte("dmls store v1 "), byte(h.class))
		place = append(binary.BigEndian.AppendUint64(place, h.keyID), key...)
		for k := range known {
			if h.parts() > 0 {
				c, err := chacha20.NewUnauthenticatedCipher([]byte(k), body[:24])
				if err != nil {
					th.t.Fatal(err)
				}
				c.SetCounter(1)
				plain := make([]byte, 64)
				c.XORKeyStream(plain, body[24:24+64])
				if bytes.Equal(plain, bytes.Repeat(plain[:1], 64)) {
					opened[h.keyID] = key
				}
				continue
			}
			a, err := chacha20poly1305.NewX([]byte(k))
			if err != nil {
				th.t.Fatal(err)
			}
			if _, err := a.Open(nil, body[:24], body[24:], place); err == nil {
				opened[h.keyID] = key
			}
		}
	}
	return opened
}

var errOpens = errors.New("an erased record opens")

// judge compares what the thief can open with what is in the store, and looks
// whether a former root key is in any file that is there now.
func (th *thief) judge(live map[uint64]string) error {
	opened := th.steal()
	for id, key := range opened {
		if live[id] != key {
			return fmt.Errorf("%w: %q (key %d)", errOpens, key, id)
		}
	}
	if len(opened) != len(live) {
		return fmt.Errorf("the thief opens %d of %d records that are there, so it proves nothing", len(opened), len(live))
	}
	return nil
}

// liveRecords lists the encrypted records by key id.
func liveRecords(t *testing.T, s *Store) map[uint64]string {
	t.Helper()
	live := map[uint64]string{}
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	if err := eachHeader(txn, func(key []byte, h header) error {
		if h.class != group.Public {
			live[h.keyID] = string(key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return live
}

// hidden looks for keys where none may be: a former root key in a file of now,
// a key of the tree in any file ever.
func (th *thief) hidden(s *Store) error {
	present := map[string]bool{string(s.current.root[:]): true, string(s.next[:]): true}
	now := newThief(th.t, th.dir)
	now.copy(nil)
	for r := range th.roots {
		for _, b := range now.files {
			if !present[r] && bytes.Contains(b, []byte(r)) {
				return fmt.Errorf("a former root key is in a file")
			}
		}
	}
	var keys [][]byte
	s.tree.Lock()
	defer s.tree.Unlock()
	var walk func(n *node)
	walk = func(n *node) {
		for i := range n.keys {
			if n.has>>i&1 == 1 {
				keys = append(keys, n.keys[i][:])
			}
			if n.kids[i] != nil {
				walk(n.kids[i])
			}
		}
	}
	if s.current.top != nil {
		walk(s.current.top)
	}
	for _, k := range keys {
		for _, b := range th.files {
			if bytes.Contains(b, k) {
				return fmt.Errorf("a key of the tree is in a file in plaintext")
			}
		}
	}
	return nil
}

// onDisk counts the values that are in one of the copied files, byte for byte.
func (th *thief) onDisk() (found, all int) {
	for v, value := range th.values {
		if v[0] != spaceNode && v[0] != spaceRecord || len(value) < 64 {
			continue
		}
		all++
		for _, b := range th.files {
			if bytes.Contains(b, value) {
				found++
				break
			}
		}
	}
	return found, all
}
