package group

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// hearWelcome enters the branch that a Welcome for one of our offers leads to, also
// after a removal: whoever removed us may have had no right to, where the others are.
// History, event log and cursor go on; epochs of the old incarnation still open
// messages until the new base is sure to stay.
func (s *step) hearWelcome(ref, b []byte) error {
	with := s.offerFor(ref)
	if with == nil || s.state == left || s.state == copied {
		return nil
	}
	w, err := openBundle(s.env, s.id, b, with.keys)
	if err != nil {
		return nil
	}
	if !bytes.Equal(w.epoch.GroupID(), s.gid) || !s.plausible(w) {
		w.epoch.Wipe()
		return nil
	}
	id := idOf(w.base.CID)
	here := s.epochs[id]
	if was := s.commits[id]; here == nil && was != nil && was.Welcomed {
		w.epoch.Wipe() // erased: its keys may have been used
		return nil
	}
	if here != nil {
		w.epoch.Wipe() // keys that were used there stay used
	}
	switch {
	case here == nil && s.state == member && s.former == nil && !s.consented(id) && !s.awaitsWelcome():
		w.epoch.Wipe() // the present base is sure, and none is awaited
		return nil
	case here == nil && (s.state == member || !s.leadsBack(id, with)):
		if len(s.seeds) >= maxRivals {
			w.epoch.Wipe()
			return nil
		}
		s.keepRival(w)
		return nil
	case here != nil && (s.state == member || !here.old || s.told && s.present != id || s.expelled[id]):
		return nil
	}
	s.leaveBase()
	return s.enterAgain(w, here, w.inviter)
}

// goBack enters the branch that this device was told of, if it has been there: the
// head has the incarnation by which it was, with all that it said. It needs no
// Welcome for that, and nobody would replace an incarnation that spoke.
func (s *step) goBack(by string) (bool, error) {
	for _, id := range slices.Sorted(maps.Keys(s.seeds)) {
		e := s.epochs[id]
		if e == nil || !e.old {
			continue
		}
		self := e.leaves.find(keyOf(s.self))
		if self == "" || addedBy(self) != s.present {
			continue
		}
		w := &welcomed{info: e.info, base: base{CID: cidOf(id), Gossip: s.gossipKey, Generation: s.generation},
			rows: e.rows(), self: self, inviter: s.inviter}
		if !s.plausible(w) {
			continue
		}
		s.leaveBase()
		return true, s.enterAgain(w, e, by)
	}
	return false, nil
}

func (s *step) enterAgain(w *welcomed, here *epoch, by string) error {
	leaves, since := s.state == leaving, s.goneAt
	s.goneAt, s.ejected = time.Time{}, false // a removal that it believed in lost, or was undone
	if err := s.enter(w, here); err != nil {
		return err
	}
	if leaves { // its offer was taken up after it had asked to go: it asks there, too
		s.state, s.goneAt, s.leaveIn = leaving, since, ""
	}
	s.emit(Event{Kind: KindRejoined, Epoch: s.graph.Number(s.root), Head: text(s.root), CID: text(s.root),
		From: hexKey(by), Name: s.names[by]})
	s.askRivals()
	return nil
}

// rows are those of a base that was given up, by its seeds.
func (e *epoch) rows() []tableRow {
	chains := map[dag.Member]tableRow{}
	for c, m := range e.seeds {
		if m.Author != "" {
			chains[m.Author] = tableRow{Member: m.Author, Next: m.Links.Seq + 1, Prev: c}
		}
	}
	var out []tableRow
	for m := range e.leaves.all() {
		r, spoke := chains[m]
		if !spoke {
			r = tableRow{Member: m, Prev: cidOf(addedBy(m))}
		}
		out = append(out, r)
	}
	return out
}

// leadsBack reports whether a Welcome answers what this device was told: its
// head has our key as added by that commit, or has the incarnation that the
// offer was to replace.
func (g *Group) leadsBack(base dag.ID, with *rejoin) bool {
	return !g.told || base == g.present || with.offer.replaces == g.present
}

// leaveBase gives up the present incarnation. All offers stay until the new
// base is sure to: a rival commit may have added us by this one or by another
// of them, and win.
func (s *step) leaveBase() {
	s.setEntered()
	s.told = false
	s.forgetWords()
	if s.former == nil {
		s.former = &former{self: s.self}
		for r := range s.base.all() {
			s.former.members = append(s.former.members, r.Member)
		}
		s.put(s.key("former"), s.former.marshal(), Public)
	}
	s.leaveSeeds()
	for _, id := range slices.Sorted(maps.Keys(s.epochs)) {
		s.giveUp(s.epochs[id])
	}
	for _, c := range sorted(s.seen) {
		if m := s.frames[c]; m != nil && s.epochs[idOf(m.Links.Parent)] != nil {
			delete(s.seen, c) // by those who are on the branch that this device leaves
		}
	}
	for r := range s.base.all() {
		s.del(s.rowKey(leafOf(r.Member)), Public)
	}
	for _, id := range slices.Sorted(maps.Keys(s.unsettled)) {
		// Elders carry over what they could open; who came by a branch that lost is
		// not waited for, so everybody answers for their own work.
		if c := s.commits[id]; c.Author == "" || keyOf(c.Author) != keyOf(s.self) {
			s.settleCommit(c)
		}
	}
	s.forks = map[dag.ID]string{}
}

