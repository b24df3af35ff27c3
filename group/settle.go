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
)

// meta is what stays of a settled frame: its place in the frame graph.
type meta struct {
	N       uint64 // order of settling on this device
	Status  status
	Type    uint8 // content type: 1 application, 2 proposal, 3 commit
	Epoch   uint64
	Links   frame.Links
	Author  dag.Member // of opened frames: proven
	Said    dag.Member // of unread frames: whose chain its links continue, unproven
	Content []byte     // labelled hash of an opened commit's content
	Message [16]byte   // of an opened text

	whole bool // all that it follows was delivered, or given up; in memory only
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
	w.bytes(m.Content)
	w.b = append(w.b, m.Message[:]...)
	return w.b
}

func parseMeta(b []byte) (*meta, error) {
	r := cursor{b: b}
	m := &meta{N: r.u64(), Status: status(r.u8()), Type: r.u8(), Epoch: r.u64()}
	aad := r.bytes()
	m.Author, m.Said, m.Content = dag.Member(r.bytes()), dag.Member(r.bytes()), r.bytes()
	copy(m.Message[:], r.take(16))
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
	m.N = s.settled
	s.put(BlockKey(s.ID(), c), block, Public)
	s.put(s.key("f/"+c.String()), m.marshal(), Public)
	s.frames[c] = m
	delete(s.holes, c)
	s.link(c, m)
	if m.Author != s.self { // unread frames tell, too, what their senders have
		for _, p := range m.past() {
			s.wasSeen(p)
		}
	}
	s.dirty = true
	s.ready = append(s.ready, s.waiters[c]...)
	delete(s.waiters, c)
}

// link keeps the tips, frames to which no other links, and the holes: what an
// opened frame links to and is not here. `after` does not gate opening, so
// tips alone do not show a hole, and peers that compare tips would never fill
// it.
func (g *Group) link(c cid.Cid, m *meta) {
	g.held[c] = struct{}{}
	for _, p := range m.past() {
		delete(g.held, p)
	}
	if m.Said != "" {
		g.unreadUpTo[m.Said] = max(g.unreadUpTo[m.Said], m.Links.Seq)
	}
	if m.Status != opened {
		return
	}
	g.open[c] = struct{}{}
	for _, p := range m.past() {
		delete(g.open, p)
		if !g.isSettled(p) {
			g.holes[p] = max(g.holes[p], m.Epoch)
		}
	}
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
	// A predecessor that was refused counts as settled.
	delete(s.holes, c)
	s.ready = append(s.ready, s.waiters[c]...)
	delete(s.waiters, c)
	return Result{CID: c, Verdict: Rejected, Reason: why}
}

// isSettled reports whether prev may be followed.
func (g *Group) isSettled(c cid.Cid) bool {
	if _, ok := g.frames[c]; ok {
		return true
	}
	_, ok := g.rejected[c]
	return ok || idOf(c) == g.root
}

// Tips returns the tips of the frames held here, sorted: what sync compares. A
// joiner names its base, too, although it does not hold that block: what came
// before is nothing that it could open, and need not be sent to it.
func (g *Group) Tips() []cid.Cid {
	tips := sorted(g.held)
	if !g.Has(cidOf(g.root)) && g.inviter != "" {
		tips = append(tips, cidOf(g.root))
		slices.SortFunc(tips, compareCID)
	}
	return tips
}

// Has reports whether the block of a frame is held and settled here.
func (g *Group) Has(c cid.Cid) bool {
	m, ok := g.frames[c]
	return ok && m.Status != seeded
}

// Missing returns up to limit held frames that are not in the past of tips, in
// an order in which each follows what it links to.
func (g *Group) Missing(tips []cid.Cid, limit int) []cid.Cid {
	known := map[cid.Cid]struct{}{}
	stack := slices.Clone(tips)
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		m, ok := g.frames[c]
		if _, seen := known[c]; seen || !ok {
			continue
		}
		known[c] = struct{}{}
		stack = append(stack, m.past()...)
	}
	var lacking []cid.Cid
	for c, m := range g.frames {
		if _, ok := known[c]; !ok && m.Status != seeded {
			lacking = append(lacking, c)
		}
	}
	slices.SortFunc(lacking, func(a, b cid.Cid) int { return int(int64(g.frames[a].N) - int64(g.frames[b].N)) })
	return g.topological(lacking, limit)
}

// topological orders frames so that each follows those of its links that are
// in the list, and otherwise as the list stands.
func (g *Group) topological(list []cid.Cid, limit int) []cid.Cid {
	const white, grey, black = 0, 1, 2
	colour := make(map[cid.Cid]int, len(list))
	for _, c := range list {
		colour[c] = white
	}
	var out []cid.Cid
	for _, first := range list {
		stack := []cid.Cid{first}
		for len(stack) > 0 && len(out) < limit {
			c := stack[len(stack)-1]
			switch colour[c] {
			case white:
				colour[c] = grey
				for _, p := range g.frames[c].past() {
					if k, ok := colour[p]; ok && k == white {
						stack = append(stack, p)
					}
				}
				continue
			case grey:
				colour[c] = black
				out = append(out, c)
			}
			stack = stack[:len(stack)-1]
		}
	}
	return out
}

// Unsent returns own blocks that nobody else is known to hold.
func (g *Group) Unsent() []cid.Cid { return sorted(g.unsent) }

func sorted[V any](set map[cid.Cid]V) []cid.Cid {
	out := make([]cid.Cid, 0, len(set))
	for c := range set {
		out = append(out, c)
	}
	slices.SortFunc(out, compareCID)
	return out
}

func compareCID(a, b cid.Cid) int { return strings.Compare(a.KeyString(), b.KeyString()) }
