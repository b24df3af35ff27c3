package group_test

import (
	"slices"
	"testing"
	"time"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group"
)

// twiceAdded: finn, whose branch lost, is added again by dan and by ben at once,
// with eve on dan's side and ada and cleo on ben's; it has entered by neither.
func twiceAdded(t *testing.T) (*world, map[string]group.Welcome) {
	w, kp := offering(t)
	w.cut(1, "dan", "eve")
	w.cut(2, "ada", "ben", "cleo")
	w.cut(3, "finn")
	welcome := map[string]group.Welcome{}
	for _, by := range []string{"dan", "ben"} {
		welcome[by] = w.step(w.devices[by], group.Change{Add: [][]byte{kp}}).Welcomes[0]
	}
	return w, welcome
}

// lead tells finn, as its present incarnation, where others have its key, and
// gives it a Welcome.
func (w *world) lead(by group.Welcome, from string, tell ...string) {
	finn, d := w.devices["finn"], w.devices[from]
	at := mustCID(w.t, d.g.Status().Head)
	for _, n := range tell {
		w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), at, dag.ID(at.Bytes())), From: n})
	}
	w.step(finn, group.Hear{Payload: d.g.WelcomeSignal(by), From: from})
	w.flush()
}

// A device that is led to and fro between two rival re-adds goes on in each
// where it was: at the head that it had, with the next number of its chain, and
// after a restart, too.
func TestEnteredAgain(t *testing.T) {
	w, welcome := twiceAdded(t)
	finn, dan := w.devices["finn"], w.devices["dan"]
	w.lead(welcome["dan"], "dan", "dan")
	w.cut(1, "finn")
	w.sync()
	there := mustCID(t, dan.g.Status().Head) // where dan added finn
	w.update("dan")
	w.say("finn", "one")
	head, ready := finn.g.Status().Head, func() uint64 { next, _ := finn.g.Chain(); return next }
	if next := ready(); head != dan.g.Status().Head || next == 0 {
		t.Fatalf("finn is not with dan: %s, next %d", finn.g.Status().State, next)
	}
	was := ready()

	w.cut(2, "finn")
	w.lead(welcome["ben"], "ben", "ada", "ben", "cleo")
	w.sync()
	w.say("finn", "two")
	w.agree("ben", "finn")
	w.reload("finn")
	w.agree("ben", "finn")

	w.cut(1, "finn")
	for _, n := range []string{"dan", "eve", "cleo"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), there, dag.ID(there.Bytes())), From: n})
	}
	w.step(finn, group.Hear{Payload: dan.g.WelcomeSignal(welcome["dan"]), From: "dan"})
	if got := finn.g.Status().Head; got != head {
		t.Fatalf("finn, %s, is at %s, was at %s", finn.g.Status().State, got, head)
	}
	if next := ready(); next < was {
		t.Fatalf("the next frame is number %d, was %d", next, was)
	}
	w.say("finn", "three")
	w.agree("dan", "eve", "finn")
	w.run(5 * time.Second) // it follows what dan has not seen
	if got := dan.texts(); got[len(got)-1] != "finn: three" {
		t.Errorf("dan read %q", got)
	}
	before := finn.digest()
	w.reload("finn")
	if w.agree("dan", "finn"); finn.digest() != before {
		t.Error("finn loaded is another")
	}
}

// What only its own frames follow is in nobody's hands, also if those were of an
// earlier incarnation (seed attack-backdater 2686).
func TestOutboxOfAnEarlierIncarnation(t *testing.T) {
	w, welcome := twiceAdded(t)
	finn := w.devices["finn"]
	w.lead(welcome["dan"], "dan", "dan")
	w.cut(4, "finn")
	w.update("finn")
	w.say("finn", "to nobody")
	before := len(finn.g.Unsent())
	w.lead(welcome["ben"], "ben", "ada", "ben", "cleo")
	if n := len(finn.g.Unsent()); finn.g.State() != "member" || n < before {
		t.Fatalf("finn is %s with %d blocks in its outbox, of %d", finn.g.State(), n, before)
	}
	(&roam{world: w}).compare(finn, "its return")
}

