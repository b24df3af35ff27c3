package group

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/mls"
)

// Identity is the device's own: a name for people and the Ed25519 key that
// signs. Device = leaf; the key is the identity.
type Identity struct {
	Name   string
	Signer mls.Signer
}

// ID returns the public signature key, 32 bytes.
func (id Identity) ID() []byte { return id.Signer.Public() }

// epoch is one retained epoch: what opens frames that were sent in it.
type epoch struct {
	id     dag.ID
	mls    *mls.Epoch
	info   groupInfo // of its GroupContext
	leaves leafTable
	seen   map[string]struct{} // content hashes of the commits that were opened here
	sent   map[ratchet]uint64  // smallest seq of frames that were sent here
	kept   map[cid.Cid][]byte  // blocks whose keys stay: handshakes and our own frames, for proofs
	born   time.Time
	reads  time.Time             // of a rival Welcome: what was said there has until then to come; in memory only
	old    bool                  // of an incarnation that this device gave up; opens messages only
	seeds  seeds                 // of its base, if it is old
	found  map[string]dag.Member // members that find was asked for
}

func newEpoch(id dag.ID, e *mls.Epoch, info groupInfo, leaves leafTable) *epoch {
	return &epoch{id: id, mls: e, info: info, leaves: leaves,
		seen: map[string]struct{}{}, sent: map[ratchet]uint64{}, kept: map[cid.Cid][]byte{}}
}

// find returns the member with a signature key. It looks through all of them
// once for each; that there is none takes O(log n).
func (e *epoch) find(key string) dag.Member {
	if m, ok := e.found[key]; ok {
		return m
	}
	if !e.mls.Tree().HasSignatureKey([]byte(key)) {
		return ""
	}
	m := e.leaves.find(key)
	if e.found == nil {
		e.found = map[string]dag.Member{}
	}
	if m != "" {
		e.found[key] = m
	}
	return m
}

// ratchet names one of the two ratchets of a sender in an epoch.
type ratchet struct {
	leaf      uint32
	joined    cid.Cid
	handshake bool
}

// parked is a frame that waits for its parent or predecessor, or for a
// self-Remove that it refers to.
type parked struct {
	block   []byte
	from    string
	missing []cid.Cid
	leave   dag.ID // epoch of the self-Remove
	epoch   uint64
	by      chain
}

// Group is the state machine of one group on one device.
type Group struct {
	cfg  Config
	id   Identity
	gid  []byte
	text string // of gid, once it was asked for

	info       groupInfo
	root       dag.ID // this device's base when it came, for the incarnation
	gossip     *frame.Gossip
	gossipKey  []byte
	generation uint32

	state   state
	self    dag.Member
	inviter string // signature key of who added us; "" for the creator
	floor   uint64 // frames of a smaller integer epoch cannot be opened here
	next    uint64 // our next frame's seq
	prev    cid.Cid
	cursor  uint64 // last event
	settled uint64 // frames settled so far
	goneAt  time.Time
	leaveIn dag.ID // the epoch that holds our self-Remove

	graph   *dag.Graph
	head    dag.ID
	epochs  map[dag.ID]*epoch
	commits map[dag.ID]*commit
	exits   []*commit // commits that remove this device
	// unsettled are the commits that plans look at: those of retained epochs and
	// those of erased ones with open work.
	unsettled map[dag.ID]struct{}
	names     map[string]string
	base      leafMap[tableRow] // members at the graph's base, with their chains
	baseAt    dag.ID            // the epoch for which that is so

	frames map[cid.Cid]*meta
	held   map[cid.Cid]struct{} // tips of what is held
	open   map[cid.Cid]struct{} // tips of what was opened
	// unreadUpTo is the largest seq of frames that only settled, by the member
	// whose chain they continue.
	unreadUpTo  map[dag.Member]uint64
	hints       map[dag.Member]struct{} // who seems to have sent frames that only settled
	hinted      map[dag.Member]struct{} // those of them that are recorded
	hinting     map[dag.Member]struct{} // whose record may have to change
	holes       map[cid.Cid]uint64      // linked to by opened frames but not settled: the largest epoch of these
	unreadHoles map[cid.Cid]uint64      // by unread frames: not here either
	seedsWanted map[cid.Cid]struct{}    // last frames before the base, when branches above it may be read,
	seedsUntil  time.Time               // and until when
	linked      map[cid.Cid]struct{}    // what settled frames link to and is not held, and
	followed    map[cid.Cid]struct{}    // what opened frames link to
	order       []cid.Cid               // as they settled, some expired ones among them
	blocks      []cid.Cid               // held, in the order in which they go
	blockBytes  int
	expireAt    time.Time            // not to be looked at before
	ends        map[chain]cid.Cid    // last frame of each chain
	unsent      map[cid.Cid][]byte   // own blocks that nobody is known to hold; of texts the application data
	seen        map[cid.Cid]struct{} // texts of unsent that somebody has, and others may not be able to read
	nodes       map[string]int       // tree records by hash, with the number of their users
	messages    map[string]struct{}
	pending     []*message
	forks       map[dag.ID]string    // forks announced, with the child chosen
	liars       map[dag.Member]*liar // members that equivocated

	waiting    map[cid.Cid]*parked
	waiters    map[cid.Cid][]cid.Cid
	leaves     map[dag.ID][]cid.Cid // frames that wait for a self-Remove, by epoch
	parkedSize int
	peerParked map[string]*share
	orphans    []cid.Cid                // parked frames that waited for a self-Remove in an epoch that is gone, or are of one above the base
	swept      uint64                   // the floor for which those were looked for
	delayed    map[cid.Cid]time.Time    // parked commits, by their authors' budgets
	budgets    map[dag.Member]time.Time // when they are whole again
	rejected   map[cid.Cid]error
	rejectLog  []cid.Cid

	offers   map[string]*offer              // of stranded joiners, by key
	rejoins  []*rejoin                      // our own while stranded, the oldest first
	entered  bool                           // one of them brought us here; they are kept until the base is sure to stay and no Welcome is awaited
	former   *former                        // who we were before, for as long
	seeds    map[dag.ID]seeds               // by bases that were given up
	gaps     map[chain]map[cid.Cid]struct{} // frames that are missing in the middle of chains
	answered map[string]answer              // Welcomes that answered offers, by KeyPackage reference
	diverged bool                           // members went on where this device cannot read, and that was said
	ejected  bool                           // the others say that they removed this device where it cannot read
	halves   bool                           // so did members who were removed here and removed us
	said     map[string]word                // what members said last of another head, by key
	present  dag.ID                         // the commit that added our key to the head that they told of, "" if none did
	told     bool                           // present is known
	noticed  uint64                         // frames settled when they did

	relay    relay
	expelled map[dag.ID]bool // bases out of which this device was put: it does not enter them again

	due due
}

