package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"

	"github.com/dmlsd/dmls/group"
)

// hub tells readers of event logs that there is more, and those who wait to
// join how it ended. The events themselves are read from the store, so a slow
// reader holds nothing up and one who comes back misses nothing.
type hub struct {
	mu     sync.Mutex
	logs   map[string]*eventLog
	joins  map[string][]chan joinEnd // by ticket id
	closed bool
}

// eventLog is the end of one group's log.
type eventLog struct {
	next uint64        // cursor of the next event
	more chan struct{} // closed when next grows or the log ends
}

type joinEnd struct {
	gid string
	err error
}

func newHub() *hub {
	return &hub{logs: map[string]*eventLog{}, joins: map[string][]chan joinEnd{}}
}

func (h *hub) know(gid string, next uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.logs[gid] == nil {
		h.logs[gid] = &eventLog{next: next, more: make(chan struct{})}
	}
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.logs)
}

// Events implements [Sink].
func (h *hub) Events(gid string, events []group.Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.logs[gid]
	if l == nil { // founded in this very round
		l = h.begin(gid)
	}
	l.next = max(l.next, events[len(events)-1].Cursor+1)
	close(l.more)
	l.more = make(chan struct{})
}

// Joined implements [Sink].
func (h *hub) Joined(t Ticket, gid string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.joins[t.ID()] {
		c <- joinEnd{gid, err} // buffered, and told once
	}
	delete(h.joins, t.ID())
	if err == nil {
		h.begin(gid)
	}
}

// begin begins the log of a group that was founded or joined; one of an
// earlier stay goes on.
func (h *hub) begin(gid string) *eventLog {
	if h.logs[gid] == nil {
		h.logs[gid] = &eventLog{next: 1, more: make(chan struct{})}
	}
	return h.logs[gid]
}

// awaitJoin returns a channel that gets the end of an attempt to join, and a
// function that gives it up and says whether others still wait.
func (h *hub) awaitJoin(t Ticket) (<-chan joinEnd, func() (others bool)) {
	c := make(chan joinEnd, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	id := t.ID()
	h.joins[id] = append(h.joins[id], c)
	return c, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		var rest []chan joinEnd
		for _, o := range h.joins[id] {
			if o != c {
				rest = append(rest, o)
			}
		}
		if len(rest) == 0 {
			delete(h.joins, id)
			return false
		}
		h.joins[id] = rest
		return true
	}
}

// forget ends a log: readers get what they have not read yet from a store that
// no longer has it, that is nothing.
func (h *hub) forget(gid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.logs[gid]; l != nil {
		close(l.more)
		delete(h.logs, gid)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for _, l := range h.logs {
		close(l.more)
	}
	clear(h.logs)
}

// end returns a group's log, the cursor after its last event, and a channel
// that is closed when there is more.
func (h *hub) end(gid string) (log *eventLog, next uint64, more <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.logs[gid]
	switch {
	case l != nil:
		return l, l.next, l.more, nil
	case h.closed:
		return nil, 0, nil, ErrClosed
	}
	return nil, 0, nil, fmt.Errorf("%w: %s", ErrNotFound, gid)
}

// Events yields the group's events with a cursor above after, oldest first.
// With follow it goes on with those to come until ctx ends, the reader stops,
// the group is forgotten or the node closes, and the error says which; without,
// it ends at the last event. For events that were removed (see [Keep] and
// [Node.Compact]) there is one of kind log_compacted.
//
// The log of a device that was removed and joined again goes on. After Forget a
// new one begins: whoever comes with a cursor beyond its end gets ErrLogAnew.
func (n *Node) Events(ctx context.Context, gid string, after uint64, follow bool) iter.Seq2[group.Event, error] {
	return func(yield func(group.Event, error) bool) {
		var followed *eventLog
		for {
			log, next, more, err := n.hub.end(gid)
			if err == nil && (followed != nil && log != followed || after >= next) {
				err = fmt.Errorf("%w (group %s)", ErrLogAnew, gid)
			}
			if err != nil {
				yield(group.Event{}, err)
				return
			}
			followed = log
			for after+1 < next {
				e, found, err := n.event(ctx, gid, after+1)
				if err != nil {
					yield(group.Event{}, err)
					return
				}
				// It may be one that is stored, but not announced yet.
				if after = min(e.Cursor, next-1); found && e.Cursor < next && !yield(e, nil) {
					return
				}
			}
			if !follow {
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				yield(group.Event{}, fmt.Errorf("node: %w", ctx.Err()))
				return
			}
		}
	}
}

// event reads the event at a cursor. Where there is none it looks at as many of
// those after it as begin with the same digits; if there is none either, the
// event is not found and its Cursor the last that was looked at.
func (n *Node) event(ctx context.Context, gid string, cursor uint64) (e group.Event, found bool, err error) {
	n.storeMu.RLock()
	defer n.storeMu.RUnlock()
	select {
	case <-n.closed:
		return group.Event{}, false, ErrClosed
	default:
	}
	b, err := n.store.Get(ctx, group.EventKey(gid, cursor))
	if err == nil {
		e, err = group.DecodeEvent(b)
		return e, true, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return group.Event{}, false, fmt.Errorf("node: event %d: %w", cursor, err)
	}
	key, last := group.EventKey(gid, cursor), cursor
	for digits := uint64(16); cursor%digits == 0 && digits < 1<<60; digits *= 16 {
		key, last = key[:len(key)-1], cursor+digits-1
	}
	if last == cursor {
		return group.Event{Cursor: cursor}, false, nil
	}
	for op, err := range n.store.Load(ctx, key) {
		if err != nil {
			return group.Event{}, false, fmt.Errorf("node: events from %d on: %w", cursor, err)
		}
		e, err = group.DecodeEvent(op.Value)
		return e, true, err
	}
	return group.Event{Cursor: last}, false, nil
}
