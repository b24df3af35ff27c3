// Package gossip carries blocks and stream messages between peers over
// libp2p: gossipsub topics with a validator at the door, one-way messages on
// streams, discovery on the local network, and reconnection (design, sections
// 3 and 5.7). It knows neither groups nor keys: a topic is an opaque name, a
// block opaque bytes with a CID.
//
// It is a hint, not the truth: a block may be dropped on the way (a burst, a
// peer that is not yet meshed, a full queue) without an error at the sender.
// Whoever needs all blocks runs sync on every PeerJoin.
//
// What strangers see: peer id, addresses, and about how many topics there are.
// Topics are told, and blocks sent, only to peers that have proved to know the
// topic's key, on the connection that names both. Who shares one topic with a
// host is told the names of all its topics, which are opaque.
package gossip

import "context"

// What Handler.Check answers. They are plain ints so that no package needs
// this one for its verdicts.
const (
	Accept = 0 // forward it
	Ignore = 1 // do not forward, nobody is to blame; Publish it again once it opens
	Reject = 2 // wrong for every honest peer
)

// Handler receives what arrives. It is an alias of an unnamed type, so that a
// package that declares the same one needs no import of this package.
//
// No method is called before Start or after Close has returned. They are called
// from many goroutines; Message, Announce, PeerJoin and PeerLeave must not
// block, and none of them may call Close or Leave in the same goroutine.
type Handler = interface {
	// Check judges a block of at most MaxGossip bytes that from has forwarded:
	// Accept, Ignore or Reject. It may wait for about a second; ctx ends when
	// the transport closes or two seconds have passed. It may keep block but
	// not change it. Blocks come in no particular order; the caller's own
	// blocks are not checked.
	Check(ctx context.Context, topic string, from string, block []byte) int

	// Message hands over a message that peer sent with Send. The receiver owns
	// message. Messages of one peer and protocol come in the order of sending.
	Message(peer, protocol string, message []byte)

	// Announce says that peer holds the block with this binary CID (CIDv1, raw,
	// sha2-256), which was too large to be gossiped. The announcement is not
	// forwarded: whoever has fetched the block calls Publish and so announces it
	// to its own peers.
	Announce(topic, peer string, cid []byte)

	// PeerJoin and PeerLeave say that a connected peer subscribed to a joined
	// topic, or is gone from it.
	PeerJoin(topic, peer string)
	PeerLeave(topic, peer string)
}
