package gossip

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// mdnsService is the DNS-SD name under which daemons find each other.
const mdnsService = "_dmls._udp"

// mdnsPause is the least time between two starts of the service.
const mdnsPause = 5 * time.Second

// discovery finds peers on the local network. The service announces the
// addresses that the host had at its start, so it is started anew whenever
// they change (another network, a cable).
type discovery struct{ t *Transport }

func newDiscovery(t *Transport) *discovery { return &discovery{t: t} }

// HandlePeerFound is called once for each start of a peer's service; the keeper
// does the rest.
func (d *discovery) HandlePeerFound(info peer.AddrInfo) {
	_, exit, ok := d.t.enter()
	if !ok {
		return
	}
	defer exit()
	d.t.log.Debug("found on the local network", "peer", info.ID, "addrs", info.Addrs)
	d.t.keeper.add(info.ID, info.Addrs, 0)
	d.t.keeper.hurry(info.ID) // it may just have come back
}

// run keeps the service going until the transport closes.
func (d *discovery) run() {
	var changed <-chan any
	sub, err := d.t.host.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated))
	if err != nil {
		d.t.log.Error("mDNS will not follow changes of addresses", "err", err)
	} else {
		defer sub.Close()
		changed = sub.Out()
	}
	for d.t.ctx.Err() == nil {
		announced := d.addrs()
		service := mdns.NewMdnsService(d.t.host, mdnsService, d)
		// Without a network there is nobody to find; the next change of
		// addresses, or a minute, brings another try.
		var again <-chan time.Time
		if err := service.Start(); err != nil {
			d.t.log.Warn("mDNS is not available, peers on this network are not found", "err", err)
			again = time.After(time.Minute)
		}
		d.await(changed, again, announced)
		if err := service.Close(); err != nil {
			d.t.log.Warn("mDNS did not stop", "err", err)
		}
	}
}

// await returns when the service must be started anew, or not at all.
func (d *discovery) await(changed <-chan any, again <-chan time.Time, announced []string) {
	for {
		select {
		case <-d.t.ctx.Done():
			return
		case <-again:
			return
		case _, ok := <-changed:
			if !ok {
				changed = nil // the host is closing
				continue
			}
			pause(d.t.ctx, mdnsPause) // changes come in bunches
			if !slices.Equal(announced, d.addrs()) {
				return
			}
		}
	}
}

// addrs lists what the service announces, sorted.
func (d *discovery) addrs() []string {
	addrs, err := d.t.host.Network().InterfaceListenAddresses()
	if err != nil {
		return nil // as good as none: the service cannot start either
	}
	var out []string
	for _, addr := range addrs {
		out = append(out, addr.String())
	}
	slices.Sort(out)
	return out
}
