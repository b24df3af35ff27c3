package group_test

import (
	"slices"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// offered is a world on one head in which finn, alone, was told of it and made an
// offer, which it hands to some.
func offered(t *testing.T, to ...string) *world {
	w := strandedWorld(t)
	clear(w.island)
	w.island["finn"] = 3
	w.sync()
	finn, ada := w.devices["finn"], w.devices["ada"]
	at := mustCID(t, ada.g.Status().Head)
	for _, n := range []string{"ada", "ben", "cleo"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), at, ""), From: n})
	}
	w.flush()
	for _, n := range to {
		w.step(w.devices[n], group.Hear{Payload: finn.g.Offer(finn.g.SelfMember(), at, finn.g.OfferedKeyPackage()), From: "finn"})
		if w.devices[n].g.Offers() != 1 {
			t.Fatalf("finn is %s, %s holds %d offers", finn.g.Status().State, n, w.devices[n].g.Offers())
		}
	}
	return w
}

// A device that is back withdraws its offers by asking for their Welcomes.
// Nobody else can.
func TestAskWithdraws(t *testing.T) {
	w := offered(t, "ada")
	finn, ada := w.devices["finn"], w.devices["ada"]
	w.step(ada, group.Hear{Payload: w.devices["eve"].g.Ask(finn.g.SelfMember(), finn.g.OfferedKeyPackage()), From: "eve"})
	if ada.g.Offers() != 1 {
		t.Error("eve withdrew the offer of finn")
	}
	w.step(ada, group.Hear{Payload: finn.g.Ask(finn.g.SelfMember(), ada.g.OfferedKeyPackage()), From: "finn"})
	if ada.g.Offers() != 1 {
		t.Error("an ask for another offer withdrew this one")
	}
	w.step(ada, group.Hear{Payload: finn.g.Ask(finn.g.SelfMember(), finn.g.OfferedKeyPackage()), From: "finn"})
	if ada.g.Offers() != 0 {
		t.Error("finn could not withdraw its offer")
	}
}

// Two members add finn again, and the Welcome of one of them gets lost. What is
// said on its branch lets finn ask for it, as often as it takes.
func TestAskForARivalWelcome(t *testing.T) {
	w := offered(t, "ada", "cleo")
	finn, cleo := w.devices["finn"], w.devices["cleo"]
	w.queue = nil // neither hears of the other's offer
	w.cut(1, "ada", "ben", "finn")
	w.cut(2, "cleo", "dan", "eve")
	w.run(w.cfg.ReaddDelay + 5*time.Second)
	added := func(n string) bool {
		_, ok := w.devices[n].g.Find("finn")
		return ok
	}
	if st := finn.g.Status(); st.State != "member" || !added("ada") || !added("cleo") {
		t.Fatalf("finn is %s; added by ada's side %v, by cleo's %v", st.State, added("ada"), added("cleo"))
	}
	w.say("cleo", "welcome back")
	w.pull(cleo, finn)
	for range 2 {
		w.island["finn"] = 9 // it asks, and nobody hears it
		w.run(w.cfg.NoticeEvery)
		w.queue = nil
	}
	clear(w.island)
	w.sync()
	w.say("cleo", "on the head")
	for range 4 {
		w.run(w.cfg.NoticeEvery)
		w.sync()
	}
	if got := finn.texts(); !slices.Equal(got[len(got)-2:], []string{"cleo: welcome back", "cleo: on the head"}) {
		t.Errorf("finn read %q", got)
	}
	w.run(time.Minute)
	w.agree("ada", "ben", "cleo", "eve", "finn")
	if n := finn.g.Rejoins(); n != 0 {
		t.Errorf("finn keeps the keys of %d offers", n)
	}
}

// Landmarks show a peer what two have in common that do not know each other's
// tips, also after a restart.
func TestLandmarks(t *testing.T) {
	w := newWorld(t, "ada", "ben")
	w.create("ada")
	w.join("ada", "ben")
	for range 50 {
		w.say("ada", "together")
	}
	w.cut(1, "ben")
	for range 5 {
		w.say("ada", "apart")
		w.say("ben", "apart")
	}
	ada, ben := w.devices["ada"], w.devices["ben"]
	for range 2 {
		all := len(ada.g.Missing(ben.g.Tips(), nil, 1000))
		some := len(ada.g.Missing(append(ben.g.Tips(), ben.g.Landmarks()...), nil, 1000))
		if all < 50 || some < 5 || some > 15 {
			t.Errorf("of %d frames %d are not known to be with ben", all, some)
		}
		w.reload("ben")
	}
}

// A device that was removed cannot open what the others say since, but does not
// send them again and again what they have said before.
func TestRemovedDoesNotResend(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "cleo")
	for range 20 {
		w.say("ada", "with cleo")
	}
	w.remove("ada", "cleo")
	for range 5 {
		w.say("ben", "without cleo")
	}
	cleo := w.devices["cleo"].g
	if n := len(cleo.Missing(w.devices["ben"].g.Tips(), nil, 1000)); cleo.State() != "removed" || n != 0 {
		t.Errorf("cleo is %s and takes %d frames not to be with ben", cleo.State(), n)
	}
}
