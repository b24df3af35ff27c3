package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dmlsd/dmls/group"
)

// Theft is what one theft came to, measured by running the thief.
type Theft struct {
	Device   string
	At       time.Duration // virtual time since the beginning
	Epochs   int           // epochs begun before, other than the head, of which the thief has keys
	Unread   int           // messages sent before that the device had not read yet
	Reread   int           // messages sent before that the device had read or sent: no forward secrecy
	Later    int           // messages sent afterwards
	Secrets  int           // secret records on the device
	Violates []string      // where thief and model differ
}

// planThefts lets a thief copy devices at times of its own choice. Where blocks
// expire it is no use: what it may read is told by the frames that devices have
// at the end.
func (r *run) planThefts(n int, until time.Time) {
	if r.Engine.BlockAge > 0 {
		return
	}
	chance := rand.New(stream(r.Seed, "thief"))
	for range n {
		r.at(r.now.Add(time.Duration(chance.Int64N(int64(until.Sub(r.now))))), func() {
			who := r.members()
			r.take(who[chance.IntN(len(who))])
		})
	}
}

// take adds a copy of a device to what was stolen. Nobody notices.
func (w *world) take(d *device) {
	l, err := w.steal(d)
	if err != nil {
		w.fail(err)
		return
	}
	l.relics = d.relics()
	w.loots = append(w.loots, l)
}

// thefts tries what was stolen, each loot by itself, at the end of the run.
func (w *world) thefts() ([]Theft, error) {
	if len(w.loots) == 0 {
		return nil, nil
	}
	book, err := w.book()
	if err != nil {
		return nil, err
	}
	var out []Theft
	for _, l := range w.loots {
		got, err := w.rob(false, l)
		if err != nil {
			return nil, err
		}
		t := book.measure(l, got)
		t.Violates = book.differ(got, punctured, l)
		for _, relic := range l.relics {
			t.Violates = append(t.Violates, fmt.Sprintf("%s at %.1f s, %s", l.name, l.at.Sub(epoch0).Seconds(), relic))
		}
		out = append(out, t)
	}
	return out, nil
}

// book makes the ledger from the logs of all devices as they are now.
func (w *world) book() (*ledger, error) {
	var logs [][]group.LogEntry
	for _, d := range w.devices {
		if !d.joined {
			continue
		}
		frames, err := d.onDisk()
		if err != nil {
			return nil, fmt.Errorf("sim: book of %s: %w", d.name, err)
		}
		logs = append(logs, frames)
		for _, was := range w.loots {
			if was.name != d.name {
				continue
			}
			if was.later, err = d.log(); err != nil {
				return nil, fmt.Errorf("sim: book of %s: %w", d.name, err)
			}
		}
	}
	return w.account(logs), nil
}

// onDisk is logged, of a device that may be down.
func (d *device) onDisk() ([]group.LogEntry, error) {
	if d.driver != nil {
		return d.logged()
	}
	tells, err := d.loaded()
	if err != nil {
		return nil, err
	}
	return tells.Log(d.world.gid)
}

// differ compares what thieves read with what the rules let them read. A
// device that was stranded may have offers whose Welcomes the thief opens or
// not, and adversaries send what opens for some: there the model is an upper
// bound.
func (b *ledger) differ(got spoils, r regime, loots ...*loot) []string {
	may := b.exposed(r, loots...)
	exact := b.honest && !slices.ContainsFunc(loots, (*loot).stranded)
	who := loots[0].name
	for _, l := range loots[1:] {
		who += "+" + l.name
	}
	who = fmt.Sprintf("a thief of %s at %.1f s", who, loots[0].at.Sub(epoch0).Seconds())
	var out []string
	for _, c := range sortedKeys(b.all) {
		f := b.all[c]
		switch {
		case application(f) && got.frames[c] && !may.frames[c]:
			out = append(out, fmt.Sprintf("%s reads %s of epoch %s, which is gone by the rules", who, tail(c), tail(f.at)))
		case application(f) && exact && !got.frames[c] && may.frames[c]:
			out = append(out, fmt.Sprintf("%s does not read %s of epoch %s, which the rules leave open", who, tail(c), tail(f.at)))
		case f.kind == "commit" && got.epochs[c] && !may.epochs[c]:
			out = append(out, fmt.Sprintf("%s has keys of epoch %s, which is gone by the rules", who, tail(c)))
		case f.kind == "commit" && exact && !got.epochs[c] && may.epochs[c]:
			out = append(out, fmt.Sprintf("%s has no keys of epoch %s, which the rules leave open", who, tail(c)))
		}
	}
	return out
}

// measure counts what was exposed.
func (b *ledger) measure(l *loot, got spoils) Theft {
	t := Theft{Device: l.name, At: l.at.Sub(epoch0), Secrets: l.status.Retained}
	for _, c := range sortedKeys(got.epochs) {
		if f, ok := b.all[c]; (!ok || f.heard.Before(l.at)) && c != l.status.Head {
			t.Epochs++
		}
	}
	for _, c := range sortedKeys(got.frames) {
		switch f := b.all[c]; {
		case f.kind != "message":
		case !f.heard.Before(l.at):
			t.Later++
		case l.opened[c]:
			t.Reread++
		default:
			t.Unread++
		}
	}
	return t
}
