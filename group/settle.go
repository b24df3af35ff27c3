package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
)

// status says how a frame was settled (design, section 5.1).
type status uint8

const (
	opened     status = iota + 1
	unread            // its links show that this device cannot open it
	unopenable        // signed well, but the path did not open
	spent             // an application frame on a key that is gone
	seeded            // before the base: named by the table, not held
	refused           // wrong, but another frame follows it: held, so that all who open that one know its chain
)

// meta is what stays of a settled frame: its place in the frame graph. There are
// as many as frames, so its fields stand as they pack best.
type meta struct {
	Links   frame.Links
	Author  dag.Member // of opened frames and unopenable commits: proven
	Said    dag.Member // of unread frames: whose chain its links continue, unproven
	Content string     // labelled hash of an opened commit's content
	About   string     // of a proof the member, of a complaint the commit
	Message [16]byte   // of an opened text
	N       uint64     // order of settling on this device
	Epoch   uint64
	At      int64  // when it settled here, Unix seconds
	Size    uint32 // of the block
	Status  status
	Type    uint8   // content type: 1 application, 2 proposal, 3 commit
	Kind    appKind // of an opened application frame

	// In memory only.
	whole bool    // all that it follows was delivered, or given up
	seen  bool    // our own: somebody linked to it, or to what follows it
	loose bool    // some of what it follows came later, if at all: its depth is too small
	nth   uint32  // of its kind, by its sender, in its epoch
	depth uint32  // longest way to a frame without a past, as far as held
	name  cid.Cid // of which links to it share the bytes
}

// mute reports whether a frame stands nowhere.
func (m *meta) mute() bool { return m.Kind == appProof || m.Kind == appComplaint }

// stand tells the graph of an opened frame that is no commit, from its record.
func (g *Group) stand(c cid.Cid, m *meta) error {
	st := dag.Stand{ID: idOf(c), Author: m.Author, Seq: m.Links.Seq, At: idOf(m.Links.Parent), Confirms: linkID(m.Links.Confirms), Mute: m.mute()}
	switch m.Kind {
	case appComplaint:
		st.CannotOpen = dag.ID(m.About)
	case appProof:
		g.graph.Equivocated(dag.Member(m.About), st.At)
	}
	_, err := g.graph.AddStand(st)
	return err
}

// shareNames has the links name frames that are held by the same bytes.
func (g *Group) shareNames(l *frame.Links) {
	share := func(c *cid.Cid) {
		if m := g.frames[*c]; m != nil && m.name.Defined() {
			*c = m.name
		}
	}
	for _, c := range []*cid.Cid{&l.Joined, &l.Prev, &l.Parent, &l.Confirms} {
		share(c)
	}
	for i := range l.After {
		share(&l.After[i])
	}
}

const (
	typeApplication = 1
	typeProposal    = 2
	typeCommit      = 3
)

func (m *meta) marshal() []byte {
	var w buffer
	w.u64(m.N)
	w.u8(uint8(m.Status))
	w.u8(m.Type)
	w.u64(m.Epoch)
	w.bytes(m.Links.Marshal())
	w.bytes([]byte(m.Author))
	w.bytes([]byte(m.Said))
	w.bytes([]byte(m.Content))
	w.b = append(w.b, m.Message[:]...)
	w.u8(uint8(m.Kind))
	w.u64(uint64(m.At))
	w.u32(m.Size)
	w.bytes([]byte(m.About))
	return w.b
}

func parseMeta(b []byte) (*meta, error) {
	r := cursor{b: b}
	m := &meta{}
	m.N, m.Status, m.Type, m.Epoch = r.u64(), status(r.u8()), r.u8(), r.u64()
	aad := r.bytes()
	m.Author, m.Said, m.Content = dag.Member(r.bytes()), dag.Member(r.bytes()), string(r.bytes())
	copy(m.Message[:], r.take(16))
	m.Kind, m.At, m.Size, m.About = appKind(r.u8()), int64(r.u64()), r.u32(), string(r.bytes())
	err := r.done()
	if err == nil {
		m.Links, err = frame.ParseLinks(aad)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: frame: %w", ErrRecords, err)
	}
	return m, nil
}

// past returns what a frame links to: its direct causal past.
func (m *meta) past() []cid.Cid {
	out := make([]cid.Cid, 0, len(m.Links.After)+2)
	for _, c := range []cid.Cid{m.Links.Parent, m.Links.Prev} {
		if c.Defined() {
			out = append(out, c)
		}
	}
	return append(out, m.Links.After...)
}

