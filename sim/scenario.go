package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group"
)

// Scenario describes a run: who takes part, the network between them, what
// they do and what happens to them. Times count from the moment when the group
// of founders is formed. A run is a function of its scenario.
//
// The same thing as a TOML file is described in sim/scenarios/README.md;
// [Parse] reads it and [Scenario.TOML] writes it.
type Scenario struct {
	Name  string `toml:"name,omitempty"`
	About string `toml:"about,omitempty"` // in a sentence
	Seed  uint64 `toml:"seed,omitempty"`  // of everything that is drawn

	Members int    `toml:"members"`           // founders, 2 to 1,000
	Joiners int    `toml:"joiners,omitempty"` // devices that "add" may bring in; numbered after the founders
	Found   string `toml:"found,omitempty"`   // FoundByTickets or FoundAtOnce
	Policy  string `toml:"policy,omitempty"`  // "open", the default, or "admins"
	Rule    string `toml:"rule,omitempty"`    // of fork choice: "support", "tag" or "depth"
	After   Span   `toml:"after"`             // bound for converging once all is healed and done

	Network Network `toml:"network,omitempty"`
	Engine  Engine  `toml:"engine,omitempty"`
	Skew    Span    `toml:"skew,omitempty"` // each clock is off by up to this much, either way
	Least   Least   `toml:"least,omitempty"`

	Partitions  []Partition `toml:"partition,omitempty"`
	Loads       []Load      `toml:"load,omitempty"`
	Events      []Event     `toml:"event,omitempty"`
	Adversaries []Adversary `toml:"adversary,omitempty"`

	// Source is how the scenario is asked for on the command line of
	// `dmlsd sim`, but for the seed.
	Source []string `toml:"-"`
}

// How the founders come together.
const (
	FoundByTickets = "tickets" // one after the other, over the network; the default
	FoundAtOnce    = "at once" // one commit adds all of them, before the run begins
)

// Network is what lies between the devices. Latency is drawn evenly between
// the two bounds, which alone reorders messages; Reorder of them take up to ten
// times MaxLatency more.
type Network struct {
	Topology   string  `toml:"topology,omitempty"` // Mesh, the default, Ring, Line, Star or Random
	Degree     int     `toml:"degree,omitempty"`   // neighbours that each device looks for in Random; 0: 6
	MinLatency Span    `toml:"min_latency,omitempty"`
	MaxLatency Span    `toml:"max_latency,omitempty"`
	Loss       float64 `toml:"loss,omitempty"`      // share of messages
	Duplicate  float64 `toml:"duplicate,omitempty"` // share of messages
	Reorder    float64 `toml:"reorder,omitempty"`   // share of messages
	Sync       Span    `toml:"sync,omitempty"`      // pause between two rounds of sync; 0: 4 s
	Fanout     int     `toml:"fanout,omitempty"`    // peers that a device asks in a round; 0: as the daemon
}

// Topologies. In all but Mesh a device hands on what it accepted.
const (
	Mesh   = "mesh"
	Ring   = "ring"
	Line   = "line"
	Star   = "star" // around device 0
	Random = "random"
)

// Engine changes limits and delays of the preset group.Sim: retention,
// reconciliation and acks. What is zero stays as it is there.
type Engine struct {
	MaxEpochs   int  `toml:"max_epochs,omitempty"`
	MaxAge      Span `toml:"max_age,omitempty"`
	BlockAge    Span `toml:"block_age,omitempty"`
	MaxParked   int  `toml:"max_parked,omitempty"`      // bytes
	ParkedPeer  int  `toml:"max_parked_peer,omitempty"` // frames
	MergeDelay  Span `toml:"merge_delay,omitempty"`
	ReaddDelay  Span `toml:"readd_delay,omitempty"`
	AckMin      Span `toml:"ack_min,omitempty"`
	AckMax      Span `toml:"ack_max,omitempty"`
	AckRate     int  `toml:"ack_rate,omitempty"` // a second
	DeliverWait Span `toml:"deliver_wait,omitempty"`
}

// Least is what a run must have come to to count; below it the run is vacuous.
type Least struct {
	Messages int `toml:"messages,omitempty"`
	Forks    int `toml:"forks,omitempty"`   // each founder on the head must have seen one
	Returns  int `toml:"returns,omitempty"` // devices that were too stale and were added again
	Joins    int `toml:"joins,omitempty"`   // devices that were let in after the founding
}

