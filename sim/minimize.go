package sim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Shrinking is what Minimize did.
type Shrinking struct {
	Scenario Scenario // the smallest that still breaks the promise
	Checker  string   // which one
	Says     string   // how it is broken there
	Runs     int
}

// ErrNoViolation says that there is nothing to shrink: the run keeps every promise.
var ErrNoViolation = errors.New("sim: no promise is broken")

// Minimize shrinks a scenario that breaks a promise, by delta debugging: it
// leaves out events, partitions, adversaries, members and bad weather as long
// as the same checker complains, until nothing more can go or the budget of
// runs is used up. Loads are spelled out as events first. The result does not
// depend on parallel.
func Minimize(ctx context.Context, s Scenario, budget, parallel int, progress func(Shrinking)) (Shrinking, error) {
	return minimize(ctx, Run, s, budget, parallel, progress)
}

func minimize(ctx context.Context, run func(Scenario) (*Result, error), s Scenario, budget, parallel int, progress func(Shrinking)) (Shrinking, error) {
	res, err := run(s)
	if err != nil {
		return Shrinking{}, err
	}
	if len(res.Violations) == 0 {
		return Shrinking{}, ErrNoViolation
	}
	m := &shrinker{ctx: ctx, run: run, budget: budget, parallel: max(1, parallel), progress: progress}
	m.Scenario, m.Says, m.Runs = s.Expand(), res.Violations[0], 1
	m.Checker, _, _ = strings.Cut(m.Says, ":")
	m.Scenario.Least, m.Scenario.Source = Least{}, nil
	for shrunk := true; shrunk && m.left() > 0; {
		shrunk = false
		for _, pass := range []func() bool{m.events, m.partitions, m.adversaries, m.members, m.simplify} {
			shrunk = pass() || shrunk
		}
	}
	return m.Shrinking, ctx.Err()
}

type shrinker struct {
	Shrinking
	ctx      context.Context
	run      func(Scenario) (*Result, error)
	budget   int
	parallel int
	progress func(Shrinking)
}

func (m *shrinker) left() int {
	if m.ctx.Err() != nil {
		return 0
	}
	return m.budget - m.Runs
}

// first tries candidates, some at a time, and keeps the first in order that
// still breaks the promise.
func (m *shrinker) first(candidates []Scenario) bool {
	for i := 0; i < len(candidates) && m.left() > 0; {
		n := min(m.parallel, len(candidates)-i, m.left())
		says := make([]string, n)
		var wait sync.WaitGroup
		for k := range n {
			wait.Go(func() { says[k] = m.complaint(candidates[i+k]) })
		}
		wait.Wait()
		m.Runs += n
		if k := slices.IndexFunc(says, func(s string) bool { return s != "" }); k >= 0 {
			m.Scenario, m.Says = candidates[i+k], says[k]
			m.progress(m.Shrinking)
			return true
		}
		i += n
	}
	return false
}

// complaint is what the checker says of a candidate.
func (m *shrinker) complaint(s Scenario) string {
	res, err := m.run(s)
	if err != nil {
		return ""
	}
	for _, v := range res.Violations {
		if strings.HasPrefix(v, m.Checker+":") {
			return v
		}
	}
	return ""
}

// events leaves out runs of events, long ones first.
func (m *shrinker) events() (shrunk bool) {
	for size := (len(m.Scenario.Events) + 1) / 2; size > 0; {
		var all []Scenario
		for i := 0; i < len(m.Scenario.Events); i += size {
			s := m.Scenario
			s.Events = slices.Delete(slices.Clone(s.Events), i, min(i+size, len(s.Events)))
			all = append(all, s)
		}
		if m.first(all) {
			shrunk = true
			size = min(size, (len(m.Scenario.Events)+1)/2)
			continue
		}
		size /= 2
	}
	return shrunk
}

