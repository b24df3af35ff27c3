package mls

import (
	"bytes"
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
	// ValidateSender is Validate for an entry of external_senders. It is asked
	// for all of them when a group is joined and when a proposal changes the
	// extension or promises it for another group.
	ValidateSender(suite CipherSuite, sender *ExternalSender, now time.Time) error
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

// judgeSenders judges the external senders of a GroupContext's extensions.
func judgeSenders(v CredentialValidator, suite CipherSuite, extensions []Extension, now time.Time) error {
	if v == nil {
		return nil
	}
	senders, err := ParseExternalSenders(extensions)
	if err != nil {
		return err
	}
	for i := range senders {
		if err := v.ValidateSender(suite, &senders[i], now); err != nil {
			return fmt.Errorf("%w: external sender %d: %w", ErrCredential, i, err)
		}
	}
	return nil
}

// judgeGroup judges a group that is joined: all members and external senders.
func judgeGroup(v CredentialValidator, t *RatchetTree, c *GroupContext, now time.Time) error {
	if err := judgeSenders(v, c.CipherSuite, c.Extensions, now); err != nil {
		return err
	}
	return judgeTree(v, t, now)
}

// judgeTree judges all members of a tree.
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

// judgeProposal judges the credentials that a proposal brings.
func (e *Epoch) judgeProposal(v CredentialValidator, p Proposal, from Sender, now time.Time) error {
	switch p := p.(type) {
	case *Add:
		return judgeLeaf(v, e.suite, &p.KeyPackage.LeafNode, nil, now)
	case *Update:
		return judgeLeaf(v, e.suite, &p.LeafNode, e.tree.Leaf(LeafIndex(from.Index)), now)
	case *GroupContextExtensions:
		before, _ := findExtension(e.context.Extensions, ExtensionExternalSenders)
		if after, _ := findExtension(p.Extensions, ExtensionExternalSenders); bytes.Equal(before, after) {
			return nil
		}
		return judgeSenders(v, e.suite.id, p.Extensions, now)
	case *ReInit:
		return judgeSenders(v, p.CipherSuite, p.Extensions, now)
	}
	return nil
}

// judge judges the credentials that a commit brings; leaf is that of its path.
// Without a validator, only a resync is judged: it presents the credential that
// it removes, or anybody could take anybody's place.
func (e *Epoch) judge(v CredentialValidator, t *transition, leaf *LeafNode, now time.Time) error {
	if v == nil {
		if leaf != nil && t.external && len(t.removed) > 0 && !sameCredential(e.tree.Leaf(t.removed[0]), leaf) {
			return fmt.Errorf("%w: a resync with another credential than leaf %d", ErrCredential, t.removed[0])
		}
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
