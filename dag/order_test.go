package dag

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// decode makes a set of frames from bytes: four a frame. Every byte string is
// a valid history, with forks, adds, removals, changes of rank, equivocation,
// mute and settled frames.
func decode(code []byte) *set {
	s := &set{base: "r", vertices: map[ID]Vertex{}}
	for i := range 4 {
		rank := uint8(1)
		if i == 2 { // rank and leaf pull in different directions
			rank = 0
		}
		s.members = append(s.members, Voter{Member(rune('a' + i)), rank, uint32(i)})
	}
	epochs := []ID{"r"}
	next := map[Member]uint64{}
	for n := 0; len(code) >= 4 && n < 40; n, code = n+1, code[4:] {
		op, where, who, with := code[0], code[1], code[2], code[3]
		e := epochs[len(epochs)-1-int(where)%min(len(epochs), 6)]
		roster := s.roster(e)
		if len(roster) == 0 {
			continue
		}
		m := roster[int(who)%len(roster)].Member
		id := ID(fmt.Sprintf("%02x%d", with, n))
		seq := next[m]
		if op&0xe0 == 0xe0 && seq > 0 {
			seq -= 1 + uint64(with)%min(seq, 2) // equivocation
		} else {
			next[m]++
		}
		confirms := epochs[int(with)%len(epochs)]
		if with&0x80 != 0 {
			confirms = e
		}
		switch op % 16 {
		case 0, 1, 2, 3, 4, 5:
			v := Vertex{ID: id, Parent: e, Author: m, Seq: seq, Confirms: confirms}
			other := roster[int(with)%len(roster)]
			switch op % 16 {
			case 1:
				v.Added = []Voter{{Member("j" + id), 1 - with>>6&1, uint32(10 + n)}}
			case 2:
				v.Removed = []Member{other.Member}
			case 3:
				other.Rank ^= 1
				v.Ranks = []Voter{other}
			}
			s.vertices[id] = v
			epochs = append(epochs, id)
		case 6:
			s.stands = append(s.stands, Stand{ID: id, Author: m, Seq: seq, At: e, Confirms: confirms, Mute: true})
		case 9, 10: // complaints; about what is no child of e they say nothing
			about := epochs[int(with)%len(epochs)]
			if v, ok := s.vertices[about]; ok && with < 0xe0 {
				e = v.Parent
				m = s.roster(e)[int(who)%len(s.roster(e))].Member
				seq = next[m]
				next[m]++
			}
			s.stands = append(s.stands, Stand{ID: id, Author: m, Seq: seq, At: e, Confirms: confirms, Mute: true, CannotOpen: about})
		case 7:
			if with&1 == 0 {
				e = ""
			}
			s.settled = append(s.settled, Settlement{m, seq, e})
		case 8:
			if with&3 == 0 {
				s.proofs = append(s.proofs, Equivocation{m, e})
			}
		default:
			s.stands = append(s.stands, Stand{ID: id, Author: m, Seq: seq, At: e, Confirms: confirms})
		}
	}
	return s
}

// agree checks a graph against the reference.
func agree(s *set, g *Graph) error {
	head := s.head()
	if g.Head() != head {
		return fmt.Errorf("head %q, reference %q", g.Head(), head)
	}
	if got, want := g.Members(head), s.roster(head); !slices.Equal(got, want) {
		return fmt.Errorf("members %v, reference %v", got, want)
	}
	if got, want := g.Confirmable(), s.confirmable(); got != want {
		return fmt.Errorf("confirmable %q, reference %q", got, want)
	}
	if got, want := g.Final(), s.final(); got != want {
		return fmt.Errorf("final %q, reference %q", got, want)
	}
	elsewhere := func(v Voter) bool { at, _, _, ok := g.Standing(v.Member); return !ok || at != head }
	if got, want := g.Unanimous(head), !slices.ContainsFunc(g.Voters(head), elsewhere); got != want {
		return fmt.Errorf("all stand at the head: %v, one by one: %v", got, want)
	}
	forks, choices := g.Forks(), g.Choices()
	if len(choices) != len(forks) {
		return fmt.Errorf("choices %v at %d forks", choices, len(forks))
	}
	for i, f := range forks {
		if got, want := g.Best(f.Branches), f.Chosen().Child; got != want {
			return fmt.Errorf("the best branch at %q is %q, %q is chosen", f.At, got, want)
		}
		if want := (Choice{f.At, f.Chosen().Child, len(f.Branches)}); choices[i] != want {
			return fmt.Errorf("choice %v, want %v", choices[i], want)
		}
		for _, b := range f.Branches {
			want := s.votes(f.At, b.Child)
			if !slices.Equal(b.Votes, want[:len(b.Votes)]) {
				return fmt.Errorf("votes for %q at %q: %v, reference %v", b.Child, f.At, b.Votes, want[:len(b.Votes)])
			}
		}
	}
	return nil
}

