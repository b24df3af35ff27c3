package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
)

// Keep bounds the event log of each group. What it removes is erased, and one
// event of kind log_compacted stands at the cursor of the last one removed.
// Cursors stay what they are: who comes with one of before gets that event, and
// then what is there.
type Keep struct {
	// Events is how many of the newest minor events are kept: those on epochs,
	// commits and forks, which later ones supersede. 0: 10,000; negative: all.
	Events int
	// Messages is how long all others are kept: messages, and what befell this
	// device or members. Minor ones go with them. 0: for ever.
	Messages time.Duration
}

const defaultEvents = 10_000

// Validate looks for what makes no sense.
func (k Keep) Validate() error {
	if k.Messages < 0 || k.Messages > 0 && k.Messages < time.Minute {
		return fmt.Errorf("%w: messages are kept for %v, want a minute or more", ErrKeep, k.Messages)
	}
	return nil
}

// minor tells what Keep.Events counts.
func minor(e group.Event) bool {
	switch e.Kind {
	case group.KindEpoch, group.KindCommit, group.KindForkOpened, group.KindForkResolved, group.KindMerge,
		group.KindPunctured, group.KindErased, group.KindUnopenable, group.KindResent, group.KindDropped,
		group.KindNeedsApproval, group.KindDiverged, group.KindReadable:
		return true
	case group.KindCompacted:
		return e.Why == superseded
	}
	return false
}

const superseded = "superseded"

// keptLog is what a Driver knows of a stored event log.
type keptLog struct {
	minor []uint64  // cursors of the minor events, oldest first
	aged  time.Time // when to look again for what is too old
}

func (l *keptLog) note(events []group.Event) {
	for _, e := range events {
		if minor(e) {
			l.minor = append(l.minor, e.Cursor)
		}
	}
}

// listen notes the events among the records of a group when they are read for
// the first time.
func (l *keptLog) listen(gid string, records iter.Seq2[group.Op, error]) iter.Seq2[group.Op, error] {
	heard := false
	return func(yield func(group.Op, error) bool) {
		first := !heard
		heard = true
		for op, err := range records {
			if err == nil && first {
				err = l.hear(gid, op)
			}
			if !yield(op, err) {
				return
			}
		}
	}
}

func (l *keptLog) hear(gid string, op group.Op) error {
	at, ok := strings.CutPrefix(op.Key, group.EventPrefix(gid))
	if !ok || bytes.Contains(op.Value, []byte(`"kind":"message"`)) { // quotes in texts are escaped
		return nil
	}
	cursor, err := strconv.ParseUint(at, 16, 64)
	if err != nil {
		return fmt.Errorf("node: record %s: %w", op.Key, err)
	}
	e, err := group.DecodeEvent(op.Value)
	if err == nil && minor(e) {
		l.minor = append(l.minor, cursor)
	}
	return err
}

// maxCut is how many events one commit removes.
const maxCut = 4096

// compactDue removes what Keep does not keep, in a commit of its own.
func (d *Driver) compactDue(now time.Time, gid string, g *running) error {
	if g.broken != nil {
		return nil
	}
	if n := d.c.Keep.Events; n > 0 && len(g.log.minor) > n+n/8 {
		if err := d.compactMinor(gid, g, min(len(g.log.minor)-n, maxCut)); err != nil {
			return err
		}
	}
	age := d.c.Keep.Messages
	if age == 0 || now.Before(g.log.aged) {
		return nil
	}
	done, err := d.cut(gid, g, Cut{Before: now.Add(-age)}, fmt.Sprintf("older than %v", age))
	if err == nil && done.Events < maxCut {
		g.log.aged = now.Add(min(age/8, time.Hour))
	}
	return err
}

// compactMinor removes the n oldest minor events.
func (d *Driver) compactMinor(gid string, g *running, n int) error {
	gone := g.log.minor[:n]
	var ends [2]group.Event
	for i, cursor := range []uint64{gone[0], gone[n-1]} {
		b, err := get(d.ctx, d.c.Store, group.EventKey(gid, cursor))
		if err != nil || b == nil { // not stored yet: at the next tick
			return err
		}
		if ends[i], err = group.DecodeEvent(b); err != nil {
			return err
		}
	}
	left := group.Event{Cursor: ends[1].Cursor, Time: ends[1].Time, Kind: group.KindCompacted, Group: gid, Count: n, Why: superseded}
	if ends[0].Kind == group.KindCompacted {
		left.Count += ends[0].Count - 1
	}
	if err := d.removeEvents(gid, gone[:n-1], left); err != nil {
		return err
	}
	g.log.minor = slices.Clone(g.log.minor[n-1:]) // it begins with left
	return nil
}