// Partition cuts the network into islands for a time. Devices that no island
// names are in the first. Several partitions may overlap: two devices reach
// each other if none of them separates the two.
type Partition struct {
	At      Span      `toml:"at"`
	Until   Span      `toml:"until"`
	Islands []Devices `toml:"islands"`
	Commits int       `toml:"commits,omitempty"` // least on each island, or the run is vacuous
	// A flapping partition: Down apart, Up together, and so on. Zero: apart all
	// the time.
	Down Span `toml:"down,omitempty"`
	Up   Span `toml:"up,omitempty"`
}

// island returns the number of the island that a device is on.
func (p *Partition) island(device int) int {
	return max(0, slices.IndexFunc(p.Islands, func(d Devices) bool { return d.has(device) }))
}

// Load is work of one kind, spread evenly by chance over a time.
type Load struct {
	Do        string  `toml:"do"`
	By        Devices `toml:"by,omitempty"`
	Of        Devices `toml:"of,omitempty"`
	From      Span    `toml:"from,omitempty"`
	Until     Span    `toml:"until"`
	Count     int     `toml:"count,omitempty"`      // this often, or
	PerMinute float64 `toml:"per_minute,omitempty"` // at this rate
}

// Event is one thing that happens.
type Event struct {
	At    Span    `toml:"at"`
	Do    string  `toml:"do"`
	By    Devices `toml:"by,omitempty"`    // who: one of these that can; empty: of all
	Of    Devices `toml:"of,omitempty"`    // whom: one of these; empty: of all
	For   Span    `toml:"for,omitempty"`   // how long a crashed device is down; zero: drawn, up to 4 s
	How   string  `toml:"how,omitempty"`   // when it dies: Idle, Written, Lost or Sending; empty: drawn
	Shift Span    `toml:"shift,omitempty"` // of a clock: forward, or back if negative
	Draw  uint64  `toml:"draw,omitempty"`  // names the random stream of its choices; zero: its place in the list
}

// What an event can be.
const (
	Say     = "say"    // a message is sent
	Update  = "update" // a member commits with nothing but its path
	Add     = "add"    // a member invites a joiner that it can reach
	Remove  = "remove"
	Leave   = "leave"
	Promote = "promote" // to admin
	Demote  = "demote"
	Commit  = "commit" // a mixture of Update, Add, Remove and, with admins, Promote and Demote
	Crash   = "crash"  // a device dies and restarts
	Clock   = "clock"  // a clock jumps
)

// When a device dies.
const (
	Idle    = "idle"    // between two inputs
	Written = "written" // amid a commit to its disk, which is found there after the restart
	Lost    = "lost"    // amid a commit to its disk, which is not
	Sending = "sending" // while it sends what its disk had to hold first
)

// Adversary puts a device into bad hands. What it does there has a name; see
// the list in attacks.
type Adversary struct {
	Name   string             `toml:"name"`
	Device int                `toml:"device"`
	From   Span               `toml:"from,omitempty"`
	Until  Span               `toml:"until,omitempty"` // zero: to the end
	With   map[string]float64 `toml:"with,omitempty"`  // parameters
}

// devices is how many there are, founders and joiners.
func (s *Scenario) devices() int { return s.Members + s.Joiners }

// config is the engine's configuration.
func (s *Scenario) config() group.Config {
	c := group.Sim()
	set(&c.MaxEpochs, s.Engine.MaxEpochs)
	set((*Span)(&c.MaxAge), s.Engine.MaxAge)
	set((*Span)(&c.BlockAge), s.Engine.BlockAge)
	set(&c.MaxParked, s.Engine.MaxParked)
	set(&c.MaxParkedPeer, s.Engine.ParkedPeer)
	set((*Span)(&c.MergeDelay), s.Engine.MergeDelay)
	set((*Span)(&c.ReaddDelay), s.Engine.ReaddDelay)
	set((*Span)(&c.AckMin), s.Engine.AckMin)
	set((*Span)(&c.AckMax), s.Engine.AckMax)
	set(&c.AckRate, s.Engine.AckRate)
	set((*Span)(&c.DeliverWait), s.Engine.DeliverWait)
	c.Rule = rules[s.Rule]
	return c
}

func (s *Scenario) policy() group.Policy {
	if s.Policy == "admins" {
		return group.PolicyAdmins
	}
	return group.PolicyOpen
}

func set[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}

var rules = map[string]dag.Rule{"": dag.Support{}, "support": dag.Support{}, "tag": dag.Tag{}, "depth": dag.Depth{}}

// Replay is the command that runs the scenario again and shows its history.
func (s *Scenario) Replay() string {
	return fmt.Sprintf("dmlsd sim replay %s --seed %d", strings.Join(s.Source, " "), s.Seed)
}
