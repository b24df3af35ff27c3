package gossip

import (
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// behind starts a host that can be reached through the relay only.
func behind(t *testing.T, name string, relay []string) (*Transport, *recorder) {
	t.Helper()
	h, r := start(t, name, func(c *Config) { c.Listen, c.NoListen, c.Relays = nil, true, relay })
	eventually(t, 30*time.Second, name+" has a slot at the relay", func() bool { return len(h.Addrs()) > 0 })
	if addrs := h.Addrs(); !strings.Contains(addrs[0], "/p2p-circuit/p2p/"+h.Self()) {
		t.Fatalf("addresses of %s: %v", name, addrs)
	}
	return h, r
}

// Over a relay of ours everything works as over a direct connection.
func TestRelayService(t *testing.T) {
	relay, _ := start(t, "relay", func(c *Config) { c.RelayService = true })
	a, _ := behind(t, "a", relay.Addrs())
	b, rb := behind(t, "b", relay.Addrs())
	join(t, a, b)
	connect(t, b, a)
	eventually(t, 10*time.Second, "peers of the topic", func() bool { return len(a.Peers(topic)) == 1 && len(b.Peers(topic)) == 1 })
	publish(t, a, "over the relay")
	eventually(t, 10*time.Second, "block", func() bool { return rb.has("over the relay") })
	if relay.Peers(topic) != nil {
		t.Error("the relay is in the topic")
	}
}

// A relay with limits gives connections that gossipsub leaves out. Peers of a
// topic find each other all the same, and streams carry what sync needs.
func TestLimitedRelay(t *testing.T) {
	relay, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics(),
		libp2p.EnableRelayService(), libp2p.ForceReachabilityPublic())
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	addrs := fullAddrs(relay.ID(), relay.Addrs())
	a, ra := behind(t, "a", addrs)
	b, rb := behind(t, "b", addrs)
	join(t, a)
	connect(t, b, a)
	if c := b.host.Network().Connectedness(a.host.ID()); c != network.Limited {
		t.Fatalf("b and a are %v", c)
	}
	join(t, b) // later than the connection
	sees := func(r *recorder, other *Transport) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.joined[other.Self()] == 1
	}
	eventually(t, 10*time.Second, "PeerJoin on both sides", func() bool { return sees(ra, b) && sees(rb, a) })
	if len(a.Peers(topic)) != 1 || len(b.Peers(topic)) != 1 {
		t.Errorf("peers of the topic: %v, %v", a.Peers(topic), b.Peers(topic))
	}
	if err := a.Send(b.Self(), SyncProtocol, []byte("tips")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "message over the relay", func() bool { return len(rb.received()) == 1 })
	if err := b.host.Network().ClosePeer(a.host.ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "PeerLeave", func() bool {
		ra.mu.Lock()
		defer ra.mu.Unlock()
		return ra.left[b.Self()] >= 1
	})
}

// A member whose address is out of date is found by its id.
func TestDHTFindsMovedMember(t *testing.T) {
	meeting, _ := start(t, "meeting", func(c *Config) { c.DHT = true })
	known := func(c *Config) { c.DHT, c.Static = true, meeting.Addrs() }
	a, _ := start(t, "a", known)
	b, _ := start(t, "b", known)
	eventually(t, 30*time.Second, "both know the meeting point", func() bool {
		return len(a.Connections()) > 0 && len(b.Connections()) > 0 && meeting.dht.RoutingTable().Size() == 2
	})
	a.keeper.add(b.host.ID(), []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/9")}, isMember)
	eventually(t, 60*time.Second, "a reaches b", func() bool {
		return a.host.Network().Connectedness(b.host.ID()) == network.Connected
	})
}

// Without being asked for, nothing of this is there.
func TestInternetIsOptIn(t *testing.T) {
	a, _ := start(t, "a")
	for _, p := range a.host.Mux().Protocols() {
		if strings.Contains(string(p), "/kad/") || strings.Contains(string(p), "circuit/relay/0.2.0/hop") || strings.Contains(string(p), "dcutr") {
			t.Errorf("%s is served", p)
		}
	}
}