// removeEvents puts left in the place of its own cursor and of all those before.
func (d *Driver) removeEvents(gid string, gone []uint64, left group.Event) error {
	b, err := json.Marshal(left)
	if err != nil {
		return fmt.Errorf("node: event: %w", err)
	}
	batch := []group.Op{{Key: group.EventKey(gid, left.Cursor), Value: b, Class: group.History}}
	for _, cursor := range gone {
		batch = append(batch, group.Op{Key: group.EventKey(gid, cursor), Class: group.History})
	}
	if err := d.c.Store.Commit(d.ctx, batch); err != nil {
		return fmt.Errorf("node: store: %w", err)
	}
	return nil
}

// Cut says up to where events are removed from a log: up to a cursor, or those
// from before a time. If both are given, what fits both goes.
type Cut struct {
	Through uint64
	Before  time.Time
}

func (c Cut) takes(e group.Event) bool {
	return (c.Through == 0 || e.Cursor <= c.Through) && (c.Before.IsZero() || e.Time < c.Before.UnixMilli())
}

// Compacted tells what was removed from a log.
type Compacted struct {
	Events   int    `json:"events"`   // all
	Messages int    `json:"messages"` // of them
	Cursor   uint64 `json:"cursor"`   // of the last one, or zero
}

// Compact removes the oldest events of a group's log that c takes, messages
// included, at most 4,096 at a time: whoever gets as many calls it again.
func (d *Driver) Compact(ctx context.Context, gid string, c Cut) (Compacted, error) {
	g, err := d.running(gid)
	if err != nil {
		return Compacted{}, err
	}
	if c == (Cut{}) {
		return Compacted{}, fmt.Errorf("%w: neither a cursor nor a time is given", ErrKeep)
	}
	d.ctx = ctx
	return d.cut(gid, g, c, "asked for")
}

func (d *Driver) cut(gid string, g *running, c Cut, why string) (Compacted, error) {
	var done Compacted
	var gone []uint64
	left := group.Event{Kind: group.KindCompacted, Group: gid, Why: why}
	for op, err := range d.c.Store.Load(d.ctx, group.EventPrefix(gid)) {
		var e group.Event
		if err == nil {
			e, err = group.DecodeEvent(op.Value)
		}
		if err != nil {
			return Compacted{}, fmt.Errorf("node: group %s: %w", gid, err)
		}
		if !c.takes(e) || done.Events == maxCut {
			break
		}
		gone = append(gone, e.Cursor)
		left.Cursor, left.Time = e.Cursor, e.Time
		switch e.Kind {
		case group.KindCompacted:
			left.Count += e.Count
			left.Messages += e.Messages
			continue
		case group.KindMessage:
			done.Messages++
		}
		done.Events++
	}
	if done.Events == 0 {
		return Compacted{}, nil
	}
	done.Cursor = left.Cursor
	left.Count += done.Events
	left.Messages += done.Messages
	if err := d.removeEvents(gid, gone[:len(gone)-1], left); err != nil {
		return Compacted{}, err
	}
	from, _ := slices.BinarySearch(g.log.minor, left.Cursor+1)
	g.log.minor = slices.Clone(g.log.minor[from:])
	return done, nil
}

// Compact removes the oldest events of a group's log that c takes, messages
// included, from this device. Other members keep theirs.
func (n *Node) Compact(ctx context.Context, gid string, c Cut) (Compacted, error) {
	var all Compacted
	for {
		var done Compacted
		err := n.ask(func(d *Driver) (err error) { done, err = d.Compact(ctx, gid, c); return })
		if err != nil {
			return all, err
		}
		all.Events, all.Messages = all.Events+done.Events, all.Messages+done.Messages
		all.Cursor = max(all.Cursor, done.Cursor)
		if done.Events < maxCut {
			return all, nil
		}
	}
}
