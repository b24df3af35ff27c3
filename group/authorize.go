package group

import (
	"bytes"
	"fmt"
	"time"

	"github.com/dmlsd/dmls/mls"
)

// maxLifetime bounds the span of a KeyPackage's lifetime, which does not depend
// on anybody's clock (design, section 5.3 d).
const maxLifetime = 90 * 24 * time.Hour

// authorize is the one function that judges a commit, live, late or merging:
// rights are those in the parent's state, and each proposal is judged by its
// own sender. In an `open` group members have equal rights; a commit removes
// at most a third of the members, self-Removes not counted.
func authorize(e *epoch, o *mls.Opened) error {
	removals, members := 0, len(e.leaves.all())
	for _, p := range o.Commit.Proposals {
		switch v := p.Proposal.(type) {
		case *mls.Add:
			l := v.KeyPackage.LeafNode.Lifetime
			if err := checkLifetime(l); err != nil {
				return err
			}
			if err := selfCertified(&v.KeyPackage.LeafNode); err != nil {
				return err
			}
		case *mls.Remove:
			if p.Sender != v.Removed {
				removals++
			}
		default:
			return fmt.Errorf("%w: proposal %T in a DMLS group", ErrForbidden, p.Proposal)
		}
	}
	return checkRemovals(removals, members)
}

// checkRemovals bounds the removals of one commit (design, section 5.3 c).
func checkRemovals(removals, members int) error {
	if most := maxRemovals(members); removals > most {
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
