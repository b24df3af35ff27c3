package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/crypto/chacha20poly1305"
)

// The erasure tree is a radix tree over key ids. A node holds the keys of its
// children, at level 0 those of records, and is itself stored under a key that
// its parent holds; the key of the top node comes from the root key.
//
//	struct {
//	  uint16 has;             // bit i: there is a child i
//	  opaque key[32][...];    // of the children that are there
//	} Node;                   // sealed: 16 bytes more
//
// A node is never changed in place: every version of it has a key of its own,
// so that who finds an old version finds it shut.
const (
	fanBits   = 4
	fanOut    = 1 << fanBits
	maxLevels = 64 / fanBits
)

type node struct {
	level int
	index uint64 // the ids below it begin with these bits
	has   uint16
	keys  [fanOut]secret
	kids  [fanOut]*node // those that are in memory; guarded by Store.tree
	// planted marks a node that growth has put above the former top; it is not
	// in badger yet.
	planted bool
}

func slotAt(id uint64, level int) int { return int(id>>(level*fanBits)) & (fanOut - 1) }

// levelsFor is the height of a tree that holds id.
func levelsFor(id uint64) int { return max(1, (bits.Len64(id)+fanBits-1)/fanBits) }

// nodeKey is where a node lies in badger.
func nodeKey(level int, index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{spaceNode, byte(level)}, index)
}

func (n *node) drop(slot int) {
	n.has &^= 1 << slot
	n.keys[slot].wipe()
	n.kids[slot] = nil
}

func (n *node) wipe() {
	clear(n.keys[:])
	clear(n.kids[:])
}

// seal may use one nonce for ever, because each key seals one node once.
func (n *node) seal(k *secret) []byte {
	plain := make([]byte, 2, 2+len(n.keys)*len(secret{}))
	defer func() { clear(plain[:cap(plain)]) }()
	binary.BigEndian.PutUint16(plain, n.has)
	for i := range n.keys {
		if n.has>>i&1 == 1 {
			plain = append(plain, n.keys[i][:]...)
		}
	}
	a, err := chacha20poly1305.New(k[:])
	if err != nil {
		panic("store: ChaCha20-Poly1305 with 32 bytes: " + err.Error()) // only a wrong length fails
	}
	return a.Seal(nil, make([]byte, a.NonceSize()), plain, nodeAAD(n.level, n.index))
}

func nodeAAD(level int, index uint64) []byte {
	return append([]byte("dmls store node "), nodeKey(level, index)...)
}

// openNode undoes seal.
func openNode(k *secret, level int, index uint64, sealed []byte) (*node, error) {
	a, err := chacha20poly1305.New(k[:])
	if err != nil {
		panic("store: ChaCha20-Poly1305 with 32 bytes: " + err.Error()) // only a wrong length fails
	}
	plain, err := a.Open(nil, make([]byte, a.NonceSize()), sealed, nodeAAD(level, index))
	if err != nil {
		return nil, fmt.Errorf("%w: node %d/%d of the erasure tree does not open", ErrCorrupt, level, index)
	}
	defer clear(plain)
	n := &node{level: level, index: index}
	if len(plain) >= 2 {
		n.has = binary.BigEndian.Uint16(plain)
	}
	if n.has == 0 || len(plain) != 2+bits.OnesCount16(n.has)*len(secret{}) {
		return nil, fmt.Errorf("%w: node %d/%d of the erasure tree is malformed", ErrCorrupt, level, index)
	}
	at := 2
	for i := range n.keys {
		if n.has>>i&1 == 1 {
			at += copy(n.keys[i][:], plain[at:])
		}
	}
	return n, nil
}

// readNode fetches a node from badger.
func readNode(txn *badger.Txn, k *secret, level int, index uint64) (*node, error) {
	item, err := txn.Get(nodeKey(level, index))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w: node %d/%d of the erasure tree is missing", ErrCorrupt, level, index)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: looking up a node of the erasure tree: %w", ErrCorrupt, err)
	}
	var n *node
	err = item.Value(func(b []byte) (err error) {
		n, err = openNode(k, level, index, b)
		return err
	})
	return n, err
}
