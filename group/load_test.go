package group_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/group"
)

// picture is everything that a device shows of its group, as text. Frames that
// wait are not durable: what they want is compared only where none waits.
func picture(t testing.TB, g *group.Group, wants bool) string {
	t.Helper()
	st := g.Status()
	st.Parked = 0
	parts := []any{st, g.View(), g.Log(), tips(g), g.Unsent()}
	if wants {
		parts = append(parts, g.Wants())
	}
	parts = append(parts, g.Lasting())
	b, err := json.MarshalIndent(parts, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tips are the Tips without those that lie in the past of others, which say
// nothing to a peer.
func tips(g *group.Group) []cid.Cid {
	all := g.Tips()
	var out []cid.Cid
	for i, c := range all {
		others := slices.Delete(slices.Clone(all), i, i+1)
		if !g.Has(c) || slices.Contains(g.Missing(others, nil, 1<<20), c) {
			out = append(out, c)
		}
	}
	return out
}

// differ fails with the first lines that differ.
func differ(t testing.TB, what, live, loaded string) {
	t.Helper()
	if live == loaded {
		return
	}
	a, b := strings.Split(live, "\n"), strings.Split(loaded, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			from := max(0, i-3)
			t.Fatalf("%s:\nlive:\n%s\nloaded:\n%s", what, strings.Join(a[from:min(len(a), i+4)], "\n"), strings.Join(b[from:min(len(b), i+4)], "\n"))
		}
	}
	t.Fatalf("%s: %d lines live, %d loaded", what, len(a), len(b))
}

// roam is a world in which random things happen.
type roam struct {
	*world
	r     *rand.Rand
	fresh int // newcomers so far
}

// load makes a second engine from the disk of d.
func (w *roam) load(d *device) *group.Group {
	w.t.Helper()
	g, err := group.Load(w.cfg, d.id, d.g.ID(), records(d))
	if err != nil {
		w.t.Fatalf("%s: %v", d.name, err)
	}
	return g
}

// compare holds a loaded engine against the live one.
func (w *roam) compare(d *device, what string) {
	w.t.Helper()
	if d.g.Status().RetainedEpochs == 0 {
		return // wiped: there is nothing to go on with
	}
	wants := d.g.Status().Parked == 0 && !d.g.WantsSeeds() // which are forgotten in a restart
	differ(w.t, d.name+" after "+what, picture(w.t, d.g, wants), picture(w.t, w.load(d), wants))
}

// pump delivers what is under way: in any order, with loss, and each frame to
// the live engine and to one that was just loaded, which must do the same.
func (w *roam) pump(loss float64) {
	w.t.Helper()
	for len(w.queue) > 0 {
		i := w.r.IntN(min(len(w.queue), 6))
		f := w.queue[i]
		w.queue = slices.Delete(w.queue, i, i+1)
		if w.r.Float64() >= loss {
			f()
		}
	}
}

// both gives a frame to the live engine and to one that was loaded before.
func (w *roam) both(from, to *device) {
	w.t.Helper()
	for _, c := range from.g.Missing(to.g.Tips(), nil, 10000) {
		if to.g.Has(c) {
			continue
		}
		in := group.Receive{Blocks: [][]byte{w.block(from, c)}, From: from.name}
		parked := to.g.Status().Parked > 0
		second := w.load(to)
		out := w.step(to, in)
		again, err := second.Step(group.Env{Now: w.now, Rand: rand.NewChaCha8([32]byte{1})}, in)
		if err != nil {
			w.t.Fatalf("%s, loaded: %v", to.name, err)
		}
		if parked {
			continue // what waits in memory steps along
		}
		differ(w.t, to.name+": verdict and events on "+c.String(), told(out), told(again))
		wants := to.g.Status().Parked == 0
		differ(w.t, to.name+" after "+c.String(), picture(w.t, to.g, wants), picture(w.t, second, wants))
	}
}

func told(out group.Output) string {
	var b strings.Builder
	for _, r := range out.Results {
		fmt.Fprintf(&b, "%s %d\n", r.CID, r.Verdict)
	}
	for _, e := range out.Events {
		fmt.Fprintf(&b, "%+v\n", e)
	}
	return b.String()
}

func (w *roam) any() *device {
	names := w.names()
	return w.devices[names[w.r.IntN(len(names))]]
}

// act lets one device do something; it returns what.
func (w *roam) act() string {
	d := w.any()
	var in group.Input
	switch k := w.r.IntN(12); {
	case k < 4:
		in = group.Send{Text: fmt.Appendf(nil, "%s at %d", d.name, w.now.UnixMilli())}
	case k < 6:
		in = group.Change{Update: true}
	case k < 8:
		ms := d.g.Status().Members
		if len(ms) < 3 {
			return ""
		}
		in = group.Change{Remove: []uint32{ms[w.r.IntN(len(ms))].Leaf}}
	case k < 10:
		return w.welcome(d)
	case k < 11 && w.cfg.MaxAge > time.Hour:
		in = group.Leave{}
	default:
		in = group.Tick{}
	}
	if _, err := w.try(d, in); err != nil {
		return "" // a request that makes no sense there changes nothing: compare checks that
	}
	return fmt.Sprintf("%s: %T", d.name, in)
}

// welcome lets a newcomer in by d.
func (w *roam) welcome(d *device) string {
	n := w.add(fmt.Sprint("new", w.fresh))
	w.fresh++
	kp, err := group.NewKeyPackage(w.env(n), n.id)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := w.try(d, group.Change{Add: [][]byte{kp.KeyPackage.Marshal()}})
	if err != nil {
		return ""
	}
	g, joined, err := group.Join(w.env(n), w.cfg, n.id, out.Welcomes[0].Bundle, kp, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	n.g = g
	w.island[n.name] = w.island[d.name]
	w.take(n, joined)
	return d.name + " adds " + n.name
}

// A device that is loaded from its disk at any moment of any history is the
// one that it was, and goes on as it would have.
func TestLoadEqualsLive(t *testing.T) {
	for seed := range uint64(9) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := &roam{world: newWorld(t, "ada", "ben", "cleo", "dan"), r: rand.New(rand.NewPCG(seed, 1))}
			w.cfg.ReaddDelay = 2 * time.Second
			if seed%3 == 1 {
				w.cfg.MaxEpochs = 3
			}
			if seed%3 == 2 {
				w.cfg.MaxAge = 20 * time.Second
			}
			w.create("ada")
			for _, n := range []string{"ben", "cleo", "dan"} {
				w.join("ada", n)
			}
			w.run(10 * time.Second)
			loss := []float64{0, 0.1, 0.3}[seed%3]
			for range 30 {
				what := w.act()
				w.pump(loss)
				w.compare(w.any(), what)
				switch w.r.IntN(6) {
				case 0:
					w.cut(w.r.IntN(3), w.any().name)
				case 1:
					clear(w.island)
				case 2:
					w.both(w.any(), w.any())
				case 3:
					w.pass(time.Duration(w.r.IntN(4000)) * time.Millisecond)
				}
				for _, n := range w.names() {
					w.compare(w.devices[n], "time or cuts after "+what)
				}
			}
			w.rest(t)
		})
	}
}

// pass lets time pass with loss and disorder.
func (w *roam) pass(span time.Duration) {
	for end := w.now.Add(span); w.now.Before(end); w.now = w.now.Add(100 * time.Millisecond) {
		for _, n := range w.names() {
			if d := w.devices[n]; !d.wake.IsZero() && !d.wake.After(w.now) {
				w.step(d, group.Tick{})
			}
		}
		w.pump(0.05)
	}
}

// rest heals everything and restarts everybody: whoever is a member ends on
// one head.
func (w *roam) rest(t *testing.T) {
	clear(w.island)
	for range 6 {
		w.sync()
		w.run(5 * time.Second)
		for _, n := range w.names() {
			w.compare(w.devices[n], "the end")
		}
	}
	for _, n := range w.names() {
		w.reload(n)
	}
	for range 4 {
		w.sync()
		w.run(20 * time.Second)
	}
	heads := map[string][]string{}
	for _, n := range w.names() {
		if st := w.devices[n].g.Status(); st.State == "member" {
			heads[st.Head] = append(heads[st.Head], n)
		}
	}
	if len(heads) > 1 {
		for _, h := range slices.Sorted(maps.Keys(heads)) {
			t.Logf("%s: %v", h[len(h)-6:], heads[h])
		}
	}
}
