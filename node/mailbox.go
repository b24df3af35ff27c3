package node

import (
	"context"
	"sync"
)

// task is one thing for the loop to do: an input for the Driver, or a look at
// it between two rounds.
type task struct {
	ctx   context.Context // of the caller; nil for what the network brings
	in    Input
	look  func(*Driver)
	reply chan Outcome // buffered; nil when nobody waits
}

// Bounds of what the network may have waiting; callers of the API wait for
// their own answers and so bound themselves.
const (
	maxArrivals     = 4096
	maxArrivalBytes = 64 << 20
)

// mailbox is the loop's queue. Arrivals from the network are dropped when too
// many wait: whatever is lost is repaired by sync.
type mailbox struct {
	ready chan struct{} // holds a token when something waits

	mu       sync.Mutex
	tasks    []task
	arrivals int
	bytes    int
	dropped  uint64
	closed   bool
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

// call queues the task of a caller who waits. It fails after close.
func (m *mailbox) call(t task) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.push(t)
	return true
}

// arrive queues what the network brings. News of peers have size 0 and are
// never dropped, for nobody tells them twice.
func (m *mailbox) arrive(t task) bool {
	size := inputSize(t.in)
	m.mu.Lock()
	defer m.mu.Unlock()
	full := size > 0 && (m.arrivals >= maxArrivals || m.bytes+size > maxArrivalBytes)
	if m.closed || full {
		m.dropped++
		return false
	}
	m.arrivals++
	m.bytes += size
	m.push(t)
	return true
}

func (m *mailbox) push(t task) {
	m.tasks = append(m.tasks, t)
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take removes up to n tasks, oldest first, and says whether more can come.
func (m *mailbox) take(n int) (tasks []task, open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = min(n, len(m.tasks))
	tasks = append([]task(nil), m.tasks[:n]...)
	clear(m.tasks[:n])
	m.tasks = m.tasks[n:]
	for _, t := range tasks {
		if t.ctx == nil {
			m.arrivals--
			m.bytes -= inputSize(t.in)
		}
	}
	if len(m.tasks) > 0 {
		select {
		case m.ready <- struct{}{}:
		default:
		}
	}
	return tasks, !m.closed || len(m.tasks) > 0
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		select {
		case m.ready <- struct{}{}:
		default:
		}
	}
}

func (m *mailbox) load() (queued int, dropped uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tasks), m.dropped
}

// inputSize is what an arrival counts in the mailbox's bound.
func inputSize(in Input) int {
	switch in := in.(type) {
	case Deliver:
		return len(in.Block) + 1
	case Message:
		return len(in.Body) + 1
	case Announce:
		return len(in.CID) + 1
	}
	return 0
}
