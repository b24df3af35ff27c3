package mls

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/dmlsd/dmls/pprf"
)

// Epoch is one epoch of a group as one member sees it: a value that, under
// DMLS, can have many children. Only Apply, DropExporter and Wipe change it;
// everything else stages. It is not safe for concurrent use.
type Epoch struct {
	suite    *suite
	schedule KeySchedule
	context  GroupContext
	encoded  []byte // context
	tree     *RatchetTree
	self     LeafIndex
	window   Window

	interim []byte            // interim_transcript_hash
	tag     []byte            // confirmation_tag of the commit that began the epoch
	secrets *secrets          // what outlives the derivation
	secret  *secretTree       //
	pprf    *pprf.Tree        // DMLS
	privs   map[uint32][]byte // HPKE private keys on our direct path by node index

	reinit *ReInit // that ended the group in favour of another

	proposals map[string]CachedProposal
	pending   map[string][]byte // private keys of our own Update proposals by reference

	version uint64 // counts applied deltas
	held    held
	wiped   bool
}

// CachedProposal is a proposal that was sent in this epoch.
type CachedProposal struct {
	Ref      []byte
	Proposal Proposal
	Sender   Sender
}

// GroupConfig describes a new group.
type GroupConfig struct {
	Suite       CipherSuite
	GroupID     []byte // 1 to 255 bytes, unique; 32 random ones are a good choice
	KeySchedule KeySchedule
	Extensions  []Extension       // of the GroupContext
	Leaf        KeyPackageOptions // of the creator; its Suite is Suite
	Window      Window
}

// Create starts a group whose only member is the creator (RFC 9420, section 11).
func Create(c GroupConfig, signer Signer, env Env) (*Epoch, error) {
	s, err := suiteByID(c.Suite)
	if err != nil {
		return nil, err
	}
	if err := c.KeySchedule.check(); err != nil {
		return nil, err
	}
	if len(c.GroupID) == 0 || len(c.GroupID) > 255 {
		return nil, fmt.Errorf("%w: group id of %d bytes", ErrConfig, len(c.GroupID))
	}
	c.Leaf.Suite = c.Suite
	b, err := NewKeyPackage(c.Leaf, signer, env)
	if err != nil {
		return nil, err
	}
	defer b.Wipe()
	tree, err := newTree(s, &b.KeyPackage.LeafNode)
	if err != nil {
		return nil, err
	}
	if err := checkGroup(tree, c.Extensions); err != nil {
		return nil, err
	}
	secret, err := randomBytes(env.Rand, s.nh)
	if err != nil {
		return nil, fmt.Errorf("mls: epoch secret: %w", err)
	}
	defer clear(secret)
	seed := epochSeed{
		suite: s, schedule: c.KeySchedule, tree: tree, window: c.Window,
		context: GroupContext{Version: mls10, CipherSuite: c.Suite, GroupID: bytes.Clone(c.GroupID),
			TreeHash: tree.TreeHash(), Extensions: cloneExtensions(c.Extensions)},
		privs: map[uint32][]byte{0: bytes.Clone(b.leafPriv)},
	}
	e := seed.grow(secret)
	e.setTag(s.confirmationTag(e.secrets.confirmation, nil))
	e.dropConfirmationKey()
	return e, nil
}

// epochSeed is what an epoch consists of besides the secrets that follow from
// its epoch_secret.
type epochSeed struct {
	suite    *suite
	schedule KeySchedule
	context  GroupContext
	tree     *RatchetTree
	self     LeafIndex
	window   Window
	privs    map[uint32][]byte
}

// grow derives an epoch. The confirmation key is still there: whoever calls
// verifies or makes the tag with it and then drops it.
func (d epochSeed) grow(epochSecret []byte) *Epoch {
	e := &Epoch{suite: d.suite, schedule: d.schedule, context: d.context, encoded: d.context.Marshal(), tree: d.tree,
		self: d.self, window: d.window.orDefault(d.schedule), privs: d.privs,
		secrets: d.suite.deriveSecrets(epochSecret, d.schedule), proposals: map[string]CachedProposal{}, pending: map[string][]byte{}}
	e.secret = newSecretTree(d.suite, d.tree.LeafCount(), e.secrets.encryption, e.window, keepsFor(d.schedule, d.self))
	e.secrets.encryption = nil // it is the tree's now
	if d.schedule == DMLS {
		e.pprf = d.suite.newPPRF(e.secrets.parentInit)
		clear(e.secrets.parentInit)
		e.secrets.parentInit = nil
	}
	return e
}

func (e *Epoch) setTag(tag []byte) {
	e.tag = tag
	e.interim = e.suite.interimTranscriptHash(e.context.ConfirmedTranscriptHash, tag)
}

func (e *Epoch) dropConfirmationKey() {
	clear(e.secrets.confirmation)
	e.secrets.confirmation = nil
}

// ID is the dmls_epoch, Nh bytes, the same on all members and different on
// every branch. It is nil under RFC 9420.
func (e *Epoch) ID() []byte { return bytes.Clone(e.secrets.epochID) }

