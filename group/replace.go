package group

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/mls"
)

// A commit may replace one incarnation of a key by another: it removes the old
// leaf and adds a fresh KeyPackage of the same key (design, section 5.3). That
// is how a device comes back whose key is on the head while the device is not.
// The owner agrees to it in the KeyPackage itself, whose extension extReplaces
// names the commit that added the incarnation to be replaced: an incarnation
// that is gone never comes back, so the KeyPackage is good for this one step.
//
//	struct { opaque cid<V>; } DMLSReplaces

func marshalReplaces(id dag.ID) []byte {
	var w buffer
	w.bytes([]byte(id))
	return w.b
}

// replaces returns the commit that added the incarnation that a KeyPackage is
// to replace; "" if it is an ordinary one.
func replaces(kp *mls.KeyPackage) (dag.ID, error) {
	x, ok := findExtension(kp.Extensions, extReplaces)
	if !ok {
		return "", nil
	}
	r := cursor{b: x}
	id := r.bytes()
	if err := r.done(); err != nil {
		return "", fmt.Errorf("%w: replaces extension: %w", ErrMalformed, err)
	}
	if _, err := cid.Cast(id); err != nil {
		return "", fmt.Errorf("%w: replaces extension: %w", ErrMalformed, err)
	}
	return dag.ID(id), nil
}

// replaceable returns the incarnation in e that a KeyPackage is to replace; ""
// if it is an ordinary one. A KeyPackage that names another incarnation than
// the one which is there is good for nothing.
func replaceable(e *epoch, kp *mls.KeyPackage) (dag.Member, error) {
	id, err := replaces(kp)
	if err != nil || id == "" {
		return "", err
	}
	m := e.find(string(kp.LeafNode.SignatureKey))
	if m == "" || addedBy(m) != id {
		return "", fmt.Errorf("%w: a KeyPackage that replaces an incarnation which is not there", ErrForbidden)
	}
	return m, nil
}

// replacedLeaves returns the leaves that a list of proposals removes in favour
// of a fresh KeyPackage of the same key, by its owner's own leave: no right of
// the author is needed for these. A KeyPackage that replaces is good for
// nothing else.
func replacedLeaves(e *epoch, list []mls.CommittedProposal) (map[mls.LeafIndex]bool, error) {
	removed := map[mls.LeafIndex]bool{}
	for _, p := range list {
		if r, ok := p.Proposal.(*mls.Remove); ok {
			removed[r.Removed] = true
		}
	}
	out := map[mls.LeafIndex]bool{}
	for _, p := range list {
		add, ok := p.Proposal.(*mls.Add)
		if !ok {
			continue
		}
		m, err := replaceable(e, &add.KeyPackage)
		if err != nil {
			return nil, err
		}
		if m == "" {
			continue
		}
		leaf := mls.LeafIndex(leafOf(m))
		if !removed[leaf] {
			return nil, fmt.Errorf("%w: an Add that replaces leaf %d without its Remove", ErrForbidden, leaf)
		}
		out[leaf] = true
	}
	return out, nil
}

// replaced returns the incarnation that a commit put in the place of another
// of the same key; "" if it did not.
func (c *commit) replaced(key string) dag.Member {
	var before, after dag.Member
	for _, m := range c.Removed {
		if keyOf(m) == key {
			before = m
		}
	}
	for _, m := range c.Added {
		if keyOf(m) == key {
			after = m
		}
	}
	if before == "" {
		return ""
	}
	return after
}
