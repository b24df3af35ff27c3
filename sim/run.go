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
	Took       time.Duration // real time of the run; nothing else depends on it
}

// Run runs a scenario to its end. An error means that the scenario makes no
// sense; what goes wrong in the run is among the Violations.
func Run(s Scenario) (*Result, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	began := time.Now()
	r, err := played(s, nil)
	if err != nil {
		return nil, err
	}
	res := r.evidence().judge()
	r.close(res)
	res.Took = time.Since(began)
	return res, nil
}

// played is a run that is over. A trace may look on.
func played(s Scenario, t *trace) (*run, error) {
	w, err := newWorld(s)
	if err != nil {
		return nil, err
	}
	w.trace = t
	r := &run{world: w}
	r.safely()
	return r, nil
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
	ends    time.Time // of all that is planned
	healed  time.Time // nobody is cut off any more; zero: somebody is, or will be
	one     time.Time // since when all agree; zero: they do not
	settled bool
	stand   []group.Standing // of each device, when all agreed last; nil: not yet
	all     agreement        // of then
	texts   int              // tried
	robbed  []time.Duration  // after the first message: when thieves copy all founders
	looks   int              // how often devices are looked at while branches meet; 0: meetingLooks, negative: never
}

// Times of a run.
const (
	joinTime = 20 * time.Second // for a founder to join
	lull     = 15 * time.Second // between the last join and the first message
	spread   = 20 * time.Second // for the last frame to reach everybody, over lossy links
)

// theftsEach is how many devices a thief copies in each run.
const theftsEach = 2

// calm is how long all must agree without load: time for confirming frames,
// and for messages that wait for what will never come.
func (r *run) calm() time.Duration { return r.engine.DeliverWait + 5*time.Second }

func (r *run) play() {
	r.history.line(r.now, "", fmt.Sprintf("scenario %s, seed %d, %d members", r.Name, r.Seed, r.Members))
	r.form()
	if r.err != nil {
		return
	}
	r.quiet, r.start = false, r.now
	r.watchErasures()
	r.ends = r.moment(r.end())
	if r.trace != nil {
		r.watch()
	}
	for i := range r.Partitions {
		r.planPartition(i)
	}
	for i := range r.Events {
		r.planEvent(r.Events[i])
	}
	for _, d := range r.devices {
		if d.attack != nil {
			d.attack.begin(r, d)
		}
	}
	if r.meter == nil {
		r.planThefts(theftsEach, r.ends.Add(r.calm()))
		r.planGlimpses()
		r.planReloads()
	}
	for _, after := range r.robbed {
		r.after(after, func() {
			for _, d := range r.devices[:r.Members] {
				r.take(d)
			}
		})
	}
	healAt := r.moment(r.Scenario.healed())
	r.at(healAt, func() {
		r.healed = r.now
		if r.meter != nil {
			r.meter.heal(r)
		}
		r.history.line(r.now, "", "nobody is cut off any more")
		r.bypass()
	})
	r.world.run(healAt, nil)
	r.world.run(r.ends.Add(time.Duration(r.After)), r.finished)
}

// planPartition lets a partition come and go.
func (r *run) planPartition(i int) {
	p := &r.Partitions[i]
	change := func(at Span, apart bool) {
		r.at(r.moment(at), func() {
			r.cuts[i] = apart
			r.history.line(r.now, "", fmt.Sprintf("partition %d: apart %v", i+1, apart))
			r.separate()
		})
	}
	for at := p.At; at < p.Until; at += p.Down + p.Up {
		change(at, true)
		if p.Down == 0 {
			break
		}
		if at+p.Down < p.Until {
			change(at+p.Down, false)
		}
	}
	change(p.Until, false)
	if p.Commits > 0 {
		for island := range p.Islands {
			r.at(r.moment(p.At+(p.Until-p.At)*8/10), func() { r.ensure(i, island) })
		}
	}
}

// form lets the first device found the group and the others come in.
func (r *run) form() {
	for i := range r.Adversaries {
		a := r.Adversaries[i]
		r.devices[a.Device].attack = attacks[a.Name].make(a.usual())
	}
	first := r.devices[0]
	if r.Found == FoundAtOnce {
		r.formAtOnce()
	} else {
		out := first.do(node.Create{Name: "sim", Policy: r.policy()})
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
	}
	r.spares = slices.Clone(r.devices[r.Members:])
	r.world.run(r.now.Add(lull), nil)
}

// finished reports whether the run is over: all agree, and have done so long
// enough for what is left to do in a quiet group.
func (r *run) finished() bool {
	a, ok := r.agreed()
	if !ok {
		r.one = time.Time{}
		return false
	}
	if r.expects(a) {
		r.late = r.now
	}
	if r.one.IsZero() {
		r.one = r.now
	}
	since := r.one
	if since.Before(r.ends) {
		since = r.ends
	}
	if since.Before(r.late) {
		since = r.late
	}
	r.settled = r.now.Sub(since) >= r.calm() && r.now.Sub(r.last) >= spread
	return r.settled && (r.meter == nil || r.meter.done())
}

// agreed reports whether all devices agree. They are asked for everything only
// where a cheap look leaves that open: no founder stands elsewhere than another,
// and somebody stands elsewhere than when all agreed before.
func (r *run) agreed() (agreement, bool) {
	stand, one := make([]group.Standing, len(r.devices)), ""
	for i, d := range r.devices {
		if !d.joined || d.attack != nil {
			continue
		}
		s := d.stands()
		if stand[i] = s; i >= r.Members || s.State == "removed" || s.State == "left" || s.Halves {
			continue
		}
		if s.State != "member" || one != "" && s.Head != one {
			return agreement{}, false
		}
		one = s.Head
	}
	if slices.Equal(stand, r.stand) {
		return r.all, true
	}
	r.all, r.stand = agree(r.standings()), nil
	if r.all.problem != "" {
		return r.all, false
	}
	r.stand = stand
	return r.all, true
}

// expects reports whether the head counts somebody in who has not heard so: its
// Welcome got lost, and it asks again after ever longer pauses. Until it is there
// nothing becomes final.
func (r *run) expects(a agreement) bool {
	return slices.ContainsFunc(r.devices, func(d *device) bool { return !d.joined && d.ticket != nil && a.members[d.key()] })
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
