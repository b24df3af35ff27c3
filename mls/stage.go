package mls

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// transition is what a list of proposals makes of an epoch's public state.
type transition struct {
	list      []CommittedProposal
	committer LeafIndex
	external  bool // the committer joins by this commit

	removed, updated []LeafIndex      // set by checkList
	psks             []PreSharedKeyID //
	pskSeen          map[string]bool  // their encodings
	kemOutput        []byte           // of an external commit
	init             []byte           // of our own external commit
	reinit           *ReInit          // closes the group
	founding         bool             // first commit of a successor group, whose PSK may say so

	tree       *RatchetTree // set by applyList
	extensions []Extension  //
	added      []LeafIndex  //
	joiners    []*KeyPackage
	ownPriv    []byte // of our own Update, if it is committed
}

func (t *transition) removes(leaf LeafIndex) bool { return slices.Contains(t.removed, leaf) }

// resolve looks up references. Inline proposals are the committer's.
func (e *Epoch) resolve(refs []ProposalOrRef, committer Sender) ([]CommittedProposal, error) {
	list := make([]CommittedProposal, 0, len(refs))
	for _, p := range refs {
		c := CommittedProposal{Proposal: p.Proposal, Origin: committer}
		if p.Proposal == nil {
			q, ok := e.proposals[string(p.Ref)]
			if !ok {
				return nil, fmt.Errorf("%w: %x", ErrUnknownProposal, p.Ref)
			}
			c = CommittedProposal{Proposal: q.Proposal, Origin: q.Sender, Ref: q.Ref}
		}
		if c.Origin.Type == SenderTypeMember {
			c.Sender = LeafIndex(c.Origin.Index)
		}
		list = append(list, c)
	}
	return list, nil
}

// checkSentProposal judges a proposal that is sent alone, to be committed by
// reference.
func (e *Epoch) checkSentProposal(p Proposal, from Sender) error {
	if e.schedule == DMLS {
		return checkDMLSProposals([]CommittedProposal{{Proposal: p, Origin: from, Sender: LeafIndex(from.Index), Ref: []byte{}}}, e.self)
	}
	if from.Type == SenderTypeNewMemberProposal && p.Type() != ProposalTypeAdd {
		return fmt.Errorf("%w: proposal type %d of a new member", ErrProposals, p.Type())
	}
	if p.Type() == ProposalTypeExternalInit {
		return fmt.Errorf("%w: ExternalInit by reference", ErrProposals)
	}
	if x, ok := p.(*PreSharedKey); ok && x.ID.succeeds() {
		return fmt.Errorf("%w: resumption PSK for reinit or branch", ErrProposals)
	}
	return e.checkProposal(p, from)
}

// checkProposal is the validity of one proposal (RFC 9420, section 12.1).
func (e *Epoch) checkProposal(p Proposal, from Sender) error {
	switch p := p.(type) {
	case *Add:
		if p.KeyPackage.CipherSuite != e.suite.id {
			return fmt.Errorf("%w: KeyPackage of cipher suite %d", ErrProposals, p.KeyPackage.CipherSuite)
		}
		if err := p.KeyPackage.verify(); err != nil {
			return fmt.Errorf("%w: %w", ErrProposals, err)
		}
	case *Update:
		return e.checkUpdate(p, from)
	case *Remove:
		if e.tree.Leaf(p.Removed) == nil {
			return fmt.Errorf("%w: Remove of blank leaf %d", ErrProposals, p.Removed)
		}
	case *PreSharedKey:
		if len(p.ID.Nonce) != e.suite.nh {
			return fmt.Errorf("%w: PSK nonce of %d bytes", ErrProposals, len(p.ID.Nonce))
		}
	case *ReInit:
		if p.Version < e.context.Version {
			return fmt.Errorf("%w: ReInit to version %d", ErrProposals, p.Version)
		}
		if t, twice := duplicateExtension(p.Extensions); twice {
			return fmt.Errorf("%w: extension type %d twice", ErrProposals, t)
		}
	case *GroupContextExtensions:
		if t, twice := duplicateExtension(p.Extensions); twice {
			return fmt.Errorf("%w: extension type %d twice", ErrProposals, t)
		}
	}
	return nil
}

