package group_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// The strongest oracle: a member who was away gets the same frames in every
// order, one by one, and ends with the same head, authenticator, members and
// messages.
func TestOrderOfArrival(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "zoe")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "zoe"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	zoe := w.devices["zoe"]
	disk := maps.Clone(zoe.disk)
	seen := len(zoe.events)
	asleep := zoe.g
	zoe.g = nil

	w.cut(1, "cleo", "dan")
	w.update("cleo")
	w.say("dan", "one")
	w.remove("ada", "dan")
	w.say("ben", "two")
	w.update("ben")
	w.run(3 * time.Second)
	w.heal()
	w.run(20 * time.Second)
	ada := w.devices["ada"]
	zoe.g = asleep

	blocks := map[string][]byte{}
	for _, n := range []string{"ada", "ben", "cleo"} {
		for _, c := range w.devices[n].g.Missing(nil, nil, 10000) {
			if !zoe.g.Has(c) {
				blocks[c.String()] = w.block(w.devices[n], c)
			}
		}
	}
	ids := slices.Sorted(maps.Keys(blocks))
	var first string
	r := rand.New(rand.NewPCG(1, 2))
	for run := range 40 {
		zoe.disk, zoe.events = maps.Clone(disk), zoe.events[:seen]
		w.queue = nil
		g, err := group.Load(w.cfg, zoe.id, ada.g.ID(), records(zoe))
		if err != nil {
			t.Fatal(err)
		}
		zoe.g = g
		r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for _, id := range ids {
			w.step(zoe, group.Receive{Blocks: [][]byte{blocks[id]}})
		}
		st := g.Status()
		texts := zoe.texts()
		slices.Sort(texts)
		got := strings.Join([]string{st.Head, st.Authenticator, members(st), strings.Join(texts, "|")}, " ")
		if st.Parked != 0 {
			t.Fatalf("run %d: %d frames still wait", run, st.Parked)
		}
		if run == 0 {
			first = got
			if want := ada.g.Status().Head; st.Head != want {
				t.Fatalf("zoe is at %s, ada at %s", st.Head, want)
			}
		}
		if got != first {
			t.Fatalf("run %d ends elsewhere:\n%s\n%s", run, got, first)
		}
	}
}

// Same seed, same bytes: two runs of one history leave the same records.
func TestDeterminism(t *testing.T) {
	digests := func() (out []uint64) {
		w := split(t)
		w.heal()
		w.run(30 * time.Second)
		for _, n := range w.names() {
			out = append(out, w.devices[n].digest())
		}
		return out
	}
	if a, b := digests(), digests(); !slices.Equal(a, b) {
		t.Errorf("%x differs from %x", a, b)
	}
}

// The same with liars: whatever the order in which commits that open for some,
// complaints, siblings of an equivocator, proofs and refused frames come.
func TestOrderOfArrivalAmongLiars(t *testing.T) {
	w := newWorld(t, "mal", "ben", "cleo", "dan", "eve", "zoe")
	w.create("mal")
	for _, n := range []string{"ben", "cleo", "dan", "eve", "zoe"} {
		w.join("mal", n)
	}
	w.run(20 * time.Second)
	zoe := w.devices["zoe"]
	disk, seen := maps.Clone(zoe.disk), len(zoe.events)
	zoe.g = nil

	spoil(t, w, "mal", "ben", "cleo", "dan") // void
	w.flush()
	w.say("eve", "one")
	w.say("ben", "two")
	w.run(2 * time.Second)
	w.clone("eve")
	w.update("eve")
	w.update("eve'")
	w.say("eve'", "three")
	bad, err := w.devices["mal"].g.SendRaw(w.env(w.devices["mal"]), 9, []byte("no such kind"))
	if err != nil {
		t.Fatal(err)
	}
	w.take(w.devices["mal"], bad)
	w.say("mal", "four, after a frame that is refused")
	w.heal()
	w.run(10 * time.Second)
	w.sync()
	blocks := map[string][]byte{}
	for _, n := range w.names() {
		for _, c := range w.devices[n].g.Missing(nil, nil, 10000) {
			blocks[c.String()] = w.block(w.devices[n], c)
		}
	}
	ids := slices.Sorted(maps.Keys(blocks))
	var first string
	r := rand.New(rand.NewPCG(3, 4))
	for run := range 25 {
		zoe.disk, zoe.events, zoe.rand = maps.Clone(disk), zoe.events[:seen], rand.NewChaCha8([32]byte{7})
		w.queue = nil
		g, err := group.Load(w.cfg, zoe.id, w.devices["ben"].g.ID(), records(zoe))
		if err != nil {
			t.Fatal(err)
		}
		zoe.g = g
		r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for round := range 3 { // a refused frame that is followed is fetched again
			for _, id := range ids {
				if c := blocks[id]; round == 0 || !slices.ContainsFunc(w.held(g), func(h string) bool { return h == id }) {
					w.step(zoe, group.Receive{Blocks: [][]byte{c}})
				}
			}
		}
		st := g.Status()
		texts := zoe.texts()
		slices.Sort(texts)
		var liars []string
		for _, m := range st.Members {
			if m.Equivocator {
				liars = append(liars, m.Name)
			}
		}
		got := strings.Join([]string{st.Head, st.Authenticator, members(st), strings.Join(liars, " "), strings.Join(texts, "|")}, " ")
		if run == 0 {
			first = got
			if want := w.devices["ben"].g.Status().Head; st.Head != want || len(liars) != 1 {
				t.Fatalf("zoe is at %s, ben at %s; liars %v", st.Head, want, liars)
			}
		}
		if got != first || st.Parked != 0 {
			t.Fatalf("run %d ends elsewhere, %d parked:\n%s\n%s", run, st.Parked, got, first)
		}
	}
}

