package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Plain is the shape of most runs: a group is formed, chats, is cut into two
// islands that go on chatting and committing, and is healed.
type Plain struct {
	Members, Joiners         int
	MinLatency, MaxLatency   time.Duration
	Loss, Duplicate, Reorder float64

	Before time.Duration // chat before the partition
	Apart  time.Duration // how long the islands are apart
	After  time.Duration // bound for converging after the heal

	Messages int // sent in the whole run
	Commits  int // on each side while apart
	Leaves   int // members that ask to leave while apart or healing
	Crashes  int // devices that crash and restart while apart or healing
}

// DefaultPlain is eight members, half a minute apart, on a bad network.
func DefaultPlain() Plain {
	return Plain{
		Members: 8, Joiners: 2,
		MinLatency: 5 * time.Millisecond, MaxLatency: 80 * time.Millisecond, Loss: 0.05, Duplicate: 0.03, Reorder: 0.05,
		Before: 10 * time.Second, Apart: 30 * time.Second, After: 4 * time.Minute,
		Messages: 40, Commits: 3, Crashes: 1,
	}
}

// Default is the plain scenario with nothing changed.
func Default(seed uint64) Scenario { return DefaultPlain().Scenario(seed) }

// Of a plain run.
const (
	leastCommits  = 2                // on each side, while apart, unless fewer are planned
	leastMessages = 20               // in the whole run
	chatTime      = 20 * time.Second // of chat after the heal
)

// Scenario spells the shape out; the seed draws the islands.
func (p Plain) Scenario(seed uint64) Scenario {
	s := Scenario{
		Name: "plain", About: "cut in two and healed", Seed: seed, Members: p.Members, Joiners: p.Joiners, After: Span(p.After),
		Network: Network{MinLatency: Span(p.MinLatency), MaxLatency: Span(p.MaxLatency), Loss: p.Loss, Duplicate: p.Duplicate, Reorder: p.Reorder},
		Least:   Least{Messages: leastMessages, Forks: 1},
		Source:  p.args(),
	}
	cut, apart := Span(p.Before), Span(p.Apart)
	islands := deal(rand.New(stream(seed, "scenario")), p.Members, p.Joiners, 2)
	s.Partitions = []Partition{{At: cut, Until: cut + apart, Islands: islands, Commits: min(p.Commits, leastCommits)}}
	s.work(Load{Do: Say, Until: cut + apart + Span(chatTime), Count: p.Messages})
	for _, island := range islands {
		s.work(Load{Do: Commit, By: island, From: cut + apart/20, Until: cut + apart*15/20, Count: p.Commits})
	}
	s.work(Load{Do: Leave, From: cut, Until: cut + apart*5/4, Count: p.Leaves})
	s.work(Load{Do: Crash, From: cut, Until: cut + apart*3/2, Count: p.Crashes})
	return s
}

// work adds a load, unless it is none.
func (s *Scenario) work(l Load) {
	if l.Count != 0 || l.PerMinute != 0 {
		s.Loads = append(s.Loads, l)
	}
}

// deal puts founders and joiners on islands by chance, with at least two
// founders on each if there are as many.
func deal(r *rand.Rand, members, joiners, n int) []Devices {
	islands := make([]Devices, n)
	place := make([]int, members+joiners)
	for i, f := range r.Perm(members) {
		switch least := min(2, members/n); {
		case i < least*n:
			place[f] = i % n
		default:
			place[f] = r.IntN(n)
		}
	}
	for i := range joiners {
		place[members+i] = i % n
	}
	for d, i := range place {
		islands[i] = append(islands[i], d)
	}
	return islands
}

// Knob is one field of a plain scenario as a flag of the command line.
type Knob struct {
	Name, Help string
	Value      any // *int, *float64 or *time.Duration
}

// Knobs lists the fields.
func (p *Plain) Knobs() []Knob {
	return []Knob{
		{"members", "founders of the group", &p.Members},
		{"joiners", "devices that may be added while apart", &p.Joiners},
		{"messages", "messages sent in a run", &p.Messages},
		{"commits", "commits on each side while apart", &p.Commits},
		{"leaves", "members that ask to leave", &p.Leaves},
		{"crashes", "devices that crash and restart", &p.Crashes},
		{"loss", "share of network messages that get lost", &p.Loss},
		{"duplicate", "share of network messages that come twice", &p.Duplicate},
		{"reorder", "share of network messages that come much later", &p.Reorder},
		{"min-latency", "shortest way of a network message", &p.MinLatency},
		{"max-latency", "longest usual way of a network message", &p.MaxLatency},
		{"before", "virtual time before the partition", &p.Before},
		{"apart", "virtual time apart", &p.Apart},
		{"after", "virtual time allowed for converging", &p.After},
	}
}

// String is the value as a flag takes it.
func (k Knob) String() string {
	switch v := k.Value.(type) {
	case *int:
		return fmt.Sprint(*v)
	case *float64:
		return fmt.Sprint(*v)
	case *time.Duration:
		return v.String()
	}
	return ""
}

// args are the flags that make this shape out of the default one.
func (p Plain) args() []string {
	usual := DefaultPlain()
	var args []string
	for i, k := range p.Knobs() {
		if k.Name == "members" || k.String() != usual.Knobs()[i].String() {
			args = append(args, "--"+k.Name, k.String())
		}
	}
	return args
}
