package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
)

// evidence is what a run leaves behind. The checkers look at nothing else.
type evidence struct {
	scenario  Scenario
	witnesses []witness
	said      []*saying // acknowledged messages, in order
	deeds     []deed
	commits   map[side]int // while a partition lasted
	crashes   int
	assaults  int // things that adversaries sent
	puppets   int // members that they added
	settled   bool
	trouble   time.Time // somebody is cut off from then on
	healed    time.Time // and nobody any more
	heal      time.Duration
	thefts    []Theft
	reuses    []string        // keys and nonces that sealed two things
	differs   []string        // where a device and the reference of fork choice differ
	compared  int             // how often they were compared
	behalf    []string        // who was put out for one who was out already
	bad       map[string]bool // identities of adversaries
	err       error           // why the run broke off
}

// witness is a device that got into the group.
type witness struct {
	standing
	log    []group.Event    // its event log, from its disk
	shown  []telling        // what its user was told
	frames []group.LogEntry // the frames that it opened, in canonical order
	wrong  []string         // verdicts that no honest frame deserves
	most   []int            // that its engine held of what limits bounds
	disk   string           // how its disk, loaded anew, differs from its memory; empty if it does not
	relics []string         // where it holds what it had erased
	held   string           // why nothing below its base can become final, by the reference; empty if it can
}

// mostReloaded is of how many devices, about, the disk is loaded anew: of all in
// all but large groups, where it would take longer than the run.
const mostReloaded = 100

func (r *run) evidence() *evidence {
	e := &evidence{scenario: r.Scenario, deeds: r.deeds, commits: r.commits, crashes: r.deaths, assaults: r.assaults, puppets: r.puppets, settled: r.settled,
		trouble: r.moment(r.trouble()), healed: r.healed, bad: map[string]bool{}, err: r.err}
	for _, a := range r.Adversaries {
		e.bad[r.devices[a.Device].key()] = true
	}
	for _, text := range r.order {
		e.said = append(e.said, r.said[text])
	}
	if !r.healed.IsZero() && !r.one.IsZero() {
		e.heal = r.one.Sub(r.healed)
	}
	for _, s := range r.standings() {
		d := r.byName[s.name]
		w := witness{standing: s, shown: d.shown, wrong: d.wrong, most: d.most, disk: d.disk, relics: d.relics()}
		var err error
		if w.log, err = d.log(); err != nil && e.err == nil {
			e.err = fmt.Errorf("sim: event log of %s: %w", d.name, err)
		}
		if s.up {
			if w.frames, err = d.logged(); err != nil && e.err == nil {
				e.err = fmt.Errorf("sim: log of %s: %w", d.name, err)
			}
			if w.disk == "" && d.number%(1+len(r.devices)/mostReloaded) == 0 {
				w.disk = d.reloaded(w.frames)
			}
		}
		e.witnesses = append(e.witnesses, w)
	}
	if e.err == nil {
		e.thefts, e.err = r.thefts()
	}
	all := r.unsealed()
	e.reuses = r.reuses(all)
	known := r.referee(all)
	e.compared, e.differs = r.compare(known)
	if len(r.Adversaries) > 0 {
		e.behalf = r.onBehalf(known, e.deeds, e.bad, agree(e.standings()).head.Head)
	}
	held := r.holdUps(known)
	for i := range e.witnesses {
		e.witnesses[i].held = held[e.witnesses[i].name]
	}
	return e
}

func (e *evidence) standings() []standing {
	var out []standing
	for _, w := range e.witnesses {
		out = append(out, w.standing)
	}
	return out
}

// has reports whether an event of a kind is in a witness's log.
func (w *witness) has(k group.Kind) bool {
	return slices.ContainsFunc(w.log, func(e group.Event) bool { return e.Kind == k })
}

// returned is when a device that could not catch up any more, and was told so,
// was added again; zero if it never was.
func (w *witness) returned() time.Time {
	behind := false
	for _, ev := range w.shown {
		behind = behind || ev.Kind == group.KindDiverged
		if behind && ev.Kind == group.KindRejoined && ev.CID != "" {
			return ev.at
		}
	}
	return time.Time{}
}

// returns counts them.
func (e *evidence) returns() int {
	n := 0
	for _, w := range e.witnesses {
		if !w.returned().IsZero() {
			n++
		}
	}
	return n
}

