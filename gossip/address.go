package gossip

import (
	"crypto/ed25519"
	"fmt"
	"sort"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// PeerID is the peer id of the identity with the given Ed25519 seed.
func PeerID(seed []byte) (string, error) {
	_, id, err := identity(seed)
	return id.String(), err
}

func identity(seed []byte) (crypto.PrivKey, peer.ID, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, "", fmt.Errorf("%w: KeySeed has %d bytes, want %d", ErrConfig, len(seed), ed25519.SeedSize)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, "", fmt.Errorf("gossip: identity: %w", err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, "", fmt.Errorf("gossip: identity: %w", err)
	}
	return key, id, nil
}

// parseAddrs groups multiaddrs with /p2p/ ids by peer, in order of first
// mention.
func parseAddrs(addrs []string) ([]peer.AddrInfo, error) {
	var infos []peer.AddrInfo
	index := make(map[peer.ID]int)
	for _, text := range addrs {
		addr, err := ma.NewMultiaddr(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrAddress, text, err)
		}
		transport, id := peer.SplitAddr(addr)
		if id == "" || len(transport) == 0 {
			return nil, fmt.Errorf("%w: %q", ErrAddress, text)
		}
		i, ok := index[id]
		if !ok {
			i = len(infos)
			index[id] = i
			infos = append(infos, peer.AddrInfo{ID: id})
		}
		infos[i].Addrs = append(infos[i].Addrs, transport)
	}
	return infos, nil
}

func parsePeer(text string) (peer.ID, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return "", fmt.Errorf("%w: %.80q", ErrPeer, text)
	}
	return id, nil
}

// fullAddrs renders addresses of one peer with its id, those that other hosts
// can dial first, loopback last.
func fullAddrs(id peer.ID, addrs []ma.Multiaddr) []string {
	sorted := append([]ma.Multiaddr(nil), addrs...)
	sort.SliceStable(sorted, func(i, j int) bool { return reach(sorted[i]) < reach(sorted[j]) })
	out := make([]string, 0, len(sorted))
	for _, addr := range sorted {
		out = append(out, addr.String()+"/p2p/"+id.String())
	}
	return out
}

// reach orders addresses by how far away they can be dialled from.
func reach(addr ma.Multiaddr) int {
	switch {
	case manet.IsIPLoopback(addr):
		return 3
	case manet.IsIP6LinkLocal(addr):
		return 2
	case manet.IsPublicAddr(addr):
		return 0
	default:
		return 1
	}
}