// checkUpdate is RFC 9420, sections 12.1.2 and 7.3.
func (e *Epoch) checkUpdate(p *Update, from Sender) error {
	if from.Type != SenderTypeMember {
		return fmt.Errorf("%w: Update of a non-member", ErrProposals)
	}
	leaf := LeafIndex(from.Index)
	if err := e.suite.verifyLeaf(&p.LeafNode, LeafNodeSourceUpdate, e.context.GroupID, leaf); err != nil {
		return fmt.Errorf("%w: %w", ErrProposals, err)
	}
	old := e.tree.Leaf(leaf)
	if old == nil || bytes.Equal(old.EncryptionKey, p.LeafNode.EncryptionKey) {
		return fmt.Errorf("%w: Update of leaf %d keeps its encryption key", ErrProposals, leaf)
	}
	return nil
}

// checkList validates a proposal list (RFC 9420, section 12.2, and the rules of
// DMLS) as far as no new tree is needed, and sorts out what it touches.
func (e *Epoch) checkList(t *transition, withPath bool) error {
	if e.schedule == DMLS {
		if t.external {
			return fmt.Errorf("%w: external commit", ErrForbidden)
		}
		if !withPath {
			return fmt.Errorf("%w: commit without a path", ErrForbidden)
		}
		if err := checkDMLSProposals(t.list, t.committer); err != nil {
			return err
		}
	}
	needPath := len(t.list) == 0
	var counts [8]int
	touched := map[LeafIndex]bool{}
	for _, p := range t.list {
		needPath = needPath || pathRequired(p.Proposal)
		counts[p.Proposal.Type()]++
		if err := e.checkProposal(p.Proposal, p.Origin); err != nil {
			return err
		}
		if x, ok := p.Proposal.(*PreSharedKey); ok && x.ID.succeeds() && !t.founding {
			return fmt.Errorf("%w: resumption PSK for reinit or branch", ErrProposals)
		}
		if err := t.note(p, touched); err != nil {
			return err
		}
	}
	if needPath && !withPath {
		return fmt.Errorf("%w: a path is required", ErrProposals)
	}
	if counts[ProposalTypeGroupContextExtensions] > 1 {
		return fmt.Errorf("%w: several GroupContextExtensions", ErrProposals)
	}
	if counts[ProposalTypeReInit] > 0 && len(t.list) > 1 {
		return fmt.Errorf("%w: ReInit with other proposals", ErrProposals)
	}
	if t.external {
		return t.checkExternal(counts, withPath)
	}
	if counts[ProposalTypeExternalInit] > 0 {
		return fmt.Errorf("%w: ExternalInit of a member", ErrProposals)
	}
	return nil
}

// note records what one proposal touches and refuses conflicts.
func (t *transition) note(p CommittedProposal, touched map[LeafIndex]bool) error {
	touch := func(leaf LeafIndex) error {
		if !t.external && leaf == t.committer {
			return fmt.Errorf("%w: Update or Remove of the committer", ErrProposals)
		}
		if touched[leaf] {
			return fmt.Errorf("%w: leaf %d is updated or removed twice", ErrProposals, leaf)
		}
		touched[leaf] = true
		return nil
	}
	switch x := p.Proposal.(type) {
	case *Update:
		t.updated = append(t.updated, p.Sender)
		return touch(p.Sender)
	case *Remove:
		t.removed = append(t.removed, x.Removed)
		return touch(x.Removed)
	case *PreSharedKey:
		w := &writer{}
		x.ID.write(w)
		if t.pskSeen[string(w.buf)] {
			return fmt.Errorf("%w: PSK twice", ErrProposals)
		}
		if len(t.psks) == maxPSKs {
			return fmt.Errorf("%w: more than %d PSKs", ErrProposals, maxPSKs)
		}
		if t.pskSeen == nil {
			t.pskSeen = map[string]bool{}
		}
		t.pskSeen[string(w.buf)] = true
		t.psks = append(t.psks, x.ID)
	case *ExternalInit:
		t.kemOutput = x.KEMOutput
	case *ReInit:
		t.reinit = x
	}
	return nil
}

