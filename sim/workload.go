package sim

import (
	"fmt"
	"math/rand/v2"
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
	early   bool            // sent before anybody was cut off
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
	role         string // Promote or Demote, if it is that
	by, of       string // identities
	acknowledged bool
}

// tries is how often a user who is refused, or whose device dies, tries again
// or leaves it to somebody else, and pause the time in between.
const (
	tries = 20
	pause = time.Second / 2
)

// task is an event of the scenario under way.
type task struct {
	Event
	rand *rand.Rand
	cut  int // which islands there were when it was due
	left int // tries
}

// planEvent makes an event due.
func (r *run) planEvent(e Event) {
	t := &task{Event: e, rand: rand.New(stream(r.Seed, fmt.Sprintf("event %d", e.Draw))), left: tries}
	r.at(r.moment(e.At), func() {
		t.cut = r.cut
		switch {
		case e.Do == Crash:
			r.mishap(t)
		case e.Do == Clock:
			r.jump(t)
		default:
			r.attempt(t)
		}
	})
}

// attempt lets somebody do the task, now or after a while. What is more than a
// message is given up when the islands have changed.
func (r *run) attempt(t *task) {
	if r.try(t) || t.left == 0 {
		return
	}
	t.left--
	r.after(pause, func() {
		if t.Do == Say || t.cut == r.cut {
			r.attempt(t)
		}
	})
}

func (r *run) try(t *task) bool {
	who := r.able(t.By)
	if len(who) == 0 {
		return false
	}
	d := who[t.rand.IntN(len(who))]
	switch t.Do {
	case Say:
		r.texts++
		return r.sayBy(d, fmt.Sprintf("m%03d", r.texts))
	case Update:
		return d.step(group.Change{Update: true})
	case Add:
		return r.add(d, t)
	case Remove:
		return r.remove(d, t)
	case Promote, Demote:
		return r.rank(d, t, t.Do == Promote)
	case Leave:
		return r.leave(d)
	}
	return r.mixed(d, t)
}

// mixed does one of the things that commits are for.
func (r *run) mixed(d *device, t *task) bool {
	switch k := t.rand.IntN(10); {
	case k < 3 && slices.ContainsFunc(r.spares, func(s *device) bool { return s.island == d.island }):
		return r.add(d, t)
	case k < 5 && len(r.able(nil)) > 4:
		return r.remove(d, t)
	case k < 7 && r.Policy == "admins":
		return r.rank(d, t, k == 5)
	}
	return d.step(group.Change{Update: true})
}

// able returns the honest devices that can act now, of some or, with none
// named, of all.
func (r *run) able(of Devices) []*device {
	var out []*device
	for i, d := range r.devices {
		if d.joined && d.attack == nil && (len(of) == 0 || of.has(i)) && d.state() == "member" {
			out = append(out, d)
		}
	}
	return out
}

// leave lets a device go that does not leave an island empty.
func (r *run) leave(d *device) bool {
	there := slices.DeleteFunc(r.able(nil), func(o *device) bool { return o.island != d.island })
	if len(there) < 3 {
		return false
	}
	ok := d.step(group.Leave{})
	r.deeds = append(r.deeds, deed{remove: true, by: d.key(), of: d.key(), acknowledged: ok})
	r.history.line(r.now, d.name, fmt.Sprintf("asks to leave: %v", ok))
	return true
}

// sayBy lets a device send a text. One that was not acknowledged may be read
// all the same, so the next try has another.
func (r *run) sayBy(d *device, text string) bool {
	if !d.step(group.Send{Text: []byte(text)}) {
		return false
	}
	st, _ := d.status()
	s := &saying{text: text, by: d.key(), at: r.now, early: r.now.Before(r.moment(r.trouble())), readers: map[string]bool{}}
	s.readBy(st.Members)
	i := slices.IndexFunc(d.shown, func(e telling) bool { return e.Kind == group.KindMessage && e.Mine && e.Text == text })
	if i < 0 || d.shown[i].Head != st.Head {
		r.fail(fmt.Errorf("sim: %s sent %q, but not on its head", d.name, text))
	}
	r.said[text], r.order = s, append(r.order, text)
	return true
}

