package dagview

import (
	"slices"
	"sort"
)

// plan is a Graph made ready for drawing: unique vertices, each after its
// parent and after the branches that it supersedes.
type plan struct {
	order  []*Vertex
	next   map[string][]string // outgoing edges, in drawing order: the head's chain first
	known  map[string]*Vertex
	merged map[string][]string // superseded tips within the graph, per merge commit
}

func arrange(g Graph) *plan {
	p := &plan{known: map[string]*Vertex{}, next: map[string][]string{}, merged: map[string][]string{}}
	var ids []string
	for i := range g.Vertices {
		v := &g.Vertices[i]
		if p.known[v.CID] == nil {
			p.known[v.CID] = v
			ids = append(ids, v.CID)
		}
	}
	sort.Slice(ids, func(i, j int) bool { return p.before(ids[i], ids[j]) })
	p.sort(ids)

	place := map[string]int{}
	for i, v := range p.order {
		place[v.CID] = i
	}
	for _, v := range p.order {
		if q := p.known[v.Parent]; q != nil && place[q.CID] < place[v.CID] {
			p.next[q.CID] = append(p.next[q.CID], v.CID)
		}
	}
	for _, v := range p.order {
		for _, tip := range v.Supersedes {
			// An edge that would lead backwards can only be a false claim; a
			// second edge between the same two adds nothing.
			if at, ok := place[tip]; ok && at < place[v.CID] && tip != v.Parent && !slices.Contains(p.next[tip], v.CID) {
				p.next[tip] = append(p.next[tip], v.CID)
				p.merged[v.CID] = append(p.merged[v.CID], tip)
			}
		}
	}
	for id := range p.next {
		kids := p.next[id]
		sort.SliceStable(kids, func(i, j int) bool { return p.known[kids[i]].OnHead && !p.known[kids[j]].OnHead })
	}
	return p
}

// before is the order among vertices that are ready at the same time.
func (p *plan) before(a, b string) bool {
	v, w := p.known[a], p.known[b]
	switch {
	case v.OnHead != w.OnHead:
		return w.OnHead // losing branches first: the head ends up last, next to the prompt
	case v.Epoch != w.Epoch:
		return v.Epoch < w.Epoch
	default:
		return a < b
	}
}

// sort is Kahn's algorithm. A losing branch is drawn in one piece: the child
// of the vertex drawn last goes first.
func (p *plan) sort(ids []string) {
	waits := map[string]int{}    // edges not yet drawn into a vertex
	out := map[string][]string{} // parent and superseded tip -> vertices
	edge := func(from, to string) {
		if p.known[from] != nil && from != to {
			waits[to]++
			out[from] = append(out[from], to)
		}
	}
	for _, id := range ids {
		edge(p.known[id].Parent, id)
		for _, tip := range p.known[id].Supersedes {
			edge(tip, id)
		}
	}
	done := map[string]bool{}
	last := ""
	for len(p.order) < len(ids) {
		pick := ""
		for _, id := range ids {
			if done[id] || waits[id] > 0 {
				continue
			}
			if v := p.known[id]; pick == "" || (!v.OnHead && v.Parent == last) {
				pick = id
				if v.Parent == last {
					break
				}
			}
		}
		if pick == "" { // a cycle, which no honest set of hashes has: draw it anyway
			for _, id := range ids {
				if !done[id] {
					pick = id
					break
				}
			}
		}
		done[pick], last = true, pick
		p.order = append(p.order, p.known[pick])
		for _, to := range out[pick] {
			waits[to]--
		}
	}
}
