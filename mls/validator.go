package mls

import (
	"fmt"
	"time"
)

// CredentialValidator is the application's judgement of credentials (RFC 9420,
// section 5.3.1): the Authentication Service as one member knows it. In a DMLS
// group its answer must not depend on the time or on what only some know.
type CredentialValidator interface {
	// Validate says whether the leaf's credential is authentic: that it belongs
	// to the leaf's signature key and presents an identity that may be here.
	Validate(suite CipherSuite, leaf *LeafNode, now time.Time) error
	// Replaces says whether a leaf may take the place of another one: both
	// present the same client. It is asked for Updates, for the paths of commits,
	// for resyncs, and for the members of a successor group.
	Replaces(old, successor *LeafNode) error
}

func judgeLeaf(v CredentialValidator, s *suite, leaf, old *LeafNode, now time.Time) error {
	if v == nil {
		return nil
	}
	if err := v.Validate(s.id, leaf, now); err != nil {
		return fmt.Errorf("%w: %w", ErrCredential, err)
	}
	if old == nil {
		return nil
	}
	if err := v.Replaces(old, leaf); err != nil {
		return fmt.Errorf("%w: %w", ErrCredential, err)
	}
	return nil
}

// judgeTree judges all members of a group that is joined.
func judgeTree(v CredentialValidator, t *RatchetTree, now time.Time) error {
	if v == nil {
		return nil
	}
	for i, leaf := range t.Leaves() {
		if err := judgeLeaf(v, t.s, leaf, nil, now); err != nil {
			return fmt.Errorf("leaf %d: %w", i, err)
		}
	}
	return nil
}

// judgeProposal judges the leaf that a proposal brings.
func (e *Epoch) judgeProposal(v CredentialValidator, p Proposal, from Sender, now time.Time) error {
	switch p := p.(type) {
	case *Add:
		return judgeLeaf(v, e.suite, &p.KeyPackage.LeafNode, nil, now)
	case *Update:
		return judgeLeaf(v, e.suite, &p.LeafNode, e.tree.Leaf(LeafIndex(from.Index)), now)
	}
	return nil
}

// judge judges the leaves that a commit brings; leaf is that of its path.
func (e *Epoch) judge(v CredentialValidator, t *transition, leaf *LeafNode, now time.Time) error {
	if v == nil {
		return nil
	}
	for _, p := range t.list {
		if err := e.judgeProposal(v, p.Proposal, p.Origin, now); err != nil {
			return err
		}
	}
	switch {
	case leaf == nil:
		return nil
	case !t.external:
		return judgeLeaf(v, e.suite, leaf, e.tree.Leaf(t.committer), now)
	case len(t.removed) > 0: // a resync (section 12.2)
		return judgeLeaf(v, e.suite, leaf, e.tree.Leaf(t.removed[0]), now)
	}
	return judgeLeaf(v, e.suite, leaf, nil, now)
}
