package sim

import (
	"slices"
	"time"
)

// A siege is a group with one kind of adversary in it, who acts while the
// group is cut in two and after the heal. Each has a name of its own,
// "attack-" and the adversary's.
const siegePrefix = "attack-"

// Sieges lists them.
func Sieges() []Class {
	var out []Class
	for _, name := range sortedKeys(attacks) {
		out = append(out, Class{siegePrefix + name, attacks[name].about, func(d *draft) { d.siege(name) }})
	}
	return out
}

func (d *draft) siege(name string) {
	joiners := 1
	if name == "replayer" {
		joiners = 3 // signals are for those who came by a branch that lost
	}
	d.crowd(6, 9, joiners)
	d.s.Network.Topology = Mesh // elsewhere a member who is silent cuts the network for good
	bad := d.between(1, d.s.Members-1)
	at := d.seconds(4, 7)
	until := at + d.seconds(16, 22)
	d.part(at, until, d.deal(2), 2)
	a := Adversary{Name: name, Device: bad, From: at + d.seconds(1, 8), Until: until + Span(8*time.Second)}
	switch name {
	case "removed-forker", "removed-voter":
		// By those that stay: who removes it is not removed in turn.
		d.s.Events = append(d.s.Events, Event{At: at + Span(500*time.Millisecond), Do: Remove, By: Devices{0}, Of: Devices{bad}})
	case "lying-notice":
		// In half of the runs it invited all. Two of them are no more than a third.
		a.Device -= bad * (bad % 2)
		if other := 1 + bad%(d.s.Members-1); bad%3 == 0 {
			d.s.Adversaries = append(d.s.Adversaries, Adversary{Name: name, Device: other, From: a.From + d.seconds(0, 9), Until: a.Until})
		}
	case "flooder": // more than may wait
		d.s.Engine.MaxParked, d.s.Engine.ParkedPeer = 64<<10, d.between(20, 120)
	case "replayer": // once more apart, when there is something to play again
		a.From, a.Until = until+Span(time.Second), until+Span(36*time.Second)
		d.part(until+Span(14*time.Second), until+Span(24*time.Second), d.deal(2), 1)
	case "remover":
		other := 1 + bad%(d.s.Members-1)
		d.s.Policy = "open"
		a.With = map[string]float64{"of": float64(other)}
		d.s.Adversaries = append(d.s.Adversaries, Adversary{Name: name, Device: other, From: a.From, Until: a.Until,
			With: map[string]float64{"of": float64(bad)}})
	}
	d.s.Adversaries = append(d.s.Adversaries, a)
	// Members of this group do not lose each other but by the adversary.
	d.s.Loads = slices.DeleteFunc(d.s.Loads, func(l Load) bool { return l.Do == Commit })
	for _, island := range d.s.Partitions[0].Islands {
		d.s.work(Load{Do: Update, By: island, From: at + Span(time.Second), Until: until - Span(3*time.Second), Count: 2})
		d.s.work(Load{Do: Add, By: island, From: at + Span(time.Second), Until: until - Span(3*time.Second), Count: (joiners + 1) / 2})
	}
	d.chat(24)
	d.s.Least.Forks = 0
}
