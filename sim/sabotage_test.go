package sim

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// finished plays a run whose evidence can be doctored.
func finished(t *testing.T, s Scenario, before func(*run)) *run {
	t.Helper()
	w, err := newWorld(s)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{world: w}
	if before != nil {
		before(r)
	}
	r.safely()
	return r
}

// names of the checkers that complained.
func complaints(res *Result) []string {
	var out []string
	for _, v := range res.Violations {
		name, _, _ := strings.Cut(v, ":")
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// sabotage is a way of doctoring evidence, and the checker that must see it.
var sabotage = []struct {
	name, checker string
	doctor        func(*evidence)
}{
	{"a device drops a message", "delivery", func(e *evidence) {
		w := e.reader()
		w.log = slices.Delete(w.log, w.message(3), w.message(3)+1)
	}},
	{"a device reads a message twice", "delivery", func(e *evidence) {
		w := e.reader()
		w.log = append(w.log, w.log[w.message(3)])
	}},
	{"a device sits on a message", "delay", func(e *evidence) {
		w := e.reader()
		for i := range w.shown {
			if w.shown[i].Kind == group.KindMessage {
				w.shown[i].at = w.shown[i].at.Add(3 * time.Minute)
				return
			}
		}
	}},
	{"a device swaps two messages of one sender", "order", func(e *evidence) {
		w := e.reader()
		for i := range w.log {
			for j := i + 1; j < len(w.log); j++ {
				a, b := &w.log[i], &w.log[j]
				if a.Kind == group.KindMessage && b.Kind == group.KindMessage && a.From == b.From {
					a.Text, b.Text = b.Text, a.Text
					return
				}
			}
		}
	}},
	{"a device reads what was not for it", "secrecy", func(e *evidence) {
		delete(e.said[len(e.said)-1].readers, e.reader().id)
	}},
	{"a thief reads what was erased", "thief", func(e *evidence) { e.thefts[0].Violates = []string{"reads it"} }},
	{"a device has what it erased", "thief", func(e *evidence) { e.reader().relics = []string{"its disk has it"} }},
	{"a device stands elsewhere", "convergence", func(e *evidence) { e.reader().st.Head = "elsewhere" }},
	{"a device has another key", "convergence", func(e *evidence) { e.reader().st.Authenticator = "00" }},
	{"a device has another member", "convergence", func(e *evidence) {
		st := &e.reader().st
		st.Members = slices.Clone(st.Members)
		st.Members[0].ID = "nobody"
	}},
	{"a device stays down", "convergence", func(e *evidence) { e.reader().up = false }},
	{"a device is stranded", "convergence", func(e *evidence) { e.reader().st.State = "stranded" }},
	{"a device parks a frame for ever", "convergence", func(e *evidence) { e.reader().st.Parked = 1 }},
	{"all agree too late", "convergence", func(e *evidence) { e.settled = false }},
	{"a removal is undone", "enactment", func(e *evidence) {
		e.deeds = append(e.deeds, deed{remove: true, by: e.reader().id, of: e.witnesses[1].id, acknowledged: true})
	}},
	{"a promotion is undone", "enactment", func(e *evidence) {
		e.rule(2)
		e.deeds = append(e.deeds, deed{role: string(Promote), by: e.witnesses[0].id, of: e.reader().id, acknowledged: true})
	}},
	{"a device has another admin", "convergence", func(e *evidence) {
		e.rule(2)
		st := &e.reader().st
		st.Members = slices.Clone(st.Members)
		st.Members[1].Admin = !st.Members[1].Admin
	}},
	{"a member is lost", "enactment", func(e *evidence) {
		lost := e.reader()
		for i := range e.witnesses {
			w := &e.witnesses[i]
			w.st.Members = slices.DeleteFunc(slices.Clone(w.st.Members), func(m group.Member) bool { return m.ID == lost.id })
		}
		lost.st.State = "removed"
		e.deeds = nil
	}},
	{"an event is lost", "log", func(e *evidence) { w := e.reader(); w.log = slices.Delete(w.log, 1, 2) }},
	{"a user was told what a crash undid", "log", func(e *evidence) { w := e.reader(); w.log = w.log[:len(w.log)-1] }},
	{"a user is told twice", "log", func(e *evidence) { w := e.reader(); w.shown = append(w.shown, w.shown[len(w.shown)-1]) }},
	{"a device lacks a frame", "frames", func(e *evidence) { w := e.reader(); w.frames = w.frames[:len(w.frames)-1] }},
	{"a disk tells another story", "disk", func(e *evidence) { e.reader().disk = "nothing" }},
	{"a frame is refused", "verdict", func(e *evidence) { e.reader().wrong = []string{"frame abc: forged"} }},
	{"a commit does not open", "verdict", func(e *evidence) { e.tell(group.KindUnopenable) }},
	{"a key is used twice", "keys", func(e *evidence) { e.tell(group.KindEquivocation) }},
	{"a key seals twice", "nonces", func(e *evidence) { e.reuses = []string{"a key"} }},
	{"a device follows another branch", "reference", func(e *evidence) { e.differs = []string{"it does"} }},
	{"a device never forgets", "bounds", func(e *evidence) { e.reader().st.RetainedEpochs = 30 }},
	{"a device parks without end", "memory", func(e *evidence) { e.hold("parked frames of one peer", 1<<20) }},
	{"a device remembers all signals", "memory", func(e *evidence) { e.hold("signals", 1<<20) }},
	{"a device had more epochs for a while than it may", "memory", func(e *evidence) { e.scenario.Engine.MaxEpochs = 1 }},
	{"a device opens whatever an adversary mints", "budget", func(e *evidence) {
		e.crashes, e.bad = 0, map[string]bool{"mal": true}
		w := e.reader()
		for range 100 {
			w.shown = append(w.shown, telling{group.Event{Kind: group.KindCommit, From: "mal"}, e.healed})
		}
	}},
	{"a member is put out for one who was out already", "enactment", func(e *evidence) { e.behalf = []string{"n01 was"} }},
	{"a fork stays open", "bounds", func(e *evidence) { e.reader().st.ForksOpen = 1 }},
	{"the run breaks off", "broke off", func(e *evidence) { e.err = errors.New("spins") }},
}

// hold makes a reader have held so many of something for a while.
func (e *evidence) hold(what string, n int) {
	w := e.reader()
	w.most = slices.Clone(w.most)
	for i, l := range limits {
		if l.what == what {
			w.most[i] = n
		}
	}
}

// reader is a founder on the head whom nobody tried to remove.
func (e *evidence) reader() *witness {
	a := agree(e.standings())
	for i := len(e.witnesses) - 1; i >= 0; i-- {
		w := &e.witnesses[i]
		if w.inviter == "" && a.members[w.id] && !slices.ContainsFunc(e.deeds, func(d deed) bool { return d.of == w.id }) {
			return w
		}
	}
	return nil
}

// message finds the n-th message that was read.
func (w *witness) message(n int) int {
	for i, e := range w.log {
		if e.Kind == group.KindMessage {
			if n--; n == 0 {
				return i
			}
		}
	}
	return -1
}

// rule makes the first n founders admins, in the eyes of all.
func (e *evidence) rule(n int) {
	e.scenario.Policy, e.deeds = "admins", nil
	for i := range e.witnesses {
		st := &e.witnesses[i].st
		st.Members = slices.Clone(st.Members)
		for k := range st.Members {
			st.Members[k].Admin = slices.ContainsFunc(e.witnesses[:n], func(w witness) bool { return w.id == st.Members[k].ID })
		}
	}
}

func (e *evidence) tell(k group.Kind) {
	w := e.reader()
	w.log = append(w.log, group.Event{Cursor: uint64(len(w.log)) + 1, Kind: k})
}

// Each checker must see what it is there for.
func TestSabotage(t *testing.T) {
	t.Parallel()
	r := finished(t, Default(2), nil)
	if res := r.evidence().judge(); len(res.Violations) > 0 || !res.Converged || res.Vacuous != "" {
		t.Fatalf("honest evidence: %v, vacuous %q", res.Violations, res.Vacuous)
	}
	seen := map[string]bool{}
	for _, s := range sabotage {
		e := r.evidence()
		for i := range e.said {
			said := *e.said[i]
			said.readers = map[string]bool{}
			for k := range e.said[i].readers {
				said.readers[k] = true
			}
			e.said[i] = &said
		}
		e.deeds = slices.Clone(e.deeds)
		for i := range e.witnesses {
			e.witnesses[i].shown = slices.Clone(e.witnesses[i].shown)
		}
		s.doctor(e)
		got := complaints(e.judge())
		if !slices.Contains(got, s.checker) {
			t.Errorf("%s: %q complain, want %q", s.name, got, s.checker)
		}
		seen[s.checker] = true
	}
	for _, c := range checkers {
		if !seen[c.name] {
			t.Errorf("no sabotage for the checker %q", c.name)
		}
	}
}

// A device that is never healed, in the world itself.
func TestNeverHealed(t *testing.T) {
	t.Parallel()
	s := Default(2)
	s.After = Span(40 * time.Second)
	r := finished(t, s, func(r *run) { r.deaf = r.devices[3] })
	res := r.evidence().judge()
	if got := complaints(res); res.Converged || !slices.Contains(got, "convergence") {
		t.Errorf("a device is left out, and the checkers say %q", got)
	}
}

// A founder that saw no fork makes a run vacuous, not a violation.
func TestBlindFounder(t *testing.T) {
	t.Parallel()
	e := finished(t, Default(2), nil).evidence()
	w := e.reader()
	for i := range w.log {
		if w.log[i].Kind == group.KindForkOpened {
			w.log[i].Kind = group.KindEpoch
		}
	}
	if got := e.vacuous(); got != w.name+" saw no fork" {
		t.Errorf("vacuous %q", got)
	}
}
