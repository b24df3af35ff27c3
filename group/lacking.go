package group

import (
	"container/heap"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
)

// Tips returns the tips of the frames held here, sorted: what sync compares. A
// joiner names its base, too, although it does not hold that block: what came
// before is nothing that it could open, and need not be sent to it. One that
// was here before can open some of that.
func (g *Group) Tips() []cid.Cid {
	all := maps.Clone(g.held)
	maps.Copy(all, g.open) // links of unread frames are not to be relied on
	tips := sorted(all)
	if !g.Has(cidOf(g.root)) && g.inviter != "" && !g.entered {
		tips = append(tips, cidOf(g.root))
		slices.SortFunc(tips, compareCID)
	}
	return tips
}

// Landmarks returns held frames at growing distances from the one that settled
// last: the second last, the fourth, the eighth. A peer that does not know our
// tips finds by them what it has in common with us.
func (g *Group) Landmarks() []cid.Cid {
	var out []cid.Cid
	for back := 2; back <= len(g.order); back *= 2 {
		if c := g.order[len(g.order)-back]; g.Has(c) {
			out = append(out, c)
		}
	}
	return out
}

// Missing returns up to limit held frames that are not in the past of tips, in
// an order in which each follows what it links to. It walks from both sets of
// tips upwards, the deepest frame first, and ends where only the peer's past
// is left: what it costs goes with the difference, not with the history. What
// the peer lacks in that past, and said so, counts as missing with all above it
// that no other way leads to.
func (g *Group) Missing(tips, lacking []cid.Cid, limit int) []cid.Cid {
	w := &walk{side: map[*meta]uint8{}, lacking: map[*meta]bool{}}
	for _, c := range lacking {
		w.lacking[g.frames[c]] = true
		w.reach(g.frames[c], ours)
	}
	for _, c := range tips {
		w.reach(g.frames[c], theirs)
	}
	for _, c := range g.Tips() {
		w.reach(g.frames[c], ours)
	}
	gone := g.state == removed || g.state == left
	var out []cid.Cid
	for w.open > 0 {
		m := heap.Pop(w).(*meta)
		s := w.side[m]
		if s == ours {
			w.open--
			out = append(out, m.name)
		}
		for _, p := range m.past() {
			q := g.frames[p]
			if q != nil && q.Status == opened && m.Status != opened && !gone {
				// Anybody with the gossip key can forge a frame that nobody opens and
				// that names others' frames: it proves nothing of what its holder has.
				// A device that is gone opens nothing of what the others send since.
				w.reach(q, s&ours)
				continue
			}
			w.reach(q, s)
		}
	}
	slices.SortFunc(out, func(a, b cid.Cid) int { return int(int64(g.frames[a].N) - int64(g.frames[b].N)) })
	return g.topological(out, limit)
}

// Whose tips a frame was reached from.
const (
	ours   uint8 = 1
	theirs uint8 = 2
)

// walk is the queue of Missing, ordered by depth, then CID.
type walk struct {
	side    map[*meta]uint8
	lacking map[*meta]bool // never theirs
	queue   []*meta
	open    int // frames in the queue that only we are known to have
}

// reach marks a frame. One that has left the queue already keeps its answer:
// then a hole was filled late, and the peer gets a frame twice.
func (w *walk) reach(m *meta, s uint8) {
	if w.lacking[m] {
		s &= ours
	}
	if m == nil || m.Status == seeded || s == 0 {
		return
	}
	was := w.side[m]
	if was|s == was {
		return
	}
	w.side[m] = was | s
	switch {
	case was == 0:
		heap.Push(w, m)
		if s == ours {
			w.open++
		}
	case was == ours && slices.Contains(w.queue, m):
		w.open--
	}
}

func (w *walk) Len() int { return len(w.queue) }
func (w *walk) Less(i, j int) bool {
	a, b := w.queue[i], w.queue[j]
	if a.depth != b.depth {
		return a.depth > b.depth
	}
	return compareCID(a.name, b.name) < 0
}
func (w *walk) Swap(i, j int) { w.queue[i], w.queue[j] = w.queue[j], w.queue[i] }
func (w *walk) Push(x any)    { w.queue = append(w.queue, x.(*meta)) }
func (w *walk) Pop() any {
	last := len(w.queue) - 1
	m := w.queue[last]
	w.queue = w.queue[:last]
	return m
}

// topological orders frames so that each follows those of its links that are
// in the list, and otherwise as the list stands.
func (g *Group) topological(list []cid.Cid, limit int) []cid.Cid {
	const white, grey, black = 0, 1, 2
	colour := make(map[cid.Cid]int, len(list))
	for _, c := range list {
		colour[c] = white
	}
	var out []cid.Cid
	for _, first := range list {
		stack := []cid.Cid{first}
		for len(stack) > 0 && len(out) < limit {
			c := stack[len(stack)-1]
			switch colour[c] {
			case white:
				colour[c] = grey
				for _, p := range g.frames[c].past() {
					if k, ok := colour[p]; ok && k == white {
						stack = append(stack, p)
					}
				}
				continue
			case grey:
				colour[c] = black
				out = append(out, c)
			}
			stack = stack[:len(stack)-1]
		}
	}
	return out
}
