package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
)

// checkers each look at one promise and tell how it was broken.
var checkers = []struct {
	name  string
	check func(*evidence, agreement) []string
}{
	{"convergence", checkConvergence},
	{"enactment", checkEnactment},
	{"delivery", checkDelivery},
	{"secrecy", checkSecrecy},
	{"thief", checkThief},
	{"delay", checkDelay},
	{"order", checkOrder},
	{"log", checkLogs},
	{"frames", checkFrames},
	{"disk", checkDisks},
	{"verdict", checkVerdicts},
	{"keys", checkKeys},
	{"nonces", checkNonces},
	{"reference", checkReference},
	{"bounds", checkBounds},
	{"budget", checkBudgets},
	{"memory", checkMemory},
}

// checkConvergence: after the heal all agree in time, and stay so.
func checkConvergence(e *evidence, a agreement) []string {
	switch {
	case a.problem != "":
		out := []string{a.problem}
		for _, w := range e.witnesses {
			out[0] += "; " + w.name + " " + w.standing.String()
		}
		return out
	case !e.settled:
		return []string{"all agree, but did not long enough"}
	}
	return nil
}

// checkEnactment: what an author who is on the head did is done on the head: a
// removal or a leave in any case, an add unless somebody removed the added; and
// nobody is gone whom nobody removed and who did not leave.
func checkEnactment(e *evidence, a agreement) []string {
	var out []string
	names, removed := map[string]string{}, map[string]bool{}
	for _, w := range e.witnesses {
		names[w.id] = w.name
	}
	for _, d := range e.deeds {
		if d.remove {
			removed[d.of] = true
		}
	}
	for _, d := range e.deeds {
		if !d.remove || !d.acknowledged || d.by != d.of && e.scenario.Policy == "admins" && !a.admins[d.by] {
			continue // for lack of rights it may stay undone (design, section 5.5)
		}
		if a.members[d.by] && a.members[d.of] {
			out = append(out, fmt.Sprintf("%s is on the head, though %s, who is too, removed it", names[d.of], names[d.by]))
		}
	}
	out = append(out, e.checkRoles(a, names, removed)...)
	out = append(out, e.behalf...)
	for _, w := range e.witnesses {
		if !a.members[w.id] && !removed[w.id] && !slices.Contains(a.stranded, w.name) {
			out = append(out, fmt.Sprintf("%s is not on the head, and nobody removed it", w.name))
		}
	}
	return out
}

// checkRoles: what one admin alone decided on somebody's role, in the whole run,
// is so on the head, if neither of them was touched otherwise.
func (e *evidence) checkRoles(a agreement, names map[string]string, removed map[string]bool) []string {
	decided, rulers := map[string]int{}, 0
	for _, d := range e.deeds {
		if d.role != "" {
			decided[d.of]++
		}
	}
	for _, is := range a.admins {
		if is {
			rulers++
		}
	}
	var out []string
	for _, d := range e.deeds {
		sure := d.role != "" && d.acknowledged && decided[d.of] == 1 && decided[d.by] == 0 && !removed[d.of]
		if sure && rulers > 1 && a.admins[d.by] && a.members[d.of] && a.admins[d.of] != (d.role == string(Promote)) {
			out = append(out, fmt.Sprintf("%s, who is an admin, did %s %s, and the head has it otherwise", names[d.by], d.role, names[d.of]))
		}
	}
	return out
}

// read counts the messages in an event log by text.
func (w *witness) read() map[string]int {
	got := map[string]int{}
	for _, e := range w.log {
		if e.Kind == group.KindMessage {
			got[e.Text]++
		}
	}
	return got
}

// checkDelivery: each acknowledged message is read once by each member of the
// epoch it was sent in that is still a member, and never twice by anybody. Once
// the group is cut, this is owed to authors who stay members only: nobody waits
// for what others said elsewhere before he forgets how to open it.
func checkDelivery(e *evidence, a agreement) []string {
	var out []string
	for _, w := range e.witnesses {
		got := w.read()
		for _, text := range sortedKeys(got) {
			if got[text] > 1 {
				out = append(out, fmt.Sprintf("%s read %s %d times", w.name, text, got[text]))
			}
		}
		var lost []string
		for _, s := range e.said {
			if a.members[w.id] && s.readers[w.id] && got[s.text] == 0 && (a.members[s.by] || s.early) && !e.passedBy(&w, s) {
				lost = append(lost, s.text)
			}
		}
		if len(lost) > 0 {
			out = append(out, fmt.Sprintf("%s never read %s", w.name, strings.Join(lost, " ")))
		}
	}
	return out
}

