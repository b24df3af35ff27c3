package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/dmlsd/dmls/group"
)

// entry is one change of badger's: a nil value deletes.
type entry struct {
	key, value []byte
	meta       byte
}

// cost is more than what badger counts against the bounds of a transaction.
func (e entry) cost() int64 { return int64(len(e.key)+len(e.value)) + 64 }

// Commit writes all of ops or nothing; of two ops on one key the last one
// counts. When it returns nil, ops survive a crash. ErrDiskFull, ErrKey and
// ErrClass change nothing; after ErrBroken the batch is there wholly or not at
// all once the store was opened again. ctx is heard until the writing begins.
func (s *Store) Commit(ctx context.Context, ops []group.Op) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.done()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("store: waiting to write: %w", ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: waiting to write: %w", err)
	}
	ops, deletesOnly, err := lastOfEach(ops)
	if err != nil || len(ops) == 0 {
		return err
	}
	var entries []entry
	next := s.state
	next.seq++
	if err := guard("preparing a batch", func() (err error) {
		entries, err = s.prepare(ops, &next)
		return err
	}); err != nil {
		return err
	}
	entries = append(entries, entry{key: keyState, value: next.marshal()})
	cost, fits := s.fits(entries)
	if !fits {
		cost *= 3 // the journal, the records, and the tables that follow them
	}
	if err := s.space.forBatch(uint64(cost), deletesOnly); err != nil {
		return err
	}
	if err := s.carryOut(entries, fits); err != nil {
		return s.breakOn(err)
	}
	s.state = next
	if err := errors.Join(s.files.settle(), s.mark.set(next.seq)); err != nil {
		return s.breakOn(err)
	}
	if err := s.space.restock(); err != nil {
		s.log.Warn("store: no reserve", "err", err)
	}
	return nil
}

func (s *Store) carryOut(entries []entry, fits bool) error {
	if fits {
		return s.write(entries)
	}
	return s.writeJournal(entries)
}

// lastOfEach checks ops and drops those that a later one overrides.
func lastOfEach(ops []group.Op) (kept []group.Op, deletesOnly bool, err error) {
	last := make(map[string]int, len(ops))
	for i, op := range ops {
		if len(op.Key) == 0 || len(op.Key) > maxKey {
			return nil, false, fmt.Errorf("%w, op %d has %d", ErrKey, i, len(op.Key))
		}
		if op.Value != nil && (op.Class < group.Public || op.Class > group.History) {
			return nil, false, fmt.Errorf("%w, op %d has class %d", ErrClass, i, op.Class)
		}
		last[op.Key] = i
	}
	deletesOnly = true
	for i, op := range ops {
		if last[op.Key] == i {
			kept = append(kept, op)
			deletesOnly = deletesOnly && op.Value == nil
		}
	}
	return kept, deletesOnly, nil
}

// prepare turns ops into badger's entries: sealed, cut, and with the deletion
// of parts that a longer predecessor leaves behind.
func (s *Store) prepare(ops []group.Op, next *state) ([]entry, error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	entries := make([]entry, 0, len(ops)+1)
	for _, op := range ops {
		old, err := oldParts(txn, op.Key)
		if err != nil {
			return nil, err
		}
		parts := 0
		if op.Value == nil {
			entries = append(entries, entry{key: recordKey(op.Key)})
		} else {
			h, body, err := s.pack(op, next)
			if err != nil {
				return nil, err
			}
			parts = h.parts()
			entries = appendRecord(entries, op.Key, h, body)
		}
		for i := parts + 1; i <= old; i++ {
			entries = append(entries, entry{key: partKey(op.Key, i)})
		}
	}
	return entries, nil
}

// pack makes the header and the body of a record, and takes a key id for it.
func (s *Store) pack(op group.Op, next *state) (header, []byte, error) {
	if op.Class == group.Public {
		return header{class: op.Class, wrap: wrapNone, length: uint64(len(op.Value))}, op.Value, nil
	}
	id := next.nextKey
	next.nextKey++
	body, err := s.keys.seal(op.Key, op.Class, id, op.Value)
	return header{class: op.Class, wrap: wrapDerived, keyID: id, length: uint64(len(body))}, body, err
}

func appendRecord(entries []entry, key string, h header, body []byte) []entry {
	first := body[:min(len(body), partSize)]
	e := entry{key: recordKey(key), value: append(h.append(make([]byte, 0, headerSize+len(first))), first...)}
	if h.parts() > 0 {
		e.meta = metaCut
	}
	entries = append(entries, e)
	for i := 1; i <= h.parts(); i++ {
		part := body[i*partSize : min((i+1)*partSize, len(body))]
		entries = append(entries, entry{key: partKey(key, i), value: part})
	}
	return entries
}

// oldParts is how many parts the record at key has now.
func oldParts(txn *badger.Txn, key string) (int, error) {
	item, err := txn.Get(recordKey(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%w: looking up a record: %w", ErrCorrupt, err)
	}
	if item.UserMeta()&metaCut == 0 {
		return 0, nil
	}
	var h header
	err = item.Value(func(b []byte) (err error) {
		h, _, err = parseHeader(b)
		return err
	})
	return h.parts(), err
}

// fits tells whether entries go into one transaction of badger's.
func (s *Store) fits(entries []entry) (cost int64, fits bool) {
	for _, e := range entries {
		cost += e.cost()
	}
	return cost, cost <= s.txnBytes() && len(entries) <= s.txnCount()
}

// A quarter is left to badger's own way of counting.
func (s *Store) txnBytes() int64 { return s.db.MaxBatchSize() * 3 / 4 }
func (s *Store) txnCount() int   { return int(s.db.MaxBatchCount() * 3 / 4) }

// write is one synced transaction.
func (s *Store) write(entries []entry) error {
	return guard("writing", func() error {
		if s.fault != nil {
			if err := s.fault(); err != nil {
				return err
			}
		}
		txn := s.db.NewTransaction(true)
		defer txn.Discard()
		for _, e := range entries {
			var err error
			if e.value == nil {
				err = txn.Delete(e.key)
			} else {
				err = txn.SetEntry(badger.NewEntry(e.key, e.value).WithMeta(e.meta))
			}
			if err != nil {
				return fmt.Errorf("store: staging a batch: %w", err)
			}
		}
		if err := txn.Commit(); err != nil {
			return fmt.Errorf("store: writing a batch: %w", err)
		}
		return nil
	})
}
