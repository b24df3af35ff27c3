package sim

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
)

// loot is what a thief took from one device: a copy of its disk and of what it
// had in memory. What follows records is the device's own account of itself,
// which the model goes by and the thief has no use for.
type loot struct {
	name, id string
	identity group.Identity
	at       time.Time
	gid      string
	records  map[string]group.Op
	memory   []group.Op          // nil while the device is down
	kept     map[string]group.Op // what a leaky disk had failed to erase
	log      []group.Event
	later    []group.Event // its event log at the end of the run
	frames   []group.LogEntry
	opened   map[string]bool // CIDs of frames
	status   group.Status
	relics   []string // where it holds what was erased before
}

// steal copies a device's disk and memory.
func (w *world) steal(d *device) (*loot, error) {
	l := &loot{name: d.name, id: d.key(), identity: d.id, at: w.now, gid: w.gid, opened: map[string]bool{},
		records: d.store.copied(), kept: maps.Clone(d.store.kept)}
	tells, err := d.driver, error(nil)
	if tells != nil {
		if l.memory, err = tells.Records(w.gid); err != nil {
			return nil, fmt.Errorf("sim: steal %s: %w", d.name, err)
		}
	} else if tells, err = d.loaded(); err != nil {
		return nil, fmt.Errorf("sim: steal %s: %w", d.name, err)
	}
	if l.status, err = tells.Status(w.gid); err != nil {
		return nil, fmt.Errorf("sim: steal %s: %w", d.name, err)
	}
	if l.frames, err = tells.Log(w.gid); err != nil {
		return nil, fmt.Errorf("sim: steal %s: %w", d.name, err)
	}
	for _, f := range l.frames {
		l.opened[f.CID] = true
	}
	prefix := group.EventPrefix(w.gid)
	for _, k := range slices.Sorted(maps.Keys(l.records)) {
		if strings.HasPrefix(k, prefix) {
			e, err := group.DecodeEvent(l.records[k].Value)
			if err != nil {
				return nil, fmt.Errorf("sim: steal %s: %w", d.name, err)
			}
			l.log = append(l.log, e)
		}
	}
	return l, nil
}

// epochRecords sorts records of epochs by the epoch's CID and their own key.
func (l *loot) epochRecords(ops []group.Op) map[string]map[string][]byte {
	prefix := group.Prefix(l.gid) + "e/"
	out := map[string]map[string][]byte{}
	for _, op := range ops {
		at, key, ok := strings.Cut(strings.TrimPrefix(op.Key, prefix), "/")
		if !ok || !strings.HasPrefix(op.Key, prefix) || key == "born" || key == "old" {
			continue
		}
		if out[at] == nil {
			out[at] = map[string][]byte{}
		}
		out[at][key] = op.Value
	}
	return out
}

// live and leaked list the records of the disk, and those that should be gone.
func (l *loot) live() []group.Op   { return sortedOps(l.records) }
func (l *loot) leaked() []group.Op { return sortedOps(l.kept) }

func sortedOps(m map[string]group.Op) []group.Op {
	out := make([]group.Op, 0, len(m))
	for _, k := range sortedKeys(m) {
		out = append(out, m[k])
	}
	return out
}

// nodes are the tree records by hash.
func (l *loot) nodes() map[string][]byte {
	out := map[string][]byte{}
	prefix := group.Prefix(l.gid) + "n/"
	for _, op := range slices.Concat(l.live(), l.leaked(), l.memory) {
		if hash, ok := strings.CutPrefix(op.Key, prefix); ok {
			if b, err := hex.DecodeString(hash); err == nil {
				out[string(b)] = op.Value
			}
		}
	}
	return out
}

// offers are private keys of KeyPackages by reference: of a join under way and
// of a stranded device's offers.
func (l *loot) offers() map[string][]byte {
	out := map[string][]byte{}
	rejoin := group.Prefix(l.gid) + "rejoin/"
	for _, op := range slices.Concat(l.leaked(), l.live(), l.memory) {
		if ref, ok := strings.CutPrefix(op.Key, "d/kp/"); ok {
			out[ref] = op.Value
		}
		if ref, ok := strings.CutPrefix(op.Key, rejoin); ok {
			out[ref] = second(op.Value)
		}
	}
	return out
}

// holds lists the epochs that the device, by its own event log, holds.
func (l *loot) holds() []string {
	held := map[string]bool{}
	gone := []string{"remove " + l.name, "leave " + l.name, "re-add " + l.name}
	for _, e := range l.log {
		switch {
		case e.Kind == group.KindJoined, e.Kind == group.KindReadable, e.Kind == group.KindRejoined && e.CID != "":
			held[e.Head] = true
		case e.Kind == group.KindCommit && !slices.ContainsFunc(e.Actions, func(a string) bool { return slices.Contains(gone, a) }):
			held[e.CID] = true
		case e.Kind == group.KindErased:
			delete(held, e.Head)
		}
	}
	return sortedKeys(held)
}

// stranded reports whether the device, by its own event log, was stranded: then
// it holds offers, until the branch of its return is final.
func (l *loot) stranded() bool {
	return slices.ContainsFunc(l.log, func(e group.Event) bool { return e.Kind == group.KindStranded })
}
