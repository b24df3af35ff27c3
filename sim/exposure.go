package sim

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// sighting is what all devices together know of a frame without its keys.
type sighting struct {
	cid, at    string // frame and the epoch it was sent in
	kind       string // message, ack, leave or commit
	author     string // identity
	generation uint32
	gone       []string // identities that a commit removes
	heard      time.Time
}

// ledger is every frame that anybody opened, by the epoch it was sent in. It
// knows nothing of keys: it is made from what the devices say of the frames
// that they opened, and from the links that anybody in the group can read.
type ledger struct {
	all    map[string]sighting
	in     map[string][]sighting
	honest bool // nobody was in bad hands
}

// account makes the ledger of a run.
func (w *world) account(logs [][]group.LogEntry) *ledger {
	b := &ledger{all: map[string]sighting{}, in: map[string][]sighting{}, honest: len(w.Adversaries) == 0}
	headers := w.headers()
	ids := map[string]string{}
	for _, d := range w.devices {
		ids[d.name] = d.key()
	}
	for _, entries := range logs {
		for _, e := range entries {
			h, ok := headers[e.CID]
			if _, known := b.all[e.CID]; known || !ok {
				continue
			}
			s := sighting{cid: e.CID, at: e.Parent, kind: e.Kind, author: e.From, generation: h.Links.Generation, heard: w.captured[e.CID].at}
			for _, a := range e.Actions {
				if verb, name, _ := strings.Cut(a, " "); verb == "remove" || verb == "leave" || verb == "re-add" {
					s.gone = append(s.gone, ids[name])
				}
			}
			b.all[e.CID] = s
		}
	}
	for _, c := range sortedKeys(b.all) {
		b.in[b.all[c].at] = append(b.in[b.all[c].at], b.all[c])
	}
	return b
}

// headers reads the links of all captured frames.
func (w *world) headers() map[string]frame.Header {
	out := map[string]frame.Header{}
	for _, f := range w.unsealed() {
		out[f.cid] = f.header
	}
	return out
}

// regime is which keys a device keeps of an epoch that is not final.
type regime uint8

const (
	punctured regime = iota // the PPRF of the design: a child once derived cannot be derived again
	plainInit               // one init secret for all children, kept with the epoch
)

// place is an epoch as one loot knows it; fresh with all of its ratchets at
// the beginning.
type place struct {
	who   int
	at    string
	fresh bool
}

// exposed says what thieves of the loots may read, by the rules alone:
//
//   - of an epoch that a device holds: what it sent there itself, and what it
//     had not opened yet;
//   - a child of such an epoch that it had not processed, by an author other
//     than itself, which does not remove it, and everything that follows from
//     there by the same rules;
//   - nothing of epochs that were erased or that it never was in.
//
// A later commit of the device's own heals it, as does its removal. Loots are
// put together: the path keys of one serve with the PPRF of another.
func (b *ledger) exposed(r regime, loots ...*loot) spoils {
	have := map[place]bool{}
	for i, l := range loots {
		for _, at := range l.holds() {
			have[place{i, at, false}] = true
		}
		if l.stranded() {
			for _, at := range l.returns() {
				have[place{i, at, true}] = true
			}
		}
	}
	for grown := -1; grown < len(have); {
		grown = len(have)
		for p := range maps.Clone(have) {
			for _, c := range b.in[p.at] {
				l := loots[p.who]
				if c.kind == "commit" && c.author != l.id && !slices.Contains(c.gone, l.id) && derivable(r, have, loots, c) {
					have[place{p.who, c.cid, true}] = true
				}
			}
		}
	}
	out := newSpoils()
	for p := range have {
		out.epochs[p.at] = true
		b.read(out.frames, p, loots[p.who])
	}
	return out
}

// derivable reports whether anybody's PPRF of the parent still has a commit's
// point.
func derivable(r regime, have map[place]bool, loots []*loot, c sighting) bool {
	for i, l := range loots {
		if have[place{i, c.at, true}] || have[place{i, c.at, false}] && (r == plainInit || !l.opened[c.cid]) {
			return true
		}
	}
	return false
}

// read adds the application frames of an epoch that are open to l.
func (b *ledger) read(into map[string]bool, p place, l *loot) {
	next := map[string]uint32{}
	for _, f := range b.in[p.at] {
		if application(f) && l.opened[f.cid] {
			next[f.author] = max(next[f.author], f.generation+1)
		}
	}
	for _, f := range b.in[p.at] {
		if application(f) && (p.fresh || f.author == l.id || f.generation >= next[f.author]) {
			into[f.cid] = true
		}
	}
}

func application(f sighting) bool { return f.kind == "message" || f.kind == "ack" }

// returns lists the epochs in which a device was added again, as far as its
// log tells. Their Welcomes open with offers that it keeps until the branch of
// its return is final.
func (l *loot) returns() []string {
	var out []string
	for _, e := range l.later {
		if e.Kind == group.KindReadable || e.Kind == group.KindRejoined && e.CID != "" {
			out = append(out, e.Head)
		}
	}
	return out
}
