package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dmlsd/dmls/mls"
)

// maxLifetime bounds the span of a KeyPackage's lifetime, which does not depend
// on anybody's clock (design, section 5.3 d).
const maxLifetime = 90 * 24 * time.Hour

// authorize is the one function that judges a commit, live, late or merging,
// received or about to be sent: rights are those in the parent's state, and
// each proposal is judged by its own sender (design, sections 5.3 b and c).
// Replacing a leaf by its owner's consent is an Add by right (decision 0046).
func authorize(e *epoch, proposals []mls.CommittedProposal) error {
	f, err := effectOf(e, proposals)
	if err != nil {
		return err
	}
	replaced, err := replacedLeaves(e, proposals)
	if err != nil {
		return err
	}
	removals := map[mls.LeafIndex]int{}
	for _, p := range proposals {
		switch v := p.Proposal.(type) {
		case *mls.Add:
			if err := authorizeAdd(v); err != nil {
				return err
			}
		case *mls.Remove:
			if p.Sender != v.Removed && !replaced[v.Removed] {
				removals[p.Sender]++
			}
		case *mls.GroupContextExtensions:
		default:
			return fmt.Errorf("%w: proposal %T in a DMLS group", ErrForbidden, p.Proposal)
		}
	}
	for _, by := range slices.Sorted(maps.Keys(removals)) {
		if err := checkRemovals(e, uint32(by), removals[by]); err != nil {
			return err
		}
	}
	return f.checkContext(e)
}

func authorizeAdd(v *mls.Add) error {
	l := v.KeyPackage.LeafNode
	if err := checkLifetime(l.Lifetime); err != nil {
		return err
	}
	return selfCertified(&l)
}

// checkRemovals: under the policy of admins they alone remove, as many as they
// like; in an open group a commit removes at most a third of the members.
func checkRemovals(e *epoch, by uint32, removals int) error {
	m := e.leaves.get(by)
	if m == "" || !e.info.mayRemove(keyOf(m)) {
		return fmt.Errorf("%w: only admins remove", ErrForbidden)
	}
	members := e.leaves.len()
	if most := maxRemovals(members); e.info.Policy == PolicyOpen && removals > most {
		return fmt.Errorf("%w: %d removals in one commit, at most %d of %d members", ErrForbidden, removals, most, members)
	}
	return nil
}

func maxRemovals(members int) int { return (members + 2) / 3 }

// authorizeLeave: the only proposal that stands alone is a self-Remove.
func authorizeLeave(o *mls.Opened) error {
	if r, ok := o.Proposal.(*mls.Remove); !ok || r.Removed != o.Sender {
		return fmt.Errorf("%w: a proposal by itself must remove its sender", ErrForbidden)
	}
	return nil
}

// checkLifetime bounds the span; an overflow of the difference would make a
// long span look short.
func checkLifetime(l *mls.Lifetime) error {
	if l == nil || l.NotAfter < l.NotBefore || l.NotAfter-l.NotBefore > uint64(maxLifetime/time.Second) {
		return fmt.Errorf("%w: a KeyPackage whose lifetime spans more than 90 days", ErrForbidden)
	}
	return nil
}

// selfCertified: the identity in the credential is the signature key itself.
func selfCertified(l *mls.LeafNode) error {
	if l.Credential.Type != mls.CredentialBasic || !bytes.Equal(l.Credential.Identity, l.SignatureKey) {
		return fmt.Errorf("%w: a credential that does not name its own signature key", ErrForbidden)
	}
	return nil
}

// sameIdentity: a commit refreshes its author's encryption keys, not who the
// author is. Incarnations are named by the signature key.
func sameIdentity(e *epoch, o *mls.Opened) error {
	l := o.Commit.Leaf // there also for a device that the commit removes
	if l == nil || !bytes.Equal(l.SignatureKey, []byte(keyOf(e.leaves.get(uint32(o.Sender))))) {
		return fmt.Errorf("%w: a commit that changes its author's signature key", ErrForbidden)
	}
	return selfCertified(l)
}
