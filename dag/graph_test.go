package dag

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// twoHundred are more members than have a vote; one with a high leaf is an admin.
func twoHundred() ([]Voter, *Graph) {
	var ms []Voter
	for i := range 200 {
		ms = append(ms, Voter{Member(fmt.Sprintf("m%03d", i)), uint8(1), uint32(i)})
	}
	ms[150].Rank = 0
	return ms, New(nil, Vertex{ID: "r"}, 0, ms)
}

// Above 128 members admins and the lowest leaves vote.
func TestElectorate(t *testing.T) {
	ms, g := twoHundred()
	vs := g.Voters("r")
	if len(vs) != MaxVoters || vs[127].Leaf != 150 || vs[126].Leaf != 126 {
		t.Fatalf("%d voters, last %v", len(vs), vs[126:])
	}
	s := &set{base: "r", members: ms, vertices: map[ID]Vertex{}}
	r := rand.New(rand.NewPCG(1, 1))
	at := ID("r")
	for i := range 120 {
		v := Vertex{ID: ID(fmt.Sprintf("c%d", i)), Parent: at, Author: "m150", Seq: uint64(i)}
		now := s.roster(at)
		for range r.IntN(3) {
			v.Removed = append(v.Removed, now[r.IntN(len(now))].Member)
		}
		if r.IntN(4) == 0 {
			v.Added = []Voter{{Member(fmt.Sprintf("n%d", i)), uint8(r.IntN(2)), uint32(1000 + i)}}
		}
		s.vertices[v.ID] = v
		if _, err := g.AddVertex(v); err != nil {
			t.Fatal(err)
		}
		at = v.ID
		if i%3 == 0 && !slices.Equal(g.Voters(at), s.voters(at)) {
			t.Fatalf("commit %d: voters differ", i)
		}
	}
}

// Who has no vote at the head has one all the same while an epoch with its vote is
// retained. Its complaint is heard, and voids nothing.
func TestVoteless(t *testing.T) {
	ms, g := twoHundred()
	if !g.Votes("m126") || !g.Votes("m150") || g.Votes("m127") || g.Votes("nobody") {
		t.Fatal("who votes at the base")
	}
	for _, v := range []Vertex{
		{ID: "x", Parent: "r", Author: "m000", Ranks: []Voter{{"m150", 1, 150}, {"m160", 0, 160}}},
		{ID: "y", Parent: "x", Author: "m000", Seq: 1, Removed: []Member{"m160"}},
	} {
		if _, err := g.AddVertex(v); err != nil {
			t.Fatal(err)
		}
	}
	if !g.Votes("m150") || !g.Votes("m160") || !g.Votes("m127") || g.Votes("m128") {
		t.Fatal("who votes on the way down")
	}
	g.Rebase("y")
	if g.Votes("m150") || !g.Votes("m127") {
		t.Fatal("who votes at the new base")
	}
	if _, err := g.AddVertex(Vertex{ID: "z", Parent: "y", Author: "m000", Seq: 2}); err != nil {
		t.Fatal(err)
	}
	for i := range 70 {
		s := Stand{ID: ID(fmt.Sprint("s", i)), Author: ms[128+i].Member, At: "y", Mute: true, CannotOpen: "z"}
		if ms[128+i].Member == "m160" {
			continue
		}
		if _, err := g.AddStand(s); err != nil {
			t.Fatal(err)
		}
	}
	if g.Void("z") || len(g.Complainers("z")) != 0 || len(g.CannotOpen("z")) != 69 {
		t.Fatalf("void %v, %d complainers, %d cannot open it", g.Void("z"), len(g.Complainers("z")), len(g.CannotOpen("z")))
	}
}

func TestErrors(t *testing.T) {
	p := start(t, "ab")
	p.commit("a", "r", "x")
	p.ack("x", "", "b")
	before := fmt.Sprint(p.Snapshot())
	for _, c := range []struct {
		err  error
		want error
	}{
		{errOf(p.AddVertex(Vertex{ID: "x", Parent: "r", Author: "a"})), ErrDuplicate},
		{errOf(p.AddVertex(Vertex{ID: "f1", Parent: "r", Author: "a"})), ErrDuplicate},
		{errOf(p.AddVertex(Vertex{ID: "y", Parent: "q", Author: "a"})), ErrUnknown},
		{errOf(p.AddVertex(Vertex{ID: "y", Parent: "r"})), ErrMalformed},
		{errOf(p.AddStand(Stand{ID: "f1", Author: "b", At: "x"})), ErrDuplicate},
		{errOf(p.AddStand(Stand{ID: "f9", Author: "b", At: "q"})), ErrUnknown},
		{errOf(p.AddStand(Stand{Author: "b", At: "x"})), ErrMalformed},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%v, want %v", c.err, c.want)
		}
	}
	if after := fmt.Sprint(p.Snapshot()); after != before {
		t.Errorf("refused frames changed the graph:\n%s\n%s", before, after)
	}
	st := p.Snapshot()
	st.Vertices = append(st.Vertices, Vertex{ID: "z", Parent: "nowhere", Author: "a"})
	if _, err := Restore(nil, st); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func errOf(_ Change, err error) error { return err }

// Retire moves the base one step towards the head and drops what is beside.
func TestRetire(t *testing.T) {
	p := start(t, "abc")
	p.commit("a", "r", "x")
	p.commit("b", "r", "y")
	p.ack("x", "", "c")
	p.commit("c", "x", "x1")
	if got := p.Losing(); !slices.Equal(got, []ID{"y"}) || !slices.Equal(p.LosingTips(), got) {
		t.Fatal(got)
	}
	if got := p.Retire("r"); !slices.Equal(got, []ID{"y", "r"}) {
		t.Fatal(got)
	}
	p.heads("x1")
	if p.Base() != "x" || p.Losing() != nil || p.Forks() != nil || p.Retire("x1") != nil || p.Retire("y") != nil {
		t.Fatalf("base %q, losing %v", p.Base(), p.Losing())
	}
	if c := p.commit("a", "x1", "x2"); c.Head != "x2" || c.Was != "x1" || c.Reorg || c.Beside {
		t.Fatalf("%+v", c)
	}
}

// The rules for comparison are functions of the set, too.
func TestOtherRules(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 6))
		s := decode(random(r, 20))
		for _, rule := range []Rule{Tag{}, Depth{}} {
			var head ID
			for i := range 3 {
				st := s.build(r).Snapshot()
				for j := range st.Vertices {
					st.Vertices[j].Tag = []byte(st.Vertices[j].ID)
				}
				r.Shuffle(len(st.Vertices), func(i, j int) { st.Vertices[i], st.Vertices[j] = st.Vertices[j], st.Vertices[i] })
				g, err := Restore(rule, st)
				if err != nil {
					t.Fatal(err)
				}
				if i > 0 && g.Head() != head {
					t.Fatalf("%s, seed %d: %q and %q", rule.Name(), seed, head, g.Head())
				}
				head = g.Head()
				for _, f := range g.Forks() {
					if f.RunnerUp().Chosen || f.Why() == "" {
						t.Fatalf("%+v", f)
					}
				}
			}
		}
	}
}
