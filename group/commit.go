package group

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group/internal/plan"
	"github.com/dmlsd/dmls/mls"
)

// commit is what stays of a commit when its secrets are long gone: what fork
// choice, merge plans and the drawing need. It is public to members.
type commit struct {
	ID, Parent dag.ID
	Number     uint64 // integer epoch of the child
	Author     dag.Member
	Seq        uint64
	Confirms   dag.ID
	Added      []dag.Member // by leaf
	Removed    []dag.Member
	Left       []dag.Member // removed by their own proposal
	Promoted   []dag.Member // to admin, and
	Demoted    []dag.Member // back, by somebody's decision
	Admins     []dag.Member // incarnations that are admins from here on: promoted, heirs, re-added
	Supersedes []dag.ID
	Tag        []byte
	Gone       bool     // it removes this device: the child is not for us
	Erased     bool     // the child's secrets are gone
	Base       bool     // not a commit that was opened here: the base itself
	Welcomed   bool     // a Welcome led here: once the child is erased, none does again
	Shown      []string // what of it was shown for approval or as dropped
	Settled    bool     // final and without open work: plans pass it over

	forPlans *plan.Commit // nil: not asked for yet; in memory only
}

// update reports whether refreshing the author's keys is all that it does.
func (c *commit) update() bool {
	return !c.Base && len(c.Added)+len(c.Removed)+len(c.Left)+len(c.Promoted)+len(c.Demoted)+len(c.Supersedes) == 0
}

// commitRecord is the stored form: byte strings for ids, which are not text.
type commitRecord struct {
	Parent, Author, Confirms []byte
	Number, Seq              uint64
	Added, Removed, Left     [][]byte
	Promoted, Demoted        [][]byte
	Admins                   [][]byte
	Supersedes               [][]byte
	Tag                      []byte
	Gone, Erased, Base       bool
	Welcomed                 bool `json:",omitempty"`
	Settled                  bool
	Shown                    []string
}

func (c *commit) marshal() []byte {
	return mustJSON(commitRecord{
		Parent: []byte(c.Parent), Author: []byte(c.Author), Confirms: []byte(c.Confirms), Number: c.Number, Seq: c.Seq,
		Added: toBytes(c.Added), Removed: toBytes(c.Removed), Left: toBytes(c.Left), Supersedes: toBytes(c.Supersedes),
		Promoted: toBytes(c.Promoted), Demoted: toBytes(c.Demoted), Admins: toBytes(c.Admins),
		Tag: c.Tag, Gone: c.Gone, Erased: c.Erased, Base: c.Base, Welcomed: c.Welcomed, Settled: c.Settled, Shown: c.Shown,
	})
}

func parseCommit(id dag.ID, b []byte) (*commit, error) {
	var r commitRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%w: commit: %w", ErrRecords, err)
	}
	return &commit{
		ID: id, Parent: dag.ID(r.Parent), Author: dag.Member(r.Author), Confirms: dag.ID(r.Confirms), Number: r.Number, Seq: r.Seq,
		Added: fromBytes[dag.Member](r.Added), Removed: fromBytes[dag.Member](r.Removed), Left: fromBytes[dag.Member](r.Left),
		Promoted: fromBytes[dag.Member](r.Promoted), Demoted: fromBytes[dag.Member](r.Demoted), Admins: fromBytes[dag.Member](r.Admins),
		Supersedes: fromBytes[dag.ID](r.Supersedes), Tag: r.Tag, Gone: r.Gone, Erased: r.Erased, Base: r.Base, Welcomed: r.Welcomed, Settled: r.Settled, Shown: r.Shown,
	}, nil
}

func toBytes[T ~string](in []T) [][]byte {
	var out [][]byte
	for _, v := range in {
		out = append(out, []byte(v))
	}
	return out
}

func fromBytes[T ~string](in [][]byte) []T {
	var out []T
	for _, v := range in {
		out = append(out, T(v))
	}
	return out
}

func (s *step) writeCommit(c *commit) {
	s.put(s.key("c/"+text(c.ID)), c.marshal(), Public)
}

// vertex is the commit as fork choice sees it.
func (c *commit) vertex() dag.Vertex {
	v := dag.Vertex{
		ID: c.ID, Parent: c.Parent, Author: c.Author, Seq: c.Seq, Confirms: c.Confirms,
		Removed: append(append([]dag.Member(nil), c.Removed...), c.Left...), Tag: c.Tag, Supersedes: c.Supersedes,
	}
	for _, m := range c.Added {
		v.Added = append(v.Added, dag.Voter{Member: m, Rank: rankMember, Leaf: leafOf(m)})
	}
	for _, m := range c.Admins {
		v.Ranks = append(v.Ranks, dag.Voter{Member: m, Rank: rankAdmin, Leaf: leafOf(m)})
	}
	for _, m := range c.Demoted {
		v.Ranks = append(v.Ranks, dag.Voter{Member: m, Rank: rankMember, Leaf: leafOf(m)})
	}
	return v
}

