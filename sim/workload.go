package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

// saying is an acknowledged message and who must read it.
type saying struct {
	text    string
	by      string // identity of the author
	at      time.Time
	early   bool            // sent before the cut
	again   bool            // sent again later, since nobody was known to have it
	readers map[string]bool // identities in the epochs that it was sent in: again where nobody could open it
}

func (s *saying) readBy(members []group.Member) {
	for _, m := range members {
		s.readers[m.ID] = true
	}
}

// deed is an add, a removal or a leave that a user asked for. One that was not
// acknowledged, since the device died in it, may be done all the same.
type deed struct {
	remove       bool   // of somebody, or of itself: a leave
	by, of       string // identities
	acknowledged bool
}

// tries is how often a user who is refused, or whose device dies, tries again
// or leaves it to somebody else.
const tries = 20

// planMessages spreads the messages over the whole run.
func (r *run) planMessages() {
	span := int64(r.loadEnd.Sub(r.now))
	for i := range r.Messages {
		r.after(time.Duration(r.load.Int64N(span)), func() { r.say(fmt.Sprintf("m%03d", i), tries) })
	}
}

// planCommits spreads the commits of both sides over most of the time apart.
// Near its end each side is brought to the two commits without which the run
// would prove nothing.
func (r *run) planCommits(cutAt, healAt time.Time) {
	span := int64(healAt.Sub(cutAt))
	for island := range 2 {
		for range r.Commits {
			r.at(cutAt.Add(time.Duration(span/20+r.load.Int64N(span*7/10))), func() { r.commit(island, tries) })
		}
		if r.Commits >= 2 {
			r.at(cutAt.Add(time.Duration(span*8/10)), func() { r.ensure(island) })
		}
	}
}

// planLeaves lets members leave while the group is apart and shortly after.
func (r *run) planLeaves(cutAt, healAt time.Time) {
	span := int64(healAt.Sub(cutAt))
	for range r.Leaves {
		r.at(cutAt.Add(time.Duration(r.load.Int64N(span*5/4))), r.leave)
	}
}

// leave lets somebody go who does not leave an island empty.
func (r *run) leave() {
	who := r.able(-1)
	d := who[r.load.IntN(len(who))]
	if len(r.able(d.island)) < 3 {
		return
	}
	ok := d.step(group.Leave{})
	r.deeds = append(r.deeds, deed{remove: true, by: d.key(), of: d.key(), acknowledged: ok})
	r.history.line(r.now, d.name, fmt.Sprintf("asks to leave: %v", ok))
}

// planCrashes lets devices die while the group is apart and shortly after.
func (r *run) planCrashes(cutAt, healAt time.Time) {
	span := int64(healAt.Sub(cutAt))
	for range r.Crashes {
		r.at(cutAt.Add(time.Duration(r.faults.Int64N(span*3/2))), r.mishap)
	}
}

// able returns the devices that can act now, of one island or, with -1, of any.
func (r *run) able(island int) []*device {
	return slices.DeleteFunc(r.members(), func(d *device) bool {
		st, ok := d.status()
		return !ok || st.State != "member" || island >= 0 && d.island != island
	})
}

// say lets somebody send a text. One that was not acknowledged may be read all
// the same, so the next try has another.
func (r *run) say(text string, left int) {
	who := r.able(-1)
	if len(who) > 0 && r.sayBy(who[r.load.IntN(len(who))], text) || left == 0 {
		return
	}
	r.after(time.Second, func() { r.say(text+"'", left-1) })
}

func (r *run) sayBy(d *device, text string) bool {
	if !d.step(group.Send{Text: []byte(text)}) {
		return false
	}
	st, _ := d.status()
	s := &saying{text: text, by: d.key(), at: r.now, early: !r.apart && r.healed.IsZero(), readers: map[string]bool{}}
	s.readBy(st.Members)
	i := slices.IndexFunc(d.shown, func(e group.Event) bool { return e.Kind == group.KindMessage && e.Mine && e.Text == text })
	if i < 0 || d.shown[i].Head != st.Head {
		r.fail(fmt.Errorf("sim: %s sent %q, but not on its head", d.name, text))
	}
	r.said[text], r.order = s, append(r.order, text)
	return true
}

// commit lets a device of the island do one of the things that commits are
// for, until one is done.
func (r *run) commit(island, left int) {
	if !r.apart || left == 0 {
		return
	}
	if who := r.able(island); len(who) > 0 && r.act(who[r.load.IntN(len(who))], island) {
		return
	}
	r.after(time.Second/2, func() { r.commit(island, left-1) })
}

func (r *run) act(d *device, island int) bool {
	st, _ := d.status()
	spare := slices.IndexFunc(r.spares, func(s *device) bool { return s.island == island })
	k := r.load.IntN(10)
	switch {
	case k < 3 && spare >= 0:
		s := r.spares[spare]
		if !r.invite(d, s) {
			return false
		}
		r.spares = slices.Delete(r.spares, spare, spare+1)
		r.deeds = append(r.deeds, deed{by: d.key(), of: s.key(), acknowledged: true})
		return true
	case k < 5 && len(st.Members) > 4:
		m := st.Members[r.load.IntN(len(st.Members))]
		if m.Self {
			return false
		}
		ok := d.step(group.Change{Remove: []uint32{m.Leaf}})
		r.deeds = append(r.deeds, deed{remove: true, by: d.key(), of: m.ID, acknowledged: ok})
		return ok
	}
	return d.step(group.Change{Update: true})
}

// ensure sees to it that an island has made two commits before the heal.
func (r *run) ensure(island int) {
	if !r.apart || r.commits[island] >= 2 {
		return
	}
	if who := r.able(island); len(who) > 0 {
		who[r.load.IntN(len(who))].step(group.Change{Update: true})
	}
	r.after(time.Second/2, func() { r.ensure(island) })
}

// invite hands a ticket of one device to another.
func (r *run) invite(by, d *device) bool {
	out := by.do(node.Invite{Group: r.gid})
	if len(out) != 1 || out[0].Err != nil {
		return false
	}
	d.ticket, d.host = &out[0].Ticket, by
	d.do(node.Join{Ticket: *d.ticket, Peer: by.name})
	return true
}

// mishap lets a device die: between two inputs, in the middle of a commit to
// its disk, which is then there or lost, or while it sends what that commit
// allowed it to send.
func (r *run) mishap() {
	var who []*device
	for _, d := range r.devices {
		if d.driver != nil && d.store.crash == nil && d.fuse == 0 && (d.joined || d.ticket != nil) {
			who = append(who, d)
		}
	}
	if len(who) == 0 {
		return
	}
	d := who[r.faults.IntN(len(who))]
	switch r.faults.IntN(4) {
	case 0:
		r.crash(d, "between two inputs")
	case 1:
		d.store.crash = func() bool { return true }
	case 2:
		d.store.crash = func() bool { return false }
	default:
		d.fuse = 1 + r.faults.IntN(4)
	}
}
