package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dmlsd/dmls/group"
)

// glimpse is where a device stood at a moment, and what it had opened.
type glimpse struct {
	at         time.Time
	name, key  string
	base, head string
	members    []group.Member
	frames     []group.LogEntry
}

// sees reports whether two devices stood at one head and had opened the very same.
func (g glimpse) sees(o glimpse) bool {
	return g.base == o.base && g.head == o.head && len(g.frames) == len(o.frames) && len(g.members) == len(o.members) &&
		len(g.frames) > 0 && &g.frames[0] == &o.frames[0] && len(g.members) > 0 && &g.members[0] == &o.members[0]
}

// Glimpses of a run: some at any time, most while branches meet.
const (
	anyLooks     = 3
	meetingLooks = 4
	meeting      = 4 * time.Second
)

// planGlimpses draws when devices are looked at. Nobody notices.
func (r *run) planGlimpses() {
	if r.looks < 0 {
		return
	}
	chance := rand.New(stream(r.Seed, "glimpses"))
	draw := func(n int, from, until time.Time) {
		for range n {
			if long := until.Sub(from); long > 0 {
				r.nextLook = append(r.nextLook, from.Add(time.Duration(chance.Int64N(int64(long)))))
			}
		}
	}
	draw(anyLooks, r.now, r.ends)
	healed := r.moment(r.Scenario.healed())
	draw(cmp.Or(r.looks, meetingLooks), healed, healed.Add(meeting))
	slices.SortFunc(r.nextLook, time.Time.Compare)
	r.chance = chance
}

// glance takes the glimpses that are due before something happens. It is no
// event itself.
func (w *world) glance(until time.Time) {
	for len(w.nextLook) > 0 && !w.nextLook[0].After(until) {
		who := w.members()
		d := who[w.chance.IntN(len(who))]
		if g, ok := w.glimpse(d); ok {
			w.glimpses = append(w.glimpses, g)
		}
		w.nextLook = w.nextLook[1:]
	}
}

// glimpse looks at a device that is an honest member.
func (w *world) glimpse(d *device) (glimpse, bool) {
	st, ok := d.status()
	if !ok || d.attack != nil || st.State != "member" {
		return glimpse{}, false
	}
	frames, err := d.logged()
	if err != nil {
		w.fail(fmt.Errorf("sim: log of %s: %w", d.name, err))
		return glimpse{}, false
	}
	return glimpse{w.now, d.name, d.key(), st.Final, st.Head, st.Members, frames}, true
}

// compare looks at all devices once more and compares every glimpse with the
// reference.
func (w *world) compare(known referee) (compared int, differs []string) {
	if w.Rule != "" && w.Rule != "support" {
		return 0, nil
	}
	if known.problem != "" {
		differs = append(differs, known.problem)
	}
	var last glimpse
	var ref *reference
	look := func(g glimpse) {
		if same := ref != nil && g.sees(last); same && len(differs) == 0 {
			compared++ // as before
			return
		}
		ref = known.reference(g)
		if last = g; ref.unsure {
			ref = nil
			return
		}
		compared++
		when := fmt.Sprintf("%s at %.3f s", g.name, g.at.Sub(epoch0).Seconds())
		if head := ref.head(g.base); head != g.head {
			differs = append(differs, fmt.Sprintf("%s stands at %s, the reference at %s", when, tail(g.head), tail(head)))
		}
		if p := ref.wrongRoster(g); p != "" {
			differs = append(differs, when+" "+p)
		}
	}
	for _, g := range w.glimpses {
		look(g)
	}
	for _, d := range w.members() {
		if g, ok := w.glimpse(d); ok {
			look(g)
		}
	}
	return compared, differs
}
