package mls

import (
	"fmt"
	"io"

	"github.com/dmlsd/dmls/internal/bend"
)

// CommitRequest says what to commit. The zero value is an empty commit, which
// renews the committer's path.
type CommitRequest struct {
	Proposals         []Proposal // inline, in this order after the references
	References        [][]byte   // of proposals cached in the epoch
	AuthenticatedData []byte
	Leaf              LeafChange          // of the committer, if the commit has a path
	ForcePath         bool                // RFC 9420: a path where none is required; DMLS commits always have one
	PSK               PSKLookup           // RFC 9420
	Public            bool                // RFC 9420: frame it as PublicMessage
	Credentials       CredentialValidator // nil: none are judged
	// Bend is for adversaries within this module, and its type internal.
	Bend bend.Path[UpdatePath]

	founding bool // first commit of a successor group
}

// StagedCommit is a commit that nobody has seen yet. The child can not be made
// again from the message: whoever publishes the message must first have stored
// the child and the delta, or Sent.
type StagedCommit struct {
	Message []byte // MLSMessage
	Child   *Epoch
	Delta   Delta // of the epoch that was committed in
	// Sent is the part of Delta that uses up the key of the message. Under RFC
	// 9420, where it turns out later whether the commit is the one that counts
	// (section 14), apply Sent before the message leaves, and Delta when it is
	// accepted; the epoch can be used in between. Otherwise Delta alone will do.
	// In a DMLS group, whose epochs have many children, there is no Sent.
	Sent            Delta
	ContentHash     []byte
	Generation      uint32
	Proposals       []CommittedProposal
	Added           []LeafIndex
	Removed         []LeafIndex
	ConfirmationTag []byte

	next    *next
	joiners []*KeyPackage
	psks    []PreSharedKeyID
	path    *freshPath
}

// Wipe drops the secrets for Welcomes. Child and Delta stay.
func (c *StagedCommit) Wipe() {
	if c.next != nil {
		c.next.wipeSecrets()
	}
	c.path.wipeAll()
	c.next, c.path = nil, nil
}

// Protect seals an application message and returns it as MLSMessage. The delta
// must be durable before the message leaves the device.
func (e *Epoch) Protect(data, aad []byte, s Signer, env Env) ([]byte, Delta, error) {
	c := FramedContent{ContentType: ContentTypeApplication, Data: data, AuthenticatedData: aad}
	msg, _, ch, err := e.send(c, s, env)
	if err != nil {
		return nil, Delta{}, err
	}
	return msg, e.delta(ch), nil
}

// ProposalRequest says what to propose and how to frame it.
type ProposalRequest struct {
	Proposal          Proposal   // nil: an Update of this member's leaf
	Leaf              LeafChange // of an Update
	AuthenticatedData []byte
	Public            bool // RFC 9420: frame it as PublicMessage
}

// Propose seals a proposal for somebody else to commit. In a DMLS group that
// can only be the sender's own removal. See ProposeUpdate for Updates.
func (e *Epoch) Propose(p Proposal, aad []byte, s Signer, env Env) ([]byte, Delta, error) {
	return e.propose(ProposalRequest{Proposal: p, AuthenticatedData: aad}, nil, s, env)
}

// ProposeUpdate proposes a new leaf for this member (RFC 9420, section 12.1.2);
// nil extensions keep the old ones. Not in a DMLS group.
func (e *Epoch) ProposeUpdate(extensions []Extension, aad []byte, s Signer, env Env) ([]byte, Delta, error) {
	return e.ProposeWith(ProposalRequest{Leaf: LeafChange{Extensions: extensions}, AuthenticatedData: aad}, s, env)
}

// ProposeWith is Propose and ProposeUpdate with all choices.
func (e *Epoch) ProposeWith(r ProposalRequest, s Signer, env Env) ([]byte, Delta, error) {
	if r.Proposal != nil {
		return e.propose(r, nil, s, env)
	}
	if err := e.alive(); err != nil {
		return nil, Delta{}, err
	}
	seed, err := randomBytes(env.Rand, e.suite.nh)
	if err != nil {
		return nil, Delta{}, err
	}
	defer clear(seed)
	leaf, priv, err := e.suite.newUpdateLeaf(e.tree.Leaf(e.self), r.Leaf, s, e.context.GroupID, e.self, seed)
	if err != nil {
		return nil, Delta{}, err
	}
	r.Proposal = &Update{LeafNode: *leaf}
	return e.propose(r, priv, s, env)
}

