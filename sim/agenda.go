package sim

import "time"

// event is something that will happen.
type event struct {
	at    time.Time
	order uint64 // ties are broken by the order of scheduling
	f     func()
}

func (e *event) before(o *event) bool {
	c := e.at.Compare(o.at)
	return c < 0 || c == 0 && e.order < o.order
}

// agenda is a heap of events, the next one first. In a large group it holds tens
// of thousands, and nearly all that the network does goes through it.
type agenda []event

func (a *agenda) add(e event) {
	*a = append(*a, e)
	h := *a
	i := len(h) - 1
	for up := (i - 1) / 2; i > 0 && e.before(&h[up]); up = (i - 1) / 2 {
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

// next takes the next event out.
func (a *agenda) next() event {
	h := *a
	first, last := h[0], h[len(h)-1]
	h[len(h)-1] = event{}
	h = h[:len(h)-1]
	*a = h
	if len(h) == 0 {
		return first
	}
	i := 0
	for down := 1; down < len(h); down = 2*i + 1 {
		if down+1 < len(h) && h[down+1].before(&h[down]) {
			down++
		}
		if !h[down].before(&last) {
			break
		}
		h[i] = h[down]
		i = down
	}
	h[i] = last
	return first
}
