package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/dmlsd/dmls/group"
)

// Load yields the records whose keys start with prefix, sorted by key, as they
// were when the loop began. Values belong to the caller. An error ends it.
func (s *Store) Load(ctx context.Context, prefix string) iter.Seq2[group.Op, error] {
	return func(yield func(group.Op, error) bool) {
		txn, err := s.read(ctx)
		if err != nil {
			yield(group.Op{}, err)
			return
		}
		defer s.done()
		defer txn.Discard()
		it := txn.NewIterator(badger.IteratorOptions{Prefix: recordKey(prefix)})
		defer it.Close()
		step := it.Rewind
		for {
			// Only badger's part is guarded: a panic of the loop's body is not ours.
			var op group.Op
			var valid bool
			err := guard("loading", func() (err error) {
				step()
				if valid = it.Valid(); valid {
					op, err = s.unpack(txn, it.Item())
				}
				return err
			})
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(group.Op{}, fmt.Errorf("store: loading: %w", err))
				return
			}
			if !valid || !yield(op, nil) {
				return
			}
			step = it.Next
		}
	}
}

// Get returns one value, which belongs to the caller, or an error that is
// fs.ErrNotExist.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	txn, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer s.done()
	defer txn.Discard()
	var op group.Op
	err = guard("reading", func() error {
		item, err := txn.Get(recordKey(key))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return fmt.Errorf("store: no record %q: %w", key, fs.ErrNotExist)
		}
		if err != nil {
			return fmt.Errorf("%w: looking up a record: %w", ErrCorrupt, err)
		}
		op, err = s.unpack(txn, item)
		return err
	})
	return op.Value, err
}

// read begins a transaction that sees whole batches only. The caller ends it
// and calls done.
func (s *Store) read(ctx context.Context) (*badger.Txn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.use(); err != nil {
		return nil, err
	}
	s.view.RLock()
	defer s.view.RUnlock()
	return s.db.NewTransaction(false), nil
}

// unpack makes the record that was committed.
func (s *Store) unpack(txn *badger.Txn, item *badger.Item) (group.Op, error) {
	key := string(item.Key()[1:])
	stored, err := item.ValueCopy(nil)
	if err != nil {
		return group.Op{}, fmt.Errorf("%w: reading a record: %w", ErrCorrupt, err)
	}
	h, body, err := parseHeader(stored)
	if err != nil {
		return group.Op{}, err
	}
	body = bytes.Clone(body) // its own array, so that it can be extended and wiped
	for i := 1; i <= h.parts(); i++ {
		part, err := get(txn, partKey(key, i))
		if err != nil {
			return group.Op{}, fmt.Errorf("%w: reading part %d of a record: %w", ErrCorrupt, i, err)
		}
		body = append(body, part...)
	}
	if uint64(len(body)) != h.length {
		return group.Op{}, fmt.Errorf("%w: a record has %d bytes of %d", ErrCorrupt, len(body), h.length)
	}
	op := group.Op{Key: key, Value: body, Class: h.class}
	if h.wrap == wrapDerived {
		op.Value, err = s.keys.open(key, h.class, h.keyID, body)
	}
	return op, err
}
