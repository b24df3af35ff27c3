package group

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/mls"
)

// Lifetime of the KeyPackages made here; at most 90 days may be asked of
// others (design, section 5.3 d).
const keyPackageLifetime = 30 * 24 * time.Hour

// clockSlack is how far ahead of ours an inviter's clock may be.
const clockSlack = time.Hour

// window does not bound generations: a frame has the one that follows from its
// sender's chain (checkSender), and a bound by what happened to be opened here
// would refuse on one device what another takes.
var window = mls.Window{Forward: 1<<32 - 2}

func capabilities() mls.Capabilities {
	return mls.Capabilities{
		Versions: []uint16{1}, CipherSuites: []mls.CipherSuite{suite},
		Extensions: []mls.ExtensionType{extGroup, extName, extReplaces}, Credentials: []mls.CredentialType{mls.CredentialBasic},
	}
}

func keyPackageOptions(env Env, id Identity) mls.KeyPackageOptions {
	return mls.KeyPackageOptions{
		Suite: suite, Credential: mls.BasicCredential(id.ID()), Capabilities: capabilities(),
		Lifetime: mls.Lifetime{
			NotBefore: uint64(env.Now.Add(-clockSlack).Unix()), NotAfter: uint64(env.Now.Add(keyPackageLifetime).Unix()),
		},
		LeafExtensions: []mls.Extension{{Type: extName, Data: []byte(id.Name)}},
	}
}

func groupConfig(env Env, gid []byte, id Identity, info groupInfo) mls.GroupConfig {
	return mls.GroupConfig{
		Suite: suite, GroupID: gid, KeySchedule: mls.DMLS, Window: window,
		Extensions: []mls.Extension{
			{Type: extGroup, Data: info.marshal()},
			mls.RequiredCapabilities([]mls.ExtensionType{extGroup, extName}, nil, nil),
		},
		Leaf: keyPackageOptions(env, id),
	}
}

// welcomed is a bundle that was opened and verified.
type welcomed struct {
	epoch   *mls.Epoch
	base    base
	info    groupInfo
	rows    []tableRow
	gone    []tableRow // of our own earlier incarnations
	self    dag.Member
	inviter string
}

// openBundle verifies a Welcome bundle against the KeyPackage it was made for.
func openBundle(env Env, id Identity, b []byte, kp *mls.KeyPackageBundle) (*welcomed, error) {
	parts, err := parseBundle(b)
	if err != nil {
		return nil, err
	}
	e, gi, err := mls.Join(parts.Welcome, parts.Tree, kp, mls.JoinOptions{KeySchedule: mls.DMLS, Signer: id.Signer, Window: window}, mlsEnv(env))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	w := &welcomed{epoch: e}
	gc := e.GroupContext()
	if w.info, err = readGroup(gc.Extensions); err != nil {
		return nil, err
	}
	x, ok := findExtension(gi.Extensions, extBase)
	if !ok {
		return nil, fmt.Errorf("%w: the GroupInfo names no base", ErrBundle)
	}
	if w.base, err = parseBase(x); err != nil {
		return nil, err
	}
	if w.rows, w.gone, err = parseTable(parts.Table, w.base.TableHash); err != nil {
		return nil, err
	}
	w.inviter = string(e.Tree().Leaf(gi.Signer).SignatureKey)
	return w, w.checkRows(id)
}

// checkRows compares the table with the tree: every member has its row, with
// the key of its leaf, and this device was added by the base commit.
func (w *welcomed) checkRows(id Identity) error {
	i := 0
	for leaf, node := range w.epoch.Tree().Leaves() {
		if i == len(w.rows) || leafOf(w.rows[i].Member) != uint32(leaf) || !sameKey(node.SignatureKey, keyOf(w.rows[i].Member)) {
			return fmt.Errorf("%w: the table does not fit the tree at leaf %d", ErrBundle, leaf)
		}
		i++
	}
	for _, k := range w.info.Admins {
		if !slices.ContainsFunc(w.rows, func(r tableRow) bool { return keyOf(r.Member) == k }) {
			return fmt.Errorf("%w: an admin who is no member", ErrBundle)
		}
	}
	w.self = incarnation(uint32(w.epoch.Self()), id.ID(), w.base.CID)
	if i != len(w.rows) || w.rowOf(w.self) == nil {
		return fmt.Errorf("%w: the table does not name this device as added by the base commit", ErrBundle)
	}
	return nil
}

func (w *welcomed) rowOf(m dag.Member) *tableRow {
	for i := range w.rows {
		if w.rows[i].Member == m {
			return &w.rows[i]
		}
	}
	return nil
}

func readGroup(xs []mls.Extension) (groupInfo, error) {
	x, ok := findExtension(xs, extGroup)
	if !ok {
		return groupInfo{}, fmt.Errorf("%w: not a DMLS group", ErrBundle)
	}
	return parseGroupInfo(x)
}

