package gossip

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Bounds of an outgoing queue. A message always fits into an empty queue.
const (
	maxQueued     = 4096             // messages
	maxQueueBytes = 32 << 20         // bytes
	sendIdle      = 30 * time.Second // after which an unused stream is closed
	pieceTimeout  = 30 * time.Second // for each piece of a message
)

// sender has one queue and one writer for each peer and protocol, so that a
// long message of one protocol does not hold up another.
//
// What is dropped: a message that finds the queue full (the newest, with
// ErrQueueFull); the whole queue when the peer cannot be reached or is blocked;
// a message whose stream breaks twice. The last two are only counted. A message
// whose stream broke once may arrive twice.
type sender struct {
	t      *Transport
	mu     sync.Mutex
	queues map[route]*queue
	closed bool
}

type route struct {
	peer     peer.ID
	protocol string
}

type queue struct {
	messages [][]byte
	bytes    int           // of messages
	flying   int           // bytes of the message being written
	more     chan struct{} // signalled on every new message
}

func newSender(t *Transport) *sender {
	return &sender{t: t, queues: make(map[route]*queue)}
}

// Send queues message for peer and returns at once. Messages of one peer and
// protocol arrive in order or not at all. It dials if need be and an address is
// known.
func (t *Transport) Send(peer, protocol string, message []byte) error {
	id, err := parsePeer(peer)
	switch {
	case err != nil:
		return err
	case !slices.Contains(t.config.protocols(), protocol):
		return fmt.Errorf("%w: %q", ErrProtocol, protocol)
	case len(message) > t.config.limit(protocol):
		return fmt.Errorf("%w: %d bytes on %s, at most %d", ErrTooLarge, len(message), protocol, t.config.limit(protocol))
	case t.gater.isBlocked(id):
		return fmt.Errorf("%w: %s", ErrBlocked, peer)
	case id == t.host.ID():
		return fmt.Errorf("%w: %s is this host", ErrPeer, peer)
	}
	return t.sender.push(route{id, protocol}, bytes.Clone(message))
}

func (s *sender) push(r route, message []byte) error {
	// The writer is spawned under t.mu so that Close waits for it.
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.t.closed {
		return ErrClosed
	}
	q := s.queues[r]
	if q == nil {
		q = &queue{more: make(chan struct{}, 1)}
		s.queues[r] = q
		s.t.spawn(func() { s.write(r, q) })
	}
	if len(q.messages) >= maxQueued || q.bytes+q.flying > 0 && q.bytes+q.flying+len(message) > maxQueueBytes {
		return fmt.Errorf("%w: to %s on %s", ErrQueueFull, r.peer, r.protocol)
	}
	q.messages = append(q.messages, message)
	q.bytes += len(message)
	signal(q.more)
	return nil
}

// take dequeues the oldest message; the one before it is done with.
func (s *sender) take(q *queue) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.flying = 0
	if len(q.messages) == 0 {
		return nil, false
	}
	message := q.messages[0]
	q.messages[0] = nil
	q.messages = q.messages[1:]
	q.bytes -= len(message)
	q.flying = len(message)
	return message, true
}

// end removes an empty queue; it reports false if messages came in between.
func (s *sender) end(r route, q *queue) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(q.messages) > 0 && !s.closed {
		return false
	}
	if s.queues[r] == q {
		delete(s.queues, r)
	}
	return true
}

// drop empties a queue.
func (s *sender) drop(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.counts.unsent.Add(uint64(len(q.messages)))
	q.messages, q.bytes = nil, 0
}

// forget drops what waits for a peer.
func (s *sender) forget(id peer.ID) {
	s.mu.Lock()
	var queues []*queue
	for r, q := range s.queues {
		if r.peer == id {
			queues = append(queues, q)
		}
	}
	s.mu.Unlock()
	for _, q := range queues {
		s.drop(q)
	}
}

func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// write sends the messages of a queue until it was empty for sendIdle.
func (s *sender) write(r route, q *queue) {
	var stream network.Stream
	defer func() {
		if stream != nil {
			_ = stream.Close() // all was written; a reset by the peer is its own affair
		}
	}()
	for {
		message, ok := s.take(q)
		if !ok {
			if !s.await(q) && s.end(r, q) {
				return
			}
			continue
		}
		var err error
		if stream, err = s.deliver(r, stream, message); err == nil {
			s.t.counts.sent.Add(1)
			continue
		}
		s.t.counts.unsent.Add(1)
		s.t.log.Debug("message dropped", "peer", r.peer, "protocol", r.protocol, "bytes", len(message), "err", err)
		if stream == nil { // unreachable: what waits is lost, the next Send tries again
			s.drop(q)
		}
	}
}

// await reports whether a message came within sendIdle.
func (s *sender) await(q *queue) bool {
	timer := time.NewTimer(sendIdle)
	defer timer.Stop()
	select {
	case <-q.more:
		return true
	case <-timer.C:
		return false
	case <-s.t.ctx.Done():
		return false
	}
}

// deliver writes message to stream, or to a new one if that is broken or nil.
// It returns the stream to go on with, nil if none could be opened.
func (s *sender) deliver(r route, stream network.Stream, message []byte) (network.Stream, error) {
	var err error
	for range 2 {
		if stream == nil {
			if stream, err = s.open(r); err != nil {
				return nil, err
			}
		}
		err = writeMessage(stream, message, func() error {
			return stream.SetWriteDeadline(time.Now().Add(pieceTimeout))
		})
		if err == nil {
			return stream, nil
		}
		_ = stream.Reset() // it is broken already
		stream = nil
	}
	// A fresh stream, so that the messages behind this one have their chance.
	stream, openErr := s.open(r)
	if openErr != nil {
		return nil, openErr
	}
	return stream, fmt.Errorf("gossip: stream broke twice: %w", err)
}

func (s *sender) open(r route) (network.Stream, error) {
	if s.t.gater.isBlocked(r.peer) {
		return nil, ErrBlocked
	}
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(s.t.ctx, service), dialTimeout)
	defer cancel()
	if c := s.t.host.Network().Connectedness(r.peer); c != network.Connected && c != network.Limited {
		s.t.host.Peerstore().AddAddrs(r.peer, s.t.keeper.addrsOf(r.peer), peerstore.TempAddrTTL)
		s.t.forgive(r.peer)
	}
	stream, err := s.t.host.NewStream(ctx, r.peer, protocol.ID(r.protocol))
	if err != nil {
		return nil, fmt.Errorf("gossip: open %s: %w", r.protocol, err)
	}
	return stream, nil
}
