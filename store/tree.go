package store

import (
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// generation is a root key and what hangs on it: records with ids from young on
// by derivation, older ones through the tree. Generations share nodes.
type generation struct {
	gen    uint64
	root   secret
	young  uint64
	levels int   // of the tree
	top    *node // nil: no keys in the tree

	readers int     // guarded by Store.mu
	dead    []*node // nodes that the next generation does without
}

// recordKey finds the key of the record with that id. The caller wipes it.
func (s *Store) recordKey(txn *badger.Txn, g *generation, id uint64) (secret, error) {
	if id >= g.young {
		return g.root.young(id), nil
	}
	missing := fmt.Errorf("%w: the erasure tree has no key %d", ErrCorrupt, id)
	if g.top == nil || levelsFor(id) > g.levels {
		return secret{}, missing
	}
	s.tree.Lock()
	defer s.tree.Unlock()
	n := g.top
	for {
		slot := slotAt(id, n.level)
		if n.has>>slot&1 == 0 {
			return secret{}, missing
		}
		if n.level == 0 {
			return n.keys[slot], nil
		}
		var err error
		if n, err = s.child(txn, n, slot); err != nil {
			return secret{}, err
		}
	}
}

// child returns a node's child, from badger if it is not in memory. txn is of
// any generation to which n belongs: while n is the same, so is all below it.
// The caller holds s.tree.
func (s *Store) child(txn *badger.Txn, n *node, slot int) (*node, error) {
	if k := n.kids[slot]; k != nil {
		return k, nil
	}
	k, err := readNode(txn, &n.keys[slot], n.level-1, n.index<<fanBits|uint64(slot))
	if err != nil {
		return nil, err
	}
	n.kids[slot] = k
	s.resident++
	return k, nil
}

// change puts a key into the tree or drops it.
type change struct {
	id  uint64
	add bool
	key secret // if add
}

// rewriter makes the next generation's tree: the changed paths with fresh keys,
// all else shared.
type rewriter struct {
	s       *Store
	txn     *badger.Txn
	entries []entry
	made    []*node
	dead    []*node // the versions that they replace
	fetched []*node // read from badger on the way
}

// discard undoes what a tree that is not to be has done in memory.
func (w *rewriter) discard() {
	for _, n := range slices.Concat(w.made, w.fetched) {
		n.wipe()
	}
	w.s.tree.Lock()
	w.s.resident -= len(w.fetched)
	w.s.tree.Unlock()
}

// rewrite returns the new version of a node, nil if nothing is left below it.
// Its caller draws the key and seals it. changes are sorted and below the node.
func (w *rewriter) rewrite(level int, index uint64, old *node, changes []change) (*node, error) {
	n := &node{level: level, index: index}
	stored := false
	if old != nil {
		w.s.tree.Lock()
		*n = *old
		w.s.tree.Unlock()
		w.dead = append(w.dead, old)
		stored, n.planted = !old.planted, false
	}
	if k := n.kids[0]; k != nil && k.planted && (len(changes) == 0 || slotAt(changes[0].id, level) != 0) {
		if err := w.below(n, 0, nil); err != nil {
			return nil, err
		}
	}
	for len(changes) > 0 {
		slot, m := slotAt(changes[0].id, level), 1
		for m < len(changes) && slotAt(changes[m].id, level) == slot {
			m++
		}
		if err := w.below(n, slot, changes[:m]); err != nil {
			return nil, err
		}
		changes = changes[m:]
	}
	if n.has > 0 {
		return n, nil
	}
	if stored {
		w.entries = append(w.entries, entry{key: nodeKey(level, index)})
	}
	return nil, nil
}

// below carries out the changes of one slot of n.
func (w *rewriter) below(n *node, slot int, changes []change) error {
	had := n.has>>slot&1 == 1
	if n.level == 0 {
		c := changes[len(changes)-1]
		switch {
		case c.add:
			n.has |= 1 << slot
			n.keys[slot] = c.key
		case !had:
			return fmt.Errorf("%w: key %d is not in the erasure tree and cannot be erased", ErrCorrupt, c.id)
		default:
			n.drop(slot)
		}
		return nil
	}
	var kid *node
	if had {
		w.s.tree.Lock()
		fresh := n.kids[slot] == nil
		k, err := w.s.child(w.txn, n, slot)
		w.s.tree.Unlock()
		if err != nil {
			return err
		}
		if kid = k; fresh {
			w.fetched = append(w.fetched, k)
		}
	}
	kid, err := w.rewrite(n.level-1, n.index<<fanBits|uint64(slot), kid, changes)
	if err != nil {
		return err
	}
	if kid == nil {
		n.drop(slot)
		return nil
	}
	n.has |= 1 << slot
	n.kids[slot] = kid
	w.s.draw(drawNode, &n.keys[slot])
	w.store(kid, &n.keys[slot])
	return nil
}

func (w *rewriter) store(n *node, k *secret) {
	w.entries = append(w.entries, entry{key: nodeKey(n.level, n.index), value: n.seal(k)})
	w.made = append(w.made, n)
}

// succeed makes the tree of next from that of g. changes are sorted by id.
func (w *rewriter) succeed(g, next *generation, changes []change) error {
	next.levels = g.levels
	for i := range changes {
		if changes[i].add {
			next.levels = max(next.levels, levelsFor(changes[i].id))
		}
	}
	top := g.top
	if top != nil {
		// The former top keeps its key: it is used up with the generation, and
		// what was sealed with it is what is there still.
		k := g.root.topKey()
		for l := g.levels; l < next.levels; l++ {
			up := &node{level: l, has: 1, planted: true}
			up.keys[0], up.kids[0] = k, top
			top, k = up, secret{}
		}
		k.wipe()
	}
	if top == nil && len(changes) == 0 {
		return nil
	}
	top, err := w.rewrite(next.levels-1, 0, top, changes)
	if err != nil {
		return err
	}
	if next.top = top; top == nil {
		next.levels = 0
		return nil
	}
	k := next.root.topKey()
	w.store(top, &k)
	k.wipe()
	return nil
}

// maxResident bounds the nodes in memory, at 0.7 KiB each.
const maxResident = 16 << 10

// shed forgets what is in memory below the top when it has become too much. The
// nodes go to dead, to be wiped once nobody reads in an older generation.
func (s *Store) shed(top *node) (dead []*node) {
	s.tree.Lock()
	defer s.tree.Unlock()
	if top == nil || s.resident <= maxResident {
		return nil
	}
	var collect func(n *node)
	collect = func(n *node) {
		for i, k := range n.kids {
			if k != nil {
				n.kids[i] = nil
				collect(k)
				dead = append(dead, k)
			}
		}
	}
	collect(top)
	s.resident = 1
	return dead
}
