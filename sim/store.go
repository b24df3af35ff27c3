package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	records map[string]group.Op
	// crash, if set, decides what the next Commit becomes: the device dies in
	// it, with the batch on the disk or lost.
	crash  func() (durable bool)
	closed bool
	// witness, if set, sees every record that is written. hoard, if set, names
	// the records whose first version the disk fails to erase; they are in kept.
	witness func(group.Op)
	hoard   func(key string) bool
	kept    map[string]group.Op
	// shelf, if set, is shared with other disks, which hold most public records
	// in common: what is the same on several of them is kept once.
	shelf map[string]group.Op
}

var _ node.Store = (*Store)(nil)

// NewStore returns an empty disk.
func NewStore() *Store { return &Store{records: map[string]group.Op{}, kept: map[string]group.Op{}} }

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
	if was, ok := s.records[op.Key]; ok && s.hoard != nil && s.hoard(op.Key) {
		if _, old := s.kept[op.Key]; !old {
			s.kept[op.Key] = was
		}
	}
	if op.Value == nil {
		delete(s.records, op.Key)
		return
	}
	op = s.shelved(op)
	if s.witness != nil {
		s.witness(op)
	}
	s.records[op.Key] = op
}

// shelved is the record to keep, of which nobody else has the bytes but disks
// that never change them.
func (s *Store) shelved(op group.Op) group.Op {
	was, ok := s.shelf[op.Key]
	switch {
	case op.Class != group.Public:
	case ok && bytes.Equal(was.Value, op.Value):
		return was
	case ok:
		op.Key = was.Key
	}
	op.Value = bytes.Clone(op.Value)
	if s.shelf != nil && op.Class == group.Public && !ok {
		s.shelf[op.Key] = op
	}
	return op
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
		var ops []group.Op
		for k, op := range s.records {
			if strings.HasPrefix(k, prefix) {
				ops = append(ops, op)
			}
		}
		unlock()
		slices.SortFunc(ops, func(a, b group.Op) int { return strings.Compare(a.Key, b.Key) })
		for _, op := range ops {
			if err := ctx.Err(); err != nil {
				yield(group.Op{}, err)
				return
			}
			op.Value = bytes.Clone(op.Value) // values on the disk never change
			if !yield(op, nil) {
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
	op, ok := s.records[key]
	if !ok {
		return nil, fmt.Errorf("sim: record %q: %w", key, fs.ErrNotExist)
	}
	return bytes.Clone(op.Value), nil
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
		fmt.Fprintf(h, "%d %s %d %d ", len(k), k, s.records[k].Class, len(s.records[k].Value))
		h.Write(s.records[k].Value)
	}
	return h.Sum(nil)
}
