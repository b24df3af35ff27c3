package sim

import "slices"

// drawRoles makes a third of the founders admins, some on either island, who
// promote, demote and remove, also each other, while apart and when they meet.
func drawRoles(d *draft) {
	d.crowd(6, 9, 1)
	d.s.Policy = "admins"
	at := d.seconds(6, 8)
	until := at + d.seconds(16, 24)
	islands := d.deal(2)
	rulers := d.crown(islands, at)
	d.part(at, until, islands, 1)
	for _, island := range islands {
		here := island.and(rulers)
		d.s.work(Load{Do: Promote, By: here, From: at, Until: until, Count: d.between(0, 2)})
		d.s.work(Load{Do: Demote, By: here, From: at, Until: until, Count: d.between(0, 2)})
		d.s.work(Load{Do: Remove, By: here, From: at, Until: until, Count: d.between(0, 1)})
	}
	if a, b := islands[0].and(rulers), islands[1].and(rulers); len(a) > 0 && len(b) > 0 && d.r.IntN(2) == 0 {
		d.feud(a[:1], b[:1], at, until)
	}
	for _, do := range []string{Promote, Demote} { // and while they merge
		d.s.work(Load{Do: do, By: rulers, From: until, Until: until + d.seconds(3, 6), Count: d.between(0, 1)})
	}
	d.chat(24)
}

// crown lets device 0, the first admin, promote others before the cut, in turn
// from each island: a third of the founders are admins then, at least two.
func (d *draft) crown(islands []Devices, before Span) Devices {
	rulers := Devices{0}
	most := max(2, (d.s.Members+1)/3)
	for i := 0; len(rulers) < most && i < d.s.Members; i++ {
		for _, island := range islands {
			if i < len(island) && island[i] < d.s.Members && !rulers.has(island[i]) && len(rulers) < most {
				rulers = append(rulers, island[i])
			}
		}
	}
	for i, ruler := range rulers[1:] {
		d.s.Events = append(d.s.Events, Event{At: before/8 + Span(i)*before/8, Do: Promote, By: Devices{0}, Of: Devices{ruler}})
	}
	slices.Sort(rulers)
	return rulers
}

// feud lets two admins on two islands turn against each other.
func (d *draft) feud(a, b Devices, at, until Span) {
	deeds := []string{Demote, Remove}
	when := func() Span { return at + (until-at)/10 + Span(d.r.Int64N(int64((until-at)/2))) }
	for _, e := range []Event{
		{At: when(), Do: deeds[d.r.IntN(2)], By: a, Of: b},
		{At: when(), Do: deeds[d.r.IntN(2)], By: b, Of: a},
	} {
		d.s.Events = append(d.s.Events, e.round())
	}
}

// and lists the devices of d that b has too.
func (d Devices) and(b Devices) Devices {
	var out Devices
	for _, i := range d {
		if b.has(i) {
			out = append(out, i)
		}
	}
	return out
}