func (w *world) held(g *group.Group) (out []string) {
	for _, c := range g.Missing(nil, nil, 10000) {
		out = append(out, c.String())
	}
	return out
}

// A member speaks and is removed. The removal becomes final for somebody whom
// what it said has not reached, though others link to it: the epoch that opens
// it stays until it is here, or for DeliverWait (simulator, reopened seed 34).
func TestFinalityWaitsForWhatIsMissing(t *testing.T) {
	for _, comes := range []bool{true, false} {
		w := newWorld(t, "ada", "ben", "cleo", "dan")
		w.create("ada")
		for _, n := range []string{"ben", "cleo", "dan"} {
			w.join("ada", n)
		}
		w.run(20 * time.Second)
		ben := w.devices["ben"]
		lost := w.step(w.devices["dan"], group.Send{Text: []byte("lost on the way")}).Publish[0]
		w.queue = nil
		for _, n := range []string{"ada", "cleo"} {
			w.step(w.devices[n], group.Receive{Blocks: [][]byte{lost.Data}, From: "dan"})
		}
		w.say("cleo", "after it")
		w.remove("cleo", "dan")
		w.run(w.cfg.DeliverWait / 2)
		if st := w.devices["ada"].g.Status(); st.RetainedEpochs != 1 {
			t.Errorf("ada, who lacks nothing, retains %d epochs", st.RetainedEpochs)
		}
		if comes {
			w.step(ben, group.Receive{Blocks: [][]byte{lost.Data}, From: "cleo"})
		} else {
			w.run(w.cfg.DeliverWait)
		}
		w.run(time.Second)
		if got := ben.texts(); slices.Contains(got, "dan: lost on the way") != comes {
			t.Errorf("it came: %v; ben read %q", comes, got)
		}
		if st := ben.g.Status(); st.RetainedEpochs != 1 {
			t.Errorf("it came: %v; ben retains %d epochs", comes, st.RetainedEpochs)
		}
	}
}

// Who goes from branch to branch may speak where a device reads, then where it
// does not, then where it does again: the last frame waits for the first, also
// when the one between was there before (seed islands 2605).
func TestChainThroughAnUnreadableBranch(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	ada, ben, cleo, dan := w.devices["ada"], w.devices["ben"], w.devices["cleo"], w.devices["dan"]
	w.cut(1, "ben")
	w.cut(2, "cleo")
	w.cut(3, "dan")
	w.update("ada")
	w.remove("cleo", "dan")
	here, there := ada.g.Status().Head, cleo.g.Status().Head
	for _, d := range []*device{ben, dan} {
		w.pull(ada, d)
		w.pull(cleo, d)
	}
	var said [][]byte
	for _, epoch := range []string{here, there, here} {
		out, err := ben.g.AckIn(w.env(ben), epoch)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, out.Publish[0].Data)
	}
	hear := func(block []byte) (v []group.Verdict) {
		for _, r := range w.step(dan, group.Receive{Blocks: [][]byte{block}, From: "ben"}).Results {
			v = append(v, r.Verdict)
		}
		return v
	}
	got := slices.Concat(hear(said[1]), hear(said[2]))
	w.reload("dan") // what waits is not durable, that it must wait is
	got = slices.Concat(got, hear(said[2]), hear(said[0]))
	want := []group.Verdict{group.Stale, group.Buffered, group.Buffered, group.Applied}
	if !slices.Equal(got, want) || dan.g.Status().Parked != 0 {
		t.Errorf("verdicts %v, want %v; %d parked", got, want, dan.g.Status().Parked)
	}
	if !dan.g.Has(frame.CIDOf(said[2])) {
		t.Error("the last frame was not taken up")
	}
}
