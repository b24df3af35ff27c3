package dag

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// play is a graph with frames written by hand; seqs count by themselves.
type play struct {
	*testing.T
	*Graph
	seq map[Member]uint64
	n   int
}

// start makes a graph whose members have leaf 0, 1, … and rank 1, those in
// capitals rank 0.
func start(t *testing.T, members string) *play {
	var ms []Voter
	for i, r := range members {
		rank := uint8(1)
		if r < 'a' {
			rank = 0
		}
		ms = append(ms, Voter{Member(r), rank, uint32(i)})
	}
	return &play{t, New(nil, Vertex{ID: "r"}, 7, ms), map[Member]uint64{}, 0}
}

func (p *play) commit(by Member, parent, id ID, removed ...Member) Change {
	p.Helper()
	c, err := p.AddVertex(Vertex{ID: id, Parent: parent, Author: by, Seq: p.seq[by], Removed: removed})
	if err != nil {
		p.Fatal(err)
	}
	p.seq[by]++
	return c
}

// ack sends an empty frame of each member in the epoch, each confirming what
// is given.
func (p *play) ack(at, confirms ID, by ...Member) {
	p.Helper()
	p.send(Stand{At: at, Confirms: confirms}, by...)
}

// send lets each member send a frame like this one.
func (p *play) send(f Stand, by ...Member) {
	p.Helper()
	for _, m := range by {
		p.n++
		f.ID, f.Author, f.Seq = ID(fmt.Sprintf("f%d", p.n)), m, p.seq[m]
		if _, err := p.AddStand(f); err != nil {
			p.Fatal(err)
		}
		p.seq[m]++
	}
}

func (p *play) heads(want ID) {
	p.Helper()
	if p.Head() != want {
		p.Fatalf("head %q, want %q", p.Head(), want)
	}
}

func (p *play) finals(confirmable, final ID) {
	p.Helper()
	if p.Confirmable() != confirmable || p.Final() != final {
		p.Fatalf("confirmable %q final %q, want %q %q", p.Confirmable(), p.Final(), confirmable, final)
	}
}

// A vote for the head never moves the head.
func TestVoteForHead(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 4))
		g := decode(random(r, 20)).build(r)
		for _, m := range g.Members(g.Head()) {
			c, err := g.AddStand(Stand{ID: "vote" + ID(m.Member), Author: m.Member, Seq: 1000, At: g.Head()})
			if err != nil || c.Moved() {
				t.Fatalf("seed %d: a vote of %q moved the head from %q to %q (%v)", seed, m.Member, c.Was, c.Head, err)
			}
		}
	}
}

// A joiner, who holds only what was sent in its base or below, agrees with the
// elders on everything below.
func TestJoinersAgree(t *testing.T) {
	forks := 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := decode(random(r, 25))
		g := s.build(r)
		for _, base := range s.ids() {
			part := &set{base: base, members: s.roster(base), vertices: map[ID]Vertex{}}
			for id, v := range s.vertices {
				if s.under(base, v.Parent) {
					part.vertices[id] = v
				}
			}
			for _, f := range s.stands {
				if s.under(base, f.At) {
					part.stands = append(part.stands, f)
				}
			}
			for _, p := range s.proofs {
				if s.under(base, p.In) {
					part.proofs = append(part.proofs, p)
				}
			}
			joiner := part.build(r)
			n := g.nodes[base]
			for c := n; c != nil; c = g.choose(n) {
				n = c
			}
			if joiner.Head() != n.ID {
				t.Fatalf("seed %d: joiner at %q follows %q, elders %q", seed, base, joiner.Head(), n.ID)
			}
			forks += len(joiner.Forks())
		}
	}
	if forks < 1000 {
		t.Fatalf("vacuous: %d forks", forks)
	}
}

// A removed member who forks the removal, at its parent or one epoch earlier,
// stays out, before or after the others have acknowledged.
func TestRemovedMemberForks(t *testing.T) {
	for _, at := range []ID{"p", "r"} {
		for _, early := range []bool{false, true} {
			p := start(t, "abcd")
			p.commit("b", "r", "p")
			p.ack("p", "", "a", "c", "d")
			fork := func() { p.commit("d", at, "!"); p.commit("d", "!", "!!") } // '!' is the lowest id
			if early {
				fork()
			}
			p.commit("a", "p", "x", "d")
			p.ack("x", "", "b", "c")
			if !early {
				fork()
			}
			p.heads("x")
			if p.IsMember(p.Head(), "d") {
				t.Fatal("d is back")
			}
		}
	}
}

