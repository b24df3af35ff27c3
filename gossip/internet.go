package gossip

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// What is needed beyond a local network is off unless it is asked for: a relay
// learns who talks to whom, a DHT tells everybody the address of a peer id, and
// whoever serves either spends its bandwidth on strangers.

// Timing of reservations and searches.
const (
	reserveTime  = 20 * time.Second // for one reservation
	reserveEarly = 5 * time.Minute  // before its end it is renewed
	reserveLook  = 5 * time.Second  // between two looks at the connection with the relay
	reserveRetry = 5 * time.Second  // after the first failure; doubled up to reserveSlow
	reserveSlow  = 2 * time.Minute
	searchTime   = 20 * time.Second // for a peer in the DHT
)

// dhtPrefix keeps our DHT apart from others'.
const dhtPrefix = "/dmls"

// circuits holds the addresses at which relays take connections for us.
type circuits struct {
	mu    sync.Mutex
	addrs map[peer.ID][]ma.Multiaddr
}

func newCircuits() *circuits { return &circuits{addrs: make(map[peer.ID][]ma.Multiaddr)} }

func (c *circuits) set(id peer.ID, addrs []ma.Multiaddr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if addrs == nil {
		delete(c.addrs, id)
	} else {
		c.addrs[id] = addrs
	}
}

// with adds them to the addresses that the host tells.
func (c *circuits) with(own []ma.Multiaddr) []ma.Multiaddr {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(own)
	for _, addrs := range c.addrs {
		out = append(out, addrs...)
	}
	slices.SortFunc(out[len(own):], func(a, b ma.Multiaddr) int { return a.Compare(b) })
	return out
}

// internet lists the host's options for what the configuration asks for.
func (t *Transport) internet() []libp2p.Option {
	// Whoever gets a ticket of a device behind a relay can use it unasked.
	options := []libp2p.Option{libp2p.AddrsFactory(t.circuits.with), libp2p.EnableRelay()}
	if t.config.RelayService {
		// With the usual limits, 128 KiB and 2 minutes, gossip does not flow.
		options = append(options, libp2p.EnableRelayService(relay.WithInfiniteLimits()), libp2p.ForceReachabilityPublic())
	}
	if t.config.HolePunching {
		options = append(options, libp2p.EnableHolePunching())
	}
	return options
}

// openDHT begins to take part in the DHT of dmls hosts: as a server unless the
// host finds out that it cannot be reached.
func (t *Transport) openDHT() error {
	if !t.config.DHT {
		return nil
	}
	var err error
	t.dht, err = dht.New(t.host, dht.ProtocolPrefix(dhtPrefix), dht.Mode(dht.ModeAutoServer),
		dht.DisableProviders(), dht.DisableValues(),
		dht.BootstrapPeersFunc(func() []peer.AddrInfo {
			infos, _ := parseAddrs(append(slices.Clone(t.config.Static), t.config.Relays...)) // Validate has parsed them
			return infos
		}))
	if err != nil {
		return fmt.Errorf("gossip: DHT: %w", err)
	}
	return nil
}

// search asks the DHT for addresses of a peer that could not be dialled.
func (t *Transport) search(id peer.ID) {
	if t.dht == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.ctx, searchTime)
	defer cancel()
	info, err := t.dht.FindPeer(ctx, id)
	t.log.Debug("searched", "peer", id, "addrs", info.Addrs, "err", err)
	if err == nil && len(info.Addrs) > 0 {
		t.keeper.add(id, info.Addrs, 0)
	}
}

// startInternet begins what goes on by itself. The caller holds t.mu.
func (t *Transport) startInternet() {
	infos, err := parseAddrs(t.config.Relays)
	if err != nil {
		t.log.Error("list of relays was changed after New", "err", err)
	}
	for _, info := range infos {
		t.keeper.add(info.ID, info.Addrs, isStatic)
		t.spawn(func() { t.reserve(info) })
	}
	if t.dht != nil {
		t.spawn(func() {
			if err := t.dht.Bootstrap(t.ctx); err != nil {
				t.log.Warn("the DHT does not begin", "err", err)
			}
		})
	}
}