// passedBy reports whether a message was said while a reader was away for longer
// than blocks are kept, by somebody who was not.
func (e *evidence) passedBy(w *witness, s *saying) bool {
	for _, o := range e.witnesses {
		if o.id == s.by && !o.returned().IsZero() {
			return false
		}
	}
	return s.at.After(e.trouble) && s.at.Before(w.returned())
}

// maxWay is what a message may take where nobody is cut off: the time of a
// crashed device to come back, and of some rounds of sync on a bad network.
const maxWay = 20 * time.Second

// checkDelay: messages do not wait for what will never come.
func checkDelay(e *evidence, _ agreement) []string {
	if way, text, reader := e.slowest(); way > maxWay {
		return []string{fmt.Sprintf("%s read %s after %v", reader, text, way)}
	}
	return nil
}

// checkSecrecy: nobody reads what was sent in an epoch without it.
func checkSecrecy(e *evidence, _ agreement) []string {
	var out []string
	for _, w := range e.witnesses {
		got := w.read()
		for _, s := range e.said {
			if !s.readers[w.id] && got[s.text] > 0 {
				out = append(out, fmt.Sprintf("%s read %s without having been in its epoch", w.name, s.text))
			}
		}
	}
	return out
}

// checkThief: a thief of a device reads what the rules of retention leave open
// to it, no more; and no less, or the thief was no good. Nor does anybody find a
// value again that was erased.
func checkThief(e *evidence, _ agreement) []string {
	var out []string
	for _, t := range e.thefts {
		if n := len(t.Violates); n > 0 {
			out = append(out, fmt.Sprintf("%s (the first of %d)", t.Violates[0], n))
		}
	}
	for _, w := range e.witnesses {
		if n := len(w.relics); n > 0 {
			out = append(out, fmt.Sprintf("%s, %s (the first of %d)", w.name, w.relics[0], n))
		}
	}
	return out
}

// checkOrder: what one sender says is read in the order in which it was said,
// but for messages that had to be sent again: their sender learns only later
// that they were lost. A device that was added again reads an earlier epoch later
// if the Welcome of a rival re-add reaches it later.
func checkOrder(e *evidence, _ agreement) []string {
	var out []string
	at := map[string]int{}
	for i, s := range e.said {
		at[s.text] = i
	}
	for _, w := range e.witnesses {
		last, epoch, back := map[string]int{}, map[string]uint64{}, false
		for _, ev := range w.log {
			back = back || ev.Kind == group.KindRejoined
			i, known := at[ev.Text]
			if ev.Kind != group.KindMessage || !known || e.said[i].again || back && ev.Epoch < epoch[ev.From] {
				continue
			}
			epoch[ev.From] = ev.Epoch
			if before, ok := last[ev.From]; ok && i < before {
				out = append(out, fmt.Sprintf("%s read %s of %s after %s", w.name, ev.Text, ev.Name, e.said[before].text))
			}
			last[ev.From] = i
		}
	}
	return out
}

// checkLogs: cursors have no gap, and what a user was told is in the log under
// its cursor, once and unchanged, whatever crashed.
func checkLogs(e *evidence, _ agreement) []string {
	var out []string
	for _, w := range e.witnesses {
		logged := map[uint64]string{}
		for i, ev := range w.log {
			if ev.Cursor != uint64(i)+1 {
				out = append(out, fmt.Sprintf("%s has event %d at cursor %d", w.name, i+1, ev.Cursor))
				break
			}
			logged[ev.Cursor] = fmt.Sprint(ev)
		}
		last := uint64(0)
		for _, ev := range w.shown {
			if ev.Cursor <= last || logged[ev.Cursor] != fmt.Sprint(ev.Event) {
				out = append(out, fmt.Sprintf("%s was told %s #%d, which its log does not have there", w.name, ev.Kind, ev.Cursor))
				break
			}
			last = ev.Cursor
		}
	}
	return out
}

// checkFrames: founders whom nobody removed, and who could always catch up, end
// with the same frames of those who are on the head, and in the same order,
// unless blocks expire, or epochs that somebody may still speak in. They share no
// frames from before the last of them joined.
func checkFrames(e *evidence, a agreement) []string {
	caps := e.scenario.Engine
	if a.problem != "" || caps.BlockAge > 0 || caps.MaxAge > 0 || caps.MaxEpochs > 0 {
		return nil
	}
	var first *witness
	var all []string
	for i := range e.witnesses {
		w := &e.witnesses[i]
		if w.inviter != "" || !w.returned().IsZero() || slices.ContainsFunc(e.deeds, func(d deed) bool { return d.remove && d.of == w.id }) {
			continue
		}
		got := e.shared(w, a)
		if first == nil {
			first, all = w, got
		}
		want := all
		if !sameFrames(w, first) {
			slices.Sort(got)
			want = slices.Sorted(slices.Values(want)) // without the others' frames the order need not be the same
		}
		if !slices.Equal(want, got) {
			return []string{fmt.Sprintf("%s and %s do not have the same frames in the same order (%d and %d of %d and %d)",
				first.name, w.name, len(want), len(got), len(first.frames), len(w.frames))}
		}
	}
	return nil
}

