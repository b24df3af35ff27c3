package dag

import (
	"math/rand/v2"
	"slices"
	"sort"
)

// set is a set of frames below a base. Its methods are the slow reference:
// they follow the text of design 5.4 and 5.6 and share no code with Graph.
type set struct {
	base     ID
	members  []Voter
	vertices map[ID]Vertex
	stands   []Stand
	settled  []Settlement
	proofs   []Equivocation
}

// sent is any frame with its two places; settled ones have no id.
type sent struct {
	id        ID
	author    Member
	seq       uint64
	in, stand ID
	confirms  ID
	mute      bool
}

func (s *set) frames() []sent {
	var out []sent
	for _, v := range s.vertices {
		out = append(out, sent{v.ID, v.Author, v.Seq, v.Parent, v.ID, v.Confirms, false})
	}
	for _, f := range s.stands {
		at := f.At
		if f.Mute {
			at = ""
		}
		out = append(out, sent{f.ID, f.Author, f.Seq, f.At, at, f.Confirms, f.Mute})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

// under reports whether b is a or below it, by climbing.
func (s *set) under(a, b ID) bool {
	if a == "" || b == "" {
		return false
	}
	for b != a {
		v, ok := s.vertices[b]
		if !ok {
			return false
		}
		b = v.Parent
	}
	return true
}

func (s *set) children(e ID) []ID {
	var out []ID
	for id, v := range s.vertices {
		if v.Parent == e {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func (s *set) roster(e ID) []Voter {
	var now []Voter
	if e == s.base {
		now = slices.Clone(s.members)
	} else {
		v := s.vertices[e]
		now = s.roster(v.Parent)
		now = slices.DeleteFunc(now, func(m Voter) bool { return slices.Contains(v.Removed, m.Member) })
		now = append(now, v.Added...)
		for i := range now {
			for _, r := range v.Ranks {
				if r.Member == now[i].Member {
					now[i] = r
				}
			}
		}
	}
	sort.Slice(now, func(i, j int) bool { return now[i].Leaf < now[j].Leaf })
	return now
}

func (s *set) voters(e ID) []Voter {
	all := s.roster(e)
	if len(all) <= 128 {
		return all
	}
	var out []Voter
	for _, admins := range []bool{true, false} {
		for _, m := range all {
			if (m.Rank == 0) == admins && len(out) < 128 {
				out = append(out, m)
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Leaf < out[j].Leaf })
	return out
}

func (s *set) equivocates(m Member, e ID) bool {
	fs := s.frames()
	for _, f := range fs {
		for _, h := range fs {
			if f.author == m && h.author == m && f.seq == h.seq && f.id != h.id && s.under(e, f.in) && s.under(e, h.in) {
				return true
			}
		}
	}
	for _, p := range s.proofs {
		if p.Member == m && s.under(e, p.In) {
			return true
		}
	}
	return false
}

func (s *set) votes(e, child ID) (count [256]int) {
	for _, v := range s.voters(e) {
		if s.equivocates(v.Member, e) {
			continue
		}
		var last *sent
		for _, f := range s.frames() {
			if f.author == v.Member && f.stand != "" && s.under(e, f.in) && (last == nil || f.seq > last.seq) {
				last = &f
			}
		}
		if last != nil && s.under(child, last.stand) {
			count[v.Rank]++
		}
	}
	return count
}

func (s *set) beats(e, a, b ID) bool {
	va, vb := s.votes(e, a), s.votes(e, b)
	for r := range va {
		if va[r] != vb[r] {
			return va[r] > vb[r]
		}
	}
	author := func(c ID) (rank, leaf int) {
		for _, m := range s.roster(e) {
			if m.Member == s.vertices[c].Author {
				return int(m.Rank), int(m.Leaf)
			}
		}
		return 1 << 20, 1 << 40
	}
	ra, la := author(a)
	rb, lb := author(b)
	if ra != rb {
		return ra < rb
	}
	if la != lb {
		return la < lb
	}
	return a < b
}

// void: more than a third of the parent's voters say in the parent that they
// cannot open c; not counted are those whom c removes, who ever stood at or
// below c, and equivocators.
func (s *set) void(c ID) bool {
	p, n := s.vertices[c].Parent, 0
	for _, v := range s.voters(p) {
		complains := false
		for _, f := range s.stands {
			complains = complains || f.Author == v.Member && f.Mute && f.CannotOpen == c && f.At == p
		}
		if complains && s.mayComplain(v.Member, c) && !s.equivocates(v.Member, p) {
			n++
		}
	}
	return 3*n > len(s.voters(p))
}

func (s *set) mayComplain(m Member, c ID) bool {
	for _, f := range s.frames() {
		if f.author == m && s.under(c, f.stand) {
			return false
		}
	}
	return !slices.Contains(s.vertices[c].Removed, m)
}

// cannotBecomeVoid reports whether no epoch from the base to x can become void.
func (s *set) cannotBecomeVoid(x ID) bool {
	for ; x != s.base; x = s.vertices[x].Parent {
		n := 0
		for _, v := range s.voters(s.vertices[x].Parent) {
			if s.mayComplain(v.Member, x) {
				n++
			}
		}
		if 3*n > len(s.voters(s.vertices[x].Parent)) {
			return false
		}
	}
	return true
}

func (s *set) head() ID {
	e := s.base
	for {
		kids := slices.DeleteFunc(s.children(e), s.void)
		if len(kids) == 0 {
			return e
		}
		best := kids[0]
		for _, c := range kids[1:] {
			if s.beats(e, c, best) {
				best = c
			}
		}
		e = best
	}
}

// trail is a member's frames by seq, those that only settled among them.
func (s *set) trail(m Member) []sent {
	var out []sent
	for _, f := range s.frames() {
		if f.author == m && !f.mute {
			out = append(out, f)
		}
	}
	for _, x := range s.settled {
		if x.Member == m {
			out = append(out, sent{author: m, seq: x.Seq, in: x.At})
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		return out[i].seq < out[j].seq || out[i].seq == out[j].seq && out[i].id < out[j].id
	})
	return out
}

func (f sent) place() ID {
	if f.id == "" {
		return f.in
	}
	return f.stand
}

func (s *set) proved(m Member) bool {
	fs := s.frames()
	for _, f := range fs {
		for _, h := range fs {
			if f.author == m && h.author == m && f.seq == h.seq && f.id != h.id {
				return true
			}
		}
	}
	return slices.ContainsFunc(s.proofs, func(p Equivocation) bool { return p.Member == m })
}

func (s *set) stoodAt(m Member, x ID) bool {
	stood := false
	for _, f := range s.trail(m) {
		if f.id != "" {
			stood = s.under(x, f.stand)
		} else if !s.under(x, f.in) {
			stood = false
		}
	}
	return stood
}

func (s *set) confirmedAt(m Member, x ID) bool {
	trail := s.trail(m)
	for i, f := range trail { // never left
		for _, later := range trail[i+1:] {
			if f.id != "" && s.under(x, f.stand) && !s.under(x, later.place()) {
				return false
			}
		}
	}
	for _, f := range trail {
		if f.id != "" && s.under(x, f.stand) && s.under(f.confirms, f.in) && s.under(x, f.confirms) {
			return true
		}
	}
	return false
}

func (s *set) carried(x ID) bool {
	for a := x; a != s.base; {
		a = s.vertices[a].Parent
		var with, against [256]int
		for _, v := range s.voters(a) {
			isVoter := slices.ContainsFunc(s.voters(x), func(w Voter) bool { return w.Member == v.Member })
			if isVoter && !s.proved(v.Member) && s.stoodAt(v.Member, x) {
				with[v.Rank]++
			} else {
				against[v.Rank]++
			}
		}
		if slices.Compare(with[:], against[:]) <= 0 {
			return false
		}
	}
	return true
}

// deepest climbs from the head to the first epoch whose voters all pass.
func (s *set) deepest(pass func(Member, ID) bool) ID {
	for x := s.head(); ; x = s.vertices[x].Parent {
		ok, some := s.carried(x) && s.cannotBecomeVoid(x), false
		for _, v := range s.voters(x) {
			if !s.proved(v.Member) {
				some = true
				ok = ok && pass(v.Member, x)
			}
		}
		if ok && some {
			return x
		}
		if x == s.base {
			return ""
		}
	}
}

func (s *set) confirmable() ID { return s.deepest(s.stoodAt) }

func (s *set) final() ID {
	if x := s.deepest(s.confirmedAt); x != "" {
		return x
	}
	return s.base
}

// item is one thing to add to a graph.
type item struct {
	v *Vertex
	s *Stand
	x *Settlement
	p *Equivocation
}

func (s *set) items() []item {
	var out []item
	for _, id := range s.ids() {
		v := s.vertices[id]
		out = append(out, item{v: &v})
	}
	for i := range s.stands {
		out = append(out, item{s: &s.stands[i]})
	}
	for i := range s.settled {
		out = append(out, item{x: &s.settled[i]})
	}
	for i := range s.proofs {
		out = append(out, item{p: &s.proofs[i]})
	}
	return out
}

func (s *set) ids() []ID {
	var out []ID
	for id := range s.vertices {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// in is the epoch that must be there before the item.
func (it item) in() ID {
	switch {
	case it.v != nil:
		return it.v.Parent
	case it.s != nil:
		return it.s.At
	case it.x != nil:
		return it.x.At
	}
	return it.p.In
}

func (it item) add(g *Graph) (Change, error) {
	switch {
	case it.v != nil:
		return g.AddVertex(*it.v)
	case it.s != nil:
		return g.AddStand(*it.s)
	case it.x != nil:
		g.Settled(it.x.Member, it.x.Seq, it.x.At)
	default:
		return g.Equivocated(it.p.Member, it.p.In), nil
	}
	return Change{}, nil
}

func (s *set) graph() *Graph { return New(Support{}, Vertex{ID: s.base}, 0, s.members) }

// build adds everything in a random order that respects parents alone; seqs
// may come in any order.
func (s *set) build(r *rand.Rand) *Graph {
	g := s.graph()
	waiting := s.items()
	r.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
	for len(waiting) > 0 {
		var later []item
		for _, it := range waiting {
			if in := it.in(); in != "" && !g.Has(in) {
				later = append(later, it)
			} else if _, err := it.add(g); err != nil {
				panic(err)
			}
			if r.IntN(2) == 0 { // what is kept of the answers must not show
				g.Final()
				g.Confirmable()
			}
		}
		waiting = later
	}
	return g
}