func (s *step) setEntered() {
	if !s.entered {
		s.entered = true
		s.put(s.key("entered"), []byte{1}, Public)
	}
}

// plausible: an ex-member may know an offer and lead its device onto a branch
// of his own, made at an epoch that he still has. There, most of those who told
// us of the head must be members, and without their confirmations the base
// never counts as sure, so that later notices still reach us.
func (s *step) plausible(w *welcomed) bool {
	there, all := 0, 0
	for _, r := range w.rows {
		if s.says(keyOf(r.Member), false) {
			there++
		}
	}
	for key := range s.said {
		if s.says(key, false) {
			all++
		}
	}
	return 2*there > all || all == 0
}

// maxRivals bounds the bases beside the present one: whoever answers an offer again
// and again, each time by another commit, makes as many Welcomes.
const maxRivals = 32

// keepRival keeps the epoch of a second Welcome for our offers: two members
// added us by rival commits, we entered one, and what was said in the other is
// for us, too.
func (s *step) keepRival(w *welcomed) {
	e := newEpoch(idOf(w.base.CID), w.epoch, w.info, leafTable{})
	for _, r := range w.rows {
		e.leaves = e.leaves.set(leafOf(r.Member), r.Member)
	}
	e.reads = s.env.Now.Add(s.cfg.DeliverWait)
	if s.commits[e.id] == nil {
		s.commits[e.id] = &commit{ID: e.id, Number: w.epoch.Number(), Base: true, Settled: true}
	}
	s.commits[e.id].Welcomed = true
	s.writeCommit(s.commits[e.id])
	s.setEntered() // offers are kept for as long as if it had
	s.keepSeeds(e.id, w.rows)
	e.seeds = s.seeds[e.id]
	s.keepReadable(e, w.inviter, "this device was added again there, too")
	s.forgetUnread(s.mayOpenNow)
	s.wantSeeds()
}

// keepReadable keeps an epoch of a branch that this device is not on, and says
// so. The member of the key made it.
func (s *step) keepReadable(e *epoch, key, why string) {
	s.epochs[e.id] = e
	s.writeEpoch(e)
	s.giveUp(e)
	s.emit(Event{Kind: KindReadable, CID: text(e.id), Head: text(e.id), Epoch: e.mls.Number(), From: hexKey(key),
		Name: s.names[key], Why: why})
}

// giveUp leaves an epoch for reading only.
func (s *step) giveUp(e *epoch) {
	e.old = true
	s.put(s.epochKey(e.id)+"old", e.leaves.marshal(), Public)
}

// resume goes on with the own chain where it was: this device has been in the
// base before, and has spoken there.
func (s *step) resume() {
	for _, c := range sorted(s.frames) {
		if m := s.frames[c]; m.Status == opened && m.Author == s.self && m.Links.Seq >= s.next {
			s.next, s.prev = m.Links.Seq+1, c
		}
	}
}

// revive puts the commits and frames below the new base back into the graph,
// for a device that was there before.
func (s *step) revive() error {
	if err := s.replay(); err != nil {
		return err
	}
	for _, v := range s.graph.Vertices() {
		if e := s.epochs[v.ID]; e != nil && e.old && e.leaves.has(s.self) {
			e.old, e.seeds = false, nil
			s.del(s.epochKey(v.ID)+"old", Public)
		}
		if c := s.commits[v.ID]; c.Settled {
			c.Settled = false
			s.unsettled[c.ID] = struct{}{}
			s.writeCommit(c)
		}
	}
	s.resume()
	s.lookSeen() // epochs that were given up are not any more
	return nil
}

// offerFor returns the own offer that a Welcome answers.
func (s *step) offerFor(ref []byte) *rejoin {
	for _, j := range s.rejoins {
		if bytes.Equal(ref, j.offer.ref) {
			return j
		}
	}
	return nil
}

// mayOpenNow reports whether an unread frame may lie below a base that was just
// reached.
func (g *Group) mayOpenNow(m *meta) bool {
	return m.Epoch >= g.floor || g.epochs[idOf(m.Links.Parent)] != nil
}

// forgetUnread drops frames that could not be opened before, but may be now:
// they are asked for again.
func (s *step) forgetUnread(which func(*meta) bool) {
	for _, c := range sorted(s.frames) {
		m := s.frames[c]
		if m.Status != unread || !which(m) {
			continue
		}
		delete(s.frames, c)
		s.blockBytes -= int(m.Size)
		delete(s.held, c)
		s.noteGap(chainOf(m.Links), c)
		s.del(BlockKey(s.ID(), c), Public)
		s.del(s.key("f/"+c.String()), Public)
		s.refetch = append(s.refetch, c)
	}
	s.seed() // one of them may have been the last frame before the base
	for _, c := range s.refetch {
		if m := s.frames[c]; m != nil && m.Status == seeded {
			s.wantSeed(c)
		}
	}
	s.order = slices.DeleteFunc(s.order, func(c cid.Cid) bool { return !s.Has(c) })
	for _, m := range s.frames {
		m.whole = false // what follows a frame that was dropped is not
	}
	s.relink()
}
