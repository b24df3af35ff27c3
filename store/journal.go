package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"github.com/dgraph-io/badger/v4"
)

// The journal takes a batch that is larger than a transaction:
//
//  1. pieces, one transaction each         crash: dropped by the next Open
//  2. the seal, with number and hash       from here on the batch counts
//  3. the entries, in as many transactions crash: Open begins 3 again
//  4. the seal is deleted                  the last entry of 3
//  5. the pieces are deleted               crash: dropped by the next Open
//
// A piece is a row of entries:
//
//	struct { uint8 kind; uint8 meta; uint32 key length; uint32 value length;
//	         opaque key[]; opaque value[]; } // kind: 0 delete, 1 set
//
// Values in it are sealed already, so it holds nothing that the records do not.
const (
	pieceSize   = 512 << 10 // closed when it has reached this
	pieceHeader = 10
)

// writePieces is step 1. The returned seal makes them count.
func (s *Store) writePieces(entries []entry) (pieces int, seal entry, err error) {
	sum := sha256.New()
	var piece []byte
	flush := func() error {
		sum.Write(piece)
		err := s.write([]entry{{key: journalKey(pieces), value: piece}})
		pieces++
		piece = nil
		return err
	}
	for _, e := range entries {
		piece = appendEntry(piece, e)
		if len(piece) >= pieceSize {
			if err := flush(); err != nil {
				return 0, entry{}, err
			}
		}
	}
	if len(piece) > 0 {
		if err := flush(); err != nil {
			return 0, entry{}, err
		}
	}
	return pieces, entry{key: keySeal, value: marshalSeal(pieces, sum)}, nil
}

// writeSealed is steps 2 to 5.
func (s *Store) writeSealed(entries []entry, pieces int, seal entry) error {
	if err := s.write([]entry{seal}); err != nil {
		return err
	}
	if err := s.apply(entries); err != nil {
		return err
	}
	keys := make([]entry, pieces)
	for i := range keys {
		keys[i].key = journalKey(i)
	}
	return s.apply(keys)
}

func marshalSeal(pieces int, sum hash.Hash) []byte {
	return sum.Sum(binary.BigEndian.AppendUint32(nil, uint32(pieces)))
}

func appendEntry(b []byte, e entry) []byte {
	kind := byte(1)
	if e.value == nil {
		kind = 0
	}
	b = append(b, kind, e.meta)
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.key)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.value)))
	return append(append(b, e.key...), e.value...)
}

// parseEntries reads a piece; the entries point into it.
func parseEntries(b []byte) ([]entry, error) {
	var entries []entry
	for len(b) > 0 {
		if len(b) < pieceHeader || b[0] > 1 {
			return nil, fmt.Errorf("%w: a piece of the journal is malformed", ErrCorrupt)
		}
		nk, nv := uint64(binary.BigEndian.Uint32(b[2:])), uint64(binary.BigEndian.Uint32(b[6:]))
		if nk == 0 || nk+nv > uint64(len(b)-pieceHeader) || b[0] == 0 && nv > 0 {
			return nil, fmt.Errorf("%w: an entry of the journal is malformed", ErrCorrupt)
		}
		e := entry{meta: b[1], key: b[pieceHeader : pieceHeader+nk]}
		if b[0] == 1 {
			e.value = b[pieceHeader+nk : pieceHeader+nk+nv]
		}
		entries = append(entries, e)
		b = b[pieceHeader+nk+nv:]
	}
	return entries, nil
}

// apply writes entries in order, in as few transactions as badger allows.
func (s *Store) apply(entries []entry) error {
	for len(entries) > 0 {
		var cost int64
		n := 0
		for n < len(entries) && n < s.txnCount() && (n == 0 || cost+entries[n].cost() <= s.txnBytes()) {
			cost += entries[n].cost()
			n++
		}
		if err := s.write(entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// finishJournal carries out a sealed journal and drops what lies about of one.
func (s *Store) finishJournal() error {
	pieces, seal, err := s.readJournal()
	if err != nil || len(pieces) == 0 {
		return err
	}
	if seal != nil {
		sum := sha256.New()
		var entries []entry
		for _, p := range pieces {
			sum.Write(p.value)
			es, err := parseEntries(p.value)
			if err != nil {
				return err
			}
			entries = append(entries, es...)
		}
		if !bytes.Equal(seal, marshalSeal(len(pieces), sum)) {
			return fmt.Errorf("%w: the journal does not fit its seal", ErrCorrupt)
		}
		if err := s.apply(entries); err != nil {
			return err
		}
	}
	for i := range pieces {
		pieces[i].value = nil
	}
	return s.apply(pieces)
}

// readJournal returns the pieces that are there and the seal, nil if there is
// none. Pieces are dropped in order, so those left of a finished journal may
// begin anywhere; a sealed one begins at 0.
func (s *Store) readJournal() (pieces []entry, seal []byte, err error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	seal, err = get(txn, keySeal)
	if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil, fmt.Errorf("%w: reading the journal: %w", ErrCorrupt, err)
	}
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{spaceJournal}})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		p, err := it.Item().ValueCopy(nil)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: reading the journal: %w", ErrCorrupt, err)
		}
		pieces = append(pieces, entry{key: it.Item().KeyCopy(nil), value: p})
	}
	if seal != nil && len(pieces) == 0 {
		return nil, nil, fmt.Errorf("%w: the journal is sealed, but gone", ErrCorrupt)
	}
	return pieces, seal, nil
}

func get(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}
