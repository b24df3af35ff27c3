package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/node"
)

// port is a device's view of the simulated network. Nothing leaves a device
// that has died.
type port struct{ d *device }

var _ node.Network = (*port)(nil)

func (p *port) Join(topic string, _ frame.PeerKey) error {
	d := p.d
	if d.dead || d.topics[topic] {
		return nil
	}
	d.topics[topic] = true
	for _, o := range d.world.devices {
		if o != d && d.world.linked(d, o) {
			d.world.meet(d, o, topic)
		}
	}
	return nil
}

func (p *port) Leave(topic string) error {
	if p.d.dead {
		return nil
	}
	delete(p.d.topics, topic)
	p.d.world.part(p.d, topic)
	return nil
}

// Publish floods a block to the topic's peers on the same island.
func (p *port) Publish(topic string, block []byte) error {
	if p.burn() {
		return nil
	}
	p.d.world.tap(block)
	for _, o := range p.d.world.devices {
		if o != p.d && o.topics[topic] {
			p.d.world.carry(p.d, o, block, node.Deliver{Topic: topic, From: p.d.name, Block: block})
		}
	}
	return nil
}

func (p *port) Send(peer, protocol string, message []byte) error {
	if p.burn() {
		return nil
	}
	o := p.d.world.byName[peer]
	if o == nil {
		return fmt.Errorf("sim: no peer %q", peer)
	}
	p.d.world.carry(p.d, o, message, node.Message{Peer: p.d.name, Protocol: protocol, Body: message})
	return nil
}

// burn lets a lit fuse burn down by one act on the network and reports whether
// the device is dead.
func (p *port) burn() bool {
	if p.d.fuse > 0 {
		p.d.fuse--
		p.d.dead = p.d.dead || p.d.fuse == 0
	}
	return p.d.dead
}

func (p *port) Peers(topic string) []string {
	var out []string
	for _, o := range p.d.world.devices {
		if o != p.d && o.topics[topic] && p.d.world.linked(p.d, o) {
			out = append(out, o.name)
		}
	}
	return out
}

func (p *port) Self() string { return p.d.name }

func (p *port) Addrs() []string { return []string{"/sim/" + p.d.name} }

// linked reports whether two devices can reach each other now.
func (w *world) linked(a, b *device) bool {
	return a.island == b.island && a.driver != nil && b.driver != nil
}

// carry takes an input from one device to another: late, twice, or never. What
// is under way when the link is cut or the receiver dies is lost.
func (w *world) carry(from, to *device, bytes []byte, in node.Input) {
	if from.island != to.island || to.driver == nil {
		return
	}
	w.wire.Write(bytes)
	w.carried++
	copies := 1
	if !w.quiet {
		lost, twice := w.net.Float64() < w.Loss, w.net.Float64() < w.Duplicate
		switch {
		case lost:
			return
		case twice:
			copies = 2
		}
	}
	life := to.life
	for range copies {
		w.after(w.latency(), func() {
			if from.island == to.island && to.life == life {
				to.take(in)
			}
		})
	}
}

func (w *world) latency() time.Duration {
	d := w.MinLatency + time.Duration(w.net.Int64N(int64(w.MaxLatency-w.MinLatency)+1))
	if !w.quiet && w.net.Float64() < w.Reorder {
		d += time.Duration(w.net.Int64N(int64(10*w.MaxLatency) + 1))
	}
	return d
}

// meet tells two devices that they are peers of a topic now.
func (w *world) meet(a, b *device, topic string) {
	w.after(w.latency(), func() {
		if w.linked(a, b) && a.topics[topic] && b.topics[topic] {
			a.take(node.PeerJoin{Topic: topic, Peer: b.name})
			b.take(node.PeerJoin{Topic: topic, Peer: a.name})
		}
	})
}

// part tells a topic's peers that a device has left it.
func (w *world) part(d *device, topic string) {
	for _, o := range w.devices {
		if o != d && o.topics[topic] && o.island == d.island && o.driver != nil {
			o.take(node.PeerLeave{Topic: topic, Peer: d.name})
		}
	}
}

// vanish takes a device that crashed off the network.
func (w *world) vanish(d *device) {
	for _, topic := range slices.Sorted(maps.Keys(d.topics)) {
		w.part(d, topic)
	}
	clear(d.topics)
}

// cut puts the devices on islands. Those that were linked part.
func (w *world) cut(island func(*device) int) {
	for _, d := range w.devices {
		d.island = island(d)
	}
	for _, a := range w.devices {
		for _, b := range w.devices {
			if a.island == b.island || a.driver == nil {
				continue
			}
			for _, topic := range slices.Sorted(maps.Keys(a.topics)) {
				if b.topics[topic] {
					a.take(node.PeerLeave{Topic: topic, Peer: b.name})
				}
			}
		}
	}
}

// heal joins the islands. A device in deaf stays alone.
func (w *world) heal() {
	was := map[*device]int{}
	for _, d := range w.devices {
		was[d] = d.island
		d.island = 0
		if d == w.deaf {
			d.island = -1
		}
	}
	for i, a := range w.devices {
		for _, b := range w.devices[i+1:] {
			if was[a] == was[b] || !w.linked(a, b) {
				continue
			}
			for _, topic := range slices.Sorted(maps.Keys(a.topics)) {
				w.meet(a, b, topic)
			}
		}
	}
}
