package group

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// retain forgets what is final, and what the caps no longer allow to keep
// (design, section 5.6).
func (s *step) retain() error {
	if final := s.graph.Final(); final == "" || final == s.graph.Base() {
		s.due.erase.until = time.Time{}
	} else if len(s.complaining(final)) == 0 && !s.awaits(&s.due.erase, s.floor) {
		s.resolveForks(final)
		if err := s.forget(s.graph.Rebase(final), "final: every member confirmed a later epoch"); err != nil {
			return err
		}
	}
	s.retainOld()
	if !s.env.Now.Before(s.seedsUntil) {
		s.seedsWanted = nil
	}
	s.dropAnswers()
	for len(s.epochs) > s.cfg.MaxEpochs && len(s.epochs)-len(s.oldEpochs()) > s.cfg.MaxEpochs && s.graph.Base() != s.head {
		if err := s.retire(fmt.Sprintf("more than %d epochs were kept while %s", s.cfg.MaxEpochs, s.whoStays())); err != nil {
			return err
		}
	}
	for s.graph.Base() != s.head {
		if until := s.nextExpiry(); until.IsZero() || s.env.Now.Before(until) {
			return nil
		}
		if err := s.retire(fmt.Sprintf("kept for %v while %s", s.cfg.MaxAge, s.whoStays())); err != nil {
			return err
		}
	}
	return nil
}

// hold puts an erasure off while frames are known to be missing.
type hold struct {
	until  time.Time            // zero: nothing is put off
	missed map[cid.Cid]struct{} // what this was put off for and did not come
}

// awaits reports whether frames are known to be missing that may have been sent
// in the epochs that are to be erased, of which low is the lowest: an erasure
// that comes before them would lose what they say. That is waited for once, as
// long as a message waits for those that it follows: a frame that nobody has
// holds up nothing (decision 0096).
func (s *step) awaits(h *hold, low uint64) bool {
	wants := s.wantsSince(low)
	fresh := slices.ContainsFunc(wants, func(c cid.Cid) bool { _, was := h.missed[c]; return !was })
	if fresh && h.until.IsZero() {
		h.until = s.env.Now.Add(s.cfg.DeliverWait)
	}
	if fresh && s.env.Now.Before(h.until) {
		return true
	}
	*h = hold{missed: map[cid.Cid]struct{}{}}
	for _, c := range wants {
		h.missed[c] = struct{}{}
	}
	return false
}

// retainOld erases the epochs of the incarnation that was given up, and the
// KeyPackage that led to the new one, when the new base is sure to stay and what
// is known to be missing has come.
func (s *step) retainOld() {
	if !s.entered {
		s.dropSeeds()
	}
	old := s.oldEpochs()
	if len(old) == 0 && (len(s.rejoins) == 0 && !s.entered || s.state == stranded) {
		return
	}
	sure := s.baseConfirmed()
	if len(old) == 0 && s.entered {
		sure = true // they went by MaxAge: a Welcome must not lead into one of them again
	}
	if !sure {
		s.due.eraseOld.until = time.Time{}
	}
	awaits := sure && s.awaitsOld(old)
	slices.SortStableFunc(old, func(a, b *epoch) int { return a.born.Compare(b.born) })
	for i, e := range old {
		switch {
		case len(old)-i > s.cfg.MaxEpochs:
			s.erase(e, fmt.Sprintf("more than %d epochs of other branches could be read", s.cfg.MaxEpochs))
		case sure && !awaits && !s.env.Now.Before(e.reads):
			s.erase(e, "the branch on which this device was added again is final")
		case s.env.Now.Sub(e.born) >= s.cfg.MaxAge:
			s.erase(e, fmt.Sprintf("kept for %v while a member stayed silent", s.cfg.MaxAge))
		}
	}
	if sure {
		s.dropFormer()
	}
	switch {
	case s.state == stranded:
	case sure && !awaits && s.state != removed && !s.awaitsWelcome():
		s.dropOffers()
	default: // a Welcome may be on its way
		s.dropGivenUp()
	}
}

// dropGivenUp erases the private keys of offers that nobody answers any more.
func (s *step) dropGivenUp() {
	for _, j := range slices.Clone(s.rejoins) {
		if !s.env.Now.Before(s.givenUp(j)) {
			s.dropRejoin(j)
		}
	}
}

func (s *step) awaitsOld(old []*epoch) bool {
	if len(old) == 0 {
		return false
	}
	low := old[0].mls.Number()
	for _, e := range old {
		low = min(low, e.mls.Number())
	}
	return s.awaits(&s.due.eraseOld, low)
}

// baseConfirmed reports whether every voter of the base has confirmed it. To a
// joiner its base counts as final from the start; whether the branch that it
// is on stays is up to the others.
func (g *Group) baseConfirmed() bool {
	id := g.graph.Base()
	for _, v := range g.graph.Voters(id) {
		if c := g.graph.Confirmed(v.Member); c == "" || !g.graph.IsAncestor(id, c) {
			return false
		}
	}
	return true
}

func (s *step) retire(why string) error {
	before := s.graph.Base()
	if err := s.forget(s.graph.Retire(before), why); err != nil {
		return err
	}
	if s.graph.Base() == before {
		return fmt.Errorf("%w: the oldest epoch does not go", ErrInternal)
	}
	return nil
}

// nextExpiry is when the oldest epoch reaches MaxAge, from its first child on:
// while it was the head its age did not count, or where nobody commits for long
// two rival commits would part the group.
func (g *Group) nextExpiry() time.Time {
	var left time.Time
	for _, c := range g.graph.Children(g.graph.Base()) {
		if e := g.epochs[c]; e != nil && (left.IsZero() || e.born.Before(left)) {
			left = e.born
		}
	}
	if g.graph.Base() == g.head || left.IsZero() {
		return time.Time{}
	}
	return left.Add(g.cfg.MaxAge)
}

