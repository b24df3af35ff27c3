package gossip

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Stats counts what went through and, above all, what was dropped without an
// error, since New.
type Stats struct {
	Published uint64 // blocks and announcements handed to gossipsub
	Announced uint64 // of these, announcements
	Accepted  uint64 // blocks of others that Check accepted
	Ignored   uint64 // by Check, and announcements
	Rejected  uint64 // by Check, by size, or as malformed

	OverQuota   uint64 // blocks of others dropped because the peer has too many waiting
	Overflowed  uint64 // blocks of others dropped by full validation queues
	DroppedRPCs uint64 // packets of gossip not sent because a peer's queue was full

	Sent       uint64 // stream messages written
	Received   uint64 // stream messages handed to the handler
	Unsent     uint64 // stream messages dropped: peer unreachable, stream broken twice
	BadStreams uint64 // inbound streams reset: oversize, cut short, over quota
}

type counters struct {
	published, announced, accepted, ignored, rejected atomic.Uint64
	overQuota, overflowed, droppedRPCs                atomic.Uint64
	sent, received, unsent, badStreams                atomic.Uint64
}

// Stats reports the counters.
func (t *Transport) Stats() Stats {
	c := &t.counts
	return Stats{
		Published: c.published.Load(), Announced: c.announced.Load(), Accepted: c.accepted.Load(),
		Ignored: c.ignored.Load(), Rejected: c.rejected.Load(),
		OverQuota: c.overQuota.Load(), Overflowed: c.overflowed.Load(), DroppedRPCs: c.droppedRPCs.Load(),
		Sent: c.sent.Load(), Received: c.received.Load(), Unsent: c.unsent.Load(), BadStreams: c.badStreams.Load(),
	}
}

// Counters is Stats by name, for metrics.
func (t *Transport) Counters() map[string]uint64 {
	s := t.Stats()
	return map[string]uint64{
		"published": s.Published, "announced": s.Announced, "accepted": s.Accepted, "ignored": s.Ignored, "rejected": s.Rejected,
		"over_quota": s.OverQuota, "overflowed": s.Overflowed, "dropped_rpcs": s.DroppedRPCs,
		"sent": s.Sent, "received": s.Received, "unsent": s.Unsent, "bad_streams": s.BadStreams,
	}
}

// tracer counts for Stats and sees gossipsub's streams open. It runs within
// gossipsub's loop and must not wait.
type tracer struct {
	counts *counters
	hellos *hellos
	door   *door
}

var _ pubsub.RawTracer = (*tracer)(nil)

func (c *tracer) OnNewOutboundStream(p peer.ID, _ protocol.ID) { c.hellos.opened(p) }
func (c *tracer) OnClosedOutboundStream(p peer.ID) {
	c.hellos.forget(p)
	c.door.topics.forget(p)
}
func (c *tracer) Join(string)                     {}
func (c *tracer) Leave(string)                    {}
func (c *tracer) Graft(peer.ID, string)           {}
func (c *tracer) Prune(peer.ID, string)           {}
func (c *tracer) ValidateMessage(*pubsub.Message) {}
func (c *tracer) DeliverMessage(m *pubsub.Message) {
	if !m.Local {
		c.counts.accepted.Add(1)
	}
}
func (c *tracer) RejectMessage(_ *pubsub.Message, reason string) {
	switch reason {
	case pubsub.RejectValidationIgnored:
		c.counts.ignored.Add(1)
	case pubsub.RejectValidationQueueFull, pubsub.RejectValidationThrottled:
		c.counts.overflowed.Add(1)
	default:
		c.counts.rejected.Add(1)
	}
}
func (c *tracer) DuplicateMessage(*pubsub.Message)                     {}
func (c *tracer) ThrottlePeer(peer.ID)                                 {}
func (c *tracer) RecvRPC(*pubsub.RPC)                                  {}
func (c *tracer) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (c *tracer) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (c *tracer) DropRPC(*pubsub.RPC, peer.ID)                         { c.counts.droppedRPCs.Add(1) }
func (c *tracer) UndeliverableMessage(*pubsub.Message)                 { c.counts.overflowed.Add(1) }

// hellos knows with which peers gossipsub has exchanged its first packets, the
// ones that tell the topics. Before that, what is published does not reach them.
type hellos struct {
	mu    sync.Mutex
	peers map[peer.ID]*hello
}

type hello struct {
	in, out bool
	both    chan struct{} // closed when in and out
}

func newHellos() *hellos { return &hellos{peers: make(map[peer.ID]*hello)} }

func (l *hellos) update(id peer.ID, f func(*hello)) *hello {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.peers[id]
	if h == nil {
		h = &hello{both: make(chan struct{})}
		l.peers[id] = h
	}
	before := h.in && h.out
	f(h)
	if h.in && h.out && !before {
		close(h.both)
	}
	return h
}

func (l *hellos) received(id peer.ID) { l.update(id, func(h *hello) { h.in = true }) }
func (l *hellos) opened(id peer.ID)   { l.update(id, func(h *hello) { h.out = true }) }

func (l *hellos) forget(id peer.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.peers, id)
}

// wait returns when hellos were exchanged, or at the latest after timeout.
func (l *hellos) wait(ctx context.Context, id peer.ID, timeout time.Duration) {
	h := l.update(id, func(*hello) {})
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-h.both:
	case <-timer.C:
	case <-ctx.Done():
	}
}
