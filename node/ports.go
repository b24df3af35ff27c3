package node

import (
	"context"
	"iter"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// Store keeps records. Keys are text with slashes; those of the device start
// with "d/", those of a group with [group.Prefix].
type Store interface {
	// Commit writes all of ops or nothing, in order: of two ops on one key the
	// last one counts. When it returns nil, ops survive a crash.
	Commit(ctx context.Context, ops []group.Op) error
	// Load yields the records whose keys start with prefix, sorted by key.
	Load(ctx context.Context, prefix string) iter.Seq2[group.Op, error]
	// Get returns one value, or an error that is fs.ErrNotExist.
	Get(ctx context.Context, key string) ([]byte, error)
	Close() error
}

// Network is what a [Driver] asks of the network. No method waits for an
// answer of a peer; whatever gets lost is repaired by sync.
type Network interface {
	// Join takes part in a topic among the peers who prove that they have key.
	Join(topic string, key frame.PeerKey) error
	Leave(topic string) error
	Publish(topic string, block []byte) error
	Send(peer, protocol string, message []byte) error
	Peers(topic string) []string
	// Self is this device's name.
	Self() string
	// Addrs lists this device's addresses, each with its peer id at the end.
	Addrs() []string
}

// Transport is a Network with a life of its own.
type Transport interface {
	Network
	Start(h Handler) error
	// Connect dials one peer at any of its addresses and returns its name.
	Connect(ctx context.Context, addrs []string) (peer string, err error)
	// Connections lists the open connections: peer, remote address, and
	// direction, which is "in" or "out".
	Connections() [][3]string
	// ListenAddrs lists what is listened on, with the actual ports, and Known
	// the peers worth dialling: both for the next run.
	ListenAddrs() []string
	Known() []string
	Block(peer string) error // cut the connection and refuse new ones
	Unblock(peer string) error
	Close() error
}

// Handler takes what a [Transport] brings. Its methods may be called from any
// goroutine. Only Check waits, and never for long. It is an alias of an unnamed
// type, so that transports need no import of this package.
type Handler = interface {
	// Check judges a block from a topic: 0 accept, 1 ignore, 2 reject.
	Check(ctx context.Context, topic, from string, block []byte) int
	Message(peer, protocol string, message []byte)
	PeerJoin(topic, peer string)
	PeerLeave(topic, peer string)
	Announce(topic, peer string, cid []byte) // a block too large for gossip
}

// Verdicts of [Handler.Check], defined by what they mean for the peer that
// forwarded the block.
const (
	Accept = 0 // forward it
	Ignore = 1 // not now; the peer is not to blame
	Reject = 2 // wrong for every honest node
)

// Sink hears from a [Driver] what the application should know. It is called
// after the records behind the news are durable.
type Sink interface {
	Events(gid string, events []group.Event)
	// Joined ends an attempt to join that a [Join] input began: err is nil or
	// says why it failed for good.
	Joined(ticket Ticket, gid string, err error)
}

// Protocols of messages between two peers.
const (
	ProtocolSync   = "/dmls/sync/1"
	ProtocolJoin   = "/dmls/join/1"
	ProtocolSignal = "/dmls/signal/1"
)
