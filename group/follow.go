package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/dag"
)

// follow runs at the end of every Step: it moves to the head that fork choice
// names, says so, forgets what is final, and delivers what has become due.
func (s *step) follow() error {
	s.takePairs()
	s.announceForks()
	if err := s.moveHead(); err != nil {
		return err
	}
	if err := s.watchRemoval(); err != nil {
		return err
	}
	if err := s.retain(); err != nil {
		return err
	}
	s.settleSeen()
	s.lookUnheard()
	// Commits that waited for a self-Remove in an epoch that is gone are Stale.
	s.passedOver()
	s.ready, s.orphans = s.orphans, nil
	if err := s.wakeParked(); err != nil {
		return err
	}
	s.expireBlocks()
	s.deliver()
	if err := s.sayWhere(); err != nil {
		return err
	}
	return s.prepare()
}

// moveHead adopts the head of the graph. A head that removes this device has
// no epoch here; the last one that has stays the engine's head, and
// watchRemoval deals with the rest.
func (s *step) moveHead() error {
	was, now := s.head, s.ownHead()
	if now == "" || now == was {
		return nil
	}
	s.head = now
	s.dirty = true
	e, err := s.headEpoch()
	if err != nil {
		return err
	}
	event := Event{Kind: KindEpoch, Epoch: e.mls.Number(), Head: text(now)}
	if !s.graph.IsAncestor(was, now) {
		fork := s.graph.Common(was, now)
		event.Fork, event.Why = text(fork), s.why(fork)
		event.Winner = text(s.toward(fork, now))
		event.Losers = []string{text(s.toward(fork, was))}
	}
	s.emit(event)
	// The exporter goes when a child is adopted (design, section 5.2).
	for p := s.graph.Parent(now); p != ""; p = s.graph.Parent(p) {
		old := s.epochs[p]
		if old == nil {
			break
		}
		records := old.mls.DropExporter()
		if len(records) == 0 {
			break
		}
		s.writeMLS(s.epochKey(p), records)
	}
	s.due.headMoved()
	return nil
}

// ownHead is the lowest epoch on the way to the graph's head in which this device
// is: what lies below a commit that removes it, it can at best read.
func (g *Group) ownHead() dag.ID {
	now := g.graph.Head()
	for now != "" && (g.epochs[now] == nil || g.epochs[now].old) {
		now = g.graph.Parent(now)
	}
	return now
}

// toward returns the child of a that leads to b.
func (g *Group) toward(a, b dag.ID) dag.ID {
	if chain := g.graph.Chain(a, b); len(chain) > 1 {
		return chain[1]
	}
	return ""
}

// announceForks tells of every epoch that has several children, and again when
// the choice among them changes.
func (s *step) announceForks() {
	for _, c := range s.graph.Choices() {
		mark := fmt.Sprintf("%s/%d", hexKey(string(c.Child)), c.Children)
		if s.forks[c.At] == mark {
			continue
		}
		s.forks[c.At] = mark
		f, _ := s.graph.ForkAt(c.At)
		var losers []string
		for _, b := range f.Branches {
			if !b.Chosen {
				losers = append(losers, text(b.Child))
			}
		}
		s.emit(Event{Kind: KindForkOpened, Fork: text(c.At), Winner: text(c.Child), Losers: losers,
			Epoch: s.graph.Number(c.At), Why: s.whyOf(f), Votes: s.branches(f)})
	}
}

// why explains the choice at a fork in words.
func (g *Group) why(at dag.ID) string {
	if f, ok := g.graph.ForkAt(at); ok {
		return g.whyOf(f)
	}
	return g.whyVoid(at)
}

func (g *Group) whyOf(f dag.Fork) string {
	var parts []string
	for _, b := range f.Branches {
		var names []string
		for _, v := range b.Voters {
			names = append(names, g.nameOf(keyOf(v)))
		}
		mark := ""
		if b.Chosen {
			mark = " (chosen)"
		}
		parts = append(parts, fmt.Sprintf("%s%s: %s", short(b.Child), mark, listed(names)))
	}
	return f.Why() + "; " + strings.Join(parts, ", ")
}

func listed(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, " ")
}

// short is the end of a CID: its beginning is the same for all.
func short(id dag.ID) string {
	t := text(id)
	return t[max(0, len(t)-6):]
}

