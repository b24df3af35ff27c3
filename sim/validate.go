package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrScenario is wrapped by every complaint about a scenario.
var ErrScenario = errors.New("sim: bad scenario")

// Bounds of a scenario. Beyond maxLoss the machines that repeat things need
// longer than the time that a run has.
const (
	minMembers, maxMembers = 2, 1000
	maxLoss                = 0.5
)

// Validate names the first field that makes no sense.
func (s *Scenario) Validate() error {
	if p := s.problem(); p != "" {
		return fmt.Errorf("%w: %s", ErrScenario, p)
	}
	return nil
}

func (s *Scenario) problem() string {
	n := s.Network
	switch {
	case s.Members < minMembers || s.devices() > maxMembers || s.Joiners < 0:
		return fmt.Sprintf("%d members and %d joiners, want %d to %d devices", s.Members, s.Joiners, minMembers, maxMembers)
	case !slices.Contains([]string{"", FoundByTickets, FoundAtOnce}, s.Found):
		return fmt.Sprintf("found %q, want %q or %q", s.Found, FoundByTickets, FoundAtOnce)
	case !slices.Contains([]string{"", "open", "admins"}, s.Policy):
		return fmt.Sprintf("policy %q, want open or admins", s.Policy)
	case rules[s.Rule] == nil:
		return fmt.Sprintf("rule %q, want support, tag or depth", s.Rule)
	case s.After <= 0:
		return "after must be positive"
	case !slices.Contains([]string{"", Mesh, Ring, Line, Star, Random}, n.Topology) || n.Degree < 0:
		return fmt.Sprintf("topology %q of degree %d", n.Topology, n.Degree)
	case n.Sync < 0 || n.Fanout < 0:
		return fmt.Sprintf("sync %v, fanout %d", n.Sync, n.Fanout)
	case n.MinLatency < 0 || n.MaxLatency < n.MinLatency:
		return fmt.Sprintf("latency from %v to %v", n.MinLatency, n.MaxLatency)
	case !share(n.Loss) || !share(n.Duplicate) || !share(n.Reorder) || n.Loss > maxLoss:
		return fmt.Sprintf("loss %v (at most %v), duplicate %v, reorder %v", n.Loss, maxLoss, n.Duplicate, n.Reorder)
	case s.Skew < 0 || s.Least.Messages < 0 || s.Least.Forks < 0:
		return "skew and least must not be negative"
	}
	if err := s.config().Validate(); err != nil {
		return err.Error()
	}
	return s.problemOfLists()
}

func share(p float64) bool { return p >= 0 && p <= 1 }

func (s *Scenario) problemOfLists() string {
	for i := range s.Partitions {
		if p := s.Partitions[i].problem(s.devices()); p != "" {
			return fmt.Sprintf("partition %d: %s", i+1, p)
		}
	}
	for i := range s.Loads {
		if p := s.Loads[i].problem(s.devices()); p != "" {
			return fmt.Sprintf("load %d: %s", i+1, p)
		}
	}
	for i := range s.Events {
		if p := s.Events[i].problem(s.devices()); p != "" {
			return fmt.Sprintf("event %d: %s", i+1, p)
		}
	}
	for i := range s.Adversaries {
		if p := s.Adversaries[i].problem(s.devices()); p != "" {
			return fmt.Sprintf("adversary %d: %s", i+1, p)
		}
	}
	return ""
}

func (p *Partition) problem(devices int) string {
	if p.At < 0 || p.Until <= p.At {
		return fmt.Sprintf("from %v to %v", p.At, p.Until)
	}
	if p.Down < 0 || p.Up < 0 || (p.Down == 0) != (p.Up == 0) || p.Commits < 0 {
		return fmt.Sprintf("down %v, up %v, commits %d", p.Down, p.Up, p.Commits)
	}
	if len(p.Islands) < 1 {
		return "no islands"
	}
	seen := map[int]bool{}
	for _, island := range p.Islands {
		for _, d := range island {
			if seen[d] || d >= devices {
				return fmt.Sprintf("device %d is on two islands or does not exist", d)
			}
			seen[d] = true
		}
	}
	return ""
}

func (l *Load) problem(devices int) string {
	switch {
	case l.From < 0 || l.Until <= l.From:
		return fmt.Sprintf("from %v until %v", l.From, l.Until)
	case l.Count < 0 || l.PerMinute < 0 || (l.Count > 0) == (l.PerMinute > 0):
		return "either count or per_minute must be positive"
	case l.Do == Clock:
		return "a clock jumps by an event"
	}
	return (&Event{Do: l.Do, By: l.By, Of: l.Of}).problem(devices)
}

// verbs are the things that an event can be.
var verbs = []string{Say, Update, Add, Remove, Leave, Promote, Demote, Commit, Crash, Clock}

func (e *Event) problem(devices int) string {
	switch {
	case !slices.Contains(verbs, e.Do):
		return fmt.Sprintf("do %q, want one of %s", e.Do, strings.Join(verbs, ", "))
	case e.At < 0 || e.For < 0:
		return fmt.Sprintf("at %v, for %v", e.At, e.For)
	case !slices.Contains([]string{"", Idle, Written, Lost, Sending}, e.How):
		return fmt.Sprintf("how %q, want idle, written, lost or sending", e.How)
	case (e.Do == Clock) != (e.Shift != 0):
		return "a shift is what a clock needs, and only that"
	}
	for _, d := range slices.Concat(e.By, e.Of) {
		if d >= devices {
			return fmt.Sprintf("there is no device %d", d)
		}
	}
	return ""
}

func (a *Adversary) problem(devices int) string {
	kind, ok := attacks[a.Name]
	switch {
	case !ok:
		return fmt.Sprintf("name %q, want one of %s", a.Name, strings.Join(sortedKeys(attacks), ", "))
	case a.Device < 0 || a.Device >= devices:
		return fmt.Sprintf("there is no device %d", a.Device)
	case a.From < 0 || a.Until < 0 || a.Until > 0 && a.Until <= a.From:
		return fmt.Sprintf("from %v until %v", a.From, a.Until)
	}
	for _, name := range sortedKeys(a.With) {
		if _, ok := kind.params[name]; !ok {
			return fmt.Sprintf("%s has no parameter %q", a.Name, name)
		}
	}
	return ""
}
