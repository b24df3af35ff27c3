package sim

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

// Result is what a run came to.
type Result struct {
	Scenario   Scenario
	Converged  bool
	Vacuous    string        // why the run proves nothing, empty if it does
	Stranded   int           // devices that were added and are neither on the head nor removed
	Forks      int           // fork points seen by any device
	Messages   int           // acknowledged sends
	Commits    int           // commits made while apart, on both sides
	Crashes    int           // devices that died
	Retained   int           // most epochs that a device retains at the end
	Heal       time.Duration // from healing to one head; zero if that never came
	Slowest    time.Duration // longest way of a message sent while nobody was cut off
	Thefts     []Theft
	Violations []string
	History    []byte
}

// Run runs a scenario to its end. An error means that the scenario makes no
// sense; what goes wrong in the run is among the Violations.
func Run(s Scenario) (*Result, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	w, err := newWorld(s)
	if err != nil {
		return nil, err
	}
	r := &run{world: w}
	r.safely()
	res := r.evidence().judge()
	r.close(res)
	return res, nil
}

// safely plays the run. A panic ends it and is a violation like any other, so
// that the seed is not lost.
func (r *run) safely() {
	defer func() {
		if p := recover(); p != nil {
			r.fail(fmt.Errorf("panic: %v at %s", p, debug.Stack()))
		}
	}()
	r.play()
}

// run is a scenario under way.
type run struct {
	*world
	deeds   []deed
	spares  []*device // not invited yet
	loadEnd time.Time // last message planned
	healed  time.Time
	one     time.Time // since when all agree; zero: they do not
	settled bool
	robbed  []time.Duration // after the first message: when thieves copy all founders
}

// Times of a run.
const (
	joinTime = 20 * time.Second // for a founder to join
	lull     = 15 * time.Second // between the last join and the first message
	chatTime = 20 * time.Second // of chat after the heal
)

// theftsEach is how many devices a thief copies in each run.
const theftsEach = 2

// calm is how long all must agree without load: time for confirming frames,
// and for messages that wait for what will never come.
var calm = group.Sim().DeliverWait + 5*time.Second

func (r *run) play() {
	r.history.line(r.now, "", fmt.Sprintf("scenario %v", r.Scenario.Args()))
	r.form()
	if r.err != nil {
		return
	}
	r.quiet = false
	cutAt := r.now.Add(r.Before)
	healAt := cutAt.Add(r.Apart)
	r.loadEnd = healAt.Add(chatTime)
	r.planMessages()
	r.planCommits(cutAt, healAt)
	r.planLeaves(cutAt, healAt)
	r.planCrashes(cutAt, healAt)
	r.planThefts(theftsEach, r.loadEnd.Add(calm))
	for _, after := range r.robbed {
		r.after(after, func() {
			for _, d := range r.devices[:r.Members] {
				r.take(d)
			}
		})
	}
	r.at(cutAt, r.split)
	r.at(healAt, r.join)
	r.world.run(healAt, nil)
	r.world.run(healAt.Add(r.After), r.finished)
}

// form lets the first device found the group and the others join by ticket.
func (r *run) form() {
	first := r.devices[0]
	out := first.do(node.Create{Name: "sim", Policy: group.PolicyOpen})
	if out[0].Err != nil {
		r.fail(out[0].Err)
		return
	}
	r.gid, first.joined = out[0].Group, true
	for _, d := range r.devices[1:r.Members] {
		r.invite(first, d)
		r.world.run(r.now.Add(joinTime), func() bool { return d.joined })
		if !d.joined {
			r.fail(fmt.Errorf("sim: %s did not join", d.name))
			return
		}
	}
	r.spares = slices.Clone(r.devices[r.Members:])
	r.world.run(r.now.Add(lull), nil)
}

// split cuts the group into two islands of at least two founders each.
func (r *run) split() {
	size := 2 + r.faults.IntN(r.Members-3)
	side := map[*device]int{}
	for i, f := range r.faults.Perm(r.Members) {
		if i < size {
			side[r.devices[f]] = 1
		}
	}
	for i, d := range r.spares {
		side[d] = i % 2
	}
	r.history.line(r.now, "", fmt.Sprintf("cut: %d against %d", r.Members-size, size))
	r.cut(func(d *device) int { return side[d] })
	r.apart = true
}

func (r *run) join() {
	r.history.line(r.now, "", "heal")
	r.apart, r.healed = false, r.now
	r.heal()
}

// finished reports whether the run is over: all agree, and have done so long
// enough for what is left to do in a quiet group.
func (r *run) finished() bool {
	if a := agree(r.standings()); a.problem != "" {
		r.one = time.Time{}
		return false
	}
	if r.one.IsZero() {
		r.one = r.now
	}
	since := r.one
	if since.Before(r.loadEnd) {
		since = r.loadEnd
	}
	r.settled = r.now.Sub(since) >= calm
	return r.settled
}

// close writes the end of the history: where every device stands, what its
// disk holds and what went over the network.
func (r *run) close(res *Result) {
	for _, s := range r.standings() {
		r.history.line(r.now, s.name, fmt.Sprintf("%s, disk %x", s, r.byName[s.name].store.digest()[:8]))
	}
	r.history.line(r.now, "", fmt.Sprintf("wire %d messages %x", r.carried, r.wire.Sum(nil)))
	for _, v := range res.Violations {
		v, _, _ = strings.Cut(v, "\n") // a stack differs from run to run
		r.history.line(r.now, "", "VIOLATION "+v)
	}
	res.History = slices.Clone(r.history.buf.Bytes())
}
