package group

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
)

// An incarnation is one stay of one identity in the group: signature key, CID
// of the commit that added it, leaf (design, section 5.1). Votes, removals and
// plans name incarnations, never bare leaf indexes, which are used again.
//
// Its dag.Member form is leaf (4 bytes, big-endian) || signature key length
// (2 bytes) || signature key || CID bytes.
func incarnation(leaf uint32, key []byte, added cid.Cid) dag.Member {
	b := binary.BigEndian.AppendUint32(nil, leaf)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	return dag.Member(append(b, added.Bytes()...))
}

func leafOf(m dag.Member) uint32 { return binary.BigEndian.Uint32([]byte(m[:4])) }

// keyOf returns the signature key as a map key.
func keyOf(m dag.Member) string {
	n := int(binary.BigEndian.Uint16([]byte(m[4:6])))
	return string(m[6 : 6+n])
}

// own reports whether an incarnation is this device, now or before it was added
// again.
func (g *Group) own(m dag.Member) bool { return m != "" && keyOf(m) == keyOf(g.self) }

func addedBy(m dag.Member) dag.ID { return dag.ID(m[6+len(keyOf(m)):]) }

// parseIncarnation checks what came from outside before the accessors above
// may slice it.
func parseIncarnation(b []byte) (dag.Member, error) {
	if len(b) < 6 {
		return "", fmt.Errorf("%w: incarnation of %d bytes", ErrMalformed, len(b))
	}
	n := int(binary.BigEndian.Uint16(b[4:6]))
	if n == 0 || len(b) < 6+n {
		return "", fmt.Errorf("%w: incarnation with a key of %d bytes", ErrMalformed, n)
	}
	if _, err := cid.Cast(b[6+n:]); err != nil {
		return "", fmt.Errorf("%w: incarnation: %w", ErrMalformed, err)
	}
	return dag.Member(b), nil
}

func hexKey(key string) string { return hex.EncodeToString([]byte(key)) }

func idOf(c cid.Cid) dag.ID { return dag.ID(c.KeyString()) }

// cidOf is the inverse of idOf; ids come from CIDs only, so it cannot fail on
// any id that the engine holds.
func cidOf(id dag.ID) cid.Cid {
	c, err := cid.Cast([]byte(id))
	if err != nil {
		return cid.Undef
	}
	return c
}

func text(id dag.ID) string {
	if id == "" {
		return ""
	}
	return cidOf(id).String()
}

// chain names a sender as links do.
type chain struct {
	leaf   uint32
	joined cid.Cid
}

func chainOf(l frame.Links) chain { return chain{l.Leaf, l.Joined} }

func memberChain(m dag.Member) chain { return chain{leafOf(m), cidOf(addedBy(m))} }

func byLeaf(a, b dag.Member) int { return cmp.Compare(leafOf(a), leafOf(b)) }

func compareChains(a, b chain) int {
	return cmp.Or(cmp.Compare(a.leaf, b.leaf), compareCID(a.joined, b.joined))
}

func (k chain) marshal() []byte {
	var w buffer
	w.u32(k.leaf)
	w.bytes(k.joined.Bytes())
	return w.b
}

func parseChain(b []byte) (chain, error) {
	r := cursor{b: b}
	k := chain{leaf: r.u32()}
	joined := r.bytes()
	err := r.done()
	if err == nil && len(joined) > 0 { // links that nobody verified may name nothing
		k.joined, err = cid.Cast(joined)
	}
	return k, err
}

// leafTable maps leaves to incarnations.
type leafTable struct{ leafMap[dag.Member] }

func (t leafTable) set(leaf uint32, m dag.Member) leafTable { return leafTable{t.leafMap.set(leaf, m)} }

// with returns the table of a commit's child.
func (t leafTable) with(c *commit) leafTable {
	for _, m := range c.Removed {
		t = t.set(leafOf(m), "")
	}
	for _, m := range c.Left {
		t = t.set(leafOf(m), "")
	}
	for _, m := range c.Added {
		t = t.set(leafOf(m), m)
	}
	return t
}

func (t leafTable) has(m dag.Member) bool { return t.get(leafOf(m)) == m }

func (t leafTable) marshal() []byte {
	var w buffer
	for m := range t.all() {
		w.bytes([]byte(m))
	}
	return w.b
}

func parseLeaves(b []byte) (leafTable, error) {
	var t leafTable
	for r := (&cursor{b: b}); len(r.b) > 0; {
		m, err := parseIncarnation(r.bytes())
		if err != nil {
			return leafTable{}, fmt.Errorf("%w: table of leaves: %w", ErrRecords, err)
		}
		t = t.set(leafOf(m), m)
	}
	return t, nil
}

// find returns the incarnation of a signature key, "" if it is no member.
func (t leafTable) find(key string) dag.Member {
	for m := range t.all() {
		if keyOf(m) == key {
			return m
		}
	}
	return ""
}
