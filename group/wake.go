package group

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group/internal/plan"
)

// due holds the timers of shared work. They live in memory only: after a
// restart they begin anew.
type due struct {
	ack     time.Time
	work    []byte // what the ranked back-off is for
	workAt  time.Time
	notice  map[string]time.Time // next notice, by key of the stranded joiner
	told    map[string]int
	since   map[string]time.Time // when an add was first found open, by key
	ask     map[string]time.Time // when to show what is not done again, by commit and operation
	offer   time.Time            // next repetition of our own offer
	offers  int                  // repetitions so far
	rivals  time.Time            // until when a rival re-add is asked for
	refused map[string]bool      // offers that could not be committed, by reference
	shout   time.Time            // when to say again where this device stands, if others left it
	shouts  int                  // how often it did
	copied  map[cid.Cid]resaid   // own texts that were said again since some could not read them
	copies  map[cid.Cid]struct{} // their copies
	unheard map[cid.Cid]struct{} // own texts that are to be said again for that
	relook  bool                 // the head has moved, or somebody complained, since that was looked for
	settled dag.ID               // the base for which own texts were last taken out of the outbox
	tell    []notice             // for those who spoke, or made an offer, and are not where they think
	here    map[dag.Member]bool  // members of our head that are on it, since others told us otherwise
	asking  map[dag.Member]bool  // members of our head that ask to be let in elsewhere

	proofs    map[dag.Member]*proof // of equivocations, until somebody publishes one
	diverge   time.Time             // when members who are away count as gone another way
	exit      time.Time             // when a removal of this device was first seen that does not hold
	call      time.Time             // when to say that what is waited for does not come
	called    dag.ID                // the head at which that was said
	missed    dag.ID                // the head at which this device said that it is there
	stall     time.Time             // when a head that all stand on should have become final
	stallBase dag.ID                // the base for which that was tried
	stalls    int                   // heads in a row that waited for it
	stalled   dag.ID                // the last of them
	erase     hold                  // of what is final
	eraseOld  hold                  // of the incarnation that was given up
	plan      *plan.Plan
	planFor   dag.ID
	planSeen  uint64 // frames settled when the plan was made
}

func newDue() due {
	return due{notice: map[string]time.Time{}, told: map[string]int{}, since: map[string]time.Time{}, ask: map[string]time.Time{},
		refused: map[string]bool{}, proofs: map[dag.Member]*proof{}, copied: map[cid.Cid]resaid{}, copies: map[cid.Cid]struct{}{}, unheard: map[cid.Cid]struct{}{}, relook: true}
}

// headMoved restarts the back-off: rivals may have done the work.
func (d *due) headMoved() {
	d.rest()
	d.stall, d.call, d.relook = time.Time{}, time.Time{}, true
}

// rest ends a back-off.
func (d *due) rest() { d.work, d.workAt = nil, time.Time{} }

// wake returns the earliest time at which a Tick has something to do.
func (s *step) wake() time.Time {
	var first time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !s.goneAt.IsZero() && len(s.epochs) > 0 {
		at(s.goneAt.Add(s.cfg.MaxAge))
	}
	switch s.state {
	case member:
		if s.awaitsWelcome() {
			at(s.due.offer)
		}
		if len(s.rejoins) > 0 && s.due.rivals.After(s.env.Now) {
			at(s.due.rivals)
		}
		at(s.due.ack)
		at(s.due.workAt)
		at(s.due.stall)
		at(s.due.call)
		if s.diverged && s.due.shouts < mostShouts {
			at(s.due.shout)
		}
		if !s.diverged {
			at(s.due.diverge)
		}
		if len(s.lost()) > 0 {
			at(s.env.Now)
		}
		for _, t := range s.due.notice {
			at(t)
		}
		for _, o := range s.offers {
			if old := s.epochs[s.head].find(keyOf(o.Joiner)); old != "" && s.replacing(o, old) {
				if t := o.heard.Add(s.cfg.ReaddDelay); t.After(s.env.Now) {
					at(t)
				}
			}
		}
		for _, t := range s.due.ask {
			at(t)
		}
		for _, p := range s.due.proofs {
			at(p.at)
		}
	case removed:
		at(s.due.ack)
	case stranded:
		at(s.due.offer)
	case leaving, left:
		if s.mustLeave() || s.state == leaving && s.allLeave() {
			at(s.env.Now)
		}
	}
	for _, m := range s.pending {
		at(time.UnixMilli(m.Since).Add(s.cfg.DeliverWait))
	}
	for _, t := range s.delayed {
		at(t)
	}
	for _, h := range []hold{s.due.erase, s.due.eraseOld} {
		if h.until.After(s.env.Now) {
			at(h.until)
		}
	}
	for _, e := range s.epochs {
		if e.old {
			at(e.born.Add(s.cfg.MaxAge))
		}
		if e.old && e.reads.After(s.env.Now) {
			at(e.reads)
		}
	}
	for _, a := range s.answered {
		at(a.since.Add(s.cfg.MaxAge))
	}
	if s.state != stranded {
		for _, j := range s.rejoins {
			at(s.givenUp(j))
		}
	}
	at(s.nextExpiry())
	return first
}

// prepare sets the timers that the new state asks for, at the end of a Step.
func (s *step) prepare() error {
	if s.state == removed {
		return s.scheduleAck()
	}
	if s.state != member {
		return nil
	}
	e, err := s.headEpoch()
	if err != nil {
		return err
	}
	s.myTurn(s.nextJob(e), e)
	s.watchDivergence(e)
	s.watchBehind(e)
	s.planNotices()
	s.planProofs()
	s.planAsk()
	s.ask()
	if err := s.scheduleAck(); err != nil {
		return err
	}
	s.watchStall(e)
	return nil
}
