package gossip

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrClosed     = errors.New("gossip: transport is closed")
	ErrNotStarted = errors.New("gossip: transport is not started")
	ErrStarted    = errors.New("gossip: transport was started before")
	ErrConfig     = errors.New("gossip: invalid configuration")
	ErrListen     = errors.New("gossip: cannot listen")
	ErrAddress    = errors.New("gossip: not a dialable address with a /p2p/ id")
	ErrPeer       = errors.New("gossip: not a peer id of another host")
	ErrTopic      = errors.New("gossip: topic not joined")
	ErrProtocol   = errors.New("gossip: protocol not registered")
	ErrBlocked    = errors.New("gossip: peer is blocked")
	ErrTooLarge   = errors.New("gossip: message too large")
	ErrReserved   = errors.New("gossip: block begins like an announcement")
	ErrQueueFull  = errors.New("gossip: outgoing queue is full")
)

// The stream protocols that every transport speaks; Config.Protocols adds more.
const (
	SyncProtocol   = "/dmls/sync/1"
	JoinProtocol   = "/dmls/join/1"
	SignalProtocol = "/dmls/signal/1"
)

// Bounds that are part of the wire protocol.
const (
	MaxGossip = 512 << 10 // bytes of a gossiped block; larger ones are announced by CID
	MaxStream = 64 << 20  // default bound of a stream message, bytes
	MaxSignal = 1 << 20   // bound of a /dmls/signal/1 message, bytes
)

// Config says who the transport is, where it listens and whom it keeps.
type Config struct {
	KeySeed []byte // Ed25519 seed of the libp2p identity, 32 bytes; apart from the MLS key

	// Listen holds multiaddrs; nil means TCP and QUIC on random ports of all
	// IPv4 interfaces. A taken port falls back to a random one, so that the
	// ListenAddrs of the last run can be handed in.
	Listen   []string
	NoListen bool // dial only

	Static     []string // multiaddrs with /p2p/ id that are always kept connected
	Remembered []string // what Known returned in the last run
	MDNS       bool     // find peers on the local network

	// Beyond the local network, all off by default; see internet.go for what
	// each of them tells to whom.
	Relays       []string // multiaddrs with /p2p/ id of relays that take connections for this host
	RelayService bool     // be such a relay for everybody who can connect
	HolePunching bool     // try to turn relayed connections into direct ones
	DHT          bool     // find peers by their id in a DHT of dmls hosts, begun at Static and Relays

	// OnAddresses, if set, is told Known whenever it changes, at most once a
	// second, from one goroutine.
	OnAddresses func([]string)

	Logger    *slog.Logger // nil: silent
	UserAgent string       // shown to peers; empty: "dmls"

	Protocols   []string       // further stream protocols
	MaxMessage  int            // bytes of a stream message, 1 to 256 MiB; 0: MaxStream
	MaxMessages map[string]int // per protocol instead of MaxMessage; SignalProtocol has MaxSignal

	Heartbeat time.Duration // of gossipsub, 100 ms to 1 min; 0: 1 s
}

// Validate reports the first field that is out of its bounds.
func (c *Config) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
	}
	if len(c.KeySeed) != ed25519.SeedSize {
		return bad("KeySeed has %d bytes, want %d", len(c.KeySeed), ed25519.SeedSize)
	}
	const most = 256 << 20
	if c.MaxMessage < 0 || c.MaxMessage > most {
		return bad("MaxMessage %d is not within 1 and %d bytes", c.MaxMessage, most)
	}
	for protocol, size := range c.MaxMessages {
		if size < 1 || size > most {
			return bad("MaxMessages[%s] %d is not within 1 and %d bytes", protocol, size, most)
		}
	}
	if h := c.Heartbeat; h != 0 && (h < 100*time.Millisecond || h > time.Minute) {
		return bad("Heartbeat %v is not within 100ms and 1m", h)
	}
	if c.NoListen && len(c.Listen) > 0 {
		return bad("NoListen and Listen exclude each other")
	}
	for _, protocol := range c.Protocols {
		if len(protocol) < 2 || protocol[0] != '/' {
			return bad("protocol %q does not begin with a slash", protocol)
		}
	}
	for _, list := range [][]string{c.Static, c.Remembered, c.Relays} {
		if _, err := parseAddrs(list); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return nil
}

// protocols is the list of all stream protocols.
func (c *Config) protocols() []string {
	return append([]string{SyncProtocol, JoinProtocol, SignalProtocol}, c.Protocols...)
}

// limit is the largest message that protocol carries, in bytes.
func (c *Config) limit(protocol string) int {
	if n, ok := c.MaxMessages[protocol]; ok {
		return n
	}
	n := c.MaxMessage
	if n == 0 {
		n = MaxStream
	}
	if protocol == SignalProtocol && n > MaxSignal {
		n = MaxSignal
	}
	return n
}
