package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group/internal/plan"
	"github.com/dmlsd/dmls/mls"
)

// The members' side.

// planNotices keeps one timer for every incarnation that only a losing branch
// has: the inviter speaks at once, the others when no offer has come after a while.
func (s *step) planNotices() {
	open := map[string]bool{}
	for _, a := range s.plans().Strays {
		key := a.Who.Incarnation
		open[key] = true
		if _, ok := s.due.since[key]; !ok {
			s.due.since[key] = s.env.Now
		}
		if _, ok := s.due.notice[key]; ok {
			continue
		}
		wait := 2 * s.cfg.NoticeEvery
		switch {
		case s.epochs[s.head].find(a.Who.Key) != "":
			wait = s.cfg.rivalDelay() // a rival re-add: until its votes are in, the choice may flip
		case a.Author == keyOf(s.self):
			wait = 0
		}
		s.due.notice[key] = s.env.Now.Add(wait)
	}
	for _, m := range s.missed() {
		open[string(m)] = true
		if _, ok := s.due.notice[string(m)]; !ok {
			s.due.notice[string(m)] = s.env.Now.Add(s.cfg.ReaddDelay)
		}
	}
	for key := range s.due.notice {
		if !open[key] {
			delete(s.due.notice, key)
			delete(s.due.told, key)
			delete(s.due.since, key)
		}
	}
}

// missed lists the lost members whom this device tells where the head is. Of more
// than 128 members the voters do, or each would be told by each.
func (s *step) missed() []dag.Member {
	if !s.graph.Votes(s.self) {
		return nil
	}
	return s.lostMembers()
}

// firstNotices is how many notices a joiner is sent at the shortest pause.
const firstNotices = 4

// notices tells stranded joiners which branch won, again and again with
// growing pauses, until they offer a KeyPackage for this head.
func (s *step) notices() error {
	var to []string
	for _, a := range s.plans().Strays {
		to = append(to, a.Who.Incarnation)
	}
	for _, m := range s.missed() {
		to = append(to, string(m))
	}
	for _, key := range to {
		at, ok := s.due.notice[key]
		if !ok || s.env.Now.Before(at) {
			continue
		}
		s.due.told[key] = min(s.due.told[key]+1, firstNotices+4)
		s.due.notice[key] = s.env.Now.Add(s.cfg.NoticeEvery << max(s.due.told[key]-firstNotices, 0))
		if err := s.notify(dag.Member(key)); err != nil {
			return err
		}
	}
	return nil
}

// notify tells an incarnation where the head is, unless its device has offered
// a KeyPackage that can be taken there.
func (s *step) notify(m dag.Member) error {
	n := notice{Joiner: m, Head: cidOf(s.head)}
	if now := s.epochs[s.head].find(keyOf(m)); now != "" {
		n.Present = addedBy(now)
	}
	if o := s.offers[keyOf(m)]; o != nil && s.bound(o) && o.replaces == n.Present {
		return nil
	}
	return s.notifyWith(n)
}

func (s *step) notifyWith(n notice) (err error) {
	n.Signer, n.At = s.self, s.stamp()
	if n.Signature, err = s.signed(labelNotice, n.content(s.gid)); err != nil {
		return err
	}
	s.signal("", n.marshal())
	return nil
}

// hearOffer keeps the KeyPackage of a stranded joiner whose add is open. An
// offer that was answered is answered again: the Welcome may have been lost.
func (s *step) hearOffer(o *offer) {
	key := keyOf(o.Joiner)
	kp, err := mls.ParseKeyPackage(o.KeyPackage)
	if err != nil || !sameKey(kp.LeafNode.SignatureKey, key) || !s.signedBy(o.Joiner, labelOffer, o.content(s.gid), o.Signature) ||
		!s.newest("joiner", o.Joiner, o.At) || s.outdated(o.Joiner, o.At) {
		return
	}
	o.ref = kp.Ref()
	s.passOn("offer", o.Joiner, o.ref, o.from, o)
	s.sawOffer(o)
	if s.due.refused[string(o.ref)] {
		return
	}
	if b, ok := s.answered[string(o.ref)]; ok {
		s.answerAgain(o.ref, o.from, b) // also when we were removed since
		return
	}
	if s.state != member {
		return
	}
	if old := s.offers[key]; old != nil && bytes.Equal(old.ref, o.ref) {
		old.from, old.At = o.from, o.At
		s.tellHere(o.Joiner) // it may not be open any more
		return
	}
	if o.replaces, err = replaces(kp); err != nil {
		return
	}
	var open bool
	if o.replaces == "" {
		open = slices.ContainsFunc(s.plans().Adds, func(a plan.Op) bool { return a.Who.Key == key })
	} else {
		old := s.epochs[s.head].find(key)
		open = old != "" && s.replacing(o, old)
	}
	if !open || !s.bound(o) || kp.Verify(s.env.Now) != nil {
		s.tellHere(o.Joiner)
		return
	}
	o.heard = s.env.Now
	s.offers[key] = o
	s.put(s.offerKey(key), o.marshal(), Public)
}

