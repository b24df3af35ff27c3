package group_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// A device whose key is on the head while it is on a branch that lost, and
// whose Welcome for the head is gone with its author: the members are told by
// nobody but the device itself, so a fresh offer replaces the silent
// incarnation in one commit.
func TestReplaceSilentIncarnation(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	finn := w.devices["finn"]
	kp, err := group.NewKeyPackage(w.env(finn), finn.id)
	if err != nil {
		t.Fatal(err)
	}
	add := group.Change{Add: [][]byte{kp.KeyPackage.Marshal()}}
	w.cut(1, "dan", "eve")
	w.step(w.devices["ada"], add) // its Welcome never arrives
	w.say("ben", "on the head")
	w.say("cleo", "on the head")
	out := w.step(w.devices["dan"], add) // finn enters here, and this branch loses
	g, joined, err := group.Join(w.env(finn), w.cfg, finn.id, out.Welcomes[0].Bundle, kp, nil)
	if err != nil {
		t.Fatal(err)
	}
	finn.g = g
	w.island["finn"] = 1
	w.take(finn, joined)
	w.run(5 * time.Second)
	w.say("finn", "among dan and eve")
	w.island["ada"] = 2 // for good
	w.island["dan"], w.island["eve"], w.island["finn"] = 0, 0, 0
	w.sync()
	for range 4 {
		w.run(time.Minute)
		w.sync()
	}
	st := w.agree("ben", "cleo", "dan", "eve", "finn")
	if len(st.Members) != 6 {
		t.Errorf("members %s", members(st))
	}
	if finn.g.Status().State != "member" || !finn.has(group.KindRejoined) {
		t.Errorf("finn is %s", finn.g.Status().State)
	}
	w.say("ben", "welcome back")
	if texts := finn.texts(); texts[len(texts)-1] != "ben: welcome back" {
		t.Errorf("finn reads %q", texts)
	}
}

// replacing makes a KeyPackage of a device that may replace the incarnation
// which a commit added.
func replacing(t *testing.T, w *world, d *device, commit string) []byte {
	t.Helper()
	kp, err := mls.NewKeyPackage(group.ReplacingOptions(w.env(d), d.id, mustCID(t, commit)), d.id.Signer,
		mls.Env{Now: w.now, Rand: d.rand})
	if err != nil {
		t.Fatal(err)
	}
	return kp.KeyPackage.Marshal()
}