// settle records a frame for good and wakes those that waited for it.
func (s *step) settle(c cid.Cid, m *meta, block []byte) {
	s.settled++
	m.name, m.N, m.At, m.Size = c, s.settled, s.env.Now.Unix(), uint32(len(block))
	s.put(BlockKey(s.ID(), c), block, Public)
	s.put(s.key("f/"+c.String()), m.marshal(), Public)
	s.frames[c] = m
	s.isHere(c)
	delete(s.rejected, c)
	s.fillGap(chainOf(m.Links), c)
	s.index(m)
	s.link(c, m)
	s.queueBlock(c, m)
	s.inOrderOfSettling(c)
	if m.Status == opened && !s.own(m.Author) { // links of unread frames prove nothing
		for _, p := range m.past() {
			s.wasSeen(p)
		}
	}
	s.keep(c, m, block)
	s.tellGone(m)
	if m.Author != "" {
		delete(s.due.asking, m.Author)
	}
	s.dirty = true
	s.ready = append(s.ready, s.waiters[c]...)
	delete(s.waiters, c)
	if m.Type == typeProposal {
		s.ready = append(s.ready, s.leaves[idOf(m.Links.Parent)]...)
	}
}

// inOrderOfSettling notes a frame for Landmarks. What has expired stays in the
// list until it makes up half of it.
func (g *Group) inOrderOfSettling(c cid.Cid) {
	if len(g.order) > 2*len(g.frames)+64 {
		g.order = g.heldInOrder()
	}
	g.order = append(g.order, c)
}