// checkExternal is the second half of section 12.2.
func (t *transition) checkExternal(counts [8]int, withPath bool) error {
	known := counts[ProposalTypeExternalInit] + counts[ProposalTypeRemove] + counts[ProposalTypePreSharedKey]
	if !withPath || counts[ProposalTypeExternalInit] != 1 || counts[ProposalTypeRemove] > 1 || known != len(t.list) {
		return fmt.Errorf("%w: external commit", ErrProposals)
	}
	for _, p := range t.list {
		if p.Ref != nil {
			return fmt.Errorf("%w: external commit with a reference", ErrProposals)
		}
	}
	return nil
}

// checkLifetimes is the adder's part: the present time is judged when a
// KeyPackage is added and when its owner joins, never by other receivers.
func (e *Epoch) checkLifetimes(t *transition, now time.Time) error {
	for _, p := range t.list {
		if err := checkLifetime(p.Proposal, now); err != nil {
			return err
		}
	}
	return nil
}

// checkLifetime judges a proposal that this member is about to send (RFC 9420,
// section 7.3).
func checkLifetime(p Proposal, now time.Time) error {
	if add, ok := p.(*Add); ok && !add.KeyPackage.LeafNode.Lifetime.Contains(now) {
		return fmt.Errorf("%w: not valid at this time", ErrKeyPackage)
	}
	return nil
}

// applyList applies the proposals in the order of RFC 9420, section 12.3. path
// is that of a received commit: the author of an external one takes the
// leftmost blank leaf with it.
func (e *Epoch) applyList(t *transition, path *UpdatePath) error {
	t.extensions = e.context.Extensions
	for _, p := range t.list {
		if x, ok := p.Proposal.(*GroupContextExtensions); ok {
			t.extensions = x.Extensions
		}
	}
	edit := e.tree.edit()
	for _, p := range t.list {
		x, ok := p.Proposal.(*Update)
		if !ok {
			continue
		}
		if err := edit.updateLeaf(p.Sender, &x.LeafNode); err != nil {
			return fmt.Errorf("%w: %w", ErrProposals, err)
		}
		if p.Sender == e.self {
			if t.ownPriv = e.pending[string(p.Ref)]; t.ownPriv == nil {
				return fmt.Errorf("%w: the private key of our Update is gone", ErrUnopenable)
			}
		}
	}
	for _, leaf := range t.removed {
		if err := edit.removeLeaf(leaf); err != nil {
			return fmt.Errorf("%w: %w", ErrProposals, err)
		}
	}
	for _, p := range t.list {
		if x, ok := p.Proposal.(*Add); ok {
			t.added = append(t.added, edit.addLeaf(&x.KeyPackage.LeafNode))
			t.joiners = append(t.joiners, &x.KeyPackage)
		}
	}
	if t.external {
		t.committer = edit.addLeaf(&path.LeafNode)
	}
	var err error
	if t.tree, err = edit.tree(); err != nil {
		return fmt.Errorf("%w: %w", ErrProposals, err)
	}
	if err := checkGroup(t.tree, t.extensions); err != nil {
		return fmt.Errorf("%w: %w", ErrProposals, err)
	}
	return nil
}

// checkGroup checks a tree's members against each other and the extensions of
// the GroupContext (RFC 9420, sections 7.3 and 11.1).
func checkGroup(tree *RatchetTree, extensions []Extension) error {
	if err := tree.checkMembers(); err != nil {
		return err
	}
	return tree.checkExtensions(extensions)
}
