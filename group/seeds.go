package group

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
)

// seeds are the last frames before a base, one for each sender, as its table
// names them: the first frames below the base follow them. Those of the present
// base are among the frames. Bases that were given up, and those of rival
// Welcomes, keep their own: what is above one base is below another.
type seeds map[cid.Cid]*meta

func seedsOf(rows []tableRow) seeds {
	out := seeds{}
	for _, r := range rows {
		m := out[r.Prev]
		if m == nil {
			m = &meta{Status: seeded}
			out[r.Prev] = m
		}
		m.endsRow(r)
	}
	return out
}

// endsRow makes a seed the last frame of a row's chain. The commit that added a
// device is the first link of its own chain and the last frame of its inviter's:
// whichever row comes first.
func (m *meta) endsRow(r tableRow) {
	if r.Next > 0 {
		m.Author = r.Member
		m.Links = frame.Links{Leaf: leafOf(r.Member), Joined: cidOf(addedBy(r.Member)), Seq: r.Next - 1}
	}
}

// seed counts the links before the base as satisfied.
func (g *Group) seed() {
	for r := range g.base.all() {
		m := g.frames[r.Prev]
		if m == nil {
			m = &meta{Status: seeded, name: r.Prev}
			g.frames[r.Prev] = m
		}
		if m.Status == seeded {
			m.endsRow(r)
		}
	}
}

// maxSeedsWanted bounds what is asked for because a branch above the base may be read.
const maxSeedsWanted = 1024

// wantSeeds asks for the last frames before the base: nothing below it does. The
// branch that a rival Welcome opens may lead to the base, and what was said on the
// way counts as read (flapping 7047).
func (s *step) wantSeeds() {
	for r := range s.base.all() {
		if m := s.frames[r.Prev]; m != nil && m.Status == seeded {
			s.wantSeed(r.Prev)
		}
	}
}

func (s *step) wantSeed(c cid.Cid) {
	if s.seedsWanted == nil {
		s.seedsWanted = map[cid.Cid]struct{}{}
	}
	if len(s.seedsWanted) < maxSeedsWanted {
		s.seedsWanted[c] = struct{}{}
		s.seedsUntil = s.env.Now.Add(s.cfg.DeliverWait)
	}
}

func (g *Group) seedsKey(base dag.ID) string { return Prefix(g.ID()) + "seeds/" + text(base) }

// keepSeeds notes the seeds of a base that is not the present one.
func (s *step) keepSeeds(base dag.ID, rows []tableRow) {
	s.seeds[base] = seedsOf(rows)
	s.put(s.seedsKey(base), marshalTable(rows), Public)
}

// leaveSeeds gives the seeds of the present base to its epochs.
func (s *step) leaveSeeds() {
	var rows []tableRow
	for _, c := range sorted(s.frames) {
		m := s.frames[c]
		if m.Status != seeded {
			continue
		}
		delete(s.frames, c)
		r := tableRow{Prev: c, Member: s.self}
		if m.Author != "" {
			r.Member, r.Next = m.Author, m.Links.Seq+1
		}
		rows = append(rows, r)
	}
	base := s.graph.Base()
	s.keepSeeds(base, rows)
	for _, e := range s.epochs {
		if !e.old {
			e.seeds = s.seeds[base]
		}
	}
}

// seedsFor finds the seeds of an epoch that was loaded.
func (g *Group) seedsFor(id dag.ID) seeds {
	for id != "" {
		if of, ok := g.seeds[id]; ok {
			return of
		}
		c := g.commits[id]
		if c == nil {
			break
		}
		id = c.Parent
	}
	return nil
}

// predecessor returns the frame that a frame sent in an epoch follows, nil if
// it is not settled here.
func (g *Group) predecessor(e *epoch, c cid.Cid) *meta {
	m := g.frames[c]
	if e.old && (m == nil || m.Status == seeded) {
		return e.seeds[c]
	}
	return m
}

// noteGaps notes what is missing in the chains of senders below a new base.
// Frames were opened here that follow seeds of an earlier base; of this one,
// those seeds are frames like others, which count.
func (s *step) noteGaps() {
	for _, c := range sorted(s.frames) {
		if m := s.frames[c]; m.Status != seeded {
			s.noteGapBefore(m.Links)
		}
	}
}

// noteGapBefore notes the predecessor of a frame if it is missing and the table
// of the base does not cover the frame. Unread frames do not wait for theirs,
// and what is sent in an epoch that is here may follow them.
func (s *step) noteGapBefore(l frame.Links) {
	if l.Seq == 0 || s.isSettled(l.Prev) {
		return
	}
	r := s.base.get(l.Leaf)
	if r.Member == "" || cidOf(addedBy(r.Member)) != l.Joined || l.Seq > r.Next {
		s.noteGap(chainOf(l), l.Prev)
	}
}

func (s *step) noteGap(k chain, c cid.Cid) {
	if s.gaps[k] == nil {
		s.gaps[k] = map[cid.Cid]struct{}{}
	}
	s.gaps[k][c] = struct{}{}
	s.put(s.gapKey(c), k.marshal(), Public)
}

func (s *step) gapKey(c cid.Cid) string { return s.key("gap/" + c.String()) }

func (s *step) fillGap(k chain, c cid.Cid) {
	if _, ok := s.gaps[k][c]; !ok {
		return
	}
	if delete(s.gaps[k], c); len(s.gaps[k]) == 0 {
		delete(s.gaps, k)
	}
	s.del(s.gapKey(c), Public)
}

// dropSeeds forgets the bases that were given up, unless an epoch below one of
// them may still be read.
func (s *step) dropSeeds() {
	if len(s.seeds) == 0 || len(s.oldEpochs()) > 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(s.seeds)) {
		s.del(s.seedsKey(id), Public)
	}
	clear(s.seeds)
}

func (s *step) dropGaps() {
	for _, k := range slices.SortedFunc(maps.Keys(s.gaps), compareChains) {
		for _, c := range sorted(s.gaps[k]) {
			s.fillGap(k, c)
		}
	}
}

func (l *loader) readSeeds(name string, value []byte) error {
	base, err := cid.Decode(name)
	if err != nil {
		return fmt.Errorf("%w: seeds of %q", ErrRecords, name)
	}
	r := &cursor{b: value}
	rows, err := readRows(r)
	if err == nil {
		err = r.done()
	}
	if err != nil {
		return fmt.Errorf("%w: seeds: %w", ErrRecords, err)
	}
	l.seeds[idOf(base)] = seedsOf(rows)
	return nil
}

func (l *loader) readGap(name string, value []byte) error {
	c, err := cid.Decode(name)
	if err != nil {
		return fmt.Errorf("%w: gap %q", ErrRecords, name)
	}
	k, err := parseChain(value)
	if err != nil {
		return fmt.Errorf("%w: gap %q: %w", ErrRecords, name, err)
	}
	if l.gaps[k] == nil {
		l.gaps[k] = map[cid.Cid]struct{}{}
	}
	l.gaps[k][c] = struct{}{}
	return nil
}
