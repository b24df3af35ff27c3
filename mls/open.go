package mls

import (
	"bytes"
	"fmt"
)

// OpenOptions are the caller's part in receiving.
type OpenOptions struct {
	Env Env
	// Sender sees who a PrivateMessage claims to be from and its generation,
	// before any key is derived: what it refuses costs nothing more, and a
	// caller who knows the one generation that it can have need not fear jumps.
	// The claim is proven only when Check runs. nil: none.
	Sender func(LeafIndex, uint32) error
	// Check judges what was opened (rights, quotas, repeats). It runs once the
	// frame is decrypted, its signature verified and its proposal list checked,
	// but before path decryption and before any PPRF work. Of Commit it sees
	// the proposals, Leaf, Removed, Updated and SelfRemoved. Its error is
	// returned, wrapped. nil: none.
	Check func(*Opened) error
	// PSK looks up pre-shared keys. RFC 9420 only.
	PSK PSKLookup
	// Credentials judges the credentials that a commit or proposal brings. nil:
	// none are judged, but a resync must present the credential that it removes.
	Credentials CredentialValidator
}

// Opened is a frame that was opened and verified, staged: the epoch is as it
// was until Delta is applied.
type Opened struct {
	Sender            LeafIndex // of a member; see Origin
	Origin            Sender
	ContentType       ContentType
	Generation        uint32 // of the sender's ratchet; 0 for a PublicMessage
	AuthenticatedData []byte
	// ContentHash covers the signed bytes and the signature, Nh bytes: two
	// frames with the same hash are the same content, whatever their tags.
	ContentHash []byte

	Data     []byte        // application data
	Proposal Proposal      // a proposal that can now be committed by Ref
	Ref      []byte        //
	Commit   *OpenedCommit //

	Delta Delta

	content *AuthenticatedContent
	context []byte // the epoch's GroupContext
}

// CommittedProposal is a proposal with the member who made it.
type CommittedProposal struct {
	Proposal Proposal
	Sender   LeafIndex // of a member; see Origin
	Origin   Sender
	Ref      []byte // nil: inline
}

// OpenedCommit is what a commit does.
type OpenedCommit struct {
	Proposals       []CommittedProposal // in the order of the commit
	Added           []LeafIndex         // in the order of the Adds
	Removed         []LeafIndex
	Updated         []LeafIndex // by Update proposals
	Leaf            *LeafNode   // the committer's new leaf, not yet verified when Check runs; nil without a path
	SelfRemoved     bool        // this member is removed: no Child, and no way to check the tag
	Child           *Epoch
	ConfirmationTag []byte
}

// Open decrypts and verifies a frame. Whether it succeeds or fails, the epoch
// is unchanged.
func (e *Epoch) Open(m *PrivateMessage, o OpenOptions) (*Opened, error) {
	if err := e.belongs(m.GroupID, m.Epoch); err != nil {
		return nil, err
	}
	f := e.framer()
	d, err := m.openSenderData(e.suite, f.senderData)
	if err != nil {
		return nil, err
	}
	signer := e.tree.signatureKey(d.leaf)
	if signer == nil {
		return nil, fmt.Errorf("%w: sender at leaf %d", ErrMember, d.leaf)
	}
	if o.Sender != nil {
		if err := o.Sender(d.leaf, d.generation); err != nil {
			return nil, fmt.Errorf("mls: refused by the caller: %w", err)
		}
	}
	key, tree, err := e.secret.stage(m.ContentType.ratchet(d.leaf), d.generation)
	if err != nil {
		return nil, err
	}
	defer key.wipe()
	out, err := e.openWith(f, m, d, key, signer, tree, o)
	if err != nil {
		tree.wipe()
		return nil, err
	}
	return out, nil
}

// belongs says whether a frame claims to be of this epoch.
func (e *Epoch) belongs(groupID []byte, number uint64) error {
	if err := e.alive(); err != nil {
		return err
	}
	if !bytes.Equal(groupID, e.context.GroupID) || number != e.context.Epoch {
		return fmt.Errorf("%w: group %x, epoch %d", ErrEpoch, groupID, number)
	}
	return nil
}

func (e *Epoch) openWith(f *framer, m *PrivateMessage, d senderData, key ratchetKey, signer []byte, tree *treeChange, o OpenOptions) (*Opened, error) {
	a, padding, err := f.open(m, d, key)
	if err != nil {
		return nil, err
	}
	a.signed = a.tbs(e.encoded)
	if err := a.verify(e.suite, o.Env, e.encoded, signer); err != nil {
		return nil, err
	}
	if e.schedule == DMLS {
		if err := f.canonical(a, d, padding); err != nil {
			return nil, err
		}
	}
	return e.take(a, d.generation, change{tree: tree}, o)
}

// OpenPublic verifies a frame that was sent in the clear: of a member, of an
// external sender or of somebody who wants to join (RFC 9420, section 6.2).
// DMLS has none.
func (e *Epoch) OpenPublic(m *PublicMessage, o OpenOptions) (*Opened, error) {
	if err := e.belongs(m.Content.GroupID, m.Content.Epoch); err != nil {
		return nil, err
	}
	if e.schedule == DMLS {
		return nil, fmt.Errorf("%w: PublicMessage", ErrForbidden)
	}
	a, err := m.unprotectPublic(e.suite, e.secrets.membership, e.encoded)
	if err != nil {
		return nil, err
	}
	key, err := e.signatureKey(a)
	if err != nil {
		return nil, err
	}
	if err := a.verify(e.suite, o.Env, e.encoded, key); err != nil {
		return nil, err
	}
	return e.take(a, 0, change{}, o)
}

