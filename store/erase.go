package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Erasing is the passage to a generation with another root key. What shall stay
// readable is taken along: the keys of records written in this generation go
// from their derivation into the tree, and the paths of erased keys are wrapped
// anew. Everything else was readable by the former root key alone.
//
//  1. one synced batch: nodes, canary, gen = g+1  crash: Open goes on in g+1
//  2. root key g+2 over that of g, synced         crash: Open overwrites it
//
// The root file thus holds the next generation's key before anything is sealed
// with it: the batch of step 1 depends on nothing that is not durable, and what
// destroys the former key is the same write that prepares the next passage.
//
// Open always draws the next root key anew and passes on to it. So no process
// ever writes under a root key under which another one may have written.

// pending are the erasures that gather. Its holder is that of Store.turn, but
// for n and since, which Store.mu guards.
type pending struct {
	young map[uint64]struct{} // ids of this generation whose records are there
	drops []uint64            // ids in the tree whose records are gone
	n     int                 // records deleted or overwritten, not yet erased
	since time.Time           // of the first of them
	armed bool                // the timer runs
}

type drawn int

const (
	drawRoot drawn = iota
	drawNode
)

// draw makes a fresh key.
func (s *Store) draw(what drawn, k *secret) {
	if s.drawHook != nil {
		s.drawHook(what, k)
		return
	}
	rand.Read(k[:]) // never fails (crypto/rand)
}

// redraw draws the next generation's root key and writes it over what is in the
// other slot: the former generation's, or a next one that shall not be used.
func (s *Store) redraw() error {
	s.draw(drawRoot, &s.next)
	sl := s.sealer.slot(s.current.gen+1, &s.next)
	defer clear(sl.key)
	return s.root.overwrite(sl)
}

// keep notes a batch that was written in the present generation.
func (s *Store) keep(b *batch) {
	for _, id := range b.gone {
		if _, ok := s.pending.young[id]; ok {
			delete(s.pending.young, id)
		} else {
			s.pending.drops = append(s.pending.drops, id)
		}
	}
	for _, id := range b.made {
		s.pending.young[id] = struct{}{}
	}
	if len(b.gone) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending.n == 0 {
		s.pending.since = time.Now()
	}
	s.pending.n += len(b.gone)
}

// arm sees to it that pending erasures are carried out in time. A quarter of
// the interval is for carrying them out.
func (s *Store) arm() {
	if s.pending.n == 0 || s.pending.armed || s.interval < 0 {
		return
	}
	s.pending.armed = true
	s.timer = time.AfterFunc(s.interval-s.interval/4, func() {
		if s.use() != nil {
			return // closed or broken: Close or the next Open erases
		}
		defer s.done()
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
		s.pending.armed = false
		if s.pending.n == 0 {
			return
		}
		if err := s.erase(nil); err != nil {
			s.log.Warn("store: erasures are pending", "err", err)
			if !errors.Is(err, ErrBroken) {
				s.arm()
			}
		}
	})
}

// Erase carries out all pending erasures now.
func (s *Store) Erase(ctx context.Context) error { return s.exclusively(ctx, s.eraseRest) }

// RotateRoot replaces the root key, with or without erasures to carry out.
func (s *Store) RotateRoot(ctx context.Context) error {
	return s.exclusively(ctx, func() error { return s.erase(nil) })
}

// Reseal replaces the root key and seals the new one as with says.
func (s *Store) Reseal(ctx context.Context, with Sealing) error {
	if with.KeyFile != "" && with.Passphrase != nil {
		return fmt.Errorf("%w: Sealing is a passphrase or a key file, not both", ErrOptions)
	}
	return s.exclusively(ctx, func() error {
		e, err := newSealer(s.dir, with, s.work)
		if err != nil {
			return err
		}
		old := s.sealer
		s.sealer = e
		if err := s.redraw(); err != nil {
			return s.breakOn(err)
		}
		if err := s.erase(nil); err != nil {
			if s.broke() != nil {
				return err
			}
			s.sealer = old
			if again := s.redraw(); again != nil {
				return s.breakOn(again)
			}
			e.key.wipe()
			return errors.Join(err, dropSealers(s.dir, old))
		}
		old.key.wipe()
		return dropSealers(s.dir, e)
	})
}

