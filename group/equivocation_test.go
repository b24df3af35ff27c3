package group_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// clone starts a second device from a copy of name's disk, on an island of its own.
func (w *world) clone(name string) *device {
	w.t.Helper()
	d := w.devices[name]
	w.clones++
	seed := sha256.Sum256(fmt.Appendf(nil, "clone %d of %s", w.clones, name))
	c := &device{name: name + "'", id: d.id, rand: rand.NewChaCha8(seed), disk: maps.Clone(d.disk), events: slices.Clone(d.events)}
	g, err := group.Load(w.cfg, c.id, d.g.ID(), records(c))
	if err != nil {
		w.t.Fatal(err)
	}
	c.g = g
	w.devices[c.name] = c
	w.island[c.name] = 99
	return c
}

func (d *device) events1(k group.Kind) []group.Event {
	return slices.DeleteFunc(slices.Clone(d.events), func(e group.Event) bool { return e.Kind != k })
}

// A store is copied and both copies go on: each finds out and stops, the others
// get the proof, ask for the removal, and stop counting the votes.
func TestCopiedStore(t *testing.T) {
	for _, act := range []string{"text", "commit", "mixed"} {
		t.Run(act, func(t *testing.T) {
			w := six(t, "ada", "ben", "cleo", "dan")
			ben, copy := w.devices["ben"], w.clone("ben")
			if act == "commit" {
				w.update("ben")
				w.update("ben'")
			} else {
				w.say("ben", "from the one")
				if act == "text" {
					w.say("ben'", "from the other")
				} else {
					w.update("ben'")
				}
			}
			w.run(2 * time.Second)
			w.heal()
			w.run(20 * time.Second)
			w.sync()
			w.run(20 * time.Second)
			for _, d := range []*device{ben, copy} {
				if st := d.g.Status().State; st != "copied" {
					t.Errorf("%s is %q", d.name, st)
				}
				if _, err := w.try(d, group.Send{Text: []byte("x")}); !errors.Is(err, group.ErrCopied) {
					t.Errorf("%s sends: %v", d.name, err)
				}
			}
			w.agree("ada", "cleo", "dan")
			for _, n := range []string{"ada", "cleo", "dan"} {
				d := w.devices[n]
				if got := d.events1(group.KindEquivocation); len(got) != 1 || got[0].Name != "ben" {
					t.Errorf("%s: equivocation events %+v", n, got)
				}
				if !d.has(group.KindNeedsApproval) {
					t.Errorf("%s is not asked to remove ben", n)
				}
				if !equivocates(d, "ben") {
					t.Errorf("to %s ben is no equivocator", n)
				}
				w.reload(n)
				if !equivocates(d, "ben") {
					t.Errorf("to %s loaded anew ben is no equivocator", n)
				}
			}
			w.reload("ben")
			if st := ben.g.Status().State; st != "copied" {
				t.Errorf("loaded anew ben is %q", st)
			}
			w.remove("ada", "ben")
			w.run(20 * time.Second)
			w.sync()
			w.run(20 * time.Second)
			// One of the two may stand beside the other's commit, which it cannot
			// open, and so not see what follows.
			if one, other := ben.g.Status().State, copy.g.Status().State; one != "removed" && other != "removed" {
				t.Errorf("removed, they are %q and %q", one, other)
			}
			st := w.agree("ada", "cleo", "dan")
			if st.RetainedEpochs > 2 {
				t.Errorf("%d epochs retained: an equivocator holds up what is final", st.RetainedEpochs)
			}
		})
	}
}

func equivocates(d *device, name string) bool {
	return slices.ContainsFunc(d.g.Status().Members, func(m group.Member) bool { return m.Name == name && m.Equivocator })
}

// Whoever joined below one of the two frames, and can open neither, judges the
// proof frame as the others do.
func TestProofIsShareable(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan")
	twin := w.clone("ben")
	w.cut(1, "dan") // keeps the epoch from becoming final
	w.update("ben")
	w.update("ben'")
	second := twin.last.Publish[0]
	w.add("joy")
	w.join("ada", "joy")
	w.run(10 * time.Second)
	joy, ada := w.devices["joy"], w.devices["ada"]
	w.cut(2, "ben", "ben'")
	if r := w.step(joy, group.Receive{Blocks: [][]byte{second.Data}}).Results[0]; r.Verdict != group.Stale {
		t.Fatalf("joy reads what was sent above her base: %+v", r)
	}
	if equivocates(joy, "ben") {
		t.Fatal("joy knows already")
	}
	if r := w.step(ada, group.Receive{Blocks: [][]byte{second.Data}}).Results[0]; r.Verdict != group.Forked {
		t.Fatalf("ada: %+v", r)
	}
	w.run(10 * time.Second)
	if !equivocates(joy, "ben") || len(joy.events1(group.KindEquivocation)) != 1 {
		t.Errorf("joy was not convinced: %+v", joy.events1(group.KindEquivocation))
	}
	w.reload("joy")
	if !equivocates(joy, "ben") {
		t.Error("joy forgot it")
	}
}