// takeCommit takes up a commit of somebody else whose tag has been verified:
// the puncture of its parent and the child go into one batch.
func (s *step) takeCommit(a arrival, e *epoch, o *mls.Opened) (Result, error) {
	c, err := s.describe(a.cid, a.header.Links, e, uint32(o.Sender), committed{
		proposals: o.Commit.Proposals, tag: o.Commit.ConfirmationTag, added: o.Commit.Added, number: a.header.Epoch + 1,
	})
	if err != nil {
		return Result{}, err
	}
	c.Gone = o.Commit.SelfRemoved
	if err := s.apply(e, o.Delta); err != nil {
		return Result{}, err
	}
	s.backHere(c.Author, e.id)
	forked := len(s.graph.Children(e.id)) > 0
	if err := s.adopt(a.cid, c, e, o.ContentHash, o.Commit.Child); err != nil {
		return Result{}, err
	}
	s.settleOpened(a, c.Author, o.ContentHash)
	if forked {
		return Result{CID: a.cid, Verdict: Forked}, nil
	}
	return Result{CID: a.cid, Verdict: Applied}, nil
}

// takeOldCommit follows a branch that this device is not on: that of the
// incarnation that it gave up, or one where it was added again by a rival. What
// is said below the commit, by members who count us in, is for us to read. If
// we enter the branch, its commits go into the graph (revive).
func (s *step) takeOldCommit(a arrival, e *epoch, o *mls.Opened) (Result, error) {
	c, err := s.describe(a.cid, a.header.Links, e, uint32(o.Sender), committed{
		proposals: o.Commit.Proposals, tag: o.Commit.ConfirmationTag, added: o.Commit.Added, number: a.header.Epoch + 1,
	})
	if err != nil {
		return Result{}, err
	}
	if err := s.apply(e, o.Delta); err != nil {
		return Result{}, err
	}
	c.Settled, c.Gone = true, o.Commit.SelfRemoved
	e.seen[string(o.ContentHash)] = struct{}{}
	s.settleOpened(a, c.Author, o.ContentHash)
	if c.ID == s.graph.Base() { // by which this device came back: the graph has begun without it
		return Result{CID: a.cid, Verdict: Stale, Reason: ErrErased}, nil
	}
	s.commits[c.ID] = c
	s.writeCommit(c)
	if !s.graph.Has(e.id) {
		s.graph.Settled(c.Author, c.Seq, "")
	} else if _, err := s.graph.AddVertex(c.vertex()); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrInternal, err)
	}
	if c.Gone {
		s.exits = append(s.exits, c)
		return Result{CID: a.cid, Verdict: Stale, Reason: ErrErased}, nil
	}
	info, err := readGroup(o.Commit.Child.GroupContext().Extensions)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrInternal, err)
	}
	child := newEpoch(c.ID, o.Commit.Child, info, e.leaves.with(c))
	child.seeds, child.reads = e.seeds, e.reads
	s.keepReadable(child, keyOf(c.Author), "it continues a branch that this device can read")
	s.forgetUnread(func(m *meta) bool { return idOf(m.Links.Parent) == child.id })
	return Result{CID: a.cid, Verdict: Stale, Reason: ErrErased}, nil
}

// committed is what both a received and a staged commit tell.
type committed struct {
	proposals []mls.CommittedProposal
	added     []mls.LeafIndex
	tag       []byte
	number    uint64
}

// describe states a commit in terms of incarnations.
func (s *step) describe(id cid.Cid, l frame.Links, e *epoch, sender uint32, o committed) (*commit, error) {
	c := &commit{
		ID: idOf(id), Parent: e.id, Number: o.number, Author: e.leaves.get(sender), Seq: l.Seq,
		Confirms: linkID(l.Confirms), Tag: o.tag,
	}
	if was := s.commits[c.ID]; was != nil { // a Welcome came before its commit
		c.Welcomed = was.Welcomed
	}
	for _, t := range l.Supersedes {
		c.Supersedes = append(c.Supersedes, idOf(t))
	}
	adds := 0
	for _, p := range o.proposals {
		switch v := p.Proposal.(type) {
		case *mls.Add:
			leaf := v.KeyPackage.LeafNode
			c.Added = append(c.Added, incarnation(uint32(o.added[adds]), leaf.SignatureKey, id))
			s.learnName(&leaf)
			adds++
		case *mls.Remove:
			m := e.leaves.get(uint32(v.Removed))
			if p.Sender == v.Removed {
				c.Left = append(c.Left, m)
			} else {
				c.Removed = append(c.Removed, m)
			}
		}
	}
	f, err := effectOf(e, o.proposals)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInternal, err) // it was authorised
	}
	c.roles(e, f)
	return c, nil
}