// Only by its owner's leave, and only in place of what its owner named, is a
// leaf replaced.
func TestReplaceByConsentOnly(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.create("ada")
	w.join("ada", "ben")
	first := w.devices["ada"].g.Status().Head // added ben
	w.join("ada", "cleo")
	second := w.devices["ada"].g.Status().Head // added cleo
	w.run(20 * time.Second)
	ada, ben := w.devices["ada"], w.devices["ben"]

	if _, err := w.try(ada, group.Change{Add: [][]byte{replacing(t, w, ben, second)}}); !errors.Is(err, group.ErrForbidden) {
		t.Errorf("a KeyPackage for another incarnation: %v", err)
	}
	plain, err := group.NewKeyPackage(w.env(ben), ben.id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.try(ada, group.Change{Add: [][]byte{plain.KeyPackage.Marshal()}}); !errors.Is(err, group.ErrAlready) {
		t.Errorf("an ordinary KeyPackage of a member: %v", err)
	}
	good := replacing(t, w, ben, first)
	if _, err := w.try(ben, group.Change{Add: [][]byte{good}}); !errors.Is(err, group.ErrSelfRemove) {
		t.Errorf("a device that replaces itself: %v", err)
	}

	// A commit that adds it without removing what it replaces, or for another
	// incarnation, is refused by everybody and changes nothing.
	cleo := w.devices["cleo"]
	w.cut(1, "ada")
	for _, kp := range [][]byte{good, replacing(t, w, ben, second)} {
		before := cleo.digest()
		block := w.forgeAdd(ada, kp)
		if block == nil {
			continue // mls itself refuses a second leaf of one key
		}
		out := w.step(cleo, group.Receive{Blocks: [][]byte{block}, From: "ada"})
		if r := out.Results[0]; r.Verdict != group.Rejected || cleo.digest() != before {
			t.Errorf("verdict %v (%v), records changed: %v", r.Verdict, r.Reason, cleo.digest() != before)
		}
	}
	w.island["ada"] = 0

	// By consent it is done, once.
	w.step(ada, group.Change{Add: [][]byte{good}})
	w.flush()
	st := w.agree("ada", "cleo")
	if len(st.Members) != 3 {
		t.Errorf("members %s", members(st))
	}
	if s := ben.g.Status().State; s != "stranded" {
		t.Errorf("ben, who was replaced, is %s", s)
	}
	if _, err := w.try(ada, group.Change{Add: [][]byte{good}}); !errors.Is(err, group.ErrForbidden) {
		t.Errorf("the same KeyPackage again: %v", err)
	}
	// The keys of that KeyPackage are lost; ben asks by itself and returns.
	for range 3 {
		w.run(time.Minute)
		w.sync()
	}
	w.agree("ada", "ben", "cleo")
	if s := ben.g.Status().State; s != "member" {
		t.Errorf("ben is %s", s)
	}
}

// An ex-member leads a stranded joiner onto a branch of his own; the members
// get it back.
func TestCaptureByExMember(t *testing.T) {
	w := strandedWorld(t)
	dan := w.devices["dan"] // removed by eve on finn's branch, a member on the other
	w.run(5 * time.Second)
	w.cut(3, "dan")
	w.island["eve"] = 0
	w.sync()
	finn, eve := w.devices["finn"], w.devices["eve"]
	head, err := cid.Decode(eve.g.Status().Head)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody hears the offer but dan.
	w.step(finn, group.Hear{Payload: eve.g.Notice(finn.g.SelfMember(), head), From: "eve"})
	if s := finn.g.Status().State; s != "stranded" {
		t.Fatalf("finn is %s", s)
	}
	kp := finn.g.OfferedKeyPackage()
	if kp == nil {
		t.Fatal("finn offers nothing")
	}
	out := w.step(dan, group.Change{Add: [][]byte{kp}}) // on an epoch that dan still has
	w.step(finn, group.Hear{Payload: dan.g.WelcomeSignal(out.Welcomes[0]), From: "dan"})
	w.flush()
	t.Log("finn:", finn.g.Status().State, members(finn.g.Status()))
	w.island["finn"] = 0
	for range 6 {
		w.run(time.Minute)
		w.sync()
	}
	w.agree("ada", "ben", "cleo", "finn")
	if s := finn.g.Status().State; s != "member" {
		t.Errorf("finn is %s", s)
	}
}

// forgeAdd returns the block of a commit that adds a KeyPackage and nothing
// else, made by an engine that is thrown away; nil if mls refuses to make it.
func (w *world) forgeAdd(d *device, kp []byte) []byte {
	w.t.Helper()
	parsed, err := mls.ParseKeyPackage(kp)
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := group.Load(w.cfg, d.id, d.g.ID(), records(d))
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := g.ForgeAdd(w.env(d), parsed)
	if err != nil || len(out.Publish) != 1 {
		return nil
	}
	return out.Publish[0].Data
}

// offering: with the delays of a LAN, finn, whose branch lost, offers a KeyPackage
// to all, and nobody has taken it up.
func offering(t *testing.T) (w *world, kp []byte) {
	w = newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.cfg = group.LAN()
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "eve")
	w.join("eve", "finn")
	w.update("ada")
	w.say("ben", "x")
	w.say("cleo", "x")
	w.run(5 * time.Second)
	w.heal()
	finn := w.devices["finn"]
	for range 100 {
		if w.run(100 * time.Millisecond); finn.g.Status().State == "stranded" {
			break
		}
	}
	w.run(2 * time.Second)
	kp = finn.g.OfferedKeyPackage()
	if kp == nil {
		t.Fatalf("finn, %s, offers nothing", finn.g.Status().State)
	}
	return w, kp
}

// Two members add a stranded joiner again at once, and it follows the one that
// loses: it is led over in seconds, with the delays of a LAN, and has read what
// was said on either side.
func TestRivalReaddsAreSettledSoon(t *testing.T) {
	w, kp := offering(t)
	finn := w.devices["finn"]
	w.cut(2, "dan", "eve", "finn")
	add := group.Change{Add: [][]byte{kp}}
	out := w.step(w.devices["dan"], add)
	w.step(finn, group.Hear{Payload: w.devices["dan"].g.WelcomeSignal(out.Welcomes[0]), From: "dan"})
	w.flush()
	w.say("dan", "on the branch that loses")
	out = w.step(w.devices["ben"], add)
	w.say("ben", "on the branch that wins")
	w.say("cleo", "x")
	w.say("ada", "x")
	w.heal()
	w.step(finn, group.Hear{Payload: w.devices["ben"].g.WelcomeSignal(out.Welcomes[0]), From: "ben"})
	w.flush()
	healed := w.now
	for range 300 {
		if w.run(100 * time.Millisecond); finn.g.Status().Head == w.devices["ada"].g.Status().Head {
			break
		}
		if len(w.queue) == 0 && w.now.Sub(healed)%(2*time.Second) == 0 {
			w.sync()
			w.step(finn, group.Hear{Payload: w.devices["ben"].g.WelcomeSignal(out.Welcomes[0]), From: "ben"})
		}
	}
	w.run(5 * time.Second)
	w.sync()
	w.agree("ada", "ben", "cleo", "dan", "eve", "finn")
	if took := w.now.Sub(healed); took > 25*time.Second {
		t.Errorf("finn was led over after %v", took)
	}
	for _, want := range []string{"dan: on the branch that loses", "ben: on the branch that wins"} {
		if !slices.Contains(finn.texts(), want) {
			t.Errorf("finn never read %q; it read %q", want, finn.texts())
		}
	}
}

