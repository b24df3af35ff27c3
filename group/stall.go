package group

import (
	"time"

	"github.com/dmlsd/dmls/group/internal/plan"
	"github.com/dmlsd/dmls/mls"
)

// An epoch that a member left and came back to, while a fork was undecided,
// becomes final only through the next commit below it (decision 0020). In a
// group that falls quiet then, that commit would not come for a day and old
// epochs would be kept as long. So when all have said what they had to say and
// the head is still not final, one member refreshes its keys.

// stallAfter is how many of the longest delays of a confirming frame pass
// before that; two rounds take two at the most.
const stallAfter = 6

// watchStall keeps the timer: it runs while every voter of the head stands
// there and this device owes nothing. There is one try for each base, since
// some heads cannot become final before the caps, commit or no commit. Each head
// that has to wait after another gets twice the time: what is missing may be a
// lost frame, and a commit asks for as many more.
func (s *step) watchStall(e *epoch) {
	if s.graph.Final() == s.head {
		s.due.stalls, s.due.stalled = 0, ""
	}
	if s.due.stallBase == s.graph.Base() || s.graph.Final() == s.head || s.needsAck() || !s.graph.Unanimous(s.head) {
		s.due.stall = time.Time{}
		return
	}
	if s.due.stall.IsZero() {
		var leaves []uint32
		for m := range e.leaves.all() {
			leaves = append(leaves, leafOf(m))
		}
		rank := plan.Rank([]byte(e.id), leaves, uint32(e.mls.Self()))
		if s.due.stalled != "" && s.due.stalled != s.head {
			s.due.stalls = min(s.due.stalls+1, mostStalls)
		}
		s.due.stalled = s.head
		s.due.stall = s.env.Now.Add(stallAfter*s.cfg.AckMax<<s.due.stalls + time.Duration(rank)*s.cfg.MergeDelay)
	}
}

// mostStalls bounds how often that time doubles.
const mostStalls = 3

// unstall commits when the timer has run out.
func (s *step) unstall() (done bool, err error) {
	if s.due.stall.IsZero() || s.env.Now.Before(s.due.stall) {
		return false, nil
	}
	s.due.stall, s.due.stallBase = time.Time{}, s.graph.Base()
	_, err = s.commitOnHead(mls.CommitRequest{}, nil)
	return true, err
}
