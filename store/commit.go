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
// What ops delete or overwrite is erased within [Options].EraseInterval.
func (s *Store) Commit(ctx context.Context, ops []group.Op) error {
	return s.exclusively(ctx, func() error { return s.commit(ops) })
}

func (s *Store) commit(ops []group.Op) error {
	ops, deletesOnly, err := lastOfEach(ops)
	if err != nil || len(ops) == 0 {
		return err
	}
	var b *batch
	if err := guard("preparing a batch", func() (err error) {
		b, err = s.prepare(ops, deletesOnly)
		return err
	}); err != nil {
		return err
	}
	if s.interval < 0 && len(b.gone) > 0 {
		return s.erase(b)
	}
	if err := s.plain(b); err != nil {
		return err
	}
	s.arm()
	return nil
}

// plain writes a batch whose erasures, if any, have time.
func (s *Store) plain(b *batch) error {
	b.next = s.state
	s.pack(b, s.current)
	b.next.tidy = b.next.tidy && len(b.gone)+len(b.made) == 0
	b.entries = append(b.entries, entry{key: keyState, value: b.next.marshal()})
	cost, fits := s.fits(b.entries)
	if err := s.space.forBatch(cost, b.deletesOnly); err != nil {
		return err
	}
	if err := s.carryOut(b.entries, fits, nil); err != nil {
		return s.breakOn(err)
	}
	s.keep(b)
	return s.acknowledge(b)
}

// acknowledge is the end of every batch.
func (s *Store) acknowledge(b *batch) error {
	s.state = b.next
	s.remember(b)
	if err := errors.Join(s.files.settle(), s.mark.set(b.next.seq)); err != nil {
		return s.breakOn(err)
	}
	if err := s.space.restock(); err != nil {
		s.log.Warn("store: no reserve", "err", err)
	}
	return nil
}

// carryOut writes entries so that no reader sees a part of them. swap, if not
// nil, is called before the next reader begins.
func (s *Store) carryOut(entries []entry, fits bool, swap func()) error {
	if fits && swap == nil {
		return s.write(entries)
	}
	var pieces int
	var seal entry
	if !fits {
		var err error
		entries = append(entries, entry{key: keySeal})
		if pieces, seal, err = s.writePieces(entries); err != nil {
			return err
		}
	}
	s.view.Lock()
	defer s.view.Unlock()
	var err error
	if fits {
		err = s.write(entries)
	} else {
		err = s.writeSealed(entries, pieces, seal)
	}
	if err == nil && swap != nil {
		swap()
	}
	return err
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

// batch is a batch on its way to badger.
type batch struct {
	ops         []group.Op
	old         []place // of the records that are at ops[i].Key now
	put         []place // of those that the batch puts there
	deletesOnly bool
	gone        []uint64 // key ids of the records that it deletes or overwrites
	made        []uint64 // key ids that it takes
	entries     []entry
	next        state
}

// prepare looks at what the ops replace.
func (s *Store) prepare(ops []group.Op, deletesOnly bool) (*batch, error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	b := &batch{ops: ops, deletesOnly: deletesOnly, old: make([]place, len(ops)), put: make([]place, len(ops))}
	for i, op := range ops {
		at, ok := s.places[op.Key]
		if !ok {
			h, err := readHeader(txn, op.Key)
			if err != nil {
				return nil, err
			}
			at = h.place()
		}
		if b.old[i] = at; at.keyID > 0 {
			b.gone = append(b.gone, at.keyID)
		}
	}
	return b, nil
}

// place is what must go when a record does; zero if there is none, or a short
// Public one.
type place struct {
	keyID uint64
	parts int
}

func (h header) place() place { return place{keyID: h.keyID, parts: h.parts()} }

// maxPlaces bounds the places in memory, at about 100 bytes each. They spare
// ratchets, which each message overwrites, the way to the disk.
const maxPlaces = 32 << 10

// remember notes the places of a batch that was written.
func (s *Store) remember(b *batch) {
	if len(s.places)+len(b.ops) > maxPlaces {
		clear(s.places)
	}
	if len(b.ops) > maxPlaces {
		return
	}
	for i, op := range b.ops {
		s.places[op.Key] = b.put[i]
	}
}

// readHeader is zero if there is no record.
func readHeader(txn *badger.Txn, key string) (h header, err error) {
	item, err := txn.Get(recordKey(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return header{}, nil
	}
	if err != nil {
		return header{}, fmt.Errorf("%w: looking up a record: %w", ErrCorrupt, err)
	}
	err = item.Value(func(b []byte) (err error) {
		h, _, err = parseHeader(b)
		return err
	})
	return h, err
}

// pack turns the ops into badger's entries: sealed with keys of g, cut, and with
// the deletion of parts that a longer predecessor leaves behind.
func (s *Store) pack(b *batch, g *generation) {
	b.next.seq++
	young := g.root.youngKeys()
	for i, op := range b.ops {
		parts := 0
		if op.Value == nil {
			b.entries = append(b.entries, entry{key: recordKey(op.Key)})
		} else {
			h := header{class: op.Class, wrap: wrapNone, length: uint64(len(op.Value))}
			body := op.Value
			if op.Class != group.Public {
				h.wrap, h.keyID = wrapByID, b.next.nextKey
				b.next.nextKey++
				b.made = append(b.made, h.keyID)
				k := young(h.keyID)
				body = sealRecord(&k, op.Key, op.Class, h.keyID, op.Value)
				k.wipe()
				h.length = uint64(len(body))
			}
			parts, b.put[i] = h.parts(), h.place()
			b.entries = appendRecord(b.entries, op.Key, h, body)
		}
		for j := parts + 1; j <= b.old[i].parts; j++ {
			b.entries = append(b.entries, entry{key: partKey(op.Key, j)})
		}
	}
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

// fits tells whether entries go into one transaction of badger's, and what they
// may cost on the disk.
func (s *Store) fits(entries []entry) (bytes uint64, fits bool) {
	var cost int64
	for _, e := range entries {
		cost += e.cost()
	}
	if fits = cost <= s.txnBytes() && len(entries) <= s.txnCount(); !fits {
		cost *= 3 // the journal, the records, and the tables that follow them
	}
	return uint64(cost), fits
}

// A quarter is left to badger's own way of counting.
func (s *Store) txnBytes() int64 { return s.db.MaxBatchSize() * 3 / 4 }
func (s *Store) txnCount() int   { return int(s.db.MaxBatchCount() * 3 / 4) }

// write is one synced transaction.
func (s *Store) write(entries []entry) error {
	return guard("writing", func() error {
		// Badger may have broken the store since the batch began.
		if err := errors.Join(s.broke(), s.reach("write")); err != nil {
			return err
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
		return s.reach("write done")
	})
}