// add lets a device invite a joiner that it can reach.
func (r *run) add(d *device, t *task) bool {
	i := slices.IndexFunc(r.spares, func(s *device) bool { return s.island == d.island && (len(t.Of) == 0 || t.Of.has(s.number)) })
	if i < 0 {
		return false
	}
	s := r.spares[i]
	if !r.invite(d, s) {
		return false
	}
	r.spares = slices.Delete(r.spares, i, i+1)
	r.deeds = append(r.deeds, deed{by: d.key(), of: s.key(), acknowledged: true})
	return true
}

// remove lets a device remove another member.
func (r *run) remove(d *device, t *task) bool {
	who := r.others(d, t)
	if len(who) == 0 {
		return false
	}
	m := who[t.rand.IntN(len(who))]
	ok := d.step(group.Change{Remove: []uint32{m.Leaf}})
	if ok || d.driver == nil { // it may be done if the device died
		r.deeds = append(r.deeds, deed{remove: true, by: d.key(), of: m.ID, acknowledged: ok})
	}
	return ok
}

// rank lets a device promote another member or demote it.
func (r *run) rank(d *device, t *task, up bool) bool {
	who := slices.DeleteFunc(r.others(d, t), func(m group.Member) bool { return m.Admin == up })
	if len(who) == 0 {
		return false
	}
	m := who[t.rand.IntN(len(who))]
	in, role := group.Change{Promote: []uint32{m.Leaf}}, Promote
	if !up {
		in, role = group.Change{Demote: []uint32{m.Leaf}}, Demote
	}
	ok := d.step(in)
	if ok || d.driver == nil { // it may be done if the device died
		r.deeds = append(r.deeds, deed{role: string(role), by: d.key(), of: m.ID, acknowledged: ok})
	}
	return ok
}

// others are the members that a device may do something to.
func (r *run) others(d *device, t *task) []group.Member {
	st, _ := d.status()
	return slices.DeleteFunc(slices.Clone(st.Members), func(m group.Member) bool {
		return m.ID == d.key() || len(t.Of) > 0 && !slices.ContainsFunc(t.Of, func(i int) bool { return r.devices[i].key() == m.ID })
	})
}

// ensure sees to it that an island makes the commits without which the run
// would prove nothing.
func (r *run) ensure(partition, island int) {
	p := &r.Partitions[partition]
	if !r.now.Before(r.moment(p.Until)) || r.commits[side{partition, island}] >= p.Commits {
		return
	}
	who := slices.DeleteFunc(r.able(nil), func(d *device) bool { return p.island(d.number) != island })
	if len(who) > 0 {
		who[r.faults.IntN(len(who))].step(group.Change{Update: true})
	}
	r.after(pause, func() { r.ensure(partition, island) })
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
func (r *run) mishap(t *task) {
	var who []*device
	for i, d := range r.devices {
		if d.driver != nil && d.store.crash == nil && d.fuse == 0 && (d.joined || d.ticket != nil) && (len(t.By) == 0 || t.By.has(i)) {
			who = append(who, d)
		}
	}
	if len(who) == 0 {
		return
	}
	d := who[t.rand.IntN(len(who))]
	d.down = time.Duration(t.For)
	how := t.How
	if how == "" {
		how = []string{Idle, Written, Lost, Sending}[t.rand.IntN(4)]
	}
	switch how {
	case Idle:
		r.crash(d, "between two inputs")
	case Written:
		d.store.crash = func() bool { return true }
	case Lost:
		d.store.crash = func() bool { return false }
	default:
		d.fuse = 1 + t.rand.IntN(4)
	}
}

// jump moves a clock.
func (r *run) jump(t *task) {
	who := t.By
	if len(who) == 0 {
		who = some(0, len(r.devices)-1)
	}
	d := r.devices[who[t.rand.IntN(len(who))]]
	d.skew += time.Duration(t.Shift)
	r.history.line(r.now, d.name, fmt.Sprintf("clock jumps by %v", t.Shift))
	d.schedule()
}