func (e *Epoch) propose(r ProposalRequest, own []byte, s Signer, env Env) ([]byte, Delta, error) {
	if err := e.alive(); err != nil {
		return nil, Delta{}, err
	}
	if e.schedule == DMLS && r.Public {
		return nil, Delta{}, fmt.Errorf("%w: PublicMessage", ErrForbidden)
	}
	me := Sender{SenderTypeMember, uint32(e.self)}
	if err := e.checkSentProposal(r.Proposal, me); err != nil {
		return nil, Delta{}, err
	}
	if err := checkLifetime(r.Proposal, env.Now); err != nil {
		return nil, Delta{}, err
	}
	c := FramedContent{ContentType: ContentTypeProposal, Proposal: r.Proposal, AuthenticatedData: r.AuthenticatedData}
	send := e.send
	if r.Public {
		send = e.sendPublic
	}
	msg, a, ch, err := send(c, s, env)
	if err != nil {
		return nil, Delta{}, err
	}
	ch.add, ch.own = &CachedProposal{Ref: a.ref(e.suite), Proposal: r.Proposal, Sender: me}, own
	return msg, e.delta(ch), nil
}

// sendPublic signs content that needs no confirmation tag and sends it in the
// clear (section 6.2).
func (e *Epoch) sendPublic(c FramedContent, s Signer, _ Env) ([]byte, *AuthenticatedContent, change, error) {
	if err := e.checkSigner(s); err != nil {
		return nil, nil, change{}, err
	}
	a := e.content(c, WireFormatPublicMessage)
	if err := a.sign(e.suite, e.encoded, s); err != nil {
		return nil, nil, change{}, err
	}
	m, err := a.protectPublic(e.suite, e.secrets.membership, e.encoded)
	if err != nil {
		return nil, nil, change{}, err
	}
	return m.Marshal(), a, change{}, nil
}

// content fills in what is the same in all frames of this member.
func (e *Epoch) content(c FramedContent, f WireFormat) *AuthenticatedContent {
	c.GroupID, c.Epoch = e.context.GroupID, e.context.Epoch
	c.Sender = Sender{SenderTypeMember, uint32(e.self)}
	return &AuthenticatedContent{WireFormat: f, Content: c}
}

// checkSigner refuses a key that the others do not know us by.
func (e *Epoch) checkSigner(s Signer) error {
	if err := e.alive(); err != nil {
		return err
	}
	if leaf := e.tree.Leaf(e.self); string(leaf.SignatureKey) != string(s.Public()) {
		return fmt.Errorf("%w: the signer's key is not that of our leaf", ErrConfig)
	}
	return e.inUse()
}

// send signs and seals content that needs no confirmation tag.
func (e *Epoch) send(c FramedContent, s Signer, env Env) ([]byte, *AuthenticatedContent, change, error) {
	if err := e.checkSigner(s); err != nil {
		return nil, nil, change{}, err
	}
	a := e.content(c, WireFormatPrivateMessage)
	if err := a.sign(e.suite, e.encoded, s); err != nil {
		return nil, nil, change{}, err
	}
	m, _, tree, err := e.seal(a, env.Rand)
	if err != nil {
		return nil, nil, change{}, err
	}
	return m.Marshal(), a, change{tree: tree}, nil
}

// seal encrypts under the next generation of our ratchet.
func (e *Epoch) seal(a *AuthenticatedContent, rand io.Reader) (*PrivateMessage, uint32, *treeChange, error) {
	id := a.Content.ContentType.ratchet(e.self)
	key, tree, err := e.secret.stage(id, e.secret.next(id))
	if err != nil {
		return nil, 0, nil, err
	}
	defer key.wipe()
	m, err := e.framer().seal(a, key, rand)
	if err != nil {
		tree.wipe()
		return nil, 0, nil, err
	}
	return m, key.generation, tree, nil
}

