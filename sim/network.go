package sim

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
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
	for _, o := range d.near {
		if d.world.linked(d, o) {
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

// Publish floods a block to the neighbours in the topic.
func (p *port) Publish(topic string, block []byte) error {
	if p.burn() {
		return nil
	}
	blocks := [][]byte{block}
	if p.d.hook.out != nil {
		blocks = p.d.hook.out(topic, block)
	}
	for _, b := range blocks {
		p.d.world.tap(b, p.d, false)
		if m := p.d.world.meter; m != nil {
			m.publish(b)
		}
		p.d.hasSeen(b)
		p.d.flood(topic, b, "")
	}
	return nil
}

// flood sends a block to the neighbours in the topic but one.
func (d *device) flood(topic string, block []byte, but string) {
	var in node.Input = node.Deliver{Topic: topic, From: d.name, Block: block}
	for _, o := range d.near {
		if o.topics[topic] && o.name != but {
			d.world.carry(d, o, block, in)
		}
	}
}

// hasSeen reports whether gossip had a block before. Only where blocks are
// handed on does it remember them: as with libp2p, a block reaches the device
// once and goes on from it once.
func (d *device) hasSeen(block []byte) bool {
	if !d.relays || len(block) == 0 {
		return false
	}
	n := d.world.blocks.number(block)
	if missing := n/64 + 1 - len(d.seen); missing > 0 {
		d.seen = append(d.seen, make([]uint64, missing)...)
	}
	was := d.seen[n/64]>>(n%64)&1 == 1
	d.seen[n/64] |= 1 << (n % 64)
	return was
}

// blockNumbers numbers blocks by what is in them. A block is not changed any
// more, and travels as one slice: where it begins tells most of them apart.
type blockNumbers struct {
	at  map[slice]int
	sum map[[sha256.Size]byte]int
}

type slice struct {
	first *byte
	size  int
}

func (b *blockNumbers) number(block []byte) int {
	at := slice{&block[0], len(block)}
	if n, ok := b.at[at]; ok {
		return n
	}
	sum := sha256.Sum256(block)
	n, ok := b.sum[sum]
	if !ok {
		n = len(b.sum)
		b.sum[sum] = n
	}
	b.at[at] = n
	return n
}

// relay hands on what the device has accepted.
func (d *device) relay(in node.Input, o node.Outcome) {
	b, ok := in.(node.Deliver)
	if !ok || !d.relays || len(o.Results) != 1 {
		return
	}
	switch o.Results[0].Verdict {
	case group.Applied, group.Forked, group.Duplicate, group.Unopenable:
		d.flood(b.Topic, b.Block, b.From)
	}
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
	for _, o := range p.d.near {
		if o.topics[topic] && p.d.world.linked(p.d, o) {
			out = append(out, o.name)
		}
	}
	return out
}

func (p *port) Self() string { return p.d.name }

func (p *port) Addrs() []string { return []string{"/sim/" + p.d.name} }

// wireUp gives each device its neighbours.
func (w *world) wireUp() {
	n := len(w.devices)
	link := func(i, j int) {
		a, b := w.devices[i], w.devices[j]
		if a != b && !slices.Contains(a.near, b) {
			a.near, b.near = append(a.near, b), append(b.near, a)
		}
	}
	switch w.Network.Topology {
	case Ring, Line:
		for i := range n - 1 {
			link(i, i+1)
		}
		if w.Network.Topology == Ring {
			link(n-1, 0)
		}
	case Star:
		for i := range n {
			link(0, i)
		}
	case Random:
		w.wireAtRandom(link)
	default:
		for i, d := range w.devices {
			d.near = slices.Concat(w.devices[:i], w.devices[i+1:])
		}
		return
	}
	for _, d := range w.devices {
		d.relays = true
		slices.SortFunc(d.near, func(a, b *device) int { return a.number - b.number })
	}
}

// bypass connects the neighbours of devices that did not get into the group with
// each other. Such a device passes nothing on, and whoever hangs on it alone
// would look for another peer.
func (w *world) bypass() {
	for _, d := range w.devices {
		if d.joined {
			continue
		}
		for i, a := range d.near {
			for _, b := range d.near[i+1:] {
				if slices.Contains(a.near, b) {
					continue
				}
				a.near, b.near = append(a.near, b), append(b.near, a)
				for _, topic := range slices.Sorted(maps.Keys(a.topics)) {
					w.meet(a, b, topic)
				}
			}
		}
	}
}

// usualDegree is what gossipsub aims at.
const usualDegree = 6

// wireAtRandom is a ring, so that nobody is left out, with random chords.
func (w *world) wireAtRandom(link func(i, j int)) {
	n, degree := len(w.devices), w.Network.Degree
	if degree == 0 {
		degree = usualDegree
	}
	r := rand.New(stream(w.Seed, "topology"))
	order := r.Perm(n)
	for i := range n {
		link(order[i], order[(i+1)%n])
	}
	for i, d := range w.devices {
		for try := 0; len(d.near) < degree && try < 10*degree; try++ {
			link(i, r.IntN(n))
		}
	}
}

// linked reports whether two devices can reach each other now.
func (w *world) linked(a, b *device) bool {
	return a.island == b.island && a.up() && b.up()
}

// carry takes an input from one device to another: late, twice, or never. What
// is under way when the link is cut or the receiver dies is lost.
func (w *world) carry(from, to *device, bytes []byte, in node.Input) {
	if from.island != to.island || !to.up() {
		return
	}
	w.wire.Write(bytes)
	w.carried++
	w.bytes += len(bytes)
	if m, ok := in.(node.Message); ok && m.Protocol == node.ProtocolSignal && len(w.Adversaries) > 0 {
		w.signals = append(w.signals, m.Body)
	}
	copies := 1
	if !w.quiet {
		lost, twice := w.net.Float64() < w.Network.Loss, w.net.Float64() < w.Network.Duplicate
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
				to.got += len(bytes)
				to.take(in)
			}
		})
	}
}

func (w *world) latency() time.Duration {
	least, most := time.Duration(w.Network.MinLatency), time.Duration(w.Network.MaxLatency)
	d := least + time.Duration(w.net.Int64N(int64(most-least)+1))
	if !w.quiet && w.net.Float64() < w.Network.Reorder {
		d += time.Duration(w.net.Int64N(int64(10*most) + 1))
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
	for _, o := range d.near {
		if o.topics[topic] && o.island == d.island && o.up() {
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

// separate puts the devices where the partitions of this moment have them. Two
// devices are on one island if no partition comes between them. Neighbours that
// were linked part, others meet.
func (w *world) separate() {
	w.cut++
	was := make([]int, len(w.devices))
	islands := map[string]int{}
	for i, d := range w.devices {
		was[i] = d.island
		var at []byte
		for k, active := range w.cuts {
			if active {
				at = fmt.Appendf(at, "%d ", w.Partitions[k].island(i))
			}
		}
		if d == w.deaf && len(at) == 0 {
			at = []byte("deaf")
		}
		if _, ok := islands[string(at)]; !ok {
			islands[string(at)] = len(islands)
		}
		d.island = islands[string(at)]
	}
	w.noteIslands()
	for i, a := range w.devices {
		for _, b := range a.near {
			together := was[i] == was[b.number]
			for _, topic := range slices.Sorted(maps.Keys(a.topics)) {
				switch {
				case !b.topics[topic] || together == (a.island == b.island):
				case together && a.up():
					a.take(node.PeerLeave{Topic: topic, Peer: b.name})
				case !together && i < b.number && w.linked(a, b):
					w.meet(a, b, topic)
				}
			}
		}
	}
}
