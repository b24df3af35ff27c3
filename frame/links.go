package frame

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
)

// ComponentID names [Links] in a SafeAAD: a private-use ComponentID
// (draft-ietf-mls-extensions, 0xF000 to 0xFFFF).
const ComponentID uint16 = 0xF0D4

// Limits of the lists in [Links].
const (
	MaxAfter      = 16
	MaxSupersedes = 64
)

// Links are the DagLinks of a frame. An undefined CID is an empty link.
//
//	struct { opaque cid<V>; } Link;
//	struct {
//	  uint32 leaf; Link joined;
//	  uint64 seq; Link prev; Link parent; uint32 generation;
//	  Link confirms; Link after<V>; Link supersedes<V>;
//	} DagLinks;
type Links struct {
	Leaf       uint32    // of the sender, and
	Joined     cid.Cid   // the commit that added it there: the sender's incarnation
	Seq        uint64    // place in the chain of the sender's incarnation: 0, 1, 2, …
	Prev       cid.Cid   // its frame before; for Seq 0 the commit that added the incarnation
	Parent     cid.Cid   // commit that created the epoch this frame is sent in
	Generation uint32    // of the ratchet used
	Confirms   cid.Cid   // deepest commit that the sender finds confirmable
	After      []cid.Cid // tips of the frame graph that the sender has seen, at most 16
	Supersedes []cid.Cid // of a merge commit: tips of the branches consolidated, at most 64
}

// Marshal encodes the links as the authenticated_data of an MLS message:
//
//	struct { ComponentID component_id; opaque aad_item_data<V>; } SafeAADItem;
//	struct { SafeAADItem aad_items<V>; } SafeAAD;
//
// with one item. After and Supersedes are sets: they are written in ascending
// order of the CIDs' bytes, each once. Links that do not pass [Links.Validate]
// give bytes that [ParseLinks] refuses.
func (l Links) Marshal() []byte {
	body := binary.BigEndian.AppendUint32(nil, l.Leaf)
	body = appendVector(body, l.Joined.Bytes())
	body = binary.BigEndian.AppendUint64(body, l.Seq)
	body = appendVector(body, l.Prev.Bytes())
	body = appendVector(body, l.Parent.Bytes())
	body = binary.BigEndian.AppendUint32(body, l.Generation)
	body = appendVector(body, l.Confirms.Bytes())
	body = appendVector(body, marshalSet(l.After))
	body = appendVector(body, marshalSet(l.Supersedes))

	item := binary.BigEndian.AppendUint16(nil, ComponentID)
	item = appendVector(item, body)
	return appendVector(nil, item)
}

// marshalSet encodes the content of Link<V>.
func marshalSet(set []cid.Cid) []byte {
	set = slices.Clone(set)
	slices.SortFunc(set, compareCIDs)
	var b []byte
	for _, c := range slices.Compact(set) {
		b = appendVector(b, c.Bytes())
	}
	return b
}

func compareCIDs(a, b cid.Cid) int { return strings.Compare(a.KeyString(), b.KeyString()) }

// Validate says whether the links can be sent: every CID is of the one
// permitted form and the lists are within their limits.
func (l Links) Validate() error {
	for _, c := range []cid.Cid{l.Joined, l.Prev, l.Parent, l.Confirms} {
		if c.Defined() && !isBlockCID(c.Bytes()) {
			return fmt.Errorf("%w: %v is not CIDv1 raw sha2-256", ErrLinks, c)
		}
	}
	for _, set := range [][]cid.Cid{l.After, l.Supersedes} {
		for _, c := range set {
			if !isBlockCID(c.Bytes()) {
				return fmt.Errorf("%w: %v is not CIDv1 raw sha2-256", ErrLinks, c)
			}
		}
	}
	if len(l.After) > MaxAfter || len(l.Supersedes) > MaxSupersedes {
		return fmt.Errorf("%w: %d after (limit %d), %d supersedes (limit %d)",
			ErrLinks, len(l.After), MaxAfter, len(l.Supersedes), MaxSupersedes)
	}
	return nil
}

// ParseLinks decodes the authenticated_data of an MLS message. It accepts
// exactly what [Links.Marshal] makes of links that pass [Links.Validate], so
// that one meaning has one form. Errors wrap [ErrLinks].
func ParseLinks(aad []byte) (Links, error) {
	body, err := safeAADItem(aad)
	if err != nil {
		return Links{}, fmt.Errorf("%w: SafeAAD: %w", ErrLinks, err)
	}
	var l Links
	r := &reader{rest: body}
	l.Leaf = r.uint32()
	l.Joined = r.link()
	l.Seq = r.uint64()
	l.Prev = r.link()
	l.Parent = r.link()
	l.Generation = r.uint32()
	l.Confirms = r.link()
	l.After = r.linkSet("after", MaxAfter)
	l.Supersedes = r.linkSet("supersedes", MaxSupersedes)
	if err := r.done(); err != nil {
		return Links{}, fmt.Errorf("%w: %w", ErrLinks, err)
	}
	return l, nil
}

// safeAADItem gives the data of our item, which must be the only one.
func safeAADItem(aad []byte) ([]byte, error) {
	outer := &reader{rest: aad}
	r := &reader{rest: outer.vector()}
	if err := outer.done(); err != nil {
		return nil, err
	}
	id, body := r.uint16(), r.vector()
	if err := r.done(); err != nil {
		return nil, err
	}
	if id != ComponentID {
		return nil, fmt.Errorf("component %#04x, want %#04x", id, ComponentID)
	}
	return body, nil
}

// link reads a Link; an empty one is undefined.
func (r *reader) link() cid.Cid {
	b := r.vector()
	if len(b) == 0 {
		return cid.Undef
	}
	if !isBlockCID(b) {
		r.fail("link is not CIDv1 raw sha2-256")
		return cid.Undef
	}
	return blockCID([32]byte(b[len(cidPrefix):]))
}

// linkSet reads Link<V>: at most limit links, none empty, strictly ascending.
func (r *reader) linkSet(name string, limit int) []cid.Cid {
	in := &reader{rest: r.vector()}
	var set []cid.Cid
	for r.err == nil && len(in.rest) > 0 {
		c := in.link()
		switch {
		case in.err != nil:
			r.fail("%s: %w", name, in.err)
		case !c.Defined():
			r.fail("%s: empty link", name)
		case len(set) == limit:
			r.fail("%s: more than %d links", name, limit)
		case len(set) > 0 && compareCIDs(set[len(set)-1], c) >= 0:
			r.fail("%s: not in ascending order", name)
		}
		set = append(set, c)
	}
	if r.err != nil {
		return nil
	}
	return set
}
