package node

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// world joins Drivers by a network that delivers in order and can lose, and
// hands time forward.
type world struct {
	t       *testing.T
	now     time.Time
	random  *rand.ChaCha8
	devices map[string]*device
	queue   []func()
	loss    float64
	silent  bool // gossip drops everything
	cut     map[[2]string]bool
	sent    int // messages, not gossip
	bytes   int
}

type device struct {
	world  *world
	name   string
	store  *memStore
	driver *Driver
	keep   Keep
	topics map[string]bool
	events map[string][]group.Event
	joined []string
	failed []error
}

func newWorld(t *testing.T, names ...string) *world {
	w := &world{t: t, now: time.Unix(1_700_000_000, 0), random: rand.NewChaCha8([32]byte{1}),
		devices: map[string]*device{}, cut: map[[2]string]bool{}}
	for _, n := range names {
		w.devices[n] = &device{world: w, name: n, store: newMemStore()}
		w.devices[n].boot()
	}
	return w
}

// boot starts a device from what its store holds.
func (d *device) boot() {
	d.topics, d.events, d.joined, d.failed = map[string]bool{}, map[string][]group.Event{}, nil, nil
	var err error
	d.driver, err = newDriver(context.Background(), DriverConfig{Store: d.store, Network: d, Sink: d, Keep: d.keep}, fakeEngines(d.name))
	if err != nil {
		d.world.t.Fatal(err)
	}
	if err := d.driver.Start(d.world.env()); err != nil {
		d.world.t.Fatal(err)
	}
}

func (w *world) env() group.Env { return group.Env{Now: w.now, Rand: w.random} }

func (d *device) do(in ...Input) []Outcome {
	return d.driver.Do(context.Background(), d.world.env(), in...)
}

func (d *device) must(in Input) Outcome {
	d.world.t.Helper()
	o := d.do(in)[0]
	if o.Err != nil {
		d.world.t.Fatalf("%s: %T: %v", d.name, in, o.Err)
	}
	return o
}

func (w *world) connected(a, b string) bool {
	return a != b && !w.cut[[2]string{a, b}] && !w.cut[[2]string{b, a}]
}

func (d *device) Join(topic string, _ frame.PeerKey) error {
	d.topics[topic] = true
	for _, n := range sortedKeys(d.world.devices) {
		o := d.world.devices[n]
		if o.topics[topic] && d.world.connected(n, d.name) {
			d.world.queue = append(d.world.queue,
				func() { d.do(PeerJoin{topic, o.name}) }, func() { o.do(PeerJoin{topic, d.name}) })
		}
	}
	return nil
}

func (d *device) Leave(topic string) error { delete(d.topics, topic); return nil }
func (d *device) Addrs() []string          { return []string{"/memory/" + d.name} }

func (d *device) Peers(topic string) (peers []string) {
	for _, n := range sortedKeys(d.world.devices) {
		if d.world.devices[n].topics[topic] && d.world.connected(n, d.name) {
			peers = append(peers, n)
		}
	}
	return peers
}

func (w *world) lost() bool { return float64(w.random.Uint64()>>11)/(1<<53) < w.loss }

func (d *device) Publish(topic string, b []byte) error {
	for _, n := range d.Peers(topic) {
		if o := d.world.devices[n]; !d.world.lost() && !d.world.silent {
			d.world.queue = append(d.world.queue, func() { o.do(Deliver{topic, d.name, b}) })
		}
	}
	return nil
}

func (d *device) Self() string { return d.name }

func (d *device) Send(peer, protocol string, m []byte) error {
	d.world.sent++
	d.world.bytes += len(m)
	if o := d.world.devices[peer]; o != nil && d.world.connected(peer, d.name) && !d.world.lost() {
		d.world.queue = append(d.world.queue, func() { o.do(Message{d.name, protocol, m}) })
	}
	return nil
}

func (d *device) Events(gid string, events []group.Event) {
	d.events[gid] = append(d.events[gid], events...)
}

func (d *device) Joined(_ Ticket, gid string, err error) {
	d.joined, d.failed = append(d.joined, gid), append(d.failed, err)
}

// run delivers what is queued and lets time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); ; {
		for steps := 0; len(w.queue) > 0; steps++ {
			if steps > 200_000 {
				w.t.Fatal("the devices talk without end")
			}
			f := w.queue[0]
			w.queue = w.queue[1:]
			f()
		}
		var next time.Time
		for _, d := range w.devices {
			next = earlier(next, d.driver.Wake())
		}
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		} else {
			w.now = w.now.Add(time.Millisecond)
		}
		for _, n := range sortedKeys(w.devices) {
			if at := w.devices[n].driver.Wake(); !at.IsZero() && !at.After(w.now) {
				w.devices[n].do(Tick{})
			}
		}
	}
}

// partition cuts or heals all connections between two sets.
func (w *world) partition(cut bool, left, right []string) {
	for _, a := range left {
		for _, b := range right {
			w.cut[[2]string{a, b}] = cut
			for topic := range w.devices[a].topics {
				if !w.devices[b].topics[topic] {
					continue
				}
				if cut {
					w.devices[a].do(PeerLeave{topic, b})
					w.devices[b].do(PeerLeave{topic, a})
				} else {
					w.devices[a].do(PeerJoin{topic, b})
					w.devices[b].do(PeerJoin{topic, a})
				}
			}
		}
	}
}

// invite lets a device join a group by a ticket of another.
func (w *world) invite(gid, from, to string) {
	w.t.Helper()
	t := w.devices[from].must(Invite{gid}).Ticket
	w.devices[to].must(Join{t, from})
	w.run(20 * time.Second)
	if d := w.devices[to]; len(d.joined) == 0 || d.failed[len(d.failed)-1] != nil {
		w.t.Fatalf("%s did not join: %v", to, d.failed)
	}
}