// resolveForks reports the forks above the final epoch with the reason of the
// choice, while their branches are still here.
func (s *step) resolveForks(final dag.ID) {
	for _, f := range s.graph.Forks() {
		if f.At == final || !s.graph.IsAncestor(f.At, final) {
			continue
		}
		winner := s.toward(f.At, final)
		var losers []string
		for _, b := range f.Branches {
			if b.Child != winner {
				losers = append(losers, text(b.Child))
			}
		}
		s.emit(Event{Kind: KindForkResolved, Fork: text(f.At), Winner: text(winner), Losers: losers,
			Epoch: s.graph.Number(f.At), Why: s.whyOf(f), Votes: s.branches(f)})
		delete(s.forks, f.At)
	}
}

// forget erases the secrets of epochs that the graph dropped and moves the
// base to where the graph has it.
func (s *step) forget(dropped []dag.ID, why string) error {
	for _, id := range dropped {
		if e := s.epochs[id]; e != nil {
			s.erase(e, why)
		}
		if c := s.commits[id]; c != nil {
			c.Erased = true
			s.writeCommit(c)
		}
		delete(s.forks, id)
	}
	if err := s.moveBase(); err != nil {
		return err
	}
	s.settleCommits()
	s.dropHints()
	s.dirty = true
	return nil
}

func (s *step) erase(e *epoch, why string) {
	number := e.mls.Number()
	n := s.eraseEpoch(e)
	s.emit(Event{Kind: KindErased, Head: text(e.id), Epoch: number, Count: n, Why: why})
}

// moveBase takes the rows of the members from the old base to the new one, by
// what the commits between them changed.
func (s *step) moveBase() error {
	id := s.graph.Base()
	s.floor = s.graph.Number(id)
	var way []*commit
	for at := id; at != s.baseAt; {
		c := s.commits[at]
		if c == nil {
			return fmt.Errorf("%w: the base does not lie below the one before", ErrInternal)
		}
		way, at = append(way, c), c.Parent
	}
	changed, reseed := map[uint32]bool{}, false
	for _, c := range slices.Backward(way) {
		for _, m := range slices.Concat(c.Removed, c.Left) {
			if prev := s.base.get(leafOf(m)).Prev; s.frames[prev] != nil && s.frames[prev].Status == seeded {
				delete(s.frames, prev)
				reseed = true
			}
			s.base, changed[leafOf(m)] = s.base.set(leafOf(m), tableRow{}), true
		}
		for _, m := range c.Added {
			s.base, changed[leafOf(m)] = s.base.set(leafOf(m), tableRow{Member: m, Prev: cidOf(addedBy(m))}), true
		}
	}
	s.baseAt = id
	if reseed {
		s.seed()
		s.relink()
	}
	for _, leaf := range slices.Sorted(maps.Keys(changed)) {
		if r := s.base.get(leaf); r.Member != "" {
			s.writeRow(r)
		} else {
			s.del(s.rowKey(leaf), Public)
		}
	}
	return nil
}

// setBase begins with the rows of an epoch.
func (g *Group) setBase(id dag.ID, rows []tableRow) {
	g.base, g.baseAt = leafMap[tableRow]{}, id
	for _, r := range rows {
		g.base = g.base.set(leafOf(r.Member), r)
	}
}

// settleCommits lets plans pass over losing commits that were erased and have
// nothing open: everything that is final and carried over.
func (s *step) settleCommits() {
	p := s.makePlan()
	openAt := map[string]bool{}
	for _, o := range slices.Concat(p.Removes, p.Adds, p.Roles, p.Waiting, p.Approval, p.Strays) {
		openAt[o.At] = true
	}
	for _, id := range slices.Sorted(maps.Keys(s.unsettled)) {
		c := s.commits[id]
		if c.Erased && !openAt[string(id)] && !(c.update() && slices.Contains(p.Updates, keyOf(c.Author))) {
			s.settleCommit(c)
		}
	}
	s.due.plan = nil
}

func (s *step) settleCommit(c *commit) {
	c.Settled = true
	delete(s.unsettled, c.ID)
	s.writeCommit(c)
}

func (g *Group) commitIDs() []dag.ID {
	ids := make([]dag.ID, 0, len(g.commits))
	for id := range g.commits {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b dag.ID) int {
		x, y := g.commits[a], g.commits[b]
		if x.Number != y.Number {
			return int(int64(x.Number) - int64(y.Number))
		}
		return strings.Compare(string(a), string(b))
	})
	return ids
}

// wipe erases every epoch of the group on this device. Event log and commits
// stay: what was said is the user's to keep or to forget.
func (s *step) wipe(why string) error {
	for _, id := range slices.Sorted(maps.Keys(s.epochs)) {
		s.erase(s.epochs[id], why)
	}
	s.dropOffers()
	return nil
}

// dropOffers erases the private keys of this device's own offers.
func (s *step) dropOffers() {
	for _, j := range slices.Clone(s.rejoins) {
		s.dropRejoin(j)
	}
	if s.entered {
		s.entered = false
		s.dropGaps()
		s.del(s.key("entered"), Public)
	}
	s.dropSeeds()
	s.dropFormer()
}

// dropFormer ends the time in which the members of the base before are heard.
func (s *step) dropFormer() {
	if s.former != nil {
		s.former = nil
		s.del(s.key("former"), Public)
	}
}
