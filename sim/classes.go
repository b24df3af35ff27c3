package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Class is a family of scenarios. Each seed draws one of them.
type Class struct {
	Name, About string
	draw        func(*draft)
}

var classes = []Class{
	{"plain", "one cut, two islands, one heal", drawPlain},
	{"islands", "three or more islands, healed at once or one after the other", drawIslands},
	{"nested", "an island falls apart while it is cut off", drawNested},
	{"merges", "both new islands merge the old fork at the same time", drawMerges},
	{"reopened", "a fork is healed while another opens", drawReopened},
	{"flapping", "links that come and go every few seconds", drawFlapping},
	{"crashes", "devices die at every possible moment, some for long", drawCrashes},
	{"clocks", "clocks that are wrong and clocks that jump", drawClocks},
	{"joins", "members join, leave and are removed while apart", drawJoins},
	{"stale", "members that are away for many epochs", drawStale},
	{"roles", "several admins who promote, demote and remove, also each other, while apart", drawRoles},
}

// Classes lists the families of scenarios.
func Classes() []Class { return slices.Clone(classes) }

// Scenario is the one that a seed draws.
func (c Class) Scenario(seed uint64) Scenario {
	d := &draft{r: rand.New(stream(seed, "scenario "+c.Name))}
	d.s = Scenario{Name: c.Name, About: c.About, Seed: seed, After: Span(4 * time.Minute), Source: []string{"--scenario", c.Name}}
	c.draw(d)
	return d.s
}

// siegeTurns is how often a siege comes in a round of the suite, in which each
// class comes once.
const siegeTurns = 3

// Suite gives every class its turn, seed by seed, and between them one siege
// after the other.
func Suite(seed uint64) Scenario {
	sieges := Sieges()
	round := uint64(len(classes) + siegeTurns)
	turn := seed % round
	if turn < uint64(len(classes)) {
		return classes[turn].Scenario(seed)
	}
	return sieges[(seed/round*siegeTurns+turn-uint64(len(classes)))%uint64(len(sieges))].Scenario(seed)
}

// draft is a scenario being drawn.
type draft struct {
	r *rand.Rand
	s Scenario
}

// between draws a number from low to high.
func (d *draft) between(low, high int) int { return low + d.r.IntN(high-low+1) }

// seconds draws a time.
func (d *draft) seconds(low, high int) Span {
	return Span(time.Duration(d.between(low*1000, high*1000)) * time.Millisecond)
}

// crowd draws who takes part and over which network. One group in four is
// formed by tickets; the others begin where that ends.
func (d *draft) crowd(low, high, joiners int) {
	d.s.Members, d.s.Joiners = d.between(low, high), joiners
	d.s.Found = FoundAtOnce
	if d.r.IntN(4) == 0 {
		d.s.Found = FoundByTickets
	}
	if d.r.IntN(2) == 0 {
		d.s.Policy = "admins"
	}
	d.s.Network = Network{
		MinLatency: Span(time.Duration(d.between(1, 20)) * time.Millisecond), MaxLatency: Span(time.Duration(d.between(20, 150)) * time.Millisecond),
		Loss: float64(d.between(0, 10)) / 100, Duplicate: float64(d.between(0, 5)) / 100, Reorder: float64(d.between(0, 10)) / 100,
	}
	if d.r.IntN(4) == 0 {
		d.s.Network.Topology = []string{Ring, Line, Star, Random}[d.r.IntN(4)]
	}
}

// deal puts all devices on islands.
func (d *draft) deal(n int) []Devices { return deal(d.r, d.s.Members, d.s.Joiners, n) }

// part plans a partition in which each island commits.
func (d *draft) part(at, until Span, islands []Devices, commits int) {
	d.s.Partitions = append(d.s.Partitions, Partition{At: at, Until: until, Islands: islands, Commits: 1})
	for _, island := range islands {
		if commits > 0 {
			d.s.work(Load{Do: Commit, By: island, From: at + (until-at)/20, Until: at + (until-at)*15/20, Count: commits})
		}
	}
}

// chat plans messages over the whole run.
func (d *draft) chat(n int) {
	d.s.work(Load{Do: Say, Until: d.s.healed() + Span(10*time.Second), Count: n})
	d.s.Least = Least{Messages: n / 2, Forks: 1}
}

// split deals the devices of one island onto two.
func (d *draft) split(island Devices) [2]Devices {
	var out [2]Devices
	for i, k := range d.r.Perm(len(island)) {
		out[i%2] = append(out[i%2], island[k])
	}
	slices.Sort(out[0])
	slices.Sort(out[1])
	return out
}

func drawPlain(d *draft) {
	d.crowd(4, 9, 2)
	d.part(d.seconds(3, 8), d.seconds(20, 40), d.deal(2), 3)
	d.s.work(Load{Do: Crash, From: 0, Until: d.s.healed() + d.seconds(1, 10), Count: d.between(0, 2)})
	d.chat(24)
}

func drawIslands(d *draft) {
	d.crowd(6, 10, 2)
	n := d.between(3, 4)
	if d.s.Members < 2*n {
		n = 3
	}
	islands, at, until := d.deal(n), d.seconds(3, 8), d.seconds(22, 30)
	d.part(at, until, islands, 2)
	if d.r.IntN(2) == 0 { // the last island comes back later
		rest := slices.Concat(islands[:n-1]...)
		slices.Sort(rest)
		d.part(until, until+d.seconds(8, 15), []Devices{rest, islands[n-1]}, 1)
	}
	d.chat(24)
}

