package sim

import (
	"bytes"
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/dmlsd/dmls/dag"
)

// mutant is a wrong rule of fork choice that all devices of a run follow.
type mutant struct {
	name   string
	better func(a, b dag.Branch) int // negative: a
}

func (m mutant) Name() string    { return "support" }
func (m mutant) UsesDepth() bool { return true }
func (m mutant) Better(a, b dag.Branch) (bool, string) {
	c := m.better(a, b)
	if c == 0 { // a rule must decide
		c = cmp.Compare(a.Child, b.Child)
	}
	return c < 0, dag.ByCID // a reason that needs no votes to be told
}

// The pieces of the rule. Each is negative if a is better.
func byVotes(a, b dag.Branch) int { return -slices.Compare(a.Votes, b.Votes) }
func byRank(a, b dag.Branch) int  { return cmp.Compare(a.AuthorRank, b.AuthorRank) }
func byLeaf(a, b dag.Branch) int  { return cmp.Compare(a.AuthorLeaf, b.AuthorLeaf) }
func allVotes(a, b dag.Branch) int {
	return -cmp.Compare(votesIn(a), votesIn(b))
}
func ordinaryFirst(a, b dag.Branch) int {
	for rank := max(len(a.Votes), len(b.Votes)) - 1; rank >= 0; rank-- {
		if c := -cmp.Compare(votesAt(a, rank), votesAt(b, rank)); c != 0 {
			return c
		}
	}
	return 0
}

func votesAt(b dag.Branch, rank int) int {
	if rank < len(b.Votes) {
		return b.Votes[rank]
	}
	return 0
}

func votesIn(b dag.Branch) (n int) {
	for _, v := range b.Votes {
		n += v
	}
	return n
}

func not(f func(a, b dag.Branch) int) func(a, b dag.Branch) int {
	return func(a, b dag.Branch) int { return -f(a, b) }
}

// rule asks one piece after the other.
func rule(pieces ...func(a, b dag.Branch) int) func(a, b dag.Branch) int {
	return func(a, b dag.Branch) int {
		for _, f := range pieces {
			if c := f(a, b); c != 0 {
				return c
			}
		}
		return 0
	}
}

var mutants = []mutant{
	{"fewer votes win", rule(not(byVotes), byRank, byLeaf)},
	{"votes are not asked", rule(byRank, byLeaf)},
	{"all ranks count alike", rule(allVotes, byRank, byLeaf)},
	{"ordinary members first", rule(ordinaryFirst, byRank, byLeaf)},
	{"the author of lower rank wins a tie", rule(byVotes, not(byRank), byLeaf)},
	{"rank does not break ties", rule(byVotes, byLeaf)},
	{"the higher leaf wins a tie", rule(byVotes, byRank, not(byLeaf))},
	{"leaves do not break ties", rule(byVotes, byRank)},
	{"the greater tag wins", func(a, b dag.Branch) int { return -cmp.Compare(a.Tag, b.Tag) }},
	{"depth before votes", rule(func(a, b dag.Branch) int { return -cmp.Compare(a.Depth, b.Depth) }, byVotes, byRank, byLeaf)},
}

// quarrels are the forks of a small group: the islands, who is an admin, and who
// commits. Device 0 is always an admin, and leaves are numbered like devices.
var quarrels = []struct {
	islands        []Devices
	admins, author Devices
	deep           int // commits that the first author makes on top
}{
	{[]Devices{{0, 1}, {2, 3}}, Devices{3}, Devices{1, 3}, 0},            // equal votes, the second author is an admin
	{[]Devices{{0, 2}, {1, 3}}, Devices{1}, Devices{0, 1}, 0},            // equal votes, equal ranks
	{[]Devices{{0, 2}, {1, 3, 4}}, Devices{1, 2}, Devices{0, 1}, 0},      // two admins against three members
	{[]Devices{{0, 2}, {1, 3, 4}}, Devices{1}, Devices{0, 3}, 2},         // equal admins, more members on the second, more commits on the first
	{[]Devices{{0, 2}, {1, 3}, {4, 5}}, Devices{1}, Devices{2, 3, 4}, 0}, // three branches
}