// A proof that proves nothing is refused by all and does no harm.
func TestLyingProofs(t *testing.T) {
	w := six(t, "ada", "mal", "cleo")
	ada, mal := w.devices["ada"], w.devices["mal"]
	w.update("ada")
	first := ada.last.Publish[0].CID
	w.update("ada")
	second := ada.last.Publish[0].CID
	w.flush()
	if !mal.g.Has(first) || !mal.g.Has(second) {
		t.Fatal("mal lacks ada's commits")
	}
	victim := ada.g.SelfMember()
	for name, body := range map[string][]byte{
		"nothing":            nil,
		"noise":              []byte("no proof"),
		"one frame twice":    mal.g.Proof(w.env(mal), victim, first, first),
		"two of one chain":   mal.g.Proof(w.env(mal), victim, first, second),
		"of somebody else":   mal.g.Proof(w.env(mal), w.devices["cleo"].g.SelfMember(), first, second),
		"without signatures": mal.g.Proof(w.env(mal), victim, someCID("x"), someCID("y")),
	} {
		liar := w.clone("mal")
		out, err := liar.g.SendRaw(w.env(liar), 3, body)
		if err != nil {
			t.Fatal(err)
		}
		before := ada.digest()
		got := w.step(ada, group.Receive{Blocks: [][]byte{out.Publish[0].Data}})
		if r := got.Results[0]; r.Verdict != group.Rejected || ada.digest() != before || equivocates(ada, "ada") {
			t.Errorf("%s: %+v", name, r)
		}
		delete(w.devices, liar.name)
	}
}

// An equivocator with many siblings: one event, one proof, one head, and what
// it does is bounded by its budget.
func TestManySiblings(t *testing.T) {
	w := six(t, "ada", "mal", "cleo", "dan", "eve")
	mal := w.devices["mal"]
	var blocks [][]byte
	for range 12 {
		twin := w.clone("mal")
		w.update("mal'")
		blocks = append(blocks, twin.last.Publish[0].Data)
		delete(w.devices, "mal'")
	}
	w.cut(1, "mal")
	_ = mal
	for i, n := range []string{"ada", "cleo", "dan", "eve"} {
		for j := range blocks {
			w.step(w.devices[n], group.Receive{Blocks: [][]byte{blocks[(5*j+3*i)%len(blocks)]}})
		}
	}
	w.run(40 * time.Second)
	st := w.agree("ada", "cleo", "dan", "eve")
	for _, n := range []string{"ada", "cleo", "dan", "eve"} {
		if got := w.devices[n].events1(group.KindEquivocation); len(got) != 1 {
			t.Errorf("%s: %d events", n, len(got))
		}
	}
	proofs := 0
	for _, e := range w.devices["ada"].g.Log() {
		if e.Kind == "proof" {
			proofs++
		}
	}
	if proofs != 1 {
		t.Errorf("%d proofs published", proofs)
	}
	if len(st.Members) != 5 {
		t.Errorf("members %s", members(st))
	}
}

// A frame that somebody refuses may be followed: whoever cannot read its epoch
// does not know that it is bad, and all who open the next one must agree. The
// set must not split between elders and a joiner.
func TestRefusedFrameIsFollowed(t *testing.T) {
	w := six(t, "ada", "mal", "ben")
	mal := w.devices["mal"]
	w.cut(1, "mal")
	bad, err := mal.g.SendRaw(w.env(mal), 9, []byte("no such kind"))
	if err != nil {
		t.Fatal(err)
	}
	w.take(mal, bad)
	w.add("joy")
	w.join("ben", "joy")
	w.pull(w.devices["ben"], mal) // the add alone; mal goes on below it
	w.queue = nil
	w.update("mal")
	next := mal.last.Publish[0]
	early := w.step(w.devices["ada"], group.Receive{Blocks: [][]byte{bad.Publish[0].Data}}).Results[0]
	if early.Verdict != group.Rejected {
		t.Fatalf("ada on the bad frame: %+v", early)
	}
	for _, n := range []string{"ada", "ben", "joy"} {
		r := w.step(w.devices[n], group.Receive{Blocks: [][]byte{next.Data}}).Results[0]
		t.Logf("%s on the next: %d %v", n, r.Verdict, r.Reason)
	}
	w.island = map[string]int{}
	w.sync()
	w.run(20 * time.Second)
	w.sync()
	st := w.agree("ada", "ben", "joy", "mal")
	for _, n := range []string{"ada", "ben", "joy"} {
		if d := w.devices[n]; !d.g.Has(next.CID) || d.g.Status().Parked != 0 {
			t.Errorf("%s: held %v, %d parked", n, d.g.Has(next.CID), d.g.Status().Parked)
		}
	}
	if !strings.Contains(members(st), "joy") {
		t.Errorf("members %s", members(st))
	}
}