// watchRemoval keeps the state of this device in step with the graph. A commit
// that removes us is seen only from outside: we cannot open what follows it,
// so our count of votes misses exactly its supporters. But whichever branch
// wins, the removal is redone while its author is a member; so it holds as
// soon as it is seen, unless its author was removed in turn.
func (s *step) watchRemoval() error {
	if s.epochs[s.head] == nil {
		return nil // wiped: it stays what it is
	}
	var by *commit
	for _, c := range s.exits {
		if s.putsOut(c) && (by == nil || s.graph.IsAncestor(c.ID, s.graph.Head())) {
			by = c
		}
	}
	switch {
	case by == nil:
		s.stay()
	case by.replaced(keyOf(s.self)) != "":
		return s.outOf(by)
	case len(by.Left) > 0 && slices.Contains(by.Left, s.self):
		s.leftBy(by)
	case s.state == member || s.state == leaving || s.state == copied:
		s.state, s.dirty = removed, true
		s.goneAt = s.env.Now
		if s.epochs[s.root] != nil {
			s.expelled[s.root] = true
		}
		s.ejected = len(s.due.asking) > 0 && !s.stillThere(by) // offers are not kept over a restart
		s.emit(Event{Kind: KindRemoved, CID: text(by.ID), Epoch: by.Number, From: hexKey(keyOf(by.Author)),
			Name: s.names[keyOf(by.Author)], Why: "removed by " + s.nameOf(keyOf(by.Author))})
	}
	return nil
}

// putsOut reports whether a commit that removes this device holds. It may be of
// an earlier incarnation, which says nothing, or of one that this device never
// was, on a branch that it can only read: there it holds if the others went
// there.
func (s *step) putsOut(c *commit) bool {
	if slices.Contains(c.Removed, s.self) || slices.Contains(c.Left, s.self) {
		return s.stillThere(c) || s.deserted() || s.outvoted(c)
	}
	p := s.epochs[c.Parent]
	return p != nil && p.old && c.replaced(keyOf(s.self)) == "" && s.deserted()
}

// outOf: a commit put another incarnation of this device in the place of the
// present one, by an offer of ours. Its Welcome is on the way; if it gets lost,
// a new offer replaces that incarnation in turn.
func (s *step) outOf(by *commit) error {
	if s.state != member {
		return nil
	}
	s.present, s.told = by.ID, true
	s.strand(cidOf(by.ID), keyOf(by.Author), "an earlier offer of this device was taken up in its place; it waits for the Welcome")
	if back, err := s.goBack(keyOf(by.Author)); back || err != nil { // it has come already
		return err
	}
	return s.makeOffer(cidOf(by.ID), by.ID)
}

// stay takes back a removal that turns out not to hold.
func (s *step) stay() {
	if s.state == removed && !s.ejected && !s.deserted() {
		s.memberAgain()
	}
}

func (s *step) memberAgain() {
	delete(s.expelled, s.root)
	s.state, s.goneAt, s.dirty = member, time.Time{}, true
	if _, ok := s.liars[s.self]; ok {
		s.state = copied
	}
}

// leftBy: our leave was committed, and to us that is the end of it. If that
// branch loses, tick repeats the leave quietly on the head that holds us.
func (s *step) leftBy(by *commit) {
	if s.state != leaving || !s.graph.IsAncestor(by.ID, s.graph.Head()) {
		return
	}
	s.state, s.dirty = left, true
	s.emit(Event{Kind: KindLeft, CID: text(by.ID), Epoch: by.Number, From: hexKey(keyOf(by.Author)),
		Name: s.names[keyOf(by.Author)], Why: "the leave was committed by " + s.nameOf(keyOf(by.Author))})
}

// stillThere reports whether a commit that removes us stands or will be redone
// because its author is on our head, with the right to, and so is one of those for
// whom it did that. To replace us is not done again: on our head, we are there.
func (s *step) stillThere(c *commit) bool {
	e, author, own := s.epochs[s.head], keyOf(c.Author), keyOf(s.self)
	if s.graph.IsAncestor(c.ID, s.graph.Head()) {
		return true
	}
	return c.replaced(own) == "" && e.find(author) != "" && e.info.mayRemove(author) && s.history(e).Carries(c.planned(), own)
}

// deserted reports whether more than half of the other voters of our head
// went on where we cannot read: their chains continue in frames that only
// settled here, or they ask to be let in there. After a mutual removal this is all
// that the removed one sees of the choice. Links of unread frames are unproven, so
// this alone removes nobody; it decides only whether a commit that does remove us
// was followed, and frames that open here take it back.
func (g *Group) deserted() bool {
	gone, others := 0, 0
	for m := range g.voters(g.head) {
		if m == g.self {
			continue
		}
		others++
		if _, _, seq, ok := g.graph.Standing(m); g.due.asking[m] || g.unreadUpTo[m] > 0 && (!ok || g.unreadUpTo[m] > seq) {
			gone++
		}
	}
	return 2*gone > others
}
