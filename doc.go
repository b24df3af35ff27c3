// Package dmls is end-to-end encrypted group messaging without a server: MLS
// (RFC 9420) on a key schedule that survives forks (draft-kohbrok-mls-dmls),
// between peers that find each other. Partitions, lost messages and restarts
// are ordinary; groups fork and heal.
//
// A program opens a device and uses it:
//
//	n, err := dmls.Open(ctx, dmls.Config{Home: "/var/lib/chat", Name: "alice"})
//	if err != nil {
//		return err
//	}
//	defer n.Close()
//
//	gid, err := n.CreateGroup(ctx, "ops")
//	ticket, err := n.Invite(ctx, gid) // one line; hand it to bob, who calls
//	gid, err = bob.Join(ctx, ticket)  // and is a member when Join returns
//
//	id, err := n.Send(ctx, gid, "hello") // durable when it returns
//	for event, err := range n.Events(ctx, gid, 0, true) {
//		// messages, forks, merges, erasures: everything, once, in order
//	}
//
// [Open] wires the parts together: package store (badger), package gossip
// (libp2p) and package node, which runs the groups. Who has another transport
// or another disk sets Config.Transport or Config.Store, or stands on package
// group alone, which is a pure state machine; see examples/embed and
// examples/pure.
package dmls
