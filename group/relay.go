package group

import (
	"crypto/sha256"
	"maps"
	"time"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/mls"
)

// Signals go to the peers that a device is connected with, and not every member
// is connected with every other. So each passes some of them on: of the notices
// for one joiner a few in each NoticeEvery, others each time; of its offers
// all; and a Welcome goes back the way its offer came. What is not signed by a
// member, or by the joiner, goes no further.
type relay struct {
	next  map[string]time.Time // when the next one may pass, by joiner and kind
	again map[string]time.Time // when the same one may, by joiner, kind and signer or offer
	way   map[string]way       // back to who made an offer, by KeyPackage reference
	last  map[string]uint64    // last event of a device when it signed its last signal, by kind and incarnation

	tidy   time.Time                      // not to be looked through before
	proven map[[sha256.Size]byte]struct{} // signatures that were found good
}

func newRelay() relay {
	return relay{next: map[string]time.Time{}, again: map[string]time.Time{}, way: map[string]way{}, last: map[string]uint64{}}
}

// way is the peer that brought an offer, and until when that is worth remembering.
type way struct {
	from  string
	until time.Time
}

// relayedNotices may pass for one joiner in each NoticeEvery, from different
// signers: it takes a third of the members for it to be believed.
const relayedNotices = 3

// noticesOfOne signer may pass in each NoticeEvery.
const noticesOfOne = 16

// maxRelayed bounds what is remembered of them.
const maxRelayed = 4096

// relayedStrangers may pass in each pause of devices that are known to nobody here.
const relayedStrangers = 8

// mayPass reports whether a signal for a joiner may pass: most in each pause,
// and the same one again after rest.
func (r *relay) mayPass(now time.Time, every, rest time.Duration, joiner, one string, most int) bool {
	if now.Before(r.again[joiner+one]) || !r.hasRoom(now) {
		return false
	}
	for i := range most {
		slot := joiner + string(rune('0'+i))
		if !now.Before(r.next[slot]) {
			r.next[slot], r.again[joiner+one] = now.Add(every), now.Add(rest)
			return true
		}
	}
	return false
}

// hasRoom forgets what is over when much is remembered.
func (r *relay) hasRoom(now time.Time) bool {
	if max(len(r.next), len(r.again), len(r.way)) >= maxRelayed && !now.Before(r.tidy) {
		r.tidy = now.Add(time.Second)
		over := func(_ string, t time.Time) bool { return !now.Before(t) }
		maps.DeleteFunc(r.next, over)
		maps.DeleteFunc(r.again, over)
		maps.DeleteFunc(r.way, func(_ string, w way) bool { return !now.Before(w.until) })
	}
	return max(len(r.next), len(r.again), len(r.way)) < maxRelayed
}

// known reports whether a key is, or was once, that of a member.
func (g *Group) known(key string) bool {
	e := g.epochs[g.head]
	_, once := g.names[key]
	return once || e != nil && e.find(key) != ""
}

// newest reports whether a signal is not older than another of its kind by the same
// incarnation: it may have been played again. Of strangers nothing is remembered.
func (s *step) newest(kind string, by dag.Member, at stamp) bool {
	last, k := s.relay.last, kind+string(by)
	if at.Cursor < last[k] {
		return false
	}
	if len(last) >= maxRelayed {
		clear(last)
	}
	if s.known(keyOf(by)) {
		last[k] = at.Cursor
	}
	return true
}

func (s *step) relayNotice(n notice) {
	if s.epochs[s.head] == nil || n.Joiner == s.self || s.own(n.Signer) {
		return
	}
	if !s.known(keyOf(n.Signer)) || !s.signedBy(n.Signer, labelNotice, n.content(s.gid), n.Signature) ||
		!s.newest("notice", n.Signer, n.At) {
		return // whoever was a member once may be one on the joiner's branch, which judges
	}
	if n.Gone {
		s.tellHere(n.Joiner) // if it is: the other spoke too soon, or its word is old
	}
	if s.relay.mayPass(s.env.Now, s.cfg.NoticeEvery, 0, "signer"+keyOf(n.Signer), "", noticesOfOne) &&
		s.relay.mayPass(s.env.Now, s.cfg.NoticeEvery, 4*s.cfg.NoticeEvery, "notice"+string(n.Joiner), keyOf(n.Signer), relayedNotices) {
		s.signal("", n.marshal())
	}
}

// passOn relays what a joiner says of an offer, if it may pass, and remembers the way
// back for a Welcome.
func (s *step) passOn(what string, joiner dag.Member, ref []byte, from string, said interface{ marshal() []byte }) {
	pause, who, most := s.cfg.NoticeEvery/2, keyOf(joiner), maxOffers // not the incarnation, which its signer may make up
	if !s.known(who) {
		who, most = "", relayedStrangers
	}
	if s.epochs[s.head] != nil && !s.own(joiner) && s.relay.mayPass(s.env.Now, pause, pause, what+who, string(ref), most) {
		s.relay.way[string(ref)] = way{from: from, until: s.env.Now.Add(s.cfg.NoticeEvery << 6)}
		s.signal("", said.marshal())
	}
}

// signedBy checks the signature of a member over what a signal says. Copies come
// by every neighbour, so what was found good once is remembered.
func (s *step) signedBy(m dag.Member, label string, content, signature []byte) bool {
	return s.proves(keyOf(m), label, content, signature)
}

func (s *step) proves(key, label string, content, signature []byte) bool {
	var w buffer
	w.bytes([]byte(key))
	w.bytes([]byte(label))
	w.bytes(content)
	w.bytes(signature)
	hash, r := sha256.Sum256(w.b), &s.relay
	if _, ok := r.proven[hash]; ok {
		return true
	}
	if mls.VerifyWithLabel(suite, []byte(key), label, content, signature) != nil {
		return false
	}
	if r.proven == nil || len(r.proven) >= maxRelayed {
		r.proven = map[[sha256.Size]byte]struct{}{}
	}
	r.proven[hash] = struct{}{}
	return true
}

// relayWelcome sends a Welcome towards the joiner whose offer passed here. The
// ways of two copies of an offer may form a circle, so each Welcome passes once
// in a pause.
func (s *step) relayWelcome(ref, bundle []byte, from string) {
	to, pause := s.relay.way[string(ref)].from, s.cfg.NoticeEvery/2
	hash := sha256.Sum256(bundle)
	if to == "" || to == from || !s.relay.mayPass(s.env.Now, pause, pause, "welcome"+string(ref), string(hash[:]), maxOffers) {
		return
	}
	s.signal(to, marshalWelcome(ref, bundle))
}

// answerAgain repeats the Welcome for an offer that comes again, on each way that
// it comes by, once in a pause.
func (s *step) answerAgain(ref []byte, from string, a answer) {
	pause := s.cfg.NoticeEvery / 2
	if s.relay.mayPass(s.env.Now, pause, pause, "answer"+string(ref), from, maxOffers) {
		s.signal(from, marshalWelcome(ref, a.bundle))
	}
}