// roles states in terms of incarnations who becomes an admin and who ceases to
// be one. Of who goes nothing is said: a removal says it.
func (c *commit) roles(e *epoch, f effect) {
	find := func(key string) dag.Member {
		if f.added[key] {
			return c.Added[slices.IndexFunc(c.Added, func(m dag.Member) bool { return keyOf(m) == key })]
		}
		return e.find(key)
	}
	for _, k := range f.promoted() {
		c.Promoted = append(c.Promoted, find(k))
	}
	for _, k := range f.demoted() {
		c.Demoted = append(c.Demoted, find(k))
	}
	for _, k := range f.next.Admins {
		if !e.info.isAdmin(k) || f.added[k] {
			c.Admins = append(c.Admins, find(k))
		}
	}
}

// adopt puts a commit into the graph and its child among the epochs.
func (s *step) adopt(id cid.Cid, c *commit, parent *epoch, content []byte, child *mls.Epoch) error {
	change, err := s.graph.AddVertex(c.vertex())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err)
	}
	s.notePair(change)
	var found PlanView
	if len(c.Supersedes) > 0 {
		found = s.planView(c)
	}
	parent.seen[string(content)] = struct{}{}
	s.commits[c.ID] = c
	s.unsettled[c.ID] = struct{}{}
	if c.Gone {
		s.exits = append(s.exits, c)
	}
	s.writeCommit(c)
	if child != nil {
		info, err := readGroup(child.GroupContext().Extensions)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInternal, err)
		}
		e := newEpoch(c.ID, child, info, parent.leaves.with(c))
		s.epochs[c.ID] = e
		s.writeEpoch(e)
	}
	key := keyOf(c.Author)
	s.emit(Event{Kind: KindCommit, CID: text(c.ID), Epoch: c.Number, Head: text(c.Parent),
		From: hexKey(key), Name: s.names[key], Mine: c.Author == s.self, Actions: s.actions(c)})
	if len(c.Supersedes) > 0 {
		s.emit(Event{Kind: KindMerge, CID: text(c.ID), Epoch: c.Number, Head: text(c.Parent), Losers: texts(c.Supersedes),
			From: hexKey(key), Name: s.names[key], Mine: c.Author == s.self, Actions: s.actions(c), Plan: found,
			Why: "carries over what the losing branch had done"})
	}
	s.emit(Event{Kind: KindPunctured, CID: text(c.ID), Head: text(c.Parent), Epoch: c.Number - 1, Count: parent.mls.PPRFNodes(),
		Why: "the child's init secret was derived and cannot be derived again"})
	return nil
}

// actions says in words what a commit did.
func (g *Group) actions(c *commit) []string {
	var out []string
	list := func(verb string, ms []dag.Member) {
		for _, m := range ms {
			switch again := c.replaced(keyOf(m)); {
			case again == "":
				out = append(out, verb+" "+g.nameOf(keyOf(m)))
			case again == m:
				out = append(out, "re-add "+g.nameOf(keyOf(m)))
			}
		}
	}
	list("remove", c.Removed)
	list("leave", c.Left)
	list("add", c.Added)
	list("promote", c.Promoted)
	list("demote", c.Demoted)
	list("inherit", c.heirs())
	if len(c.Supersedes) > 0 {
		out = append(out, "merge")
	}
	if c.update() {
		out = append(out, "update")
	}
	return out
}

// heirs are members who became admins because the last ones left.
func (c *commit) heirs() []dag.Member {
	var out []dag.Member
	for _, m := range c.Admins {
		if !slices.Contains(c.Promoted, m) && !slices.Contains(c.Added, m) {
			out = append(out, m)
		}
	}
	return out
}

func (g *Group) nameOf(key string) string {
	if n := g.names[key]; n != "" {
		return n
	}
	return hexKey(key)[:8]
}

// learnName remembers the name that a leaf carries.
func (s *step) learnName(l *mls.LeafNode) {
	for _, x := range l.Extensions {
		if x.Type == extName && s.names[string(l.SignatureKey)] != string(x.Data) {
			s.names[string(l.SignatureKey)] = string(x.Data)
			s.put(s.key("name/"+hexKey(string(l.SignatureKey))), x.Data, Public)
		}
	}
}

func (s *step) learnNames(e *mls.Epoch) {
	for _, l := range e.Tree().Leaves() {
		s.learnName(l)
	}
}