// state is where this device stands in the group.
type state uint8

const (
	member state = iota + 1
	leaving
	left
	removed
	stranded
	copied // somebody else sends as this device
)

func (s state) String() string {
	return [...]string{"", "member", "leaving", "left", "removed", "stranded", "copied"}[s]
}

// step is one Step under way: the group, the caller's environment and the
// output that grows.
type step struct {
	*Group
	env     Env
	out     Output
	dirty   bool // the state record must be written
	ready   []cid.Cid
	refetch []cid.Cid // blocks to ask for again
	pairs   []pair    // of equivocators, found in this step
}

func newGroup(c Config, id Identity) *Group {
	return &Group{
		cfg: c, id: id, state: member,
		epochs: map[dag.ID]*epoch{}, commits: map[dag.ID]*commit{}, names: map[string]string{}, unsettled: map[dag.ID]struct{}{},
		frames: map[cid.Cid]*meta{}, held: map[cid.Cid]struct{}{}, open: map[cid.Cid]struct{}{},
		unreadUpTo: map[dag.Member]uint64{}, hints: map[dag.Member]struct{}{}, hinted: map[dag.Member]struct{}{}, hinting: map[dag.Member]struct{}{}, holes: map[cid.Cid]uint64{}, unreadHoles: map[cid.Cid]uint64{}, linked: map[cid.Cid]struct{}{}, followed: map[cid.Cid]struct{}{},
		unsent: map[cid.Cid][]byte{}, seen: map[cid.Cid]struct{}{}, nodes: map[string]int{}, messages: map[string]struct{}{},
		forks: map[dag.ID]string{}, liars: map[dag.Member]*liar{}, waiting: map[cid.Cid]*parked{}, waiters: map[cid.Cid][]cid.Cid{}, leaves: map[dag.ID][]cid.Cid{},
		peerParked: map[string]*share{}, ends: map[chain]cid.Cid{}, delayed: map[cid.Cid]time.Time{}, budgets: map[dag.Member]time.Time{}, rejected: map[cid.Cid]error{},
		offers: map[string]*offer{}, answered: map[string]answer{}, seeds: map[dag.ID]seeds{}, gaps: map[chain]map[cid.Cid]struct{}{}, said: map[string]word{},
		relay: newRelay(), expelled: map[dag.ID]bool{}, due: newDue(),
	}
}

const suite = mls.MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519

// NewKeyPackage makes what a joiner hands to its inviter.
func NewKeyPackage(env Env, id Identity) (*mls.KeyPackageBundle, error) {
	b, err := mls.NewKeyPackage(keyPackageOptions(env, id), id.Signer, mlsEnv(env))
	if err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	return b, nil
}