// partitions leaves out partitions or makes them simpler and shorter.
func (m *shrinker) partitions() (shrunk bool) {
	for m.left() > 0 {
		var all []Scenario
		for i := range m.Scenario.Partitions {
			s := m.Scenario
			s.Partitions = slices.Delete(slices.Clone(s.Partitions), i, i+1)
			all = append(all, s)
		}
		for i, p := range m.Scenario.Partitions {
			edit := func(q Partition) {
				s := m.Scenario
				s.Partitions = slices.Clone(s.Partitions)
				s.Partitions[i] = q
				all = append(all, s)
			}
			if q := p; p.Commits > 0 {
				q.Commits = 0
				edit(q)
			}
			if q := p; p.Down > 0 {
				q.Down, q.Up = 0, 0
				edit(q)
			}
			if q := p; len(p.Islands) > 2 {
				q.Islands = slices.Clone(p.Islands[:len(p.Islands)-1])
				edit(q)
			}
			if q := p; p.Until-p.At > long {
				q.Until = p.At + (p.Until-p.At)*3/4
				edit(q)
			}
		}
		if !m.first(all) {
			return shrunk
		}
		shrunk = true
	}
	return shrunk
}

func (m *shrinker) adversaries() (shrunk bool) {
	for m.left() > 0 {
		var all []Scenario
		for i := range m.Scenario.Adversaries {
			s := m.Scenario
			s.Adversaries = slices.Delete(slices.Clone(s.Adversaries), i, i+1)
			all = append(all, s)
		}
		if !m.first(all) {
			return shrunk
		}
		shrunk = true
	}
	return shrunk
}

// members leaves out devices, the last ones first.
func (m *shrinker) members() (shrunk bool) {
	for m.left() > 0 {
		var all []Scenario
		for i := m.Scenario.devices() - 1; i > 0; i-- {
			if s := m.Scenario.without(i); s.Validate() == nil {
				all = append(all, s)
			}
		}
		if !m.first(all) {
			return shrunk
		}
		shrunk = true
	}
	return shrunk
}

// without is the scenario without a device. Those behind it move up.
func (s Scenario) without(device int) Scenario {
	if device < s.Members {
		s.Members--
	} else {
		s.Joiners--
	}
	s.Partitions = slices.Clone(s.Partitions)
	for i := range s.Partitions {
		var islands []Devices
		for _, d := range s.Partitions[i].Islands {
			if d = d.without(device); len(d) > 0 {
				islands = append(islands, d)
			}
		}
		s.Partitions[i].Islands = islands
	}
	s.Partitions = slices.DeleteFunc(s.Partitions, func(p Partition) bool { return len(p.Islands) < 2 })
	var events []Event
	for _, e := range s.Events {
		by, of := e.By.without(device), e.Of.without(device)
		if len(by) == 0 && len(e.By) > 0 || len(of) == 0 && len(e.Of) > 0 {
			continue // nobody is left to do it, or to have it done to
		}
		e.By, e.Of = by, of
		events = append(events, e)
	}
	s.Events = events
	var adversaries []Adversary
	for _, a := range s.Adversaries {
		if a.Device == device {
			continue
		}
		if a.Device > device {
			a.Device--
		}
		adversaries = append(adversaries, a)
	}
	s.Adversaries = adversaries
	return s
}

func (d Devices) without(device int) Devices {
	var out Devices
	for _, i := range d {
		switch {
		case i < device:
			out = append(out, i)
		case i > device:
			out = append(out, i-1)
		}
	}
	return out
}

// simplify calms the network, the clocks and the founding, and drops what
// nobody needs.
func (m *shrinker) simplify() (shrunk bool) {
	for _, change := range []func(*Scenario){
		func(s *Scenario) { s.Network.Loss, s.Network.Duplicate, s.Network.Reorder = 0, 0, 0 },
		func(s *Scenario) { s.Network.Loss = 0 },
		func(s *Scenario) { s.Network.Duplicate = 0 },
		func(s *Scenario) { s.Network.Reorder = 0 },
		func(s *Scenario) { s.Network.Topology, s.Network.Degree = "", 0 },
		func(s *Scenario) { s.Network.MaxLatency = s.Network.MinLatency },
		func(s *Scenario) { s.Found = FoundAtOnce },
		func(s *Scenario) { s.Policy = "" },
		func(s *Scenario) { s.Skew = 0 },
		func(s *Scenario) { s.Engine = Engine{} },
	} {
		s := m.Scenario
		change(&s)
		if s.same(m.Scenario) {
			continue
		}
		shrunk = m.first([]Scenario{s}) || shrunk
	}
	return shrunk
}

// same compares what simplify changes.
func (s *Scenario) same(t Scenario) bool {
	return s.Network == t.Network && s.Found == t.Found && s.Policy == t.Policy && s.Skew == t.Skew && s.Engine == t.Engine
}
