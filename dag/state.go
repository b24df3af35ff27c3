package dag

import (
	"cmp"
	"fmt"
	"slices"
)

// State is a Graph as plain data, for records. Its slices are sets: a caller
// may keep each entry as a record of its own and hand them to Restore in any
// order.
type State struct {
	Base     Vertex
	Number   uint64  // of the base
	Members  []Voter // of the base, by leaf
	Vertices []Vertex
	Stands   []Stand
	Settled  []Settlement
	Proofs   []Equivocation
}

// Settlement is the argument of Settled. At is empty above or beside the base.
type Settlement struct {
	Member Member
	Seq    uint64
	At     ID
}

// Equivocation is the argument of Equivocated. In is empty above or beside the
// base.
type Equivocation struct {
	Member Member
	In     ID
}

// Snapshot returns everything that Restore needs to make an equal graph. Two
// graphs of one set of frames and one base give equal snapshots.
func (g *Graph) Snapshot() State {
	st := State{Base: g.base.Vertex, Number: g.base.number, Members: sorted(g.roster)}
	st.Vertices = g.Vertices()[1:]
	for m, s := range g.senders {
		for _, f := range s.frames {
			switch {
			case f.vertex:
			case f.id == "":
				st.Settled = append(st.Settled, Settlement{m, f.seq, name(f.at)})
			default:
				st.Stands = append(st.Stands, Stand{f.id, m, f.seq, name(f.at), f.says, f.mute, f.about})
			}
		}
		for _, p := range s.proofs {
			st.Proofs = append(st.Proofs, Equivocation{m, p.ID})
		}
		if s.proved && len(s.proofs) == 0 {
			st.Proofs = append(st.Proofs, Equivocation{Member: m})
		}
	}
	slices.SortFunc(st.Stands, func(a, b Stand) int {
		return cmp.Or(cmp.Compare(a.Author, b.Author), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(st.Settled, func(a, b Settlement) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.At, b.At))
	})
	slices.SortFunc(st.Proofs, func(a, b Equivocation) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.In, b.In))
	})
	return st
}

func name(n *node) ID {
	if n == nil {
		return ""
	}
	return n.ID
}

// Restore makes a graph from its state. It fails with ErrMalformed if an entry
// is doubled or does not hang below the base.
func Restore(rule Rule, st State) (*Graph, error) {
	g := New(rule, st.Base, st.Number, st.Members)
	below := map[ID][]Vertex{}
	for _, v := range st.Vertices {
		below[v.Parent] = append(below[v.Parent], v)
	}
	added := 0
	for level := []ID{st.Base.ID}; len(level) > 0; {
		var next []ID
		for _, id := range level {
			for _, v := range below[id] {
				if _, err := g.AddVertex(v); err != nil {
					return nil, fmt.Errorf("%w: vertex %x: %w", ErrMalformed, v.ID, err)
				}
				added++
				next = append(next, v.ID)
			}
		}
		level = next
	}
	if added != len(st.Vertices) {
		return nil, fmt.Errorf("%w: %d vertices do not hang below the base", ErrMalformed, len(st.Vertices)-added)
	}
	for _, s := range st.Stands {
		if _, err := g.AddStand(s); err != nil {
			return nil, fmt.Errorf("%w: frame %x: %w", ErrMalformed, s.ID, err)
		}
	}
	for _, s := range st.Settled {
		g.Settled(s.Member, s.Seq, s.At)
	}
	for _, p := range st.Proofs {
		g.Equivocated(p.Member, p.In)
	}
	return g, nil
}
