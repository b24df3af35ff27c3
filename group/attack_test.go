package group_test

import (
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/ipfs/go-cid"
)

func six(t *testing.T, names ...string) *world {
	w := newWorld(t, names...)
	w.create(names[0])
	for _, n := range names[1:] {
		w.join(names[0], n)
	}
	w.run(20 * time.Second)
	return w
}

// An insider sends a frame that everybody rejects to half of the members
// and builds on it: the set must not split.
func TestRejectedPredecessor(t *testing.T) {
	w := six(t, "mal", "ben", "cleo")
	mal, ben, cleo := w.devices["mal"], w.devices["ben"], w.devices["cleo"]
	w.cut(1, "mal")
	bad, err := mal.g.SendRaw(w.env(mal), 9, []byte("no such kind"))
	if err != nil {
		t.Fatal(err)
	}
	w.take(mal, bad)
	next := w.step(mal, group.Change{Update: true})
	out := w.step(ben, group.Receive{Blocks: [][]byte{bad.Publish[0].Data}})
	t.Log("ben on the bad one:", out.Results[0].Verdict, out.Results[0].Reason)
	a := w.step(ben, group.Receive{Blocks: [][]byte{next.Publish[0].Data}})
	b := w.step(cleo, group.Receive{Blocks: [][]byte{next.Publish[0].Data}})
	t.Log("ben on the next:", a.Results[0].Verdict, "cleo:", b.Results[0].Verdict)
	w.island = map[string]int{"mal": 1}
	w.sync()
	w.run(20 * time.Second)
	w.sync()
	w.agree("ben", "cleo")
}

// A member takes somebody else's frame, which a joiner cannot open, for
// its own predecessor: elders reject that, so the joiner must not follow.
func TestForeignPredecessor(t *testing.T) {
	w := six(t, "ada", "mal", "ben")
	w.cut(1, "ada") // late to hear of the add
	w.add("joy")
	w.join("ben", "joy")
	late := w.say("ada", "sent above joy's base").Publish[0].Data
	w.cut(2, "mal")
	mal, ben, joy := w.devices["mal"], w.devices["ben"], w.devices["joy"]
	for _, d := range []*device{mal, ben, joy} {
		out := w.step(d, group.Receive{Blocks: [][]byte{late}})
		t.Log(d.name, out.Results[0].Verdict)
	}
	adaNext, adaPrev := w.devices["ada"].g.Chain()
	mal.g.Forge(adaNext, adaPrev)
	evil := w.step(mal, group.Change{Update: true}).Publish[0].Data
	a := w.step(ben, group.Receive{Blocks: [][]byte{evil}}).Results[0]
	b := w.step(joy, group.Receive{Blocks: [][]byte{evil}}).Results[0]
	t.Log("ben:", a.Verdict, a.Reason, "joy:", b.Verdict, b.Reason)
	if (a.Verdict == group.Rejected) != (b.Verdict == group.Rejected) {
		t.Error("an elder and a joiner disagree on a commit for good")
	}
}

// One peer fills the parking lot for ever.
func TestParkingRecovers(t *testing.T) {
	w := newWorld(t, "ada", "mal", "ben")
	w.cfg.MaxParked = 1 << 16
	w.create("ada")
	w.join("ada", "mal")
	w.join("ada", "ben")
	w.run(20 * time.Second)
	ben := w.devices["ben"]
	w.cut(1, "ben")
	w.cut(2, "mal")
	mal := w.devices["mal"]
	w.say("mal", "hidden")
	for range 30 {
		b := w.step(mal, group.Send{Text: make([]byte, 4000)}).Publish[0].Data
		w.step(ben, group.Receive{Blocks: [][]byte{b}, From: "mal"})
	}
	t.Log("parked", ben.g.Status().Parked)
	first := w.say("ada", "one").Publish[0].Data
	second := w.say("ada", "two").Publish[0].Data
	w.now = w.now.Add(time.Hour)
	w.step(ben, group.Receive{Blocks: [][]byte{second}, From: "ada"})
	w.step(ben, group.Receive{Blocks: [][]byte{first}, From: "ada"})
	got := ben.texts()
	if len(got) != 2 {
		t.Errorf("ben read %q: ada's frame found no room although all that fills it waits for a frame that never comes", got)
	}
}

