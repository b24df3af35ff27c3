package gossip

import (
	"bufio"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Bounds of what one peer sends on streams. Memory and the number of streams
// are bounded by the resource manager (see resources).
const (
	receiveIdle = 3 * time.Minute // between messages; longer than a sender's sendIdle
	peerRate    = 1000            // messages a second; a faster peer is read slower
	peerBurst   = 4096            // messages
)

// inbox reads the streams that peers open.
type inbox struct {
	t     *Transport
	mu    sync.Mutex
	peers map[peer.ID]*allowance
}

// allowance is a peer's token bucket; it lives as long as the peer has streams.
type allowance struct {
	streams int
	tokens  float64
	at      time.Time
}

func newInbox(t *Transport) *inbox {
	return &inbox{t: t, peers: make(map[peer.ID]*allowance)}
}

// serve reads messages from one stream until it ends. A peer that breaks the
// rules loses the stream, not the connection.
func (b *inbox) serve(stream network.Stream, protocol string) {
	h, exit, ok := b.t.enter()
	if !ok {
		_ = stream.Reset() // we are closing
		return
	}
	defer exit()
	if err := stream.Scope().SetService(service); err != nil {
		b.refuse(stream, protocol, err)
		return
	}
	id := stream.Conn().RemotePeer()
	b.enter(id)
	defer b.leave(id)
	reader := bufio.NewReader(stream)
	for {
		if err := b.next(h, id, protocol, stream, reader); errors.Is(err, io.EOF) {
			_ = stream.Close() // the peer has closed it too
			return
		} else if err != nil {
			b.refuse(stream, protocol, err)
			return
		}
	}
}

// refuse resets a stream and says so.
func (b *inbox) refuse(stream network.Stream, protocol string, err error) {
	_ = stream.ResetWithError(network.StreamResourceLimitExceeded) // the peer may be gone
	if b.t.ctx.Err() == nil && !errors.Is(err, network.ErrReset) {
		b.t.counts.badStreams.Add(1)
		b.t.log.Debug("stream refused", "peer", stream.Conn().RemotePeer(), "protocol", protocol, "err", err)
	}
}

// next reads one message and hands it over.
func (b *inbox) next(h Handler, id peer.ID, protocol string, stream network.Stream, reader *bufio.Reader) error {
	if err := stream.SetReadDeadline(time.Now().Add(receiveIdle)); err != nil {
		return err
	}
	if _, err := reader.Peek(1); err != nil {
		return err
	}
	pause(b.t.ctx, b.take(id, time.Now()))
	scope, reserved := stream.Scope(), 0
	defer func() { scope.ReleaseMemory(reserved) }()
	message, err := readMessage(reader, b.t.config.limit(protocol), func(n int) error {
		if err := scope.ReserveMemory(n, network.ReservationPriorityAlways); err != nil {
			return err
		}
		reserved += n
		return stream.SetReadDeadline(time.Now().Add(pieceTimeout))
	})
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // within a message
	}
	if err != nil {
		return err
	}
	b.t.counts.received.Add(1)
	h.Message(id.String(), protocol, message)
	return nil
}

func (b *inbox) enter(id peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.peers[id]
	if a == nil {
		a = &allowance{tokens: peerBurst, at: time.Now()}
		b.peers[id] = a
	}
	a.streams++
}

func (b *inbox) leave(id peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.peers[id]
	if a.streams--; a.streams == 0 {
		delete(b.peers, id)
	}
}

// take spends a token and says how long the peer must wait for it.
func (b *inbox) take(id peer.ID, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.peers[id]
	a.tokens = min(peerBurst, a.tokens+now.Sub(a.at).Seconds()*peerRate) - 1
	a.at = now
	if a.tokens >= 0 {
		return 0
	}
	return time.Duration(-a.tokens / peerRate * float64(time.Second))
}