// sameFrames reports whether two have opened the same frames.
func sameFrames(a, b *witness) bool {
	if len(a.frames) > 0 && len(a.frames) == len(b.frames) && &a.frames[0] == &b.frames[0] {
		return true
	}
	has := map[string]bool{}
	for _, f := range a.frames {
		has[f.CID] = true
	}
	return len(a.frames) == len(b.frames) && !slices.ContainsFunc(b.frames, func(f group.LogEntry) bool { return !has[f.CID] })
}

// shared lists the frames that all founders on the head must have: their own.
// Nobody waits for those of a joiner whose branch lost before he forgets it; it
// says its texts again. What lies below a commit that did not open for some is not
// for all, either.
func (e *evidence) shared(w *witness, a agreement) []string {
	founder := map[string]bool{}
	for _, w := range e.witnesses {
		founder[w.id] = w.inviter == ""
	}
	spoilt := e.spoilt()
	var out []string
	for _, f := range w.frames {
		if a.members[f.From] && founder[f.From] && f.Epoch >= e.scenario.foundedAt() && !spoilt(f.Parent) {
			out = append(out, f.CID)
		}
	}
	return out
}

// foundedAt is the epoch in which all founders are members.
func (s *Scenario) foundedAt() uint64 {
	if s.Found == FoundAtOnce {
		return 1
	}
	return uint64(s.Members) - 1
}

// spoilt tells of an epoch whether its way leads through a commit that did not open
// for some.
func (e *evidence) spoilt() func(epoch string) bool {
	parent, bad := map[string]string{}, map[string]bool{}
	for _, w := range e.witnesses {
		for _, f := range w.frames {
			if f.Kind == "commit" {
				parent[f.CID] = f.Parent
			}
		}
		for _, ev := range w.log {
			if ev.Kind == group.KindUnopenable {
				bad[ev.CID] = true
			}
		}
	}
	return func(epoch string) bool {
		for at := epoch; at != ""; at = parent[at] {
			if bad[at] {
				return true
			}
		}
		return false
	}
}

// checkDisks: a device that restarted now would be where it is. In large groups some
// are tried only.
func checkDisks(e *evidence, _ agreement) []string {
	var out []string
	for _, w := range e.witnesses {
		if w.disk != "" {
			out = append(out, w.name+" loaded anew has "+w.disk)
		}
	}
	return out
}

// checkVerdicts: in a world without liars no frame is wrong, unopenable or on
// a key that was used before, and no invariant breaks.
func checkVerdicts(e *evidence, _ agreement) []string {
	var out []string
	for _, w := range e.witnesses {
		if n := len(w.wrong); n > 0 {
			out = append(out, fmt.Sprintf("%s %s (the first of %d)", w.name, w.wrong[0], n))
		}
		for _, ev := range w.log {
			if ev.Kind == group.KindUnopenable && len(e.scenario.Adversaries) == 0 {
				out = append(out, fmt.Sprintf("%s could not open commit %s", w.name, tail(ev.CID)))
			}
		}
	}
	return out
}

// checkKeys: nobody signs two frames with one sequence number, not even after
// a crash.
func checkKeys(e *evidence, _ agreement) []string {
	var out []string
	for _, w := range e.witnesses {
		for _, ev := range w.log {
			if ev.Kind == group.KindEquivocation && !e.bad[ev.From] {
				out = append(out, fmt.Sprintf("%s saw %s sign two frames with one sequence number", w.name, ev.Name))
			}
		}
	}
	return out
}

// checkNonces: no key with its nonce seals two things, whatever crashed; and no
// ratchet key seals two frames, also with two nonces.
func checkNonces(e *evidence, _ agreement) []string { return e.reuses }

// checkReference: the head of every device is the one that the slow reference
// of fork choice finds in the frames that the device has opened.
func checkReference(e *evidence, _ agreement) []string {
	if len(e.differs) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s (the first of %d)", e.differs[0], len(e.differs))}
}