func drawNested(d *draft) {
	d.crowd(6, 9, 2)
	islands, at := d.deal(2), d.seconds(3, 6)
	if len(islands[0]) < len(islands[1]) {
		islands[0], islands[1] = islands[1], islands[0]
	}
	inner := d.split(islands[0])
	from := at + d.seconds(5, 8)
	until := from + d.seconds(8, 14)
	d.part(at, until-Span(2*time.Second)+d.seconds(0, 14), islands, 2) // the outer cut may heal first
	d.part(from, until, []Devices{inner[0], inner[1]}, 2)
	// Who is on the other island is named nowhere and would be with the first:
	// the outer cut keeps it away, and after that it is a bridge to nobody.
	d.s.Partitions[1].Islands = append(d.s.Partitions[1].Islands, islands[1])
	d.s.Partitions[1].Commits = 0
	d.chat(24)
}

func drawMerges(d *draft) {
	d.crowd(6, 9, 1)
	first, at := d.deal(2), d.seconds(3, 6)
	middle := at + d.seconds(12, 18)
	a, b := d.split(first[0]), d.split(first[1])
	second := []Devices{slices.Concat(a[0], b[0]), slices.Concat(a[1], b[1])}
	slices.Sort(second[0])
	slices.Sort(second[1])
	d.part(at, middle, first, 2)
	// At times a moment together lies between the two cuts.
	d.part(middle+d.seconds(0, 2), middle+d.seconds(12, 20), second, d.between(0, 2))
	d.s.Partitions[1].Commits = 0
	d.chat(24)
}

func drawReopened(d *draft) {
	d.crowd(6, 9, 1)
	at := d.seconds(3, 6)
	until := at + d.seconds(14, 20)
	d.part(at, until, d.deal(2), 2)
	d.part(until-d.seconds(1, 6), until+d.seconds(8, 16), d.deal(2), 2)
	d.s.Partitions[1].Commits = 0
	d.chat(24)
}

func drawFlapping(d *draft) {
	d.crowd(4, 8, 1)
	at := d.seconds(3, 6)
	d.part(at, at+d.seconds(25, 40), d.deal(d.between(2, 3)), 4)
	p := &d.s.Partitions[0]
	p.Down, p.Up = d.seconds(1, 6), d.seconds(1, 4)
	for i, island := range p.Islands { // the others may all fall into the times together
		if i < 2 {
			d.s.Events = append(d.s.Events, Event{At: at + p.Down/8, Do: Update, By: island})
		}
	}
	d.chat(24)
}

func drawCrashes(d *draft) {
	d.crowd(5, 8, 1)
	at := d.seconds(3, 6)
	until := at + d.seconds(16, 25)
	d.part(at, until, d.deal(2), 3)
	d.s.work(Load{Do: Crash, From: 0, Until: until + d.seconds(5, 15), Count: d.between(4, 8)})
	if d.r.IntN(2) == 0 {
		d.s.Events = append(d.s.Events, Event{At: at + d.seconds(0, 10), Do: Crash, By: some(0, d.s.Members-1), For: d.seconds(6, 25)})
	}
	d.chat(24)
}

func drawClocks(d *draft) {
	d.crowd(4, 8, 2)
	at := d.seconds(3, 6)
	until := at + d.seconds(16, 25)
	d.part(at, until, d.deal(2), 3)
	d.s.Skew = d.seconds(0, 30)
	for range d.between(1, 4) {
		jump := Event{At: d.seconds(0, 40), Do: Clock, By: some(0, d.s.Members-1), Shift: d.seconds(1, 600)}
		if d.r.IntN(2) == 0 {
			jump.Shift = -d.seconds(1, 5)
		}
		d.s.Events = append(d.s.Events, jump)
	}
	d.chat(24)
}

func drawJoins(d *draft) {
	d.crowd(5, 8, 4)
	at := d.seconds(3, 6)
	until := at + d.seconds(18, 28)
	islands := d.deal(2)
	d.part(at, until, islands, 1)
	for _, island := range islands {
		d.s.work(Load{Do: Add, By: island, From: at, Until: until, Count: d.between(1, 2)})
		d.s.work(Load{Do: Remove, By: island, From: at, Until: until, Count: d.between(0, 1)})
	}
	d.s.work(Load{Do: Leave, From: at, Until: until + Span(5*time.Second), Count: d.between(0, 2)})
	d.chat(24)
	d.s.Least.Joins = 1
}

func drawStale(d *draft) {
	d.crowd(5, 8, 1)
	away, at := d.between(1, 2), d.seconds(3, 6)
	back := at + d.seconds(60, 100)
	gone := Devices(d.r.Perm(d.s.Members)[:away])
	slices.Sort(gone)
	var rest Devices
	for _, i := range some(0, d.s.devices()-1) {
		if !gone.has(i) {
			rest = append(rest, i)
		}
	}
	d.part(at, back, []Devices{rest, gone}, 0)
	d.s.work(Load{Do: Commit, By: rest, From: at, Until: back, Count: d.between(6, 12)})
	d.s.work(Load{Do: Commit, By: gone, From: at, Until: back, Count: d.between(1, 2)})
	d.chat(30)
}
