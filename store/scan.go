package store

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// eachHeader calls f for every record.
func eachHeader(txn *badger.Txn, f func(key []byte, h header) error) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{spaceRecord}})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		err := item.Value(func(b []byte) error {
			h, _, err := parseHeader(b)
			if err != nil {
				return err
			}
			return f(item.Key()[1:], h)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachLeaf calls f for every key in the tree, by id.
func (s *Store) eachLeaf(txn *badger.Txn, g *generation, f func(id uint64) error) error {
	if g.top == nil {
		return nil
	}
	s.tree.Lock()
	defer s.tree.Unlock()
	var walk func(n *node) error
	walk = func(n *node) error {
		for slot := range fanOut {
			if n.has>>slot&1 == 0 {
				continue
			}
			if n.level == 0 {
				if err := f(n.index<<fanBits | uint64(slot)); err != nil {
					return err
				}
				continue
			}
			k, err := s.child(txn, n, slot)
			if err != nil {
				return err
			}
			if err := walk(k); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(g.top)
}

// sweepKeys finds what a process left to be erased that did not close the
// store: whatever key no record has. No list of erasures is kept on the disk,
// so none can be lost.
func (s *Store) sweepKeys() error {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	live := map[uint64]bool{}
	if err := eachHeader(txn, func(key []byte, h header) error {
		if h.wrap != wrapByID {
			return nil
		}
		if live[h.keyID] || h.keyID == 0 || h.keyID >= s.state.nextKey {
			return fmt.Errorf("%w: the key id %d of record %q is not its own", ErrCorrupt, h.keyID, key)
		}
		live[h.keyID] = true
		return nil
	}); err != nil {
		return err
	}
	kept := 0
	if err := s.eachLeaf(txn, s.current, func(id uint64) error {
		if live[id] {
			kept++
		} else {
			s.pending.drops = append(s.pending.drops, id)
		}
		return nil
	}); err != nil {
		return err
	}
	for id := range live {
		if id >= s.state.young {
			s.pending.young[id] = struct{}{}
			kept++
		}
	}
	if kept != len(live) {
		return fmt.Errorf("%w: the erasure tree lacks the keys of %d records", ErrCorrupt, len(live)-kept)
	}
	return nil
}
