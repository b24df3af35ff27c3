package group

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dmlsd/dmls/dag"
)

// A device that was away for longer than blocks are kept holds frames that
// follow what nobody has any more: it cannot catch up (design, section 5.6: too
// stale). It says where it stands, once for each head. To the others, who erased
// that epoch, it is away from then on, and they add it again (decision 0102).

// hint notes who seems to be elsewhere by a frame that does not open and that
// follows what is not held: it may have expired. Such a claim stands on nothing,
// so it bears on no vote, and the next frame of that member which opens ends it.
func (g *Group) hint(m *meta) {
	switch {
	case m.Status == opened:
		delete(g.hints, m.Author)
		g.hinting[m.Author] = struct{}{}
	case m.Said == "":
		if who := g.seemsOf(m); who != "" {
			g.hints[who] = struct{}{}
			g.hinting[who] = struct{}{}
		}
	}
}

// writeHints records them, each by itself: anybody with the gossip secret can make
// one for each member.
func (s *step) writeHints() {
	for _, m := range sortedMembers(s.hinting) {
		_, is := s.hints[m]
		_, was := s.hinted[m]
		switch key := s.memberKey("hint/", m); {
		case is && !was:
			s.put(key, []byte(m), Public)
			s.hinted[m] = struct{}{}
		case was && !is:
			s.del(key, Public)
			delete(s.hinted, m)
		}
	}
	clear(s.hinting)
}

// dropHints forgets those of incarnations that are neither in the base nor on the
// head.
func (s *step) dropHints() {
	for m := range s.hints {
		if e := s.epochs[s.head]; !s.graph.IsMember(s.graph.Base(), m) && (e == nil || !e.leaves.has(m)) {
			delete(s.hints, m)
			s.hinting[m] = struct{}{}
		}
	}
}

// seemsOf names whose an unread frame is, or seems to be: it may be the first of its
// sender, who has no vote and so had said nothing (decision 0106).
func (g *Group) seemsOf(m *meta) dag.Member {
	if m.Said != "" || m.Status != unread || m.Links.Seq > 0 && g.before(m.Links.Prev, m) {
		return m.Said
	}
	if who := g.byLinks(m.Links); who != "" && who != g.self && m.Links.Seq >= g.joinedAt(who) {
		return who
	}
	return ""
}

// watchBehind keeps the timer. Whenever the head moves, blocks do come.
func (s *step) watchBehind(e *epoch) {
	switch d := &s.due; {
	case len(s.ahead(e)) == 0:
		d.call = time.Time{}
	case d.call.IsZero() && d.called != s.head:
		d.call = s.env.Now.Add(s.cfg.divergeAfter())
	}
}

// ahead returns the members whose frames wait here for others, by leaf.
func (s *step) ahead(e *epoch) []dag.Member {
	var out []dag.Member
	for _, p := range s.waiting {
		m := e.leaves.get(p.by.leaf)
		if m != "" && m != s.self && addedBy(m) == idOf(p.by.joined) && p.leave == "" && len(p.missing) > 0 {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, byLeaf)
	return slices.Compact(out)
}

// callForHelp says where this device stands when what it waits for does not come.
func (s *step) callForHelp() error {
	e := s.epochs[s.head]
	if s.due.call.IsZero() || s.env.Now.Before(s.due.call) || e == nil {
		return nil
	}
	who := s.ahead(e)
	s.due.call, s.due.called = time.Time{}, s.head
	if len(who) == 0 {
		return nil
	}
	s.emit(Event{Kind: KindDiverged, Epoch: e.mls.Number(), Head: text(s.head), Actions: s.namesOf(who),
		Why: s.namesListed(who) + " went on, and what lies between does not come; if nobody has it, they will add this device again"})
	return s.sayHere()
}

// sayHere sends an empty frame: whoever holds it sees where this device stands.
func (s *step) sayHere() error {
	d := appData{Kind: appAck}
	if _, err := io.ReadFull(s.env.Rand, d.ID[:]); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	_, err := s.sendApplication(d)
	return err
}

// mostShouts is how often a device that the others left says where it stands.
const mostShouts = 4

// shout says so while members are where this device cannot follow: one that was
// removed there is told only when it speaks (decision 0103).
func (s *step) shout() error {
	if d := &s.due; s.diverged && d.shouts < mostShouts && !s.env.Now.Before(d.shout) {
		d.shout = s.env.Now.Add(s.cfg.divergeAfter() << d.shouts)
		d.shouts++
		return s.sayHere()
	}
	return nil
}

// behind reports whether all that is known of a member beyond what this device
// can read is that it spoke in an epoch which our chain erased: it made no branch.
func (g *Group) behind(m dag.Member) bool {
	last := g.frames[g.ends[memberChain(m)]]
	if last == nil || last.Type == typeCommit {
		return false
	}
	c := g.commits[idOf(last.Links.Parent)]
	return c != nil && c.Erased
}

// passedOver wakes frames that wait though their epochs lie above a base that
// was reached since: nothing that they follow matters any more.
func (s *step) passedOver() {
	if s.floor == s.swept {
		return
	}
	s.swept = s.floor
	for _, c := range sorted(s.waiting) {
		if s.waiting[c].epoch < s.floor {
			s.orphans = append(s.orphans, c)
		}
	}
}
