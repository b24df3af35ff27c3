package mls

import (
	"fmt"
)

// This file is the outside of a group: what lets others in who are not members
// (RFC 9420, sections 12.1.8 and 12.4.3.2). A DMLS group has none of it.

const labelExternalInit = "MLS 1.0 external init secret"

// ExternalSender is an entry of the external_senders extension (section
// 12.1.8.1): somebody outside who may propose.
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

func (x *ExternalSender) write(w *writer) {
	w.vec(x.SignatureKey)
	x.Credential.write(w)
}

func readExternalSender(r *reader) ExternalSender {
	return ExternalSender{SignatureKey: r.vec(), Credential: readCredential(r)}
}

// Marshal is the encoding that ParseExternalSender reads.
func (x *ExternalSender) Marshal() []byte {
	w := &writer{}
	x.write(w)
	return w.buf
}

// ParseExternalSender reads an ExternalSender and nothing after it.
func ParseExternalSender(b []byte) (*ExternalSender, error) {
	r := newReader(b)
	x := readExternalSender(r)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("mls: ExternalSender: %w", err)
	}
	return &x, nil
}

// ExternalSenders returns the GroupContext extension with these senders. Their
// index in it is the one that ExternalProposal takes.
func ExternalSenders(senders []ExternalSender) Extension {
	w := &writer{}
	w.vector(func(w *writer) {
		for i := range senders {
			senders[i].write(w)
		}
	})
	return Extension{Type: ExtensionExternalSenders, Data: w.buf}
}

// ParseExternalSenders reads the extension from those of a GroupContext. None
// is an empty list.
func ParseExternalSenders(extensions []Extension) ([]ExternalSender, error) {
	data, ok := findExtension(extensions, ExtensionExternalSenders)
	if !ok {
		return nil, nil
	}
	r := newReader(data)
	out := readList(r, readExternalSender)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("mls: external_senders: %w", err)
	}
	return out, nil
}

// ExternalProposal frames a proposal of an external sender for the group and
// epoch of a GroupContext, as MLSMessage (sections 6 and 12.1.8). The proposal
// is an Add, Remove, PreSharedKey, ReInit or GroupContextExtensions.
func ExternalProposal(c *GroupContext, sender uint32, p Proposal, aad []byte, s Signer) ([]byte, error) {
	switch p.Type() {
	case ProposalTypeAdd, ProposalTypeRemove, ProposalTypePreSharedKey, ProposalTypeReInit, ProposalTypeGroupContextExtensions:
	default:
		return nil, fmt.Errorf("%w: proposal type %d of an external sender", ErrProposals, p.Type())
	}
	return proposeOutside(c, Sender{SenderTypeExternal, sender}, p, aad, s)
}

// ProposeJoin frames a request of the KeyPackage's owner to be added, for the
// group and epoch of a GroupContext, as MLSMessage (section 12.1.8, sender type
// new_member_proposal). s holds the key of the KeyPackage's leaf.
func ProposeJoin(c *GroupContext, kp *KeyPackage, aad []byte, s Signer) ([]byte, error) {
	if string(kp.LeafNode.SignatureKey) != string(s.Public()) {
		return nil, fmt.Errorf("%w: the signer's key is not that of the KeyPackage", ErrConfig)
	}
	return proposeOutside(c, Sender{Type: SenderTypeNewMemberProposal}, &Add{KeyPackage: *kp}, aad, s)
}

func proposeOutside(c *GroupContext, from Sender, p Proposal, aad []byte, s Signer) ([]byte, error) {
	suite, err := suiteByID(c.CipherSuite)
	if err != nil {
		return nil, err
	}
	a := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: FramedContent{
		GroupID: c.GroupID, Epoch: c.Epoch, Sender: from, AuthenticatedData: aad,
		ContentType: ContentTypeProposal, Proposal: p,
	}}
	if err := a.sign(suite, nil, s); err != nil {
		return nil, err
	}
	m, err := a.protectPublic(suite, nil, nil)
	if err != nil {
		return nil, err
	}
	return m.Marshal(), nil
}

// GroupInfo signs a GroupInfo of the epoch, as MLSMessage, with the external_pub
// extension by which others can join (section 12.4.3.2). withTree adds the
// ratchet tree, without which a joiner needs it by another way. Not in a DMLS
// group.
func (e *Epoch) GroupInfo(extensions []Extension, withTree bool, s Signer) ([]byte, error) {
	if err := e.checkSigner(s); err != nil {
		return nil, err
	}
	if e.schedule == DMLS {
		return nil, fmt.Errorf("%w: GroupInfo for external commits", ErrForbidden)
	}
	priv, pub, err := e.suite.deriveKeyPair(e.secrets.external)
	if err != nil {
		return nil, err
	}
	clear(priv)
	w := &writer{}
	w.vec(pub)
	xs := []Extension{{Type: ExtensionExternalPub, Data: w.buf}}
	if withTree {
		xs = append(xs, Extension{Type: ExtensionRatchetTree, Data: e.tree.Marshal()})
	}
	info := &GroupInfo{GroupContext: e.context.clone(), Extensions: append(xs, cloneExtensions(extensions)...),
		ConfirmationTag: e.tag, Signer: e.self}
	if err := info.sign(e.suite, s); err != nil {
		return nil, err
	}
	return (&MLSMessage{WireFormat: WireFormatGroupInfo, GroupInfo: info}).Marshal(), nil
}