// A device that saw the commit of its base from outside, since it replaced its
// incarnation there, still knows after a restart who made it (seed merges 2201).
func TestAuthorOfTheBase(t *testing.T) {
	w, welcome := twiceAdded(t)
	finn, dan, eve := w.devices["finn"], w.devices["dan"], w.devices["eve"]
	w.cut(1, "finn")
	at := mustCID(t, dan.g.Status().Head)
	for _, n := range []string{"dan", "eve"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), at, dag.ID(at.Bytes())), From: n})
	}
	kp := finn.g.OfferedKeyPackage()
	w.step(finn, group.Hear{Payload: dan.g.WelcomeSignal(welcome["dan"]), From: "dan"})
	again := w.step(eve, group.Change{Add: [][]byte{kp}}).Welcomes[0]
	w.pull(eve, finn)
	if st := finn.g.Status(); st.State != "stranded" || st.Head != at.String() {
		t.Fatalf("finn is %s at %s", st.State, st.Head)
	}
	w.step(finn, group.Hear{Payload: eve.g.WelcomeSignal(again), From: "eve"})
	w.agree("eve", "finn")
	(&roam{world: w}).compare(finn, "its return")
}

// While a device waits to be let into the branch that it was told of, another
// Welcome for its offers does not lead it astray.
func TestRivalWelcomeDoesNotLead(t *testing.T) {
	w, welcome := twiceAdded(t)
	finn, dan, ben := w.devices["finn"], w.devices["dan"], w.devices["ben"]
	at := mustCID(t, dan.g.Status().Head)
	for _, n := range []string{"dan", "eve"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), at, dag.ID(at.Bytes())), From: n})
	}
	w.step(finn, group.Hear{Payload: ben.g.WelcomeSignal(welcome["ben"]), From: "ben"})
	if st := finn.g.Status(); st.State != "stranded" || !finn.has(group.KindReadable) {
		t.Fatalf("finn is %s, has readable %v", st.State, finn.has(group.KindReadable))
	}
	w.step(finn, group.Hear{Payload: dan.g.WelcomeSignal(welcome["dan"]), From: "dan"})
	if st := finn.g.Status(); st.State != "member" || st.Head != dan.g.Status().Head {
		t.Fatalf("finn is %s at %s", st.State, st.Head)
	}
	w.cut(2, "finn")
	w.say("ben", "read all the same")
	w.sync()
	if got := finn.texts(); len(got) == 0 || got[len(got)-1] != "ben: read all the same" {
		t.Errorf("finn read %q", got)
	}
}

// The word of one whom our head removed strands a device only until it hears
// others on its head.
func TestNoticeByTheRemoved(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan")
	w.create("ada")
	for _, n := range []string{"ben", "cleo"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.join("ben", "dan") // the word of its inviter is enough until its base is confirmed
	dan := w.devices["dan"]
	w.cut(1, "ben")
	w.remove("ada", "ben")
	w.step(dan, group.Hear{Payload: w.devices["ben"].g.NoticeAt(dan.g.SelfMember(), mustCID(t, "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"), ""), From: "ben"})
	if s := dan.g.Status().State; s != "stranded" {
		t.Fatalf("dan is %s", s)
	}
	w.say("cleo", "here we are")
	if s := dan.g.Status().State; s != "member" {
		t.Errorf("dan is %s", s)
	}
}

// A Welcome that goes round in a circle of relays dies out: it passes each
// device once in a pause.
func TestWelcomeDoesNotCircle(t *testing.T) {
	w, welcome := twiceAdded(t)
	finn, eve := w.devices["finn"], w.devices["eve"]
	w.now = w.now.Add(time.Minute)
	offer := group.Hear{Payload: finn.g.Offer(finn.g.SelfMember(), mustCID(t, eve.g.Status().Head), finn.g.OfferedKeyPackage()), From: "left"}
	w.try(eve, offer)
	pass := func() (n int) {
		out, err := w.try(eve, group.Hear{Payload: w.devices["dan"].g.WelcomeSignal(welcome["dan"]), From: "right"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range out.Signals {
			if s.To == "left" {
				n++
			}
		}
		return n
	}
	if first, second := pass(), pass(); first != 1 || second != 0 {
		t.Errorf("passed %d and %d times at once, want 1 and 0", first, second)
	}
	w.now = w.now.Add(w.cfg.NoticeEvery)
	if n := pass(); n != 1 {
		t.Errorf("passed %d times after a pause, want 1", n)
	}
}

// A device that was added again goes back to where it was, without a Welcome,
// when the choice flips back to the branch that has its first incarnation: that
// one spoke, so nobody would replace it.
func TestGoesBackWithoutWelcome(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "dan", "eve")
	w.join("eve", "finn")
	added := mustCID(t, w.devices["finn"].g.Status().Head)
	w.update("finn")
	w.say("eve", "before")
	w.cut(2, "finn")
	w.update("ada")
	finn, ben := w.devices["finn"], w.devices["ben"]
	at := mustCID(t, ben.g.Status().Head)
	for _, n := range []string{"ada", "ben", "cleo"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), at, ""), From: n})
	}
	kp := finn.g.OfferedKeyPackage()
	welcome := w.step(ben, group.Change{Add: [][]byte{kp}}).Welcomes[0]
	again := mustCID(t, ben.g.Status().Head)
	w.step(finn, group.Hear{Payload: ben.g.WelcomeSignal(welcome), From: "ben"})
	w.cut(0, "finn")
	w.say("finn", "with ben")
	if finn.g.Status().Head != ben.g.Status().Head {
		t.Fatalf("finn is %s at %s", finn.g.Status().State, finn.g.Status().Head)
	}
	for round := 1; round <= 2; round++ {
		if round == 2 {
			w.reload("finn")
		}
		w.cut(1, "finn")
		to := mustCID(t, w.devices["eve"].g.Status().Head)
		for _, n := range []string{"dan", "eve", "ada"} {
			w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), to, dag.ID(added.Bytes())), From: n})
		}
		w.flush()
		w.agree("dan", "eve", "finn")
		w.say("eve", "after")
		w.say("finn", "back")
		w.agree("dan", "eve", "finn")
		w.run(w.cfg.DeliverWait) // it follows what dan has not seen
		for name, text := range map[string]string{"finn": "eve: after", "dan": "finn: back"} {
			got := w.devices[name].texts()
			if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != text })); n != round {
				t.Errorf("round %d: %s read %q", round, name, got)
			}
		}
		if round == 1 { // and to the other side again, which has it in another place
			w.cut(0, "finn")
			at := mustCID(t, ben.g.Status().Head)
			for _, n := range []string{"ada", "ben", "cleo"} {
				w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), at, dag.ID(again.Bytes())), From: n})
			}
			w.flush()
			w.sync()
			w.agree("ben", "finn")
		}
	}
}

