package store

import (
	"context"
	"iter"

	"github.com/dmlsd/dmls/group"
)

// Store is an open directory of records. Its methods may be called from any
// goroutine.
type Store struct{}

// Open opens the store in o.Dir or creates it.
func Open(ctx context.Context, o Options) (*Store, error) { return nil, ErrClosed }

// Commit writes all of ops or nothing.
func (s *Store) Commit(ctx context.Context, ops []group.Op) error { return ErrClosed }

// Load yields the records whose keys start with prefix, sorted by key.
func (s *Store) Load(ctx context.Context, prefix string) iter.Seq2[group.Op, error] {
	return func(yield func(group.Op, error) bool) { yield(group.Op{}, ErrClosed) }
}

// Get returns one value, or an error that is fs.ErrNotExist.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) { return nil, ErrClosed }

// Close ends the use of the store.
func (s *Store) Close() error { return nil }