// heldInOrder lists what is held as it settled last: a frame that expired may have
// come again.
func (g *Group) heldInOrder() []cid.Cid {
	seen := map[cid.Cid]bool{}
	var out []cid.Cid
	for _, c := range slices.Backward(g.order) {
		if g.Has(c) && !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	slices.Reverse(out)
	return out
}

// nth counts the frames of the same kind that the sender sent in the epoch
// before, on the chain that the links continue. Only one of them can have that
// place and ratchet key, whatever was opened here. A frame that is missing may
// be one of them.
func (g *Group) nth(e *epoch, contentType uint8, l frame.Links) (n uint32, missing cid.Cid) {
	first, some := e.sent[ratchetOf(contentType, l)]
	gaps := g.gaps[chainOf(l)]
	for c := l.Prev; some || len(gaps) > 0; {
		p := g.predecessor(e, c)
		if _, gap := gaps[c]; p == nil && gap {
			return 0, c
		}
		if p == nil || p.Status == seeded || !sameChain(p.Links, l) || len(gaps) == 0 && p.Links.Seq < first {
			break
		}
		if p.Links.Parent == l.Parent && ratchetOf(p.Type, l) == ratchetOf(contentType, l) {
			return p.nth + 1, cid.Undef
		}
		c = p.Links.Prev
	}
	return 0, cid.Undef
}

func ratchetOf(contentType uint8, l frame.Links) ratchet {
	return ratchet{leaf: l.Leaf, joined: l.Joined, handshake: contentType != typeApplication}
}

// index counts a frame in the epoch that it was sent in. What was once opened had the
// generation that it names (checkSender), although frames before it may be missing
// now, since they were dropped to be opened.
func (g *Group) index(m *meta) {
	e := g.epochs[idOf(m.Links.Parent)]
	if e == nil || m.Status == seeded {
		return
	}
	if m.nth = m.Links.Generation; m.Status == unread || m.Status == refused {
		m.nth, _ = g.nth(e, m.Type, m.Links)
	}
	k := ratchetOf(m.Type, m.Links)
	if first, ok := e.sent[k]; !ok || m.Links.Seq < first {
		e.sent[k] = m.Links.Seq
	}
}

// link keeps the tips, frames to which no other links, and the holes: what an
// opened frame links to and is not here. `after` does not gate opening, so
// tips alone do not show a hole, and peers that compare tips would never fill
// it.
func (g *Group) link(c cid.Cid, m *meta) {
	if _, ok := g.linked[c]; !ok {
		g.held[c] = struct{}{}
	}
	delete(g.linked, c)
	k := chainOf(m.Links)
	if last := g.frames[g.ends[k]]; last == nil || last.Links.Seq <= m.Links.Seq {
		g.ends[k] = c
	}
	g.hint(m)
	if m.Said != "" {
		g.unreadUpTo[m.Said] = max(g.unreadUpTo[m.Said], m.Links.Seq)
	}
	for _, p := range m.past() {
		if !g.before(p, m) {
			g.linked[p] = struct{}{}
			m.loose = m.loose || g.inviter != "" || idOf(p) != g.root
		}
		delete(g.held, p)
		if q := g.frames[p]; q != nil {
			m.depth, m.loose = max(m.depth, q.depth+1), m.loose || q.loose
		}
	}
	switch m.Status {
	case opened:
		g.linkOpened(c, m)
	case unread:
		g.linkUnread(m)
	}
}

// maxUnreadHoles bounds what is asked for because an unread frame links to it:
// whoever has the gossip key can make such frames.
const maxUnreadHoles = 1024

// linkUnread notes what an unread frame links to and is not here. Nobody here
// waits for it, but peers take what lies in the past of our tips for held.
func (g *Group) linkUnread(m *meta) {
	for _, p := range m.past() {
		if g.lacks(p) && len(g.unreadHoles) < maxUnreadHoles {
			g.unreadHoles[p] = max(g.unreadHoles[p], m.Epoch)
		}
	}
}

// before reports whether a frame was held when m settled.
func (g *Group) before(c cid.Cid, m *meta) bool {
	q := g.frames[c]
	return q != nil && q.Status != seeded && q.N < m.N
}

func (g *Group) linkOpened(c cid.Cid, m *meta) {
	if _, ok := g.followed[c]; !ok {
		g.open[c] = struct{}{}
	}
	delete(g.followed, c)
	for _, p := range m.past() {
		if !g.before(p, m) {
			g.followed[p] = struct{}{}
		}
		delete(g.open, p)
		if g.lacks(p) {
			g.holes[p] = max(g.holes[p], m.Epoch)
		}
	}
}

// refuse answers a frame that parses and is wrong for everybody who can read
// its epoch. Whoever cannot settles it unread, so that it is refused must not
// bear on what follows it. It is dropped, unless something does follow it: then
// it is held like any frame, for those who lack it.
func (s *step) refuse(a arrival, why error) Result {
	if len(s.waiters[a.cid]) == 0 {
		return s.reject(a.cid, why)
	}
	h := a.header
	s.settle(a.cid, &meta{Status: refused, Type: h.ContentType, Epoch: h.Epoch, Links: h.Links}, a.block)
	return Result{CID: a.cid, Verdict: Rejected, Reason: why}
}

// reject remembers a block that is wrong for every honest node.
func (s *step) reject(c cid.Cid, why error) Result {
	if _, ok := s.rejected[c]; !ok {
		s.rejected[c] = why
		s.rejectLog = append(s.rejectLog, c)
		if len(s.rejectLog) > s.cfg.RejectCache {
			delete(s.rejected, s.rejectLog[0])
			s.rejectLog = s.rejectLog[1:]
		}
	}
	s.isHere(c)
	s.ready = append(s.ready, s.waiters[c]...)
	delete(s.waiters, c)
	return Result{CID: c, Verdict: Rejected, Reason: why}
}

// lacks reports whether a block is missing that may be worth having.
func (g *Group) lacks(c cid.Cid) bool {
	_, refused := g.rejected[c]
	return !refused && !g.isSettled(c)
}

// isHere ends the search for a block.
func (g *Group) isHere(c cid.Cid) {
	delete(g.holes, c)
	delete(g.unreadHoles, c)
}

// isSettled reports whether prev may be followed.
func (g *Group) isSettled(c cid.Cid) bool {
	_, ok := g.frames[c]
	return ok || idOf(c) == g.root
}

// Has reports whether the block of a frame is held and settled here.
func (g *Group) Has(c cid.Cid) bool {
	m, ok := g.frames[c]
	return ok && m.Status != seeded
}

// Unsent returns own blocks that nobody else is known to hold.
func (g *Group) Unsent() []cid.Cid {
	return slices.DeleteFunc(sorted(g.unsent), func(c cid.Cid) bool { _, seen := g.seen[c]; return seen })
}

func sorted[V any](set map[cid.Cid]V) []cid.Cid {
	out := make([]cid.Cid, 0, len(set))
	for c := range set {
		out = append(out, c)
	}
	slices.SortFunc(out, compareCID)
	return out
}

func compareCID(a, b cid.Cid) int { return strings.Compare(a.KeyString(), b.KeyString()) }
