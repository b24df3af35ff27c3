package group_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// device is one engine with its disk: a map that batches are applied to.
type device struct {
	name   string
	id     group.Identity
	g      *group.Group
	rand   io.Reader
	disk   map[string]group.Op
	events []group.Event
	wake   time.Time
	last   group.Output
}

// world is a network of devices without loss: what is sent arrives at once at
// every device on the same island; sync makes good for the others.
type world struct {
	t       testing.TB
	now     time.Time
	cfg     group.Config
	policy  group.Policy
	devices map[string]*device
	island  map[string]int
	queue   []func()
	clones  int
}

func newWorld(t testing.TB, names ...string) *world {
	w := &world{t: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), cfg: group.Sim(), policy: group.PolicyOpen,
		devices: map[string]*device{}, island: map[string]int{}}
	for _, n := range names {
		w.add(n)
	}
	return w
}

func (w *world) add(name string) *device {
	seed := sha256.Sum256([]byte("test device " + name))
	signer, err := mls.NewEd25519Signer(seed[:])
	if err != nil {
		w.t.Fatal(err)
	}
	d := &device{name: name, id: group.Identity{Name: name, Signer: signer}, rand: rand.NewChaCha8(seed), disk: map[string]group.Op{}}
	w.devices[name] = d
	return d
}

func (w *world) env(d *device) group.Env { return group.Env{Now: w.now, Rand: d.rand} }