// ExternalCommit says how to join by an external commit.
type ExternalCommit struct {
	Leaf              KeyPackageOptions // of the new member; Suite is the group's
	Resync            *LeafIndex        // of the joiner's former self, which goes; nil: none
	PSKs              []PreSharedKeyID  // injected in this order
	PSK               PSKLookup
	AuthenticatedData []byte
	Window            Window
	Credentials       CredentialValidator // nil: none are judged but that of a resync, which must be the old one
}

// CommitExternal joins a group by the GroupInfo of one of its members (an
// MLSMessage with external_pub; section 12.4.3.2). tree is the ratchet tree, or
// nil if the GroupInfo carries it. The commit is a PublicMessage; its Delta is
// empty, since there is no epoch to apply it to, and the group is joined when
// its members accept it.
func CommitExternal(groupInfo, tree []byte, r ExternalCommit, s Signer, env Env) (*StagedCommit, error) {
	info, err := ParseGroupInfo(groupInfo)
	if err != nil {
		return nil, err
	}
	e, err := outsider(info, tree, r, env)
	if err != nil {
		return nil, err
	}
	t := &transition{external: true}
	if t.init, err = e.drawExternalInit(t, info, env); err != nil {
		return nil, err
	}
	defer clear(t.init)
	if r.Resync != nil {
		t.list = append(t.list, inline(&Remove{Removed: *r.Resync}))
	}
	for _, id := range r.PSKs {
		t.list = append(t.list, inline(&PreSharedKey{ID: id}))
	}
	if err := e.checkList(t, true); err != nil {
		return nil, err
	}
	r.Leaf.Suite = e.suite.id
	b, err := NewKeyPackage(r.Leaf, s, env)
	if err != nil {
		return nil, err
	}
	defer b.Wipe()
	// The leaf of a KeyPackage holds the place until the path replaces it.
	if err := e.applyList(t, &UpdatePath{LeafNode: b.KeyPackage.LeafNode}); err != nil {
		return nil, err
	}
	e.self = t.committer
	path, err := e.makePath(t, LeafChange{}, s, env)
	if err != nil {
		return nil, err
	}
	defer path.wipeAll()
	if err := e.judge(r.Credentials, t, &path.path.LeafNode, env.Now); err != nil {
		return nil, err
	}
	return e.frameExternal(t, path, r, s)
}

func inline(p Proposal) CommittedProposal {
	return CommittedProposal{Proposal: p, Origin: Sender{Type: SenderTypeNewMemberCommit}}
}

// outsider is an epoch as the GroupInfo shows it: without any secret.
func outsider(info *GroupInfo, tree []byte, r ExternalCommit, env Env) (*Epoch, error) {
	c := &info.GroupContext
	s, err := suiteByID(c.CipherSuite)
	if err != nil {
		return nil, err
	}
	e := &Epoch{suite: s, schedule: RFC9420, context: c.clone(), encoded: c.Marshal(), window: r.Window, secrets: &secrets{}}
	if e.tree, err = info.ratchetTree(s, tree, env); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGroupInfo, err)
	}
	if err := judgeGroup(r.Credentials, e.tree, c, env.Now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGroupInfo, err)
	}
	e.setTag(info.ConfirmationTag)
	return e, nil
}

// drawExternalInit encapsulates the init secret to external_pub (section 8.3).
func (e *Epoch) drawExternalInit(t *transition, info *GroupInfo, env Env) ([]byte, error) {
	data, ok := findExtension(info.Extensions, ExtensionExternalPub)
	if !ok {
		return nil, fmt.Errorf("%w: no external_pub", ErrGroupInfo)
	}
	r := newReader(data)
	pub := r.vec()
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: external_pub: %w", ErrGroupInfo, err)
	}
	seed, err := e.suite.encapSeed(env.Rand)
	if err != nil {
		return nil, err
	}
	defer clear(seed)
	kemOutput, init, err := e.suite.hpkeSendExport(pub, nil, []byte(labelExternalInit), e.suite.nh, seed)
	if err != nil {
		return nil, fmt.Errorf("%w: external_pub: %w", ErrGroupInfo, err)
	}
	t.list = append(t.list, inline(&ExternalInit{KEMOutput: kemOutput}))
	return init, nil
}

// frameExternal signs the commit and derives the epoch that it leads to.
func (e *Epoch) frameExternal(t *transition, path *freshPath, r ExternalCommit, s Signer) (*StagedCommit, error) {
	commit := &Commit{Path: path.path}
	for _, p := range t.list {
		commit.Proposals = append(commit.Proposals, ProposalOrRef{Proposal: p.Proposal})
	}
	a := e.content(FramedContent{ContentType: ContentTypeCommit, Commit: commit, AuthenticatedData: r.AuthenticatedData}, WireFormatPublicMessage)
	a.Content.Sender = Sender{Type: SenderTypeNewMemberCommit}
	if err := a.sign(e.suite, e.encoded, s); err != nil {
		return nil, err
	}
	n, err := e.advance(t, a, path.opened(), r.PSK)
	if err != nil {
		return nil, err
	}
	defer n.wipeSecrets()
	a.Auth.ConfirmationTag = e.suite.confirmationTag(n.child.secrets.confirmation, n.child.context.ConfirmedTranscriptHash)
	n.child.setTag(a.Auth.ConfirmationTag)
	n.child.dropConfirmationKey()
	m, err := a.protectPublic(e.suite, nil, nil)
	if err != nil {
		n.drop()
		return nil, err
	}
	return &StagedCommit{Message: m.Marshal(), Child: n.child, ContentHash: a.contentHash(e.suite, e.encoded, labelContent),
		Proposals: t.list, Removed: t.removed, ConfirmationTag: a.Auth.ConfirmationTag}, nil
}