// judge runs the checkers over the evidence.
func (e *evidence) judge() *Result {
	res := &Result{
		Scenario: e.scenario, Vacuous: e.vacuous(), Messages: len(e.said), Commits: e.commitsApart(),
		Crashes: e.crashes, Heal: e.heal, Forks: e.forks(), Thefts: e.thefts,
	}
	res.Slowest, _, _ = e.slowest()
	a := agree(e.standings())
	res.Stranded = len(a.stranded)
	for _, w := range e.witnesses {
		res.Retained = max(res.Retained, w.st.RetainedEpochs)
		if !slices.Contains(a.stranded, w.name) && (w.st.State == "stranded" || w.st.State == "member" && !a.members[w.id]) {
			res.Stranded++
		}
	}
	if e.err != nil {
		res.Violations = append(res.Violations, "broke off: "+e.err.Error())
	}
	for _, c := range checkers {
		for _, v := range c.check(e, a) {
			res.Violations = append(res.Violations, c.name+": "+v)
		}
	}
	res.Converged = e.err == nil && e.settled && a.problem == ""
	return res
}

// slowest is the longest that a message took to a reader, from when it was in, of
// those sent when nobody was cut off: before the cut, whose time does not count,
// or after all were on one head again.
func (e *evidence) slowest() (worst time.Duration, text, reader string) {
	for _, w := range e.witnesses {
		read, in := map[string]time.Time{}, time.Time{}
		for _, ev := range w.shown {
			switch ev.Kind {
			case group.KindMessage:
				read[ev.Text] = ev.at
			case group.KindJoined:
				in = ev.at
			}
		}
		for _, s := range e.said {
			t, ok := read[s.text]
			if !ok || !s.early && s.at.Sub(e.healed) < e.heal {
				continue
			}
			way := t.Sub(s.at)
			if in.After(s.at) {
				way = t.Sub(in)
			}
			if one := e.healed.Add(e.heal); s.early && t.After(e.trouble) {
				way = e.trouble.Sub(s.at) + max(0, t.Sub(one))
			}
			if way > worst {
				worst, text, reader = way, s.text, w.name
			}
		}
	}
	return worst, text, reader
}

// forks counts the fork points that any device saw.
func (e *evidence) forks() int {
	at := map[string]bool{}
	for _, w := range e.witnesses {
		for _, ev := range w.log {
			if ev.Kind == group.KindForkOpened {
				at[ev.Fork] = true
			}
		}
	}
	return len(at)
}

// commitsApart counts the commits made while a partition lasted.
func (e *evidence) commitsApart() int {
	n := 0
	for _, c := range e.commits {
		n += c
	}
	return n
}

// joins counts those who came after the founding.
func (e *evidence) joins() (n int) {
	for _, w := range e.witnesses {
		if w.inviter != "" {
			n++
		}
	}
	return n
}

// vacuous says why a run proves nothing about forks.
func (e *evidence) vacuous() string {
	for i, p := range e.scenario.Partitions {
		for island := range p.Islands {
			if n := e.commits[side{i, island}]; n < p.Commits {
				return fmt.Sprintf("%d commits on island %d of partition %d, want %d", n, island+1, i+1, p.Commits)
			}
		}
	}
	least := e.scenario.Least
	switch forks := e.forks(); {
	case len(e.scenario.Adversaries) > 0 && e.assaults == 0:
		return "the adversaries did nothing"
	case len(e.said) < least.Messages:
		return fmt.Sprintf("%d messages, want %d", len(e.said), least.Messages)
	case e.returns() < least.Returns:
		return fmt.Sprintf("%d devices that were too stale were added again, want %d", e.returns(), least.Returns)
	case e.joins() < least.Joins:
		return fmt.Sprintf("%d devices were let in, want %d", e.joins(), least.Joins)
	case forks < least.Forks:
		return fmt.Sprintf("%d forks, want %d", forks, least.Forks)
	case least.Forks == 0:
		return ""
	}
	var blind []string
	for _, w := range e.witnesses {
		if w.inviter == "" && !w.has(group.KindForkOpened) {
			blind = append(blind, w.name)
		}
	}
	if len(blind) > 0 {
		return strings.Join(blind, " and ") + " saw no fork"
	}
	return ""
}
