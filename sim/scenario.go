package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Scenario describes a run: a group is formed, chats, is cut into two islands
// that go on chatting and committing, and is healed.
type Scenario struct {
	Seed    uint64
	Members int // founders, at least 4
	Spare   int // devices that may be added while the group is apart

	// Of every message between two devices. Latency is drawn evenly between
	// the two bounds, which alone reorders messages; Reorder of them take up to
	// ten times MaxLatency more.
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

// Default is the scenario of `dmlsd sim run`: eight members, half a minute
// apart, on a bad network.
func Default(seed uint64) Scenario {
	return Scenario{
		Seed: seed, Members: 8, Spare: 2,
		MinLatency: 5 * time.Millisecond, MaxLatency: 80 * time.Millisecond, Loss: 0.05, Duplicate: 0.03, Reorder: 0.05,
		Before: 10 * time.Second, Apart: 30 * time.Second, After: 4 * time.Minute,
		Messages: 40, Commits: 3, Crashes: 1,
	}
}

// ErrScenario is wrapped by every complaint of Validate.
var ErrScenario = errors.New("sim: bad scenario")

// Bounds of a scenario. Beyond maxLoss the machines that repeat things need
// longer than the time that a run has.
const (
	minMembers, maxMembers = 4, 1000
	maxLoss                = 0.5
)

// Validate names the first field that makes no sense.
func (s Scenario) Validate() error {
	switch {
	case s.Members < minMembers || s.Members > maxMembers:
		return fmt.Errorf("%w: %d members, want %d to %d", ErrScenario, s.Members, minMembers, maxMembers)
	case s.Spare < 0 || s.Commits < 0 || s.Leaves < 0 || s.Messages < 0 || s.Crashes < 0:
		return fmt.Errorf("%w: spare, commits, leaves, messages and crashes must not be negative", ErrScenario)
	case s.MinLatency < 0 || s.MaxLatency < s.MinLatency:
		return fmt.Errorf("%w: latency from %v to %v", ErrScenario, s.MinLatency, s.MaxLatency)
	case !share(s.Loss) || !share(s.Duplicate) || !share(s.Reorder) || s.Loss > maxLoss:
		return fmt.Errorf("%w: loss %v (at most %v), duplicate %v, reorder %v", ErrScenario, s.Loss, maxLoss, s.Duplicate, s.Reorder)
	case s.Before <= 0 || s.Apart <= 0 || s.After <= 0:
		return fmt.Errorf("%w: before, apart and after must be positive", ErrScenario)
	}
	return nil
}

func share(p float64) bool { return p >= 0 && p <= 1 }

// Knob is one field of a scenario as a flag of the command line.
type Knob struct {
	Name, Help string
	Value      any // *int, *float64 or *time.Duration
}

// Knobs lists the fields but the seed.
func (s *Scenario) Knobs() []Knob {
	return []Knob{
		{"members", "founders of the group", &s.Members},
		{"spare", "devices that may be added while apart", &s.Spare},
		{"messages", "messages sent in a run", &s.Messages},
		{"commits", "commits on each side while apart", &s.Commits},
		{"leaves", "members that ask to leave", &s.Leaves},
		{"crashes", "devices that crash and restart", &s.Crashes},
		{"loss", "share of network messages that get lost", &s.Loss},
		{"duplicate", "share of network messages that come twice", &s.Duplicate},
		{"reorder", "share of network messages that come much later", &s.Reorder},
		{"min-latency", "shortest way of a network message", &s.MinLatency},
		{"max-latency", "longest usual way of a network message", &s.MaxLatency},
		{"before", "virtual time before the partition", &s.Before},
		{"apart", "virtual time apart", &s.Apart},
		{"after", "virtual time allowed for converging", &s.After},
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

// Args are the flags that make this scenario out of the default one.
func (s Scenario) Args() []string {
	usual := Default(s.Seed)
	args := []string{"--seed", fmt.Sprint(s.Seed)}
	for i, k := range s.Knobs() {
		if k.Name == "members" || k.String() != usual.Knobs()[i].String() {
			args = append(args, "--"+k.Name, k.String())
		}
	}
	return args
}

// Replay is the command that runs the scenario again and writes its history.
func (s Scenario) Replay() string {
	return fmt.Sprintf("dmlsd sim run %s --history seed-%d.txt", strings.Join(s.Args(), " "), s.Seed)
}
