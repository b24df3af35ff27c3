package group

import (
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
			if l == nil || l.NotAfter < l.NotBefore || time.Duration(l.NotAfter-l.NotBefore)*time.Second > maxLifetime {
				return fmt.Errorf("%w: a KeyPackage whose lifetime spans more than 90 days", ErrForbidden)
			}
		case *mls.Remove:
			if p.Sender != v.Removed {
				removals++
			}
		default:
			return fmt.Errorf("%w: proposal %T in a DMLS group", ErrForbidden, p.Proposal)
		}
	}
	if most := (members + 2) / 3; removals > most {
		return fmt.Errorf("%w: %d removals in one commit, at most %d of %d members", ErrForbidden, removals, most, members)
	}
	return nil
}

// authorizeLeave: the only proposal that stands alone is a self-Remove.
func authorizeLeave(o *mls.Opened) error {
	if r, ok := o.Proposal.(*mls.Remove); !ok || r.Removed != o.Sender {
		return fmt.Errorf("%w: a proposal by itself must remove its sender", ErrForbidden)
	}
	return nil
}