// Commit makes a commit and its child epoch, staged (RFC 9420, section 12.4.1).
func (e *Epoch) Commit(r CommitRequest, s Signer, env Env) (*StagedCommit, error) {
	if err := e.checkSigner(s); err != nil {
		return nil, err
	}
	if e.schedule == DMLS && r.Public {
		return nil, fmt.Errorf("%w: PublicMessage", ErrForbidden)
	}
	refs := make([]ProposalOrRef, 0, len(r.References)+len(r.Proposals))
	for _, ref := range r.References {
		refs = append(refs, ProposalOrRef{Ref: ref})
	}
	for _, p := range r.Proposals {
		refs = append(refs, ProposalOrRef{Proposal: p})
	}
	list, err := e.resolve(refs, Sender{SenderTypeMember, uint32(e.self)})
	if err != nil {
		return nil, err
	}
	t := &transition{list: list, committer: e.self, founding: r.founding}
	withPath := e.schedule == DMLS || r.ForcePath || len(list) == 0
	for _, p := range list {
		withPath = withPath || pathRequired(p.Proposal)
	}
	if err := e.checkList(t, withPath); err != nil {
		return nil, err
	}
	if err := e.checkLifetimes(t, env.Now); err != nil {
		return nil, err
	}
	if err := e.judge(r.Credentials, t, nil, env.Now); err != nil {
		return nil, err
	}
	if err := e.applyList(t, nil); err != nil {
		return nil, err
	}
	commit := &Commit{Proposals: refs}
	var path *freshPath
	if withPath {
		if path, err = e.makePath(t, r.Leaf, s, env); err != nil {
			return nil, err
		}
		commit.Path = path.path
		r.Bend.Apply(path.path, func() [][]uint32 { return path.sealed(t.added) })
	}
	c, err := e.frameCommit(t, commit, path, r, s, env)
	if err != nil {
		path.wipeAll()
		return nil, err
	}
	if len(c.joiners) == 0 {
		c.Wipe() // nobody needs a Welcome
	}
	return c, nil
}

// frameCommit signs the commit, derives the child, and only then knows the
// confirmation tag that goes into the frame.
func (e *Epoch) frameCommit(t *transition, commit *Commit, path *freshPath, r CommitRequest, s Signer, env Env) (*StagedCommit, error) {
	wire := WireFormatPrivateMessage
	if r.Public {
		wire = WireFormatPublicMessage
	}
	a := e.content(FramedContent{ContentType: ContentTypeCommit, Commit: commit, AuthenticatedData: r.AuthenticatedData}, wire)
	if err := a.sign(e.suite, e.encoded, s); err != nil {
		return nil, err
	}
	secrets := e.suite.pathless()
	if path != nil {
		secrets = path.opened()
	}
	n, err := e.advance(t, a, secrets, r.PSK)
	if err != nil {
		return nil, err
	}
	a.Auth.ConfirmationTag = e.suite.confirmationTag(n.child.secrets.confirmation, n.child.context.ConfirmedTranscriptHash)
	n.child.setTag(a.Auth.ConfirmationTag)
	n.child.dropConfirmationKey()

	c := change{punct: n.puncture, spend: e.schedule == RFC9420}
	out := &StagedCommit{
		Child: n.child, ContentHash: a.contentHash(e.suite, e.encoded, labelContent), Proposals: t.list, Added: t.added,
		Removed: t.removed, ConfirmationTag: a.Auth.ConfirmationTag, next: n, joiners: t.joiners, psks: t.psks, path: path,
	}
	if r.Public {
		m, err := a.protectPublic(e.suite, e.secrets.membership, e.encoded)
		if err != nil {
			n.drop()
			return nil, err
		}
		out.Message = m.Marshal()
	} else {
		m, generation, tree, err := e.seal(a, env.Rand)
		if err != nil {
			n.drop()
			return nil, err
		}
		out.Message, out.Generation, c.tree = m.Marshal(), generation, tree
	}
	if e.schedule == RFC9420 {
		out.Sent = e.delta(change{tree: c.tree})
		c.sent = out.Sent.c
	}
	out.Delta = e.delta(c)
	return out, nil
}