// reserve keeps a slot at a relay until the transport closes.
func (t *Transport) reserve(info peer.AddrInfo) {
	for retry := reserveRetry; t.ctx.Err() == nil; {
		end, err := t.reserveOnce(info)
		if err != nil {
			t.log.Warn("no slot at the relay", "relay", info.ID, "err", err)
			pause(t.ctx, retry)
			retry = min(2*retry, reserveSlow)
			continue
		}
		retry = reserveRetry
		for time.Until(end) > reserveEarly && t.host.Network().Connectedness(info.ID) == network.Connected && t.ctx.Err() == nil {
			pause(t.ctx, reserveLook)
		}
		if t.host.Network().Connectedness(info.ID) != network.Connected {
			t.circuits.set(info.ID, nil)
		}
	}
}

func (t *Transport) reserveOnce(info peer.AddrInfo) (end time.Time, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, reserveTime)
	defer cancel()
	if err := t.dial(ctx, info); err != nil {
		return end, err
	}
	r, err := client.Reserve(ctx, t.host, info)
	if err != nil {
		t.circuits.set(info.ID, nil)
		return end, fmt.Errorf("gossip: reserve: %w", err)
	}
	t.host.ConnManager().Protect(info.ID, service)
	circuit := ma.StringCast("/p2p/" + info.ID.String() + "/p2p-circuit")
	var addrs []ma.Multiaddr
	for _, addr := range info.Addrs {
		addrs = append(addrs, addr.Encapsulate(circuit))
	}
	t.circuits.set(info.ID, addrs)
	return r.Expiration, nil
}

// relayed says hello to peers that can be reached over a relay only, which
// gossipsub leaves out, and reports who takes part in our topics. Sync serves
// them; blocks are not gossiped to them.
type relayed struct {
	t *Transport

	mu     sync.Mutex
	joined map[peer.ID]map[string]bool
}

func newRelayed(t *Transport) *relayed {
	return &relayed{t: t, joined: make(map[peer.ID]map[string]bool)}
}

// greet says hello, if the peer is worth it.
func (r *relayed) greet(id peer.ID) {
	if r.t.host.Network().Connectedness(id) != network.Limited {
		return
	}
	if err := r.t.proofs.say(r.t.ctx, id, ""); err != nil {
		r.t.log.Debug("no hello over the relay", "peer", id, "err", err)
	}
}

// proved reports topics that a relayed peer has proved.
func (r *relayed) proved(id peer.ID, topics []string) {
	if r.t.host.Network().Connectedness(id) != network.Limited {
		return
	}
	h, exit, ok := r.t.enter()
	if !ok {
		return
	}
	defer exit()
	r.t.keeper.member(id)
	for _, topic := range topics {
		r.mu.Lock()
		if r.joined[id] == nil {
			r.joined[id] = make(map[string]bool)
		}
		news := !r.joined[id][topic]
		r.joined[id][topic] = true
		r.mu.Unlock()
		if news {
			h.PeerJoin(topic, id.String())
		}
	}
}

// gone reports that a relayed peer has left, or that gossipsub has it now.
func (r *relayed) gone(id peer.ID) {
	r.mu.Lock()
	topics := r.joined[id]
	delete(r.joined, id)
	r.mu.Unlock()
	if len(topics) == 0 || r.t.host.Network().Connectedness(id) == network.Connected {
		return
	}
	h, exit, ok := r.t.enter()
	if !ok {
		return
	}
	defer exit()
	for topic := range topics {
		h.PeerLeave(topic, id.String())
	}
}

// in lists relayed peers of a topic.
func (r *relayed) in(topic string) (ids []peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, topics := range r.joined {
		if topics[topic] {
			ids = append(ids, id)
		}
	}
	return ids
}
