package gossip

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

var _ connmgr.ConnectionGater = (*gater)(nil)

// gater refuses connections with blocked peers, both ways. A dial that it
// refuses fails at once and leaves no dial backoff behind.
type gater struct {
	mu      sync.RWMutex
	blocked map[peer.ID]struct{}
}

func newGater() *gater { return &gater{blocked: make(map[peer.ID]struct{})} }

func (g *gater) block(id peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blocked[id] = struct{}{}
}

func (g *gater) unblock(id peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.blocked, id)
}

func (g *gater) isBlocked(id peer.ID) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, ok := g.blocked[id]
	return ok
}

// InterceptPeerDial is asked before a dial begins.
func (g *gater) InterceptPeerDial(id peer.ID) bool { return !g.isBlocked(id) }

// InterceptAddrDial is asked for each address of a dial.
func (g *gater) InterceptAddrDial(id peer.ID, _ ma.Multiaddr) bool { return !g.isBlocked(id) }

// InterceptAccept lets all in: the peer is not known yet.
func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured is asked when the handshake has proved the peer's id.
func (g *gater) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return !g.isBlocked(id)
}

// InterceptUpgraded catches a connection whose peer was blocked during its
// handshake.
func (g *gater) InterceptUpgraded(conn network.Conn) (bool, control.DisconnectReason) {
	return !g.isBlocked(conn.RemotePeer()), 0
}