// exclusively waits for its turn to write.
func (s *Store) exclusively(ctx context.Context, f func() error) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.done()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: waiting to write: %w", err)
	}
	// The store may have broken while this call waited.
	if err := s.broke(); err != nil {
		return err
	}
	return f()
}

// eraseRest passes on unless there is nothing to erase.
func (s *Store) eraseRest() error {
	if s.pending.n == 0 {
		return nil
	}
	return s.erase(nil)
}

// erase carries out all erasures, together with the batch b if that is not nil.
// ErrDiskFull changes nothing.
func (s *Store) erase(b *batch) error {
	next := &generation{gen: s.current.gen + 1, young: s.state.nextKey, root: s.next}
	if b == nil {
		b = &batch{deletesOnly: true}
	}
	b.next = s.state
	w, err := s.rewrap(b, next)
	if err != nil {
		return s.breakOn(err)
	}
	s.pack(b, next)
	b.next.gen, b.next.young, b.next.levels, b.next.tidy = next.gen, next.young, next.levels, len(b.ops) == 0
	b.entries = append(append(b.entries, w.entries...),
		entry{key: keyFormat, value: []byte{formatVersion >> 8, formatVersion & 0xff}},
		entry{key: keyCanary, value: sealCanary(&next.root)},
		entry{key: keyState, value: b.next.marshal()})
	cost, fits := s.fits(b.entries)
	if err := s.space.forBatch(cost, b.deletesOnly); err != nil {
		// The key has sealed nodes, if only in memory; it seals no others.
		w.discard()
		next.root.wipe()
		if again := s.redraw(); again != nil {
			return s.breakOn(again)
		}
		return err
	}
	if err := s.passOn(b, fits, next, w); err != nil {
		return s.breakOn(err)
	}
	return s.acknowledge(b)
}

// passOn is the order of writes; see the top of this file.
func (s *Store) passOn(b *batch, fits bool, next *generation, w *rewriter) error {
	s.tree.Lock()
	s.resident += len(w.made) - len(w.dead)
	s.tree.Unlock()
	former := s.current
	former.dead = append(w.dead, s.shed(next.top)...)
	if err := s.carryOut(b.entries, fits, func() { s.succeed(next) }); err != nil {
		return err
	}
	s.root.at = 1 - s.root.at
	// The former key must not go before the name of a log is durable that may have
	// been made for this batch.
	if err := s.files.settle(); err != nil {
		return err
	}
	if err := s.redraw(); err != nil {
		return err
	}
	s.pending.drops = nil
	s.pending.young = make(map[uint64]struct{}, len(b.made)) // clearing one that was large stays slow
	for _, id := range b.made {
		s.pending.young[id] = struct{}{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erased += uint64(s.pending.n + len(b.gone))
	s.pending.n = 0
	return nil
}

// rewrap makes the tree of the next generation.
func (s *Store) rewrap(b *batch, next *generation) (*rewriter, error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	var changes []change
	defer func() {
		for i := range changes {
			changes[i].key.wipe()
		}
	}()
	gone := make(map[uint64]bool, len(b.gone))
	for _, id := range b.gone {
		gone[id] = true
		if id < s.current.young {
			changes = append(changes, change{id: id})
		}
	}
	for _, id := range s.pending.drops {
		changes = append(changes, change{id: id})
	}
	young := s.current.root.youngKeys()
	for id := range s.pending.young {
		if !gone[id] {
			changes = append(changes, change{id: id, add: true, key: young(id)})
		}
	}
	slices.SortFunc(changes, func(a, b change) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	w := &rewriter{s: s, txn: txn}
	return w, guard("wrapping keys anew", func() error { return w.succeed(s.current, next, changes) })
}

// succeed makes next the generation of all readers that begin from now on.
func (s *Store) succeed(next *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = append(s.retired, s.current)
	s.current = next
	s.sweep()
}

// sweep wipes the generations that nobody reads any more, oldest first, because
// an older one may still need nodes that died with a younger one. The caller
// holds s.mu.
func (s *Store) sweep() {
	for len(s.retired) > 0 && s.retired[0].readers == 0 {
		g := s.retired[0]
		for _, n := range g.dead {
			n.wipe()
		}
		g.root.wipe()
		g.dead, g.top = nil, nil
		s.retired = s.retired[1:]
	}
}
