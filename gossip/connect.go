package gossip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// connected says whether streams can be opened, over a relay at least.
func (t *Transport) connected(id peer.ID) bool {
	c := t.host.Network().Connectedness(id)
	return c == network.Connected || c == network.Limited
}

// Connections lists the open connections: peer, remote address and direction
// ("in" or "out"), sorted.
func (t *Transport) Connections() [][3]string {
	var out [][3]string
	for _, conn := range t.host.Network().Conns() {
		direction := "out"
		if conn.Stat().Direction == network.DirInbound {
			direction = "in"
		}
		out = append(out, [3]string{conn.RemotePeer().String(), conn.RemoteMultiaddr().String(), direction})
	}
	slices.SortFunc(out, func(a, b [3]string) int { return slices.Compare(a[:], b[:]) })
	return out
}

// dialTimeout bounds one dial over all addresses of a peer.
const dialTimeout = 10 * time.Second

// helloTimeout bounds how long Connect waits for gossipsub's first packets.
const helloTimeout = time.Second

// Connect dials the peers named by addrs, in order, until one is reached, and
// returns its id. With a topic joined it waits up to a second until both sides
// know each other's topics, so that a Publish right after it arrives.
func (t *Transport) Connect(ctx context.Context, addrs []string) (string, error) {
	infos, err := parseAddrs(addrs)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)() // Close ends a Connect
	failed := fmt.Errorf("%w: no address given", ErrAddress)
	for i, info := range infos {
		err := t.dial(ctx, info)
		if err == nil {
			t.mu.Lock()
			topics := len(t.topics)
			t.mu.Unlock()
			// A peer without a topic of ours sends nothing: do not make joiners wait.
			if topics > 0 && t.proofs.say(ctx, info.ID, "") == nil {
				t.hellos.wait(ctx, info.ID, helloTimeout)
			}
			return info.ID.String(), nil
		}
		if i == 0 {
			failed = err
		} else {
			failed = errors.Join(failed, err)
		}
	}
	return "", failed
}

// dial connects to one peer, whatever the swarm's backoff for it says: after a
// partition that backoff would keep peers apart for minutes.
func (t *Transport) dial(ctx context.Context, info peer.AddrInfo) error {
	if info.ID == t.host.ID() {
		return fmt.Errorf("%w: %s is this host", ErrAddress, info.ID)
	}
	if t.gater.isBlocked(info.ID) {
		return fmt.Errorf("%w: %s", ErrBlocked, info.ID)
	}
	if t.ctx.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, service), dialTimeout)
	defer cancel()
	t.forgive(info.ID)
	if err := t.host.Connect(ctx, info); err != nil {
		return fmt.Errorf("gossip: connect: %w", err)
	}
	return nil
}

// forgive clears the swarm's dial backoff for a peer. Dialling with
// network.WithForceDirectDial would pass it by as well, but go-libp2p 0.51
// crashes when such a dial meets the closing of its swarm (nonProxyAddr).
func (t *Transport) forgive(id peer.ID) {
	if s, ok := t.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(id)
	}
}

// Block closes all connections with a peer and refuses new ones, both ways,
// until Unblock or the end of the process.
func (t *Transport) Block(peer string) error {
	id, err := parsePeer(peer)
	if err != nil {
		return err
	}
	if id == t.host.ID() {
		return fmt.Errorf("%w: %s is this host", ErrPeer, peer)
	}
	t.keeper.add(id, t.host.Peerstore().Addrs(id), 0)
	t.gater.block(id)
	t.sender.forget(id)
	if err := t.host.Network().ClosePeer(id); err != nil {
		return fmt.Errorf("gossip: close connections with %s: %w", peer, err)
	}
	return nil
}

// Unblock undoes Block and dials the peer in the background.
func (t *Transport) Unblock(peer string) error {
	id, err := parsePeer(peer)
	if err != nil {
		return err
	}
	t.gater.unblock(id)
	t.keeper.hurry(id)
	return nil
}