// Create founds a group with this device as its only member.
func Create(env Env, c Config, id Identity, name string, p Policy) (*Group, Output, error) {
	if err := c.Validate(); err != nil {
		return nil, Output{}, err
	}
	g := newGroup(c, id)
	switch p {
	case PolicyAdmins:
		g.info = groupInfo{Policy: p, Name: name, Admins: []string{string(id.ID())}}
	case PolicyOpen:
		g.info = groupInfo{Policy: p, Name: name}
	default:
		return nil, Output{}, fmt.Errorf("%w: %d", ErrPolicy, p)
	}
	g.gid = make([]byte, 16)
	g.gossipKey = make([]byte, 32)
	for _, b := range [][]byte{g.gid, g.gossipKey} {
		if _, err := io.ReadFull(env.Rand, b); err != nil {
			return nil, Output{}, fmt.Errorf("group: %w", err)
		}
	}
	first, err := mls.Create(groupConfig(env, g.gid, id, g.info), id.Signer, mlsEnv(env))
	if err != nil {
		return nil, Output{}, fmt.Errorf("group: %w", err)
	}
	// The root link is the CID of the first GroupContext (design, section 5.1).
	gc := first.GroupContext()
	root := frame.CIDOf(gc.Marshal())
	g.begin(idOf(root), first, g.info, []tableRow{{Member: incarnation(uint32(first.Self()), id.ID(), root), Prev: root}})
	g.self, g.prev = g.base.get(0).Member, root
	g.seed()
	s := &step{Group: g, env: env}
	g.commits[g.root] = &commit{ID: g.root, Base: true}
	s.writeCommit(g.commits[g.root])
	s.writeBase()
	s.writeEpoch(g.epochs[g.root])
	s.learnNames(first)
	s.emit(Event{Kind: KindJoined, Epoch: 0, Head: text(g.head), Text: name})
	return g, s.done(), nil
}

// begin puts the group on a base: the epoch from which it can open frames.
func (g *Group) begin(id dag.ID, e *mls.Epoch, info groupInfo, rows []tableRow) {
	g.root, g.head = id, id
	g.setBase(id, rows)
	g.floor = e.Number()
	g.gossip = frame.NewGossip(g.gossipKey, g.generation)
	var t leafTable
	for _, r := range rows {
		t = t.set(leafOf(r.Member), r.Member)
	}
	g.graph = newGraph(g.cfg.Rule, g.baseCommit(id, e.Number()), info, rows)
	for m := range g.liars {
		g.graph.Equivocated(m, "")
	}
	g.epochs[id] = newEpoch(id, e, info, t)
}

// ID returns the group id in hexadecimal.
func (g *Group) ID() string {
	if g.text == "" {
		g.text = hex.EncodeToString(g.gid)
	}
	return g.text
}

// Name returns the group's name.
func (g *Group) Name() string { return g.info.Name }

// Topic returns the opaque gossip topic, shared by all branches.
func (g *Group) Topic() string { return g.gossip.Topic() }

// PeerKey returns the key by which peers prove to each other that they know
// the gossip secret. It hides metadata only, like all that comes of it.
func (g *Group) PeerKey() frame.PeerKey { return g.gossip.PeerKey() }

// Step takes one input and returns everything that the world must now do. An
// error means that the request makes no sense, or ErrInternal; frames from
// others yield Results, never errors.
func (g *Group) Step(env Env, in Input) (Output, error) {
	s := &step{Group: g, env: env}
	err := s.wakeDelayed()
	if err != nil {
		return Output{}, err
	}
	switch in := in.(type) {
	case Receive:
		err = s.receive(in)
	case Hear:
		err = s.hear(in)
	case Send:
		err = s.send(in)
	case Change:
		err = s.change(in)
	case Leave:
		err = s.leave()
	case Tick:
		err = s.tick()
	default:
		err = fmt.Errorf("%w: input %T", ErrInternal, in)
	}
	if err != nil {
		return Output{}, err
	}
	if err := s.follow(); err != nil {
		return Output{}, err
	}
	return s.done(), nil
}

// done closes the output: state record, wants, wake.
func (s *step) done() Output {
	s.writeHints()
	if s.dirty {
		s.writeState()
	}
	s.out.Want = append(s.Wants(), s.refetch...)
	s.out.Wake = s.wake()
	return s.out
}

func (s *step) emit(e Event) {
	s.cursor++
	s.dirty = true
	e.Cursor, e.Time, e.Group = s.cursor, s.env.Now.UnixMilli(), s.ID()
	s.put(EventKey(s.ID(), e.Cursor), encodeEvent(e), History)
	s.out.Events = append(s.out.Events, e)
}

func (s *step) headEpoch() (*epoch, error) {
	if e := s.epochs[s.head]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%w: the head %s has no epoch", ErrInternal, text(s.head))
}

func mlsEnv(e Env) mls.Env {
	return mls.Env{Now: e.Now, Rand: e.Rand, Parallel: e.Parallel, Once: e.Once}
}

func sameKey(a []byte, key string) bool { return bytes.Equal(a, []byte(key)) }