// Who was added again and learns that a frame is missing does not forget the
// branch that lost before it comes, or was waited for.
func TestOldEpochsWaitForWhatIsMissing(t *testing.T) {
	for _, comes := range []bool{true, false} {
		w := strandedWorld(t)
		finn, eve := w.devices["finn"], w.devices["eve"]
		w.step(eve, group.Send{Text: []byte("lost on the way")})
		w.queue = nil
		clear(w.island)
		w.island["finn"] = 3
		w.sync()
		after := w.say("ada", "after it").Publish[0]
		w.island["finn"] = 0
		for range 300 {
			if w.run(100 * time.Millisecond); finn.has(group.KindRejoined) {
				break
			}
		}
		if st := finn.g.Status(); st.State != "member" || st.Head != w.devices["ada"].g.Status().Head {
			t.Fatalf("finn is %s", st.State)
		}
		w.step(finn, group.Receive{Blocks: [][]byte{after.Data}, From: "ada"})
		w.run(4 * w.cfg.AckMax)
		if st := w.devices["ada"].g.Status(); st.RetainedEpochs != 1 {
			t.Errorf("ada, who lacks nothing, retains %d epochs", st.RetainedEpochs)
		}
		if comes {
			w.sync()
		} else {
			w.run(w.cfg.DeliverWait)
		}
		w.run(5 * w.cfg.NoticeEvery)
		if got := finn.texts(); slices.Contains(got, "eve: lost on the way") != comes {
			t.Errorf("it came: %v; finn read %q", comes, got)
		}
		if st := finn.g.Status(); st.RetainedEpochs != 1 || finn.g.Rejoins() != 0 {
			t.Errorf("it came: %v; finn retains %d epochs and the keys of %d offers", comes, st.RetainedEpochs, finn.g.Rejoins())
		}
	}
}

// Branches that a device only reads are capped like the one that it is on, the oldest
// epoch first: an insider may commit there for as long as others are silent.
func TestOldEpochsAreCapped(t *testing.T) {
	w := strandedWorld(t)
	finn := w.devices["finn"]
	w.heal()
	w.island["dan"] = 3 // and so nothing is confirmed
	for range 300 {
		if w.run(100 * time.Millisecond); finn.has(group.KindRejoined) {
			break
		}
	}
	had := finn.g.Held().OldEpochs
	if had < 2 {
		t.Fatalf("%d old epochs", had)
	}
	w.cfg.MaxEpochs = had - 1
	w.reload("finn")
	w.run(w.cfg.NoticeEvery)
	if h := finn.g.Held(); h.OldEpochs != had-1 {
		t.Errorf("%d old epochs, of %d at most", h.OldEpochs, had-1)
	}
}