// Number is the integer epoch. Siblings share it: it is no key.
func (e *Epoch) Number() uint64 { return e.context.Epoch }

// GroupID is the group's id.
func (e *Epoch) GroupID() []byte { return bytes.Clone(e.context.GroupID) }

// GroupContext returns a copy.
func (e *Epoch) GroupContext() GroupContext { return e.context.clone() }

// Tree is the epoch's ratchet tree.
func (e *Epoch) Tree() *RatchetTree { return e.tree }

// Self is this member's leaf.
func (e *Epoch) Self() LeafIndex { return e.self }

// Suite is the group's cipher suite.
func (e *Epoch) Suite() CipherSuite { return e.suite.id }

// KeySchedule is the group's key schedule.
func (e *Epoch) KeySchedule() KeySchedule { return e.schedule }

// ConfirmedTranscriptHash covers all commits up to the one that began the epoch.
func (e *Epoch) ConfirmedTranscriptHash() []byte {
	return bytes.Clone(e.context.ConfirmedTranscriptHash)
}

// ConfirmationTag is that of the commit that began the epoch.
func (e *Epoch) ConfirmationTag() []byte { return bytes.Clone(e.tag) }

// EpochAuthenticator is RFC 9420, section 8.7: equal on two devices that are in
// the same epoch. Nh bytes.
func (e *Epoch) EpochAuthenticator() []byte { return bytes.Clone(e.secrets.authenticator) }

// ResumptionPSK is RFC 9420, section 8.6: the secret by which a later epoch or
// another group can be bound to this one. It is nil in a DMLS group, which
// takes no PSKs.
func (e *Epoch) ResumptionPSK() []byte { return bytes.Clone(e.secrets.resumption) }

// PPRFNodes is the number of secrets that the PPRF holds; 0 under RFC 9420.
func (e *Epoch) PPRFNodes() int {
	if e.pprf == nil {
		return 0
	}
	return e.pprf.Len()
}

// Export is MLS-Exporter (RFC 9420, section 8.5). It fails with ErrExporter
// after DropExporter.
func (e *Epoch) Export(label string, context []byte, n int) ([]byte, error) {
	if err := e.alive(); err != nil {
		return nil, err
	}
	if e.secrets.exporter == nil {
		return nil, ErrExporter
	}
	if n < 0 || n > e.suite.maxExpand() {
		return nil, fmt.Errorf("%w: export of %d bytes", ErrConfig, n)
	}
	return e.suite.export(e.secrets.exporter, label, context, n), nil
}

// DropExporter erases the exporter secret and returns the write set of that:
// none if it was gone.
func (e *Epoch) DropExporter() []Record {
	if e.secrets.exporter == nil {
		return nil
	}
	clear(e.secrets.exporter)
	e.secrets.exporter = nil
	return []Record{{Key: keyExporter, Secret: true}}
}

// DropSkipped erases the keys of frames that later ones of their senders went
// past (RFC 9420, section 15.3: how long to keep them is the application's), and
// returns the write set of that: none if there was none.
func (e *Epoch) DropSkipped() []Record {
	if e.wiped {
		return nil
	}
	changed := map[ratchetID]*ratchet{}
	for id, r := range e.secret.ratchets {
		if len(r.skipped) > 0 {
			r.dropSkipped()
			changed[id] = r
		}
	}
	if len(changed) == 0 {
		return nil
	}
	e.version++ // what was staged knows those keys
	return ratchetRecords(changed)
}

// NextGeneration is the generation of this member's next frame of that kind.
// Proposals and commits count together.
func (e *Epoch) NextGeneration(t ContentType) uint32 {
	if e.wiped {
		return 0
	}
	return e.secret.next(t.ratchet(e.self))
}

// CachedProposals lists the proposals sent in this epoch, by reference.
func (e *Epoch) CachedProposals() []CachedProposal {
	out := make([]CachedProposal, 0, len(e.proposals))
	for _, ref := range slices.Sorted(maps.Keys(e.proposals)) {
		out = append(out, e.proposals[ref])
	}
	return out
}

// Wipe overwrites the epoch's own copies of secrets. Tree nodes are shared with
// other epochs and stay. What needs secrets fails with ErrWiped afterwards.
func (e *Epoch) Wipe() {
	if e.wiped {
		return
	}
	e.wiped = true
	e.secrets.wipe()
	e.secret.wipe()
	if e.pprf != nil {
		e.pprf.Wipe()
	}
	for _, k := range e.privs {
		clear(k)
	}
	for _, k := range e.pending {
		clear(k)
	}
	e.privs, e.pending = nil, nil
}

func (e *Epoch) alive() error {
	if e.wiped {
		return ErrWiped
	}
	return nil
}

func (e *Epoch) framer() *framer {
	return &framer{suite: e.suite, schedule: e.schedule, context: e.encoded, senderData: e.secrets.senderData}
}
