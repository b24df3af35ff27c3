package group

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/dmlsd/dmls/dag"
)

// A device that has come back may lack a Welcome still: two members added it
// again by rival commits, or one in the place of the other's, and what is said
// on either branch is for it, too.

// ask is for the Welcomes that answer an offer. Who holds none takes the offer
// for withdrawn: its device is a member again.
//
//	struct { opaque joiner<V>; opaque ref<V>; Stamp at; opaque signature<V>; } Ask
type ask struct {
	Joiner    dag.Member
	Ref       []byte // KeyPackageRef of the offer
	At        stamp
	Signature []byte

	from string // as in offer
}

func (a ask) content(gid []byte) []byte {
	var w buffer
	w.bytes(gid)
	w.bytes([]byte(a.Joiner))
	w.bytes(a.Ref)
	a.At.write(&w)
	return w.b
}

func (a ask) marshal() []byte {
	var w buffer
	w.u8(uint8(signalAsk))
	w.bytes([]byte(a.Joiner))
	w.bytes(a.Ref)
	a.At.write(&w)
	w.bytes(a.Signature)
	return w.b
}

func parseAsk(r *cursor) (ask, error) {
	m, err := parseIncarnation(r.bytes())
	a := ask{Joiner: m, Ref: r.bytes(), At: r.stamp(), Signature: r.bytes()}
	if err == nil {
		err = r.done()
	}
	return a, err
}

// hearAsk answers again, or takes the offer for withdrawn, and passes the
// question on: another may have answered.
func (s *step) hearAsk(a ask) {
	key := keyOf(a.Joiner)
	if key == keyOf(s.self) || len(a.Ref) != sha256.Size ||
		!s.signedBy(a.Joiner, labelAsk, a.content(s.gid), a.Signature) || !s.newest("joiner", a.Joiner, a.At) {
		return
	}
	s.passOn("ask", a.Joiner, a.Ref, a.from, a)
	if b, ok := s.answered[string(a.Ref)]; ok {
		s.answerAgain(a.Ref, a.from, b)
	} else if o := s.offers[key]; o != nil && bytes.Equal(o.ref, a.Ref) && a.At.Cursor >= o.At.Cursor {
		s.dropOffer(o)
	}
}

// sendAsks asks for the Welcomes that answer them. A device that is a member
// does not repeat its offers: it would be added again for what it has.
func (s *step) sendAsks() error {
	for _, j := range s.rejoins {
		a := ask{Joiner: j.offer.Joiner, Ref: j.offer.ref, At: s.stamp()}
		var err error
		if a.Signature, err = s.signed(labelAsk, a.content(s.gid)); err != nil {
			return err
		}
		s.signal("", a.marshal())
	}
	return nil
}

// askRivals looks for rival Welcomes when a device has come back, and when a frame
// comes that it cannot open and that may be of a rival branch: who added us there
// may not have reached us with its Welcome, and what is said there is for us too.
func (s *step) askRivals() {
	if s.state != member || !s.entered {
		return
	}
	s.due.rivals, s.due.offers = s.env.Now.Add(4*s.cfg.NoticeEvery), 0
	if s.due.offer.IsZero() { // entered just now
		s.due.offer = s.env.Now
	} else if soon := s.env.Now.Add(s.cfg.NoticeEvery); s.due.offer.After(soon) {
		s.due.offer = soon
	}
}

// awaitsWelcome reports whether a Welcome for an offer of ours may still come:
// for a while after a frame of what may be a rival branch, and until MaxAge if
// the offer was to replace an incarnation that this device never entered:
// somebody added us again, and its Welcome went astray (decision 0098).
func (s *step) awaitsWelcome() bool {
	if s.state != member || len(s.rejoins) == 0 {
		return false
	}
	return s.env.Now.Before(s.due.rivals) || slices.ContainsFunc(s.rejoins, func(j *rejoin) bool {
		id := j.offer.replaces
		return id != "" && s.epochs[id] == nil && s.commits[id] == nil && s.env.Now.Before(s.givenUp(j))
	})
}

// consented reports whether an offer of ours was to replace what a commit added.
func (g *Group) consented(id dag.ID) bool {
	return slices.ContainsFunc(g.rejoins, func(j *rejoin) bool { return j.offer.replaces == id })
}

// givenUp returns when an offer is MaxAge old.
func (s *step) givenUp(j *rejoin) time.Time {
	made := time.Unix(int64(j.keys.KeyPackage.LeafNode.Lifetime.NotBefore), 0).Add(clockSlack)
	return made.Add(s.cfg.MaxAge)
}

// awaitWelcome asks while a Welcome is awaited, with growing pauses.
func (s *step) awaitWelcome() error {
	if !s.awaitsWelcome() || s.env.Now.Before(s.due.offer) {
		return nil
	}
	s.pauseOffers(9)
	return s.sendAsks()
}
