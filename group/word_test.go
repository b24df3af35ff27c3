package group_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group"
)

// Whoever holds the gossip secret can play a notice again. It does nothing once its
// signer has spoken here since.
func TestNoticePlayedAgain(t *testing.T) {
	w, ben, elsewhere := quietThree(t)
	for _, what := range []func(*group.Group, dag.Member, cid.Cid) []byte{(*group.Group).Notice, (*group.Group).Gone} {
		var old [][]byte
		for _, n := range []string{"ada", "cleo"} {
			old = append(old, what(w.devices[n].g, ben.g.SelfMember(), elsewhere))
			w.say(n, "still here")
		}
		for _, payload := range slices.Concat(old, old) {
			w.step(ben, group.Hear{Payload: payload, From: "mal"})
		}
		if s := ben.g.Status().State; s != "member" {
			t.Errorf("ben is %s", s)
		}
	}
	w.tell(ben, (*group.Group).Notice, elsewhere)
}

// Nor does one that says that a device is where it should be, once its signer says
// otherwise, also after a restart.
func TestHerePlayedAgain(t *testing.T) {
	w, ben, elsewhere := quietThree(t)
	ada := w.devices["ada"]
	here := ada.g.Here(ben.g.SelfMember())
	w.cut(1, "ben")
	w.say("ada", "somewhere")
	w.tell(ben, (*group.Group).Notice, elsewhere)
	for _, when := range []string{"at once", "after a restart"} {
		w.step(ben, group.Hear{Payload: here, From: "mal"})
		if s := ben.g.Status().State; s != "stranded" {
			t.Errorf("%s: ben is %s", when, s)
		}
		w.reload("ben")
	}
	w.step(ben, group.Hear{Payload: ada.g.Here(ben.g.SelfMember()), From: "ada"})
	if s := ben.g.Status().State; s != "member" {
		t.Errorf("told anew: ben is %s", s)
	}
}

// What members said counts after a restart.
func TestWordsSurviveRestart(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.cut(1, "finn")
	finn := w.devices["finn"]
	for i, n := range []string{"ben", "cleo", "dan"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.Notice(finn.g.SelfMember(), someCID("elsewhere")), From: n})
		if s, want := finn.g.Status().State, []string{"member", "member", "stranded"}[i]; s != want {
			t.Fatalf("by the word of %d finn is %s, want %s", i+1, s, want)
		}
		w.reload("finn")
	}
	// It was told that it is not there, and a Welcome that leads elsewhere than it
	// was told does not lead, as before.
	if !finn.g.ToldAbsent() {
		t.Error("what finn was told is forgotten")
	}
}

// Who asks withdraws its offer; played again when there is a new one, the question
// does nothing.
func TestAskPlayedAgain(t *testing.T) {
	w := offered(t, "ada")
	finn, ada := w.devices["finn"], w.devices["ada"]
	ask := group.Hear{Payload: finn.g.Ask(finn.g.SelfMember(), finn.g.OfferedKeyPackage()), From: "finn"}
	if w.step(ada, ask); ada.g.Offers() != 0 {
		t.Fatal("finn could not withdraw its offer")
	}
	at := mustCID(t, ada.g.Status().Head)
	finn.g.Later() // it was a member meanwhile
	w.step(ada, group.Hear{Payload: finn.g.Offer(finn.g.SelfMember(), at, finn.g.OfferedKeyPackage()), From: "finn"})
	if n := ada.g.Offers(); n != 1 {
		t.Fatalf("ada holds %d offers, finn is %s", n, finn.g.Status().State)
	}
	if w.step(ada, ask); ada.g.Offers() != 1 {
		t.Errorf("ada holds %d offers", ada.g.Offers())
	}
}

// A device that is told that it is gone keeps the keys of its offers for a Welcome
// that is on its way; one that is a member again does not.
func TestGoneKeepsOffers(t *testing.T) {
	w, ben, elsewhere := quietThree(t)
	w.cut(1, "ben")
	w.tell(ben, (*group.Group).Notice, elsewhere)
	w.tell(ben, (*group.Group).Gone, elsewhere)
	w.run(time.Minute)
	if st := ben.g.Status(); st.State != "removed" || ben.g.Rejoins() != 1 {
		t.Errorf("ben is %s and keeps the keys of %d offers", st.State, ben.g.Rejoins())
	}
	w.say("ada", "here you are")
	w.heal()
	w.run(10 * time.Second)
	if st := ben.g.Status(); st.State != "member" || ben.g.Rejoins() != 0 {
		t.Errorf("ben is %s and keeps the keys of %d offers", st.State, ben.g.Rejoins())
	}
}

