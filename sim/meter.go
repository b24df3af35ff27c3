package sim

import (
	"slices"
	"time"

	"github.com/dmlsd/dmls/group"
)

// meter measures a run while it goes on. A run that is measured has no thieves.
type meter struct {
	healAt, oneAt, lastAt time.Time // heal; first moment on one head; last change of a head
	cpuHeal, cpuLast      time.Duration
	gotHeal, gotLast      []int             // bytes received, by device
	heads                 map[string]string // of members, by device
	parents               map[string]string // of commits
	deeds                 map[string]bool   // commits that did more than renew keys
	said                  []string          // epochs in which messages were sent
	merges                map[string]bool
	after                 int             // commits made after the heal
	commitAt              time.Time       // the first since the heal
	frames, sent          int             // published since the heal, and bytes in them
	forgetful             int             // how many must erase something after that commit; 0: nobody is waited for
	erased                map[string]bool // who did
	all                   toll
}

// toll is what it took until all of them had.
type toll struct {
	at                time.Time
	frames, sent, got int
}

// done reports whether all of them have.
func (m *meter) done() bool { return m.forgetful == 0 || !m.all.at.IsZero() }

// forgot is told that a device erased an epoch.
func (m *meter) forgot(d *device) {
	if m.commitAt.IsZero() || m.done() {
		return
	}
	if m.erased[d.name] = true; len(m.erased) < m.forgetful {
		return
	}
	m.all = toll{at: d.world.now, frames: m.frames, sent: m.sent}
	for i, o := range d.world.devices {
		m.all.got += o.got - m.gotHeal[i]
	}
}

func newMeter() *meter {
	return &meter{heads: map[string]string{}, parents: map[string]string{}, deeds: map[string]bool{}, merges: map[string]bool{},
		erased: map[string]bool{}}
}

// heal is told when nobody is cut off any more.
func (m *meter) heal(r *run) {
	m.healAt, m.cpuHeal = r.now, cpuTime()
	for _, d := range r.devices {
		if st, ok := d.status(); ok && st.State == "member" {
			m.heads[d.name] = st.Head
		}
		m.gotHeal = append(m.gotHeal, d.got)
	}
	m.gotLast = slices.Clone(m.gotHeal)
}

// publish is told what goes out to gossip.
func (m *meter) publish(block []byte) {
	if !m.healAt.IsZero() {
		m.frames, m.sent = m.frames+1, m.sent+len(block)
	}
}

// event is told what each device is told.
func (m *meter) event(d *device, e group.Event) {
	healed := !m.healAt.IsZero()
	switch e.Kind {
	case group.KindCommit:
		m.parents[e.CID] = e.Head
		m.deeds[e.CID] = !slices.Equal(e.Actions, []string{"update"})
		if e.Mine {
			if healed {
				m.after++
			}
			if healed && m.commitAt.IsZero() {
				m.commitAt = d.world.now
			}
		}
	case group.KindMerge:
		m.merges[e.CID] = true
	case group.KindMessage:
		if e.Mine && !healed {
			m.said = append(m.said, e.Head)
		}
	case group.KindErased:
		m.forgot(d)
	case group.KindEpoch, group.KindRemoved:
		if !healed {
			return
		}
		// Not by the event: a device that is removed follows the head, too.
		if st, ok := d.status(); ok && st.State == "member" {
			m.heads[d.name] = st.Head
		} else {
			delete(m.heads, d.name)
		}
		m.lastAt, m.cpuLast = d.world.now, cpuTime()
		for i, o := range d.world.devices {
			m.gotLast[i] = o.got
		}
		if m.oneAt.IsZero() && m.one() {
			m.oneAt = m.lastAt
		}
	}
}

func (m *meter) one() bool {
	first := ""
	for _, h := range m.heads {
		if first == "" {
			first = h
		}
		if h != first {
			return false
		}
	}
	return true
}

// losses counts what would be gone if the losing side were dropped: commits,
// those that did more than renew keys, and messages.
func (m *meter) losses() (commits, deeds, messages int) {
	on := map[string]bool{}
	for _, head := range m.heads {
		for head != "" && !on[head] {
			on[head] = true
			head = m.parents[head]
		}
	}
	for cid := range m.parents {
		if !on[cid] {
			commits++
			if m.deeds[cid] {
				deeds++
			}
		}
	}
	for _, at := range m.said {
		if !on[at] {
			messages++
		}
	}
	return commits, deeds, messages
}

// caughtUp is the median of the bytes that a member received from the heal to
// its last change of head.
func (m *meter) caughtUp() int {
	var all []int
	for i := range m.gotLast {
		all = append(all, m.gotLast[i]-m.gotHeal[i])
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// metered plays a scenario under a meter, and to the end that the meter is told
// to wait for.
func metered(s Scenario, told ...func(*meter)) (*run, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	w, err := newWorld(s)
	if err != nil {
		return nil, err
	}
	w.meter, w.trace, w.once = newMeter(), &trace{}, nil
	for _, f := range told {
		f(w.meter)
	}
	r := &run{world: w}
	r.safely()
	return r, r.err
}
