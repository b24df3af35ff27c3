package sim

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
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
	mu   sync.Mutex
	disk *disk
	// crash, if set, decides what the next Commit becomes: the device dies in
	// it, with the batch on the disk or lost.
	crash  func() (durable bool)
	closed bool
	// witness, if set, sees every record that was written. hoard, if set, names
	// the records whose first version the disk fails to erase; they are in kept.
	// stuck, if set, names those that it fails to delete at all.
	witness func(group.Op)
	hoard   func(key string) bool
	stuck   func(key string) bool
	kept    map[string]group.Op
	needles *needles // what was erased; nil: nobody looks
}

var _ node.Store = (*Store)(nil)

// NewStore returns an empty disk.
func NewStore() *Store { return newStore(newShelf()) }

func newStore(s *shelf) *Store { return &Store{disk: newDisk(s), kept: map[string]group.Op{}} }

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
	if s.needles != nil {
		s.needles.see(s.disk, op)
	}
	if s.hoard != nil && s.hoard(op.Key) {
		was, class, ok := s.disk.get(op.Key)
		if _, old := s.kept[op.Key]; ok && !old {
			s.kept[op.Key] = group.Op{Key: op.Key, Value: []byte(was), Class: class}
		}
	}
	if op.Value == nil {
		if s.stuck == nil || !s.stuck(op.Key) {
			s.disk.drop(op.Key)
		}
		return
	}
	s.disk.put(op)
	if s.witness != nil {
		s.witness(op)
	}
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
		all := s.disk.all(func(key string) bool { return strings.HasPrefix(key, prefix) })
		unlock()
		for op := range all {
			if err := ctx.Err(); err != nil {
				yield(group.Op{}, err)
				return
			}
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
	value, _, ok := s.disk.get(key)
	if !ok {
		return nil, fmt.Errorf("sim: record %q: %w", key, fs.ErrNotExist)
	}
	return []byte(value), nil
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
	return &Store{disk: s.disk, witness: s.witness, hoard: s.hoard, stuck: s.stuck, kept: s.kept, needles: s.needles}
}

func everything(string) bool { return true }

// digest hashes all records.
func (s *Store) digest() []byte {
	h := sha256.New()
	for op := range s.disk.all(everything) {
		fmt.Fprintf(h, "%d %s %d %d ", len(op.Key), op.Key, op.Class, len(op.Value))
		h.Write(op.Value)
	}
	return h.Sum(nil)
}

// copied is what is on the disk now.
func (s *Store) copied() map[string]group.Op {
	out := map[string]group.Op{}
	for op := range s.disk.all(everything) {
		out[op.Key] = op
	}
	return out
}

// read is a record that must be there.
func (s *Store) read(key string) []byte {
	value, _, _ := s.disk.get(key)
	return []byte(value)
}
