package node

import (
	"errors"
	"fmt"
	"time"
)

// Timing holds the limits and delays of the sync and join machines.
type Timing struct {
	// Interval is the pause between two rounds in which each group compares
	// tips with some of its peers, though nothing seems to be missing.
	Interval time.Duration
	// Settle is the pause instead of Interval after this device has published
	// something: gossip may have dropped it, above all just after peers met.
	Settle time.Duration
	// Fanout is the number of peers asked in one round.
	Fanout int
	// Spread is how long frames that came by sync wait before other peers are
	// told of them, so that they are told once.
	Spread time.Duration
	// WantDelay is how long a missing block may take to come on its own before
	// it is asked for by name.
	WantDelay time.Duration
	// Timeout is when an unanswered request counts as lost.
	Timeout time.Duration
	// Piece bounds the blocks in one message, in bytes, unless one block alone
	// is larger.
	Piece int
	// PeerRate and PeerBurst bound the bytes that one peer is served, per
	// second and at once; PeerRequests is the number of requests a second.
	PeerRate, PeerBurst, PeerRequests int
	// TicketLife is how long a ticket can be used.
	TicketLife time.Duration
	// JoinRetry is the first pause before a request to join is repeated; it
	// doubles up to JoinRetryMax.
	JoinRetry, JoinRetryMax time.Duration
}

// DefaultTiming suits a LAN and the internet.
func DefaultTiming() Timing {
	return Timing{
		Interval: 10 * time.Second, Settle: 1500 * time.Millisecond, Fanout: 8, Spread: 200 * time.Millisecond,
		WantDelay: 300 * time.Millisecond, Timeout: 8 * time.Second, Piece: 1 << 20,
		PeerRate: 8 << 20, PeerBurst: 32 << 20, PeerRequests: 32,
		TicketLife: 24 * time.Hour, JoinRetry: 2 * time.Second, JoinRetryMax: 30 * time.Second,
	}
}

// ErrTiming is wrapped by every complaint of Validate.
var ErrTiming = errors.New("node: bad timing")

const maxPiece = 4 << 20

// Validate names the first field that makes no sense.
func (t Timing) Validate() error {
	switch {
	case t.Interval <= 0 || t.Settle <= 0 || t.Timeout <= 0 || t.Spread < 0 || t.WantDelay < 0:
		return fmt.Errorf("%w: Interval, Settle and Timeout must be positive, Spread and WantDelay not negative", ErrTiming)
	case t.Fanout < 1:
		return fmt.Errorf("%w: Fanout %d, want 1 or more", ErrTiming, t.Fanout)
	case t.Piece < 1<<10 || t.Piece > maxPiece:
		return fmt.Errorf("%w: Piece %d, want 1 KiB to 4 MiB", ErrTiming, t.Piece)
	case t.PeerRate < 1 || t.PeerBurst < t.Piece || t.PeerRequests < 1:
		return fmt.Errorf("%w: PeerRate and PeerRequests must be positive, PeerBurst at least Piece", ErrTiming)
	case t.TicketLife < time.Second:
		return fmt.Errorf("%w: TicketLife %v, want a second or more", ErrTiming, t.TicketLife)
	case t.JoinRetry <= 0 || t.JoinRetryMax < t.JoinRetry:
		return fmt.Errorf("%w: JoinRetry from %v to %v", ErrTiming, t.JoinRetry, t.JoinRetryMax)
	}
	return nil
}