// signatureKey finds the key that a frame must be signed with (section 6.1).
func (e *Epoch) signatureKey(a *AuthenticatedContent) ([]byte, error) {
	c := &a.Content
	switch c.Sender.Type {
	case SenderTypeMember:
		leaf := e.tree.Leaf(LeafIndex(c.Sender.Index))
		if leaf == nil {
			return nil, fmt.Errorf("%w: sender at leaf %d", ErrMember, c.Sender.Index)
		}
		return leaf.SignatureKey, nil
	case SenderTypeExternal:
		return e.externalSenderKey(c)
	case SenderTypeNewMemberProposal:
		if add, ok := c.Proposal.(*Add); ok && c.ContentType == ContentTypeProposal {
			return add.KeyPackage.LeafNode.SignatureKey, nil
		}
	case SenderTypeNewMemberCommit:
		if c.ContentType == ContentTypeCommit && c.Commit.Path != nil {
			return c.Commit.Path.LeafNode.SignatureKey, nil
		}
	}
	return nil, fmt.Errorf("%w: sender type %d with content type %d", ErrMalformed, c.Sender.Type, c.ContentType)
}

// externalSenderKey looks into the external_senders extension (section 12.1.8.1).
func (e *Epoch) externalSenderKey(c *FramedContent) ([]byte, error) {
	if c.ContentType != ContentTypeProposal || c.Proposal.Type() == ProposalTypeUpdate || c.Proposal.Type() == ProposalTypeExternalInit {
		return nil, fmt.Errorf("%w: an external sender may not send this", ErrMalformed)
	}
	senders, err := ParseExternalSenders(e.context.Extensions)
	if err != nil {
		return nil, err
	}
	if uint64(c.Sender.Index) >= uint64(len(senders)) {
		return nil, fmt.Errorf("%w: external sender %d of %d", ErrMember, c.Sender.Index, len(senders))
	}
	return senders[c.Sender.Index].SignatureKey, nil
}

// take goes on with content whose signature was verified.
func (e *Epoch) take(a *AuthenticatedContent, generation uint32, c change, o OpenOptions) (*Opened, error) {
	out := &Opened{
		Origin: a.Content.Sender, ContentType: a.Content.ContentType, Generation: generation,
		AuthenticatedData: a.Content.AuthenticatedData, ContentHash: a.contentHash(e.suite, e.encoded, labelContent),
	}
	out.content, out.context = a, e.encoded
	if out.Origin.Type == SenderTypeMember {
		out.Sender = LeafIndex(out.Origin.Index)
	}
	check := func() error {
		if o.Check == nil {
			return nil
		}
		if err := o.Check(out); err != nil {
			return fmt.Errorf("mls: refused by the caller: %w", err)
		}
		return nil
	}
	err := e.inUse()
	if err != nil {
		return nil, err
	}
	switch a.Content.ContentType {
	case ContentTypeApplication:
		out.Data = a.Content.Data
		err = check()
	case ContentTypeProposal:
		out.Proposal, out.Ref = a.Content.Proposal, a.ref(e.suite)
		if err = e.checkSentProposal(out.Proposal, out.Origin); err == nil {
			err = e.judgeProposal(o.Credentials, out.Proposal, out.Origin, o.Env.Now)
		}
		if err == nil {
			err = check()
		}
		c.add = &CachedProposal{Ref: out.Ref, Proposal: out.Proposal, Sender: out.Origin}
	case ContentTypeCommit:
		err = e.takeCommit(a, out, &c, check, o)
	}
	if err != nil {
		return nil, err
	}
	out.Delta = e.delta(c)
	return out, nil
}

// takeCommit processes a commit (RFC 9420, section 12.4.2).
func (e *Epoch) takeCommit(a *AuthenticatedContent, out *Opened, c *change, check func() error, o OpenOptions) error {
	commit := a.Content.Commit
	list, err := e.resolve(commit.Proposals, a.Content.Sender)
	if err != nil {
		return err
	}
	external := a.Content.Sender.Type == SenderTypeNewMemberCommit
	t := &transition{list: list, committer: out.Sender, external: external}
	if err := e.checkList(t, commit.Path != nil); err != nil {
		return err
	}
	out.Commit = &OpenedCommit{Proposals: list, Removed: t.removed, Updated: t.updated,
		SelfRemoved: t.removes(e.self), ConfirmationTag: a.Auth.ConfirmationTag}
	if commit.Path != nil {
		out.Commit.Leaf = &commit.Path.LeafNode
	}
	if err := e.judge(o.Credentials, t, out.Commit.Leaf, o.Env.Now); err != nil {
		return err
	}
	if err := check(); err != nil {
		return err
	}
	if err := e.applyList(t, commit.Path); err != nil {
		return err
	}
	out.Commit.Added = t.added
	before, err := e.mergePath(t, commit.Path)
	if err != nil {
		return err
	}
	if out.Commit.SelfRemoved {
		return nil
	}
	if !external && out.Sender == e.self {
		return fmt.Errorf("%w: it is our own, and a path does not open for its author", ErrUnopenable)
	}
	path, err := e.openPath(t, before, commit.Path)
	if err != nil {
		return err
	}
	defer path.wipeAll()
	n, err := e.advance(t, a, path, o.PSK)
	if err != nil {
		return err
	}
	defer n.wipeSecrets()
	// In constant time, and before anything is consumed: the tag stands in
	// neither signature nor transcript, any member can send another one.
	if err := e.suite.verifyConfirmation(n.child.secrets.confirmation, n.child.context.ConfirmedTranscriptHash, a.Auth.ConfirmationTag); err != nil {
		n.drop()
		return err
	}
	n.child.setTag(a.Auth.ConfirmationTag)
	n.child.dropConfirmationKey()
	out.Commit.Child = n.child
	c.punct, c.spend = n.puncture, e.schedule == RFC9420
	return nil
}