// names of the devices that have the group, sorted.
func (w *world) names() []string {
	var out []string
	for n, d := range w.devices {
		if d.g != nil {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) take(d *device, out group.Output) {
	for _, op := range out.Batch {
		if op.Value == nil {
			delete(d.disk, op.Key)
		} else {
			d.disk[op.Key] = op
		}
	}
	d.events = append(d.events, out.Events...)
	d.wake, d.last = out.Wake, out
	for _, b := range out.Publish {
		w.cast(d, func(to *device) { w.step(to, group.Receive{Blocks: [][]byte{b.Data}, From: d.name}) })
	}
	for _, s := range out.Signals {
		w.cast(d, func(to *device) {
			if s.To == "" || s.To == to.name {
				w.step(to, group.Hear{Payload: s.Payload, From: d.name})
			}
		})
	}
}

// cast queues f for every other device on d's island, in the order of names.
func (w *world) cast(d *device, f func(*device)) {
	for _, n := range w.names() {
		if n != d.name && w.island[n] == w.island[d.name] {
			to := w.devices[n]
			w.queue = append(w.queue, func() { f(to) })
		}
	}
}

func (w *world) step(d *device, in group.Input) group.Output {
	w.t.Helper()
	out, err := w.try(d, in)
	if err != nil {
		w.t.Fatalf("%s: %T: %v", d.name, in, err)
	}
	return out
}

func (w *world) try(d *device, in group.Input) (group.Output, error) {
	out, err := d.g.Step(w.env(d), in)
	if err == nil {
		w.take(d, out)
	}
	return out, err
}

func (w *world) flush() {
	for len(w.queue) > 0 {
		f := w.queue[0]
		w.queue = w.queue[1:]
		f()
	}
}

// run lets the time pass, with ticks where devices asked for them.
func (w *world) run(span time.Duration) {
	w.t.Helper()
	end := w.now.Add(span)
	for i := 0; ; i++ {
		w.flush()
		var first *device
		for _, n := range w.names() {
			if d := w.devices[n]; !d.wake.IsZero() && (first == nil || d.wake.Before(first.wake)) {
				first = d
			}
		}
		if first == nil || first.wake.After(end) {
			break
		}
		if i > 100000 {
			w.t.Fatalf("no quiet: %s wakes again and again at %v", first.name, first.wake)
		}
		if first.wake.After(w.now) {
			w.now = first.wake
		}
		w.step(first, group.Tick{})
	}
	w.now = end
}

// sync lets all devices of an island exchange what they lack.
func (w *world) sync() {
	for round := 0; round < 4; round++ {
		for _, a := range w.names() {
			for _, b := range w.names() {
				if a != b && w.island[a] == w.island[b] {
					w.pull(w.devices[a], w.devices[b])
				}
			}
		}
		w.flush()
	}
}

func (w *world) pull(from, to *device) {
	for _, c := range append(to.g.Wants(), from.g.Missing(to.g.Tips(), nil, 10000)...) {
		if from.g.Has(c) && !to.g.Has(c) {
			w.step(to, group.Receive{Blocks: [][]byte{w.block(from, c)}, From: from.name})
		}
	}
}

func (w *world) block(d *device, c cid.Cid) []byte {
	op, ok := d.disk[group.BlockKey(d.g.ID(), c)]
	if !ok {
		w.t.Fatalf("%s has no block %s", d.name, c)
	}
	return op.Value
}

func (w *world) create(name string) {
	d := w.devices[name]
	g, out, err := group.Create(w.env(d), w.cfg, d.id, "ops", w.policy)
	if err != nil {
		w.t.Fatal(err)
	}
	d.g = g
	w.take(d, out)
}

// join lets by add name.
func (w *world) join(by, name string) {
	w.t.Helper()
	d, a := w.devices[name], w.devices[by]
	kp, err := group.NewKeyPackage(w.env(d), d.id)
	if err != nil {
		w.t.Fatal(err)
	}
	out := w.step(a, group.Change{Add: [][]byte{kp.KeyPackage.Marshal()}})
	if len(out.Welcomes) != 1 {
		w.t.Fatalf("%d Welcomes for one joiner", len(out.Welcomes))
	}
	g, joined, err := group.Join(w.env(d), w.cfg, d.id, out.Welcomes[0].Bundle, kp, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	d.g = g
	w.island[name] = w.island[by]
	w.take(d, joined)
	w.flush()
}

func (w *world) say(name, text string) group.Output {
	w.t.Helper()
	out := w.step(w.devices[name], group.Send{Text: []byte(text)})
	w.flush()
	return out
}

func (w *world) leaf(by, name string) uint32 {
	w.t.Helper()
	leaf, ok := w.devices[by].g.Find(name)
	if !ok {
		w.t.Fatalf("%s knows no member %s", by, name)
	}
	return leaf
}

func (w *world) remove(by, name string) {
	w.t.Helper()
	w.step(w.devices[by], group.Change{Remove: []uint32{w.leaf(by, name)}})
	w.flush()
}

func (w *world) update(name string) {
	w.t.Helper()
	w.step(w.devices[name], group.Change{Update: true})
	w.flush()
}

// cut puts devices on an island of their own.
func (w *world) cut(island int, names ...string) {
	w.flush()
	for _, n := range names {
		w.island[n] = island
	}
}

func (w *world) heal() {
	clear(w.island)
	w.sync()
}

// reload restarts a device from its disk.
func (w *world) reload(name string) {
	w.t.Helper()
	d := w.devices[name]
	g, err := group.Load(w.cfg, d.id, d.g.ID(), records(d))
	if err != nil {
		w.t.Fatal(err)
	}
	d.g = g
	w.step(d, group.Tick{})
}

func records(d *device) iter.Seq2[group.Op, error] {
	return func(yield func(group.Op, error) bool) {
		for _, k := range slices.Sorted(maps.Keys(d.disk)) {
			if !yield(d.disk[k], nil) {
				return
			}
		}
	}
}

// texts returns what a device was told, in order.
func (d *device) texts() []string {
	var out []string
	for _, e := range d.events {
		if e.Kind == group.KindMessage {
			out = append(out, e.Name+": "+e.Text)
		}
	}
	return out
}

func (d *device) has(k group.Kind) bool {
	return slices.ContainsFunc(d.events, func(e group.Event) bool { return e.Kind == k })
}

// agree fails unless the devices have one head, one authenticator and the
// same members.
func (w *world) agree(names ...string) group.Status {
	w.t.Helper()
	var first group.Status
	for i, n := range names {
		st := w.devices[n].g.Status()
		if i == 0 {
			first = st
			continue
		}
		if st.Head != first.Head || st.Authenticator != first.Authenticator || members(st) != members(first) {
			w.t.Fatalf("%s is at epoch %d %s with %s, %s at %d %s with %s", names[0], first.Epoch, first.Head, members(first),
				n, st.Epoch, st.Head, members(st))
		}
	}
	return first
}

func members(st group.Status) string {
	var out []string
	for _, m := range st.Members {
		out = append(out, fmt.Sprintf("%s@%d", m.Name, m.Leaf))
	}
	return strings.Join(out, " ")
}

// digest hashes the records of a device.
func (d *device) digest() uint64 {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(d.disk)) {
		fmt.Fprintf(h, "%s=%x\n", k, d.disk[k].Value)
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}