func quarrel(seed uint64) Scenario {
	q := quarrels[seed%uint64(len(quarrels))]
	s := Scenario{Name: "quarrel", Seed: seed, Found: FoundAtOnce, Policy: "admins", After: Span(time.Minute),
		Network: Network{MinLatency: Span(10 * time.Millisecond), MaxLatency: Span(900 * time.Millisecond)}}
	cut, heal := Span(5*time.Second), Span(12*time.Second)
	s.Partitions = []Partition{{At: cut, Until: heal, Islands: q.islands}}
	for i, d := range q.admins {
		s.Events = append(s.Events, Event{At: Span(i+1) * cut / 5, Do: Promote, By: Devices{0}, Of: Devices{d}})
	}
	for i, island := range q.islands {
		s.Members += len(island)
		s.Events = append(s.Events, Event{At: cut + Span(time.Second), Do: Update, By: q.author[i : i+1]})
	}
	for i := range q.deep {
		s.Events = append(s.Events, Event{At: cut + Span(i+3)*Span(time.Second), Do: Update, By: q.author[:1]})
	}
	return s
}

// The checkers kill rules that are wrong, and not the one that is right.
func TestRuleMutants(t *testing.T) {
	t.Parallel()
	const most = 15
	right := mutant{"the rule itself", rule(byVotes, byRank, byLeaf)}
	for _, m := range append([]mutant{right}, mutants...) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			compared := 0
			for seed := uint64(0); seed < most; seed++ {
				r := finished(t, quarrel(seed), func(r *run) { r.engine.Rule, r.looks = m, 400 })
				e := r.evidence()
				compared += e.compared
				switch got := complaints(e.judge()); {
				case m.name == right.name && len(got) > 0:
					t.Fatalf("seed %d: %q complain: %.600q", seed, got, e.judge().Violations)
				case m.name != right.name && slices.Contains(got, "reference") && !slices.Contains(got, "broke off"):
					t.Logf("killed by seed %d", seed)
					return
				}
			}
			if m.name != right.name {
				t.Errorf("no checker kills it in %d runs", most)
			}
			if compared < most {
				t.Errorf("compared %d times in %d runs", compared, most)
			}
		})
	}
}

// A device whose disk is set back uses keys once more, which the frames
// themselves show.
func TestRolledBackDisk(t *testing.T) {
	t.Parallel()
	s := quarrel(1)
	s.Partitions, s.After = nil, Span(10*time.Second)
	s.Events = []Event{{At: Span(3 * time.Second), Do: Say, By: Devices{1}}, {At: Span(8 * time.Second), Do: Say, By: Devices{1}}}
	r := finished(t, s, func(r *run) {
		var old *disk
		r.after(lull+2*time.Second, func() { old = r.devices[1].store.disk.clone() })
		r.after(lull+6*time.Second, func() {
			r.devices[1].store.disk = old
			r.crash(r.devices[1], "and its disk is set back")
		})
	})
	if got := complaints(r.evidence().judge()); !slices.Contains(got, "nonces") {
		t.Errorf("%q complain", got)
	}
}

// Taking glimpses changes nothing.
func TestGlimpses(t *testing.T) {
	t.Parallel()
	s := quarrel(3)
	with, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	r := finished(t, s, func(r *run) { r.looks = -1 })
	e := r.evidence()
	res := e.judge()
	r.close(res)
	if !bytes.Equal(res.History, with.History) {
		t.Error("a run that is looked at is another run")
	}
	if len(r.glimpses) > 0 || e.compared == 0 {
		t.Errorf("%d glimpses, %d comparisons", len(r.glimpses), e.compared)
	}
}