func check(t *testing.T, code []byte, seed uint64) {
	t.Helper()
	s := decode(code)
	r := rand.New(rand.NewPCG(seed, 1))
	var first State
	for i := range 3 {
		g := s.build(r)
		if err := agree(s, g); err != nil {
			t.Fatalf("history %x, seed %d: %v", code, seed, err)
		}
		st := g.Snapshot()
		if i == 0 {
			first = st
		} else if !reflect.DeepEqual(st, first) {
			t.Fatalf("history %x, seed %d: snapshots differ\n%+v\n%+v", code, seed, first, st)
		}
		if i < 2 {
			continue
		}
		back, err := Restore(Support{}, st)
		if err != nil {
			t.Fatal(err)
		}
		if err := agree(s, back); err != nil {
			t.Fatalf("history %x: restored: %v", code, err)
		}
		rebased(t, code, g)
	}
}

// rebased checks that giving up what is above an epoch of the chain moves
// neither the head nor the answers below, and that the counters that survive
// equal fresh ones.
func rebased(t *testing.T, code []byte, g *Graph) {
	t.Helper()
	head, final, chain := g.Head(), g.Final(), g.Chain(g.Base(), g.Head())
	to := chain[len(chain)/2]
	keepsFinal := g.IsAncestor(to, final)
	all := g.Len()
	want := g.outside(g.nodes[to])
	if to == final && !slices.Equal(want, g.Erasable()) {
		t.Fatalf("history %x: erasable %v, outside %v", code, g.Erasable(), want)
	}
	dropped := g.Rebase(to)
	if !slices.Equal(dropped, want) || len(dropped)+g.Len() != all {
		t.Fatalf("history %x: dropped %v of %d, %d left", code, dropped, all, g.Len())
	}
	if g.Head() != head || keepsFinal && !g.IsAncestor(final, g.Final()) {
		t.Fatalf("history %x: rebase to %q moved head %q to %q, final %q to %q", code, to, head, g.Head(), final, g.Final())
	}
	back, err := Restore(Support{}, g.Snapshot())
	if err != nil {
		t.Fatalf("history %x: %v", code, err)
	}
	if back.Head() != head || back.Final() != g.Final() || back.Confirmable() != g.Confirmable() ||
		!reflect.DeepEqual(back.Forks(), g.Forks()) || !reflect.DeepEqual(back.Snapshot(), g.Snapshot()) {
		t.Fatalf("history %x: restored after rebase to %q differs", code, to)
	}
}

func random(r *rand.Rand, frames int) []byte {
	code := make([]byte, 4*frames)
	for i := range code {
		code[i] = byte(r.Uint32())
	}
	return code
}