func (s *step) offerKey(key string) string { return s.key("offer/" + hexKey(key)) }

// bound reports whether the offer is good for the present head.
func (g *Group) bound(o *offer) bool { return g.graph.IsAncestor(idOf(o.Head), g.head) }

// readdable: an add of a losing branch is done again when the fork is final or
// was open for ReaddDelay; before, the choice may flip and strand the joiner
// a second time.
func (s *step) readdable(a plan.Op, o *offer) bool {
	if _, done := s.answered[string(o.ref)]; done || !s.bound(o) {
		return false
	}
	if !s.graph.Has(dag.ID(a.At)) {
		return true // the losing branch was erased: the fork is final
	}
	since, ok := s.due.since[a.Who.Incarnation]
	return ok && s.env.Now.Sub(since) >= s.cfg.ReaddDelay
}

// replacing reports whether an offer is to replace an incarnation of the head:
// its own, or one that never spoke there, since its device entered by another
// Welcome.
func (g *Group) replacing(o *offer, old dag.Member) bool {
	if o.replaces != addedBy(old) || !g.bound(o) {
		return false
	}
	_, _, _, spoke := g.graph.Standing(old)
	return o.Joiner == old || !spoke
}

// takesPlace reports whether it is time for that: who added the silent
// incarnation may still hand out its Welcome, and the choice may flip.
func (s *step) takesPlace(o *offer, old dag.Member) bool {
	if _, done := s.answered[string(o.ref)]; done || !s.replacing(o, old) {
		return false
	}
	if o.heard.IsZero() { // loaded
		o.heard = s.env.Now
	}
	return s.env.Now.Sub(o.heard) >= s.cfg.ReaddDelay
}

func (s *step) dropOffer(o *offer) {
	key := keyOf(o.Joiner)
	if s.offers[key] == o {
		delete(s.offers, key)
		s.del(s.offerKey(key), Public)
	}
}

// answerOffer sends the Welcome to the joiner and keeps it: it may get lost, or
// be needed when a rival re-add that the joiner entered by loses in turn.
func (s *step) answerOffer(o *offer, at dag.ID, bundle []byte) {
	a := answer{at: at, joiner: s.epochs[at].leaves.find(keyOf(o.Joiner)), since: time.Unix(s.env.Now.Unix(), 0), bundle: bundle}
	s.answered[string(o.ref)] = a
	s.put(s.answerKey(o.ref), a.marshal(), Secret)
	s.dropOffer(o)
	s.signal(o.from, marshalWelcome(o.ref, bundle))
}

// answer is a Welcome that answered an offer, with the commit that it is for and
// the incarnation that this added.
type answer struct {
	at     dag.ID
	joiner dag.Member
	since  time.Time
	bundle []byte
}

func (a answer) marshal() []byte {
	var w buffer
	w.bytes([]byte(a.at))
	w.bytes([]byte(a.joiner))
	w.u64(uint64(a.since.Unix()))
	w.bytes(a.bundle)
	return w.b
}

func parseAnswer(b []byte) (answer, error) {
	r := cursor{b: b}
	at, joiner, since, bundle := r.bytes(), r.bytes(), r.u64(), r.bytes()
	err := r.done()
	if err == nil {
		_, err = parseIncarnation(joiner)
	}
	if err != nil {
		return answer{}, fmt.Errorf("%w: answer: %w", ErrRecords, err)
	}
	return answer{at: dag.ID(at), joiner: dag.Member(joiner), since: time.Unix(int64(since), 0), bundle: bundle}, nil
}

// dropAnswers erases the Welcomes that are of no more use: their commits are
// final, or were dropped, and the device that they are for has spoken there. As
// long as it has not, it may still be without, and what was said to it with it:
// until MaxAge (decision 0098).
func (s *step) dropAnswers() {
	for _, ref := range slices.Sorted(maps.Keys(s.answered)) {
		a := s.answered[ref]
		final := !s.graph.Has(a.at) || a.at == s.graph.Base()
		if final && s.spoke(a.joiner) || s.env.Now.Sub(a.since) >= s.cfg.MaxAge {
			delete(s.answered, ref)
			s.del(s.answerKey([]byte(ref)), Secret)
		}
	}
}

// spoke reports whether a frame of an incarnation was opened here.
func (g *Group) spoke(m dag.Member) bool {
	f := g.frames[g.ends[memberChain(m)]]
	return f != nil && f.Author == m
}

func (s *step) answerKey(ref []byte) string { return s.key("answer/" + hexKey(string(ref))) }