// A frame that this device cannot open names, in `after`, one that it
// could: sync must still bring it.
func TestUnreadTipsHideFrames(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan")
	w.cut(1, "dan")
	hidden := w.say("ada", "the message that gets lost").Sent.CID
	w.run(5 * time.Second)
	// An outsider that was a member once has the gossip key, no more.
	dan := w.devices["dan"]
	junk := forgeUnread(t, w.devices["ada"], hidden)
	out := w.step(dan, group.Receive{Blocks: [][]byte{junk}})
	t.Log("junk at dan:", out.Results[0].Verdict)
	w.step(w.devices["ada"], group.Receive{Blocks: [][]byte{junk}})
	w.step(w.devices["ben"], group.Receive{Blocks: [][]byte{junk}})
	w.step(w.devices["cleo"], group.Receive{Blocks: [][]byte{junk}})
	w.now = w.now.Add(time.Minute)
	clear(w.island)
	w.sync()
	if !dan.g.Has(hidden) {
		t.Errorf("dan never gets %s; it wants %v", hidden, dan.g.Wants())
	}
}

// Whoever committed a removal together with a new signature key is
// rejected by all; the removed one must not believe it alone.
func TestLyingNoticeInSmallGroup(t *testing.T) {
	w := six(t, "ada", "ben")
	ada, ben := w.devices["ada"], w.devices["ben"]
	// ben, invited by ada, tells ada that she is stranded.
	payload := ben.g.Notice(ada.g.SelfMember(), someCID("nowhere"))
	w.step(ada, group.Hear{Payload: payload, From: "ben"})
	t.Log("ada is", ada.g.Status().State)
	w.run(time.Minute)
	w.say("ben", "hello?")
	w.run(time.Minute)
	if st := ada.g.Status().State; st != "member" {
		t.Errorf("ada is %s for ever by one lying notice, although nobody ever added her", st)
	}
}

// A stranded joiner's branch wins after all.
func TestStrandedThenWins(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "eve", "gus", "hal", "ian")
	w.cut(1, "eve", "gus", "hal", "ian")
	w.add("finn")
	w.join("eve", "finn")
	w.run(5 * time.Second)
	w.cut(2, "gus", "hal", "ian")
	w.update("ada")
	w.run(5 * time.Second)
	// eve and finn meet ada, ben and cleo, who outvote eve; gus, hal and ian are
	// away: eve has not seen them speak on her branch
	_ = cid.Undef
	w.say("gus", "we follow finn's add")
	w.island = map[string]int{"gus": 2, "hal": 2, "ian": 2}
	w.sync()
	w.run(8 * time.Second)
	t.Log("finn is", w.devices["finn"].g.Status().State, "eve", w.devices["eve"].g.Status().Head == w.devices["ada"].g.Status().Head)
	for range 4 {
		w.say("gus", "x")
		w.run(time.Second)
	}
	w.heal()
	for range 6 {
		w.run(40 * time.Second)
		w.sync()
	}
	st := w.agree("ada", "ben", "cleo", "eve", "gus", "hal", "ian")
	t.Log(members(st), w.devices["finn"].g.Status().State)
	w.agree("ada", "finn")
	if s := w.devices["finn"].g.Status().State; s != "member" {
		t.Errorf("finn is %s for ever", s)
	}
}

// A removed device is invited again: a fresh Join of the same group.
func TestJoinAgain(t *testing.T) {
	w := six(t, "ada", "ben", "cleo")
	w.say("cleo", "first stay")
	w.remove("ada", "cleo")
	w.run(20 * time.Second)
	w.join("ben", "cleo") // the same disk
	w.say("cleo", "second stay")
	w.run(20 * time.Second)
	live := w.devices["cleo"].g.Status()
	w.agree("ada", "ben", "cleo")
	w.reload("cleo")
	loaded := w.devices["cleo"].g.Status()
	if live.Head != loaded.Head || members(live) != members(loaded) || live.State != loaded.State {
		t.Errorf("live %s %s %s, loaded %s %s %s", live.State, live.Head, members(live), loaded.State, loaded.Head, members(loaded))
	}
	w.say("cleo", "still here")
	w.agree("ada", "ben", "cleo")
}