// TestOrder: head, members, votes, confirmable and final epoch are functions
// of the set, and what the reference says.
func TestOrder(t *testing.T) {
	n := uint64(800)
	if testing.Short() {
		n = 400
	}
	forks, void := 0, 0
	for seed := range n {
		r := rand.New(rand.NewPCG(seed, 0))
		code := random(r, 3+int(seed%20))
		check(t, code, seed)
		g := decode(code).build(r)
		if len(g.Forks()) > 0 {
			forks++
		}
		if slices.ContainsFunc(g.Vertices(), func(v Vertex) bool { return g.Void(v.ID) }) {
			void++
		}
	}
	if void < 1 {
		t.Fatalf("only %d of %d histories had a void commit", void, n)
	}
	if forks < int(n)/3 {
		t.Fatalf("only %d of %d histories had a fork", forks, n)
	}
	t.Logf("%d histories, %d with forks, %d with a void commit, 3 orders each", n, forks, void)
}

// FuzzOrder states the same for bytes of the fuzzer's choice.
func FuzzOrder(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(random(rand.New(rand.NewPCG(seed, 2)), 12), seed)
	}
	f.Fuzz(check)
}

// TestEveryOrder inserts every tree of up to 6 commits, with several
// assignments of authors, in every order that respects parents and the seqs
// of each author.
func TestEveryOrder(t *testing.T) {
	sets, orders := 0, 0
	for n := 1; n <= 6; n++ {
		for _, parents := range shapes(n) {
			for pattern := range uint64(6) {
				s := tree(parents, rand.New(rand.NewPCG(pattern, uint64(sets))), pattern)
				head, final := s.head(), s.final()
				sets++
				every(s, func(order []item) {
					orders++
					g := s.graph()
					for _, it := range order {
						if _, err := it.add(g); err != nil {
							t.Fatal(err)
						}
					}
					if g.Head() != head || g.Final() != final {
						t.Fatalf("set %d: head %q final %q, reference %q %q, order %v", sets, g.Head(), g.Final(), head, final, order)
					}
				})
			}
		}
	}
	t.Logf("%d sets, %d orders", sets, orders)
}

// shapes returns one parent list for every rooted tree with n commits below
// the root: parents[i] <= i, 0 is the root.
func shapes(n int) [][]int {
	seen := map[string]bool{}
	var out [][]int
	var grow func(p []int)
	grow = func(p []int) {
		if len(p) == n {
			var form func(v int) string
			form = func(v int) string {
				var subs []string
				for i, q := range p {
					if q == v {
						subs = append(subs, form(i+1))
					}
				}
				slices.Sort(subs)
				return fmt.Sprint(subs)
			}
			if f := form(0); !seen[f] {
				seen[f] = true
				out = append(out, slices.Clone(p))
			}
			return
		}
		for q := 0; q <= len(p); q++ {
			grow(append(p, q))
		}
	}
	grow(nil)
	return out
}

func tree(parents []int, r *rand.Rand, pattern uint64) *set {
	s := &set{base: "r", vertices: map[ID]Vertex{}}
	for i := range 3 {
		s.members = append(s.members, Voter{Member(rune('a' + i)), uint8(min(i, 1)), uint32(i)})
	}
	names := []ID{"r"}
	next := map[Member]uint64{}
	for i, p := range parents {
		m := s.members[r.IntN(3)].Member
		id := ID(fmt.Sprintf("%c%d", 'a'+rune(r.IntN(26)), i))
		s.vertices[id] = Vertex{ID: id, Parent: names[p], Author: m, Seq: next[m], Confirms: names[p]}
		if pattern != 5 || r.IntN(3) > 0 { // pattern 5 has equivocators
			next[m]++
		}
		names = append(names, id)
	}
	return s
}

func every(s *set, visit func([]item)) {
	items := s.items()
	used := make([]bool, len(items))
	var order []item
	var grow func()
	grow = func() {
		if len(order) == len(items) {
			visit(order)
			return
		}
		for i, it := range items {
			ready := !used[i] && (it.in() == s.base || slices.ContainsFunc(order, func(o item) bool { return o.v.ID == it.in() }))
			for j, o := range items {
				ready = ready && (used[j] || o.v.Author != it.v.Author || o.v.Seq >= it.v.Seq)
			}
			if ready {
				used[i], order = true, append(order, it)
				grow()
				used[i], order = false, order[:len(order)-1]
			}
		}
	}
	grow()
}