func findExtension(xs []mls.Extension, t mls.ExtensionType) ([]byte, bool) {
	for _, x := range xs {
		if x.Type == t {
			return x.Data, true
		}
	}
	return nil, false
}

// Join opens a Welcome bundle. The operations in erase, above all the deletion
// of the KeyPackage's private keys, go into the batch of the join itself.
func Join(env Env, c Config, id Identity, b []byte, kp *mls.KeyPackageBundle, erase []Op) (*Group, Output, error) {
	return JoinAgain(env, c, id, b, kp, erase, func(string) ([]Event, error) { return nil, nil })
}

// JoinAgain is Join for a device that may have been in the group before: past
// gives the events of that time, which stay in the store. Their log goes on, and
// what it holds is not delivered again.
func JoinAgain(env Env, c Config, id Identity, b []byte, kp *mls.KeyPackageBundle, erase []Op, past func(gid string) ([]Event, error)) (*Group, Output, error) {
	if err := c.Validate(); err != nil {
		return nil, Output{}, err
	}
	w, err := openBundle(env, id, b, kp)
	if err != nil {
		return nil, Output{}, err
	}
	g := newGroup(c, id)
	g.gid = bytes.Clone(w.epoch.GroupID())
	events, err := past(g.ID())
	if err != nil {
		return nil, Output{}, err
	}
	for _, ev := range events {
		g.cursor = max(g.cursor, ev.Cursor)
		g.delivered(ev)
	}
	s := &step{Group: g, env: env}
	if err := s.enter(w, nil); err != nil {
		return nil, Output{}, err
	}
	s.out.Batch = append(s.out.Batch, erase...)
	s.emit(Event{Kind: KindJoined, Epoch: w.epoch.Number(), Head: text(g.head), CID: text(g.head),
		From: hexKey(w.inviter), Name: g.names[w.inviter], Text: g.info.Name})
	return g, s.done(), nil
}

// enter puts the group on the base that a Welcome names. Where this device was
// there before, it goes on with the epochs that it has.
func (s *step) enter(w *welcomed, back *epoch) error {
	s.info, s.gossipKey, s.generation = w.info, w.base.Gossip, w.base.Generation
	s.self, s.inviter, s.state = w.self, w.inviter, member
	e := w.epoch
	if back != nil {
		e = back.mls
	}
	s.begin(idOf(w.base.CID), e, w.info, w.rows)
	s.next, s.prev, s.seedsWanted = 0, cidOf(addedBy(s.self)), nil
	known := s.baseCommit(s.root, e.Number()) // by what was read on a branch that was left
	c := *known
	c.Base, c.Welcomed, c.Settled, c.Gone = true, true, false, false
	s.commits[s.root] = &c
	s.exits = slices.DeleteFunc(s.exits, func(x *commit) bool { return x.ID == s.root })
	s.seed()
	s.writeCommit(s.commits[s.root])
	s.writeBase()
	if back == nil {
		s.writeEpoch(s.epochs[s.root])
	} else {
		back.leaves = s.epochs[s.root].leaves
		s.epochs[s.root] = back // revived below
	}
	if s.entered {
		s.forgetUnread(s.mayOpenNow)
		s.noteGaps()
		if err := s.revive(); err != nil {
			return fmt.Errorf("%w: %w", ErrInternal, err) // half of the change is made: the group must stop
		}
	}
	s.learnNames(e)
	s.arrivedBefore(w.gone)
	s.due = newDue()
	s.due.headMoved()
	return nil
}

// chains returns where the chain of every sender stands that this device
// knows, by the frames that it opened.
func (g *Group) chains() map[dag.Member]tableRow {
	out := make(map[dag.Member]tableRow, g.base.len())
	for r := range g.base.all() {
		out[r.Member] = r
	}
	for _, c := range sorted(g.frames) {
		m := g.frames[c]
		if m.Author == "" || m.Status == seeded {
			continue
		}
		if r, ok := out[m.Author]; !ok || m.Links.Seq+1 > r.Next {
			out[m.Author] = tableRow{Member: m.Author, Next: m.Links.Seq + 1, Prev: c}
		}
	}
	return out
}

// arrivedBefore takes out of the outbox what the inviter had opened of our
// earlier incarnations, but for texts: those who did not know of that stay may
// have forgotten how to open them.
func (s *step) arrivedBefore(gone []tableRow) {
	for _, c := range sorted(s.unsent) {
		m := s.frames[c]
		for _, r := range gone {
			if m != nil && len(s.unsent[c]) == 0 && m.Author == r.Member && m.Links.Seq < r.Next {
				s.sent(c)
			}
		}
	}
}
