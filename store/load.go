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
// were when the loop began. Values belong to the caller. An error ends it. What
// is erased meanwhile is gone from the disk, but the keys with which this loop
// reads stay in memory until it ends.
func (s *Store) Load(ctx context.Context, prefix string) iter.Seq2[group.Op, error] {
	return func(yield func(group.Op, error) bool) {
		r, err := s.read(ctx)
		if err != nil {
			yield(group.Op{}, err)
			return
		}
		defer r.end()
		it := r.txn.NewIterator(badger.IteratorOptions{Prefix: recordKey(prefix)})
		defer it.Close()
		step := it.Rewind
		for {
			// Only badger's part is guarded: a panic of the loop's body is not ours.
			var op group.Op
			var valid bool
			err := guard("loading", func() (err error) {
				step()
				if valid = it.Valid(); valid {
					op, err = r.unpack(it.Item())
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
	r, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer r.end()
	var op group.Op
	err = guard("reading", func() error {
		item, err := r.txn.Get(recordKey(key))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return fmt.Errorf("store: no record %q: %w", key, fs.ErrNotExist)
		}
		if err != nil {
			return fmt.Errorf("%w: looking up a record: %w", ErrCorrupt, err)
		}
		op, err = r.unpack(item)
		return err
	})
	return op.Value, err
}

// reader sees the records of one moment and has the keys of that moment.
type reader struct {
	s   *Store
	txn *badger.Txn
	g   *generation
}

// read begins a reader that sees whole batches only. The caller ends it.
func (s *Store) read(ctx context.Context) (*reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := s.use(); err != nil {
		return nil, err
	}
	s.view.RLock()
	defer s.view.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.readers++
	return &reader{s: s, txn: s.db.NewTransaction(false), g: s.current}, nil
}

func (r *reader) end() {
	r.txn.Discard()
	r.s.mu.Lock()
	if r.g.readers--; r.g != r.s.current {
		r.s.sweep()
	}
	r.s.mu.Unlock()
	r.s.done()
}

// stored is a record as it lies in badger, put together.
func stored(txn *badger.Txn, item *badger.Item) (key string, h header, body []byte, err error) {
	key = string(item.Key()[1:])
	b, err := item.ValueCopy(nil)
	if err != nil {
		return key, h, nil, fmt.Errorf("%w: reading a record: %w", ErrCorrupt, err)
	}
	if h, body, err = parseHeader(b); err != nil {
		return key, h, nil, err
	}
	body = bytes.Clone(body) // its own array, so that it can be extended and wiped
	for i := 1; i <= h.parts(); i++ {
		part, err := get(txn, partKey(key, i))
		if err != nil {
			return key, h, nil, fmt.Errorf("%w: reading part %d of a record: %w", ErrCorrupt, i, err)
		}
		body = append(body, part...)
	}
	if uint64(len(body)) != h.length {
		return key, h, nil, fmt.Errorf("%w: a record has %d bytes of %d", ErrCorrupt, len(body), h.length)
	}
	return key, h, body, nil
}

// unpack makes the record that was committed.
func (r *reader) unpack(item *badger.Item) (group.Op, error) {
	key, h, body, err := stored(r.txn, item)
	if err != nil {
		return group.Op{}, err
	}
	op := group.Op{Key: key, Value: body, Class: h.class}
	if h.wrap != wrapByID {
		return op, nil
	}
	k, err := r.s.recordKey(r.txn, r.g, h.keyID)
	if err != nil {
		return group.Op{}, err
	}
	defer k.wipe()
	op.Value, err = openRecord(&k, key, h.class, h.keyID, body)
	return op, err
}