// A Welcome came before its commit. That it did is remembered when the commit has
// been opened, too: once its epoch is erased, it must not be taken again.
func TestWelcomeBeforeItsCommit(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	finn := w.devices["finn"]
	w.cut(3, "finn")
	w.update("ada")
	at, self := mustCID(t, w.devices["ada"].g.Status().Head), finn.g.SelfMember()
	for _, n := range []string{"ben", "cleo", "dan"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(self, at, finn.g.AddedBy()), From: n})
	}
	w.cut(1, "ada", "ben")
	w.cut(2, "cleo", "dan", "eve")
	for _, n := range []string{"ada", "cleo"} {
		w.step(w.devices[n], group.Hear{Payload: finn.g.Offer(self, at, finn.g.OfferedKeyPackage()), From: "finn"})
	}
	w.run(w.cfg.ReaddDelay + 5*time.Second)
	for _, island := range []int{2, 1} {
		w.cut(island, "finn")
		w.run(3 * w.cfg.NoticeEvery)
	}
	if !finn.has(group.KindRejoined) || !finn.has(group.KindReadable) {
		t.Fatalf("finn is %s", finn.g.Status().State)
	}
	rival := finn.events1(group.KindReadable)[0].CID
	w.heal()
	w.run(time.Second)
	record := string(finn.disk[group.Prefix(finn.g.ID())+"c/"+rival].Value)
	if !strings.Contains(record, `"Base":false`) || !strings.Contains(record, `"Welcomed":true`) {
		t.Errorf("the commit is recorded as %s", record)
	}
}

// A member who lies to those whom it invited, and is silent, holds them up only
// until most of the others are heard of.
func TestLiarOnTheHead(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "mal")
	w.create("ada")
	for _, n := range []string{"mal", "cleo", "dan"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.join("mal", "ben")
	ben, mal := w.devices["ben"], w.devices["mal"]
	w.cut(1, "mal")
	w.step(ben, group.Hear{Payload: mal.g.Notice(ben.g.SelfMember(), someCID("nowhere")), From: "mal"})
	if s := ben.g.Status().State; s != "stranded" {
		t.Fatalf("ben is %s by the word of its inviter", s)
	}
	w.run(10 * time.Second)
	if s := ben.g.Status().State; s != "member" {
		t.Errorf("ben is %s though all but one say that it is here", s)
	}
	w.agree("ada", "cleo", "dan", "ben")
}

// What members said long ago, each before it spoke on our head, adds up to nothing.
func TestWordsDoNotPileUp(t *testing.T) {
	w := six(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	finn := w.devices["finn"]
	for _, n := range []string{"ben", "cleo", "dan"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.Notice(finn.g.SelfMember(), someCID("elsewhere")), From: n})
		w.say(n, "all the same, here")
		w.update(n)
		w.run(time.Hour)
		if s := finn.g.Status().State; s != "member" {
			t.Fatalf("finn is %s after the word of %s", s, n)
		}
	}
}

// Who invited all and is silent ever since cannot strand them by one word each.
func TestSilentInviter(t *testing.T) {
	w := newWorld(t, "mal", "ada", "ben", "cleo", "dan")
	w.create("mal")
	for _, n := range []string{"ada", "ben", "cleo", "dan"} {
		w.join("mal", n)
	}
	w.cut(1, "mal")
	for _, n := range []string{"ada", "ben", "cleo", "dan"} {
		w.say(n, "hello")
	}
	w.run(10 * time.Minute)
	mal := w.devices["mal"]
	for _, n := range []string{"ada", "ben", "cleo", "dan"} {
		w.step(w.devices[n], group.Hear{Payload: mal.g.Notice(w.devices[n].g.SelfMember(), someCID("nowhere")), From: "mal"})
	}
	w.run(time.Minute)
	for _, n := range []string{"ada", "ben", "cleo", "dan"} {
		if s := w.devices[n].g.Status().State; s != "member" {
			t.Errorf("%s is %s", n, s)
		}
	}
}