// An equivocator with many siblings has no vote at their fork and cannot move
// what the others agree on; votes of honest members are counted as before.
func TestEquivocator(t *testing.T) {
	p := start(t, "abcde")
	p.commit("b", "r", "x")
	p.ack("x", "", "c")
	for i := range 30 {
		p.seq["a"] = 0 // the lowest leaf, which wins every tie
		c := p.commit("a", "r", ID(fmt.Sprintf("!%02d", i)))
		if want := i > 0; (c.Equivocator != nil) != want {
			t.Fatalf("sibling %d: equivocator %v", i, c.Equivocator)
		} else if want && (*c.Equivocator != "a" || c.Proof[0] >= c.Proof[1]) {
			t.Fatalf("proof %v against %q", c.Proof, *c.Equivocator)
		}
	}
	p.ack("!00", "", "a")
	p.heads("x")
	f, _ := p.ForkAt("r")
	if len(f.Branches) != 31 || f.Chosen().Votes[1] != 2 {
		t.Fatalf("%d branches, %d votes", len(f.Branches), f.Chosen().Votes[1])
	}
	for _, b := range f.Branches {
		if b.Author == "a" && b.Votes[1] != 0 {
			t.Fatalf("the equivocator votes for %q", b.Child)
		}
	}
	// It counts among the others: b, c, d, e carry x against it, b, c, d do too.
	p.ack("x", "x", "d", "e")
	p.ack("x", "x", "b", "c", "d", "e")
	p.finals("x", "x")
}

// A proof frame takes the vote at its epoch and above, not below.
func TestProofFrame(t *testing.T) {
	p := start(t, "abc")
	p.commit("b", "r", "x")
	p.commit("a", "r", "y")
	p.ack("x", "", "c")
	p.heads("x") // b, c against a
	p.Equivocated("c", "x")
	p.heads("y") // one each; a has the lower leaf
	p.Equivocated("a", "r")
	p.heads("x")
	p.commit("a", "x", "x1")
	p.commit("b", "x", "x2")
	p.ack("x2", "", "c")
	if f, _ := p.ForkAt("x"); f.Chosen().Child != "x1" {
		t.Fatal("c was proved in x, yet votes there")
	}
	p.commit("b", "x1", "z1")
	p.commit("a", "x1", "z0")
	p.ack("z1", "", "c")
	p.heads("z1") // the proof is above x1
}

// Members added below the fork do not vote there.
func TestSybils(t *testing.T) {
	p := start(t, "abc")
	p.commit("c", "r", "x")
	p.ack("x", "", "b")
	var sybils []Voter
	for i := range 100 {
		sybils = append(sybils, Voter{Member(fmt.Sprintf("s%d", i)), 0, uint32(3 + i)})
	}
	if _, err := p.AddVertex(Vertex{ID: "y", Parent: "r", Author: "a", Added: sybils}); err != nil {
		t.Fatal(err)
	}
	p.seq["a"]++
	for _, s := range sybils {
		p.ack("y", "", s.Member)
	}
	p.heads("x")
}

// Admins come first: one admin outweighs any number of others.
func TestRanks(t *testing.T) {
	p := start(t, "Abcd")
	p.commit("b", "r", "x")
	p.ack("x", "", "c", "d")
	p.commit("A", "r", "y")
	p.heads("y")
	if f, _ := p.ForkAt("r"); f.Decided != ByVotes || f.Why() != "1 admin vote against 0" {
		t.Fatal(f.Decided, f.Why())
	}
}

// TestWhy goes down the list of tie breaks.
func TestWhy(t *testing.T) {
	for _, c := range []struct {
		members, do, decided, why string
	}{
		{"abcde", "bx dy cx", ByVotes, "2 votes against 1"},
		{"Abcde", "bx cy Ax Ay dy", ByVotes, "1 admin vote against 0"},
		{"abcde", "bx cy", ByLeaf, "votes equal (1 each); its first commit is by the author with the lower leaf (1 before 2)"},
		{"abCd", "bx Cy Cz bz", ByRank, "votes equal (0 each); its first commit is by an author of higher rank (0 before 1)"},
		{"abcd", "bx by", ByVotes, "1 vote against 0"},
		{"abcd", "bx by bz", ByCID, "votes equal (0 each); one author made both first commits, the lower id wins"},
	} {
		p := start(t, c.members)
		for i := 0; i+1 < len(c.do); i += 3 {
			by, at := Member(c.do[i:i+1]), ID(c.do[i+1:i+2])
			switch {
			case p.Has(at):
				p.ack(at, "", by)
			case at == "z": // withdraw the vote: a frame in the fork epoch itself
				p.ack("r", "", by)
			default:
				p.commit(by, "r", at)
			}
		}
		f, ok := p.ForkAt("r")
		if !ok || f.Decided != c.decided || f.Why() != c.why {
			t.Errorf("%s: %s, %q; want %s, %q", c.do, f.Decided, f.Why(), c.decided, c.why)
		}
	}
	p := start(t, "ab")
	p.commit("a", "r", "y")
	p.seq["a"] = 0
	p.commit("a", "r", "x")
	if f, _ := p.ForkAt("r"); f.Decided != ByCID || f.Chosen().Child != "x" || f.RunnerUp().Child != "y" {
		t.Errorf("siblings: %+v", f)
	}
}