// As before, and both sides go on below their re-adds: what is said there is for
// the joiner, too, whichever of the two it entered first (simulator, merges
// seeds 59 and 83).
func TestBothSidesOfARivalReaddAreRead(t *testing.T) {
	for _, first := range []string{"dan", "ben"} { // ben's side wins
		t.Run(first, func(t *testing.T) {
			w, kp := offering(t)
			finn := w.devices["finn"]
			w.cut(2, "dan", "eve")
			w.island["finn"] = w.island[first]
			welcome := map[string]group.Welcome{}
			for _, by := range []string{"dan", "ben"} {
				welcome[by] = w.step(w.devices[by], group.Change{Add: [][]byte{kp}}).Welcomes[0]
				if by == first {
					w.step(finn, group.Hear{Payload: w.devices[by].g.WelcomeSignal(welcome[by]), From: by})
				}
				w.flush()
				w.say(by, by+" in the epoch of the re-add")
				w.update(by)
				w.say(by, by+" below it")
			}
			w.say("cleo", "x")
			w.say("ada", "x")
			w.heal()
			for range 40 {
				for _, by := range []string{"dan", "ben"} {
					w.step(finn, group.Hear{Payload: w.devices[by].g.WelcomeSignal(welcome[by]), From: by})
				}
				w.run(time.Second)
				w.sync()
			}
			w.agree("ada", "ben", "cleo", "dan", "eve", "finn")
			for _, by := range []string{"dan", "ben"} {
				for _, what := range []string{" in the epoch of the re-add", " below it"} {
					if text := by + ": " + by + what; !slices.Contains(finn.texts(), text) {
						t.Errorf("finn never read %q; it read %q", text, finn.texts())
					}
				}
			}
			before := finn.digest()
			w.reload("finn")
			if w.agree("ada", "finn"); finn.digest() != before {
				t.Error("finn loaded is another")
			}
			w.say("finn", "back")
			if got := w.devices["ada"].texts(); got[len(got)-1] != "finn: back" {
				t.Errorf("ada read %q", got)
			}
		})
	}
}

// Who added a joiner again is cut off before its Welcome arrives, and comes back
// when another has put a new incarnation in the place of the silent one: what
// was said in between is for the joiner, too.
func TestWelcomeOfAReplacedReadd(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
		w.create("ada")
		for _, n := range []string{"ben", "cleo", "dan", "eve"} {
			w.join("ada", n)
		}
		w.run(20 * time.Second)
		w.cut(1, "eve")
		w.join("eve", "finn")
		w.update("ada")
		w.say("ben", "x")
		w.run(5 * time.Second)
		w.heal()
		finn := w.devices["finn"]
		for range 100 {
			if w.run(100 * time.Millisecond); finn.g.Status().State == "stranded" {
				break
			}
		}
		w.flush()
		w.cut(1, "finn") // its offer is known, the Welcome goes astray
		var adder string
		for range 300 {
			w.run(100 * time.Millisecond)
			for _, n := range []string{"ada", "ben", "cleo", "dan", "eve"} {
				for _, e := range w.devices[n].events {
					if e.Kind == group.KindMerge && e.Mine && slices.Contains(e.Actions, "add finn") {
						adder = n
					}
				}
			}
			if adder != "" {
				break
			}
		}
		if adder == "" {
			t.Fatal("nobody added finn again")
		}
		others := slices.DeleteFunc([]string{"ada", "ben", "cleo", "dan", "eve"}, func(n string) bool { return n == adder })
		w.flush()
		w.say(others[0], "to finn, who is not there yet")
		w.cut(2, adder)
		w.island["finn"] = 0
		for range 6 {
			w.sync()
			w.run(20 * time.Second)
		}
		w.agree(append(others, "finn")...)
		if restart {
			w.reload("finn")
			w.reload(adder)
		}
		w.heal()
		for range 8 {
			w.run(20 * time.Second)
			w.sync()
		}
		w.agree("ada", "ben", "cleo", "dan", "eve", "finn")
		if text := others[0] + ": to finn, who is not there yet"; !slices.Contains(finn.texts(), text) {
			t.Errorf("restart %v: finn never read what %s said; it read %q", restart, others[0], finn.texts())
		}
		for _, n := range w.names() {
			if st := w.devices[n].g.Status(); st.RetainedEpochs > 1 || w.devices[n].g.Rejoins() > 0 {
				t.Errorf("restart %v: %s retains %d epochs and %d offers", restart, n, st.RetainedEpochs, w.devices[n].g.Rejoins())
			}
		}
		w.run(w.cfg.MaxAge + time.Minute)
		for _, n := range w.names() {
			if w.devices[n].g.Answers() > 0 {
				t.Errorf("restart %v: %s keeps %d Welcomes after MaxAge", restart, n, w.devices[n].g.Answers())
			}
		}
	}
}
