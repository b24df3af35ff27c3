package gossip

import (
	"context"
	"errors"
)

// Transport is a libp2p host with the house's topics and protocols.
type Transport struct{}

// New builds the host and listens; nothing is dialled or delivered before
// Start. The end of ctx closes the transport.
func New(ctx context.Context, config Config) (*Transport, error) { return nil, errors.ErrUnsupported }

// Start begins deliveries to h, mDNS, and dialling of static and remembered peers.
func (t *Transport) Start(h Handler) error { return errors.ErrUnsupported }

// Join subscribes to topic. Joining twice is no error.
func (t *Transport) Join(topic string) error { return errors.ErrUnsupported }

// Leave ends the subscription to topic.
func (t *Transport) Leave(topic string) error { return errors.ErrUnsupported }

// Publish gossips block, or announces its CID when it exceeds MaxGossip.
func (t *Transport) Publish(topic string, block []byte) error { return errors.ErrUnsupported }

// Send queues message for peer.
func (t *Transport) Send(peer, protocol string, message []byte) error { return errors.ErrUnsupported }

// Peers lists the connected peers of topic, sorted.
func (t *Transport) Peers(topic string) []string { return nil }

// Connect dials any of addrs and returns the id of the peer reached.
func (t *Transport) Connect(ctx context.Context, addrs []string) (peer string, err error) {
	return "", errors.ErrUnsupported
}

// Self is the own peer id.
func (t *Transport) Self() string { return "" }

// Addrs lists own addresses with /p2p/ id, loopback last.
func (t *Transport) Addrs() []string { return nil }

// ListenAddrs lists what the host listens on, with the actual ports, for
// Config.Listen of the next run.
func (t *Transport) ListenAddrs() []string { return nil }

// Known lists addresses of peers worth dialling in the next run.
func (t *Transport) Known() []string { return nil }

// Connections lists the open connections, sorted by peer.
func (t *Transport) Connections() []Conn { return nil }

// Block closes all connections with peer and refuses new ones both ways.
func (t *Transport) Block(peer string) error { return errors.ErrUnsupported }

// Unblock undoes Block and dials peer.
func (t *Transport) Unblock(peer string) error { return errors.ErrUnsupported }

// Close ends everything. It is idempotent.
func (t *Transport) Close() error { return nil }
