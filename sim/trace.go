package sim

import "time"

// trace is what a run shows of itself over time, for a report.
type trace struct {
	samples []sample
	islands []isles
	lives   [][]span  // by device: when it was up
	next    time.Time // sample
}

// sample is the state of the world at a moment.
type sample struct {
	at       time.Duration // since the group was formed
	forks    int           // most open forks that a member sees
	heads    int           // different heads of members
	secrets  int           // most secret records that a member retains
	kept     int           // most bytes in them
	bytes    int           // on the network so far
	messages int           // of the network so far
}

// isles says on which island each device is from a moment on; nil where there is
// only one.
type isles struct {
	at time.Duration
	on []int
}

// span is a time; an open end is negative.
type span struct{ from, to time.Duration }

// every is how often a sample is taken.
const every = time.Second / 2

// since is the time since the group was formed.
func (w *world) since() time.Duration {
	if w.start.IsZero() {
		return 0
	}
	return w.now.Sub(w.start)
}

// watch looks on from now on.
func (r *run) watch() {
	for _, d := range r.devices {
		r.noteLife(d, d.driver != nil)
	}
	r.trace.next = r.now
}

// look takes the samples that are due before something happens. It is no event
// itself: a run that is looked at is the same run.
func (w *world) look(until time.Time) {
	for t := w.trace; t != nil && !t.next.IsZero() && !t.next.After(until); t.next = t.next.Add(every) {
		w.sample(t.next.Sub(w.start))
	}
}

func (w *world) sample(at time.Duration) {
	s := sample{at: at, bytes: w.bytes, messages: w.carried}
	heads := map[string]bool{}
	for _, d := range w.devices {
		st, ok := d.status()
		if !ok || !d.joined || d.attack != nil {
			continue
		}
		if st.State != "member" {
			continue
		}
		heads[st.Head] = true
		s.forks, s.secrets, s.kept = max(s.forks, st.ForksOpen), max(s.secrets, st.Retained), max(s.kept, st.RetainedBytes)
	}
	s.heads = len(heads)
	w.trace.samples = append(w.trace.samples, s)
}

// noteIslands writes down who is where.
func (w *world) noteIslands() {
	if w.trace == nil {
		return
	}
	on, several := make([]int, len(w.devices)), false
	for i, d := range w.devices {
		on[i] = d.island
		several = several || d.island != w.devices[0].island
	}
	if !several {
		on = nil
	}
	w.trace.islands = append(w.trace.islands, isles{w.since(), on})
}

// noteLife writes down that a device starts or ends a life.
func (w *world) noteLife(d *device, up bool) {
	if w.trace == nil {
		return
	}
	for len(w.trace.lives) <= d.number {
		w.trace.lives = append(w.trace.lives, nil)
	}
	lives := &w.trace.lives[d.number]
	if n := len(*lives); n > 0 && (*lives)[n-1].to < 0 {
		(*lives)[n-1].to = w.since()
	}
	if up {
		*lives = append(*lives, span{w.since(), -1})
	}
}
