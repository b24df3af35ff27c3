package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

// errClosed is what a Store answers after Close, or when its device has died.
var errClosed = errors.New("sim: the store is closed")

// Store is a simulated disk with the contract of node.Store: a batch is there
// as a whole or not at all, and what was acknowledged survives a crash.
type Store struct {
	mu      sync.Mutex
	records map[string]held
	// crash, if set, decides what the next Commit becomes: the device dies in
	// it, with the batch on the disk or lost.
	crash  func() (durable bool)
	closed bool
	// witness, if set, sees every record that is written. hoard, if set, names
	// the records whose first version the disk fails to erase; they are in kept.
	witness func(group.Op)
	hoard   func(key string) bool
	kept    map[string]group.Op
	// shelf, if set, is shared with other disks, which hold most keys and public
	// records in common: what is the same on several of them is kept once.
	shelf map[string]*group.Op
}

// held is a record on a disk: its own bytes, or if it has a base that record's,
// with a patch.
type held struct {
	base  *group.Op
	bytes string // its own, or the patch
	class group.Class
}

// value is not to be changed: other disks may have it, too.
func (h held) value() []byte {
	switch {
	case h.base == nil:
		return []byte(h.bytes)
	case h.bytes == "":
		return h.base.Value
	}
	return patched(h.base.Value, h.bytes)
}

var _ node.Store = (*Store)(nil)

// NewStore returns an empty disk.
func NewStore() *Store { return &Store{records: map[string]held{}, kept: map[string]group.Op{}} }

// use locks the store for one operation.
func (s *Store) use(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	return s.mu.Unlock, nil
}

// Commit applies ops in order, all of them or none.
func (s *Store) Commit(ctx context.Context, ops []group.Op) error {
	for i, op := range ops {
		if op.Key == "" || op.Value != nil && (op.Class < group.Public || op.Class > group.History) {
			return fmt.Errorf("sim: op %d has key %q and class %d", i, op.Key, op.Class)
		}
	}
	unlock, err := s.use(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if s.closed = s.crash != nil; !s.closed || s.crash() {
		for _, op := range ops {
			s.apply(op)
		}
	}
	if s.closed {
		return errClosed
	}
	return nil
}

func (s *Store) apply(op group.Op) {
	if s.hoard != nil && s.hoard(op.Key) {
		was, ok := s.records[op.Key]
		if _, old := s.kept[op.Key]; ok && !old {
			s.kept[op.Key] = group.Op{Key: op.Key, Value: was.value(), Class: was.class}
		}
	}
	if op.Value == nil {
		delete(s.records, op.Key)
		return
	}
	key, h := s.shelved(op)
	if s.witness != nil {
		s.witness(group.Op{Key: key, Value: h.value(), Class: op.Class})
	}
	s.records[key] = h
}

// shelved is the key and the record to keep, of which nobody else has the bytes
// but disks that never change them.
func (s *Store) shelved(op group.Op) (string, held) {
	was := s.shelf[op.Key]
	if was == nil && s.shelf != nil {
		was = &group.Op{Key: op.Key}
		if op.Class == group.Public {
			was.Value, was.Class = bytes.Clone(op.Value), op.Class
		}
		s.shelf[op.Key] = was
	}
	if was == nil {
		return op.Key, held{bytes: string(op.Value), class: op.Class}
	}
	if op.Class == group.Public && was.Class == group.Public {
		if patch, ok := patch(was.Value, op.Value); ok {
			return was.Key, held{was, patch, op.Class}
		}
	}
	return was.Key, held{bytes: string(op.Value), class: op.Class}
}

// patch says what stands in b instead of a, if they are of one length and differ
// little: each byte that differs, behind how many are the same before it.
func patch(a, b []byte) (string, bool) {
	if len(a) != len(b) {
		return "", false
	}
	var out []byte
	same := 0
	for i := range b {
		if a[i] == b[i] {
			same++
			continue
		}
		out = append(binary.AppendUvarint(out, uint64(same)), b[i])
		if same = 0; len(out) > len(b)/4 {
			return "", false
		}
	}
	return string(out), true
}

func patched(a []byte, patch string) []byte {
	b := bytes.Clone(a)
	for i, rest := 0, []byte(patch); len(rest) > 0; i++ {
		same, n := binary.Uvarint(rest)
		i += int(same)
		b[i], rest = rest[n], rest[n+1:]
	}
	return b
}

// Load yields records in the order of their keys, as they are when the loop
// begins.
func (s *Store) Load(ctx context.Context, prefix string) iter.Seq2[group.Op, error] {
	return func(yield func(group.Op, error) bool) {
		unlock, err := s.use(ctx)
		if err != nil {
			yield(group.Op{}, err)
			return
		}
		type record struct {
			key string
			held
		}
		var all []record
		for k, h := range s.records {
			if strings.HasPrefix(k, prefix) {
				all = append(all, record{k, h})
			}
		}
		unlock()
		slices.SortFunc(all, func(a, b record) int { return strings.Compare(a.key, b.key) })
		for _, r := range all { // what is on the disk never changes
			if err := ctx.Err(); err != nil {
				yield(group.Op{}, err)
				return
			}
			if !yield(group.Op{Key: r.key, Value: bytes.Clone(r.value()), Class: r.class}, nil) {
				return
			}
		}
	}
}

// Get returns one value.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	unlock, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	h, ok := s.records[key]
	if !ok {
		return nil, fmt.Errorf("sim: record %q: %w", key, fs.ErrNotExist)
	}
	return bytes.Clone(h.value()), nil
}

// Close ends the use of the disk by one life of its device.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// reopen is the disk after a restart.
func (s *Store) reopen() *Store {
	_ = s.Close()
	return &Store{records: s.records, witness: s.witness, hoard: s.hoard, kept: s.kept, shelf: s.shelf}
}

// digest hashes all records.
func (s *Store) digest() []byte {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(s.records)) {
		value := s.records[k].value()
		fmt.Fprintf(h, "%d %s %d %d ", len(k), k, s.records[k].class, len(value))
		h.Write(value)
	}
	return h.Sum(nil)
}

// copied is what is on the disk now.
func (s *Store) copied() map[string]group.Op {
	out := make(map[string]group.Op, len(s.records))
	for k, h := range s.records {
		out[k] = group.Op{Key: k, Value: h.value(), Class: h.class}
	}
	return out
}
