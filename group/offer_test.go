package group_test

import (
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// strandedWorld: finn was added by eve beside the head that ada, ben and cleo are on.
func strandedWorld(t *testing.T) *world {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "eve")
	w.join("eve", "finn")
	w.remove("eve", "dan")
	w.update("ada")
	w.say("ben", "x")
	w.say("cleo", "x")
	w.run(5 * time.Second)
	return w
}

// An offer that no commit can take must not stop the merge.
func TestPoisonOffer(t *testing.T) {
	w := strandedWorld(t)
	finn := w.devices["finn"]
	w.cfg.ReaddDelay = 0
	clear(w.island)
	w.island["finn"] = 3
	w.sync()
	poison := func() []byte {
		kp, err := mls.NewKeyPackage(mls.KeyPackageOptions{
			Suite: mls.MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, Credential: mls.BasicCredential(finn.id.ID()),
			Capabilities: mls.Capabilities{Versions: []uint16{1}, CipherSuites: []mls.CipherSuite{1}, Credentials: []mls.CredentialType{mls.CredentialBasic}},
			Lifetime:     mls.Lifetime{NotBefore: uint64(w.now.Add(-time.Hour).Unix()), NotAfter: uint64(w.now.Add(time.Hour * 24).Unix())},
		}, finn.id.Signer, mls.Env{Now: w.now, Rand: finn.rand})
		if err != nil {
			t.Fatal(err)
		}
		return kp.KeyPackage.Marshal()
	}
	st := w.devices["ada"].g.Status()
	p := finn.g.Offer(finn.g.SelfMember(), mustCID(t, st.Head), poison())
	for _, n := range []string{"ada", "ben", "cleo", "eve"} {
		w.step(w.devices[n], group.Hear{Payload: p, From: "finn"})
	}
	t.Log("offers", w.devices["ada"].g.Offers(), w.devices["ben"].g.Offers(), w.devices["ada"].g.Status().Head == w.devices["eve"].g.Status().Head)
	failed := 0
	for i := range 400 {
		w.now = w.now.Add(500 * time.Millisecond)
		if i%10 == 0 {
			p := finn.g.Offer(finn.g.SelfMember(), mustCID(t, w.devices["ada"].g.Status().Head), poison())
			for _, n := range []string{"ada", "ben", "cleo", "eve"} {
				w.try(w.devices[n], group.Hear{Payload: p, From: "finn"})
			}
		}
		w.flush()
		for _, n := range []string{"ada", "ben", "cleo", "eve"} {
			if d := w.devices[n]; !d.wake.IsZero() && !d.wake.After(w.now) {
				if _, err := w.try(d, group.Tick{}); err != nil {
					failed++
					if failed < 3 {
						t.Log(n, err)
					}
				}
			}
		}
	}
	for _, n := range []string{"ada", "ben"} {
		t.Log(n, members(w.devices[n].g.Status()), w.devices[n].g.Offers(), w.devices[n].g.Status().ForksOpen)
	}
	if failed > 0 {
		t.Errorf("%d ticks failed", failed)
	}
	if _, ok := w.devices["ada"].g.Find("dan"); ok {
		t.Error("dan's removal was never enacted")
	}
}

// The elder that commits has an older offer than the joiner's last.
func TestOlderOfferCommitted(t *testing.T) {
	w := strandedWorld(t)
	w.heal()
	for range 8 {
		w.update("cleo") // heads move on while the offer waits
		w.run(700 * time.Millisecond)
	}
	w.run(4 * time.Minute)
	w.sync()
	w.run(time.Minute)
	w.agree("ada", "ben", "cleo", "eve", "finn")
	if s := w.devices["finn"].g.Status().State; s != "member" {
		t.Error(s)
	}
}

// Two stranded joiners at once, and one stranded twice.
func TestTwoStranded(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn", "gil")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "eve")
	w.cut(2, "dan")
	w.join("eve", "finn")
	w.join("dan", "gil")
	w.update("ada")
	w.run(5 * time.Second)
	w.say("finn", "f")
	w.say("gil", "g")
	w.heal()
	w.run(3 * time.Second)
	// again: finn's re-add is on an island that loses
	w.run(6 * time.Second)
	w.cut(1, "finn", "eve")
	w.run(20 * time.Second)
	w.heal()
	for range 5 {
		w.run(time.Minute)
		w.sync()
	}
	st := w.agree("ada", "ben", "cleo", "dan", "eve", "finn", "gil")
	if len(st.Members) != 7 {
		t.Error(members(st))
	}
	for _, n := range w.names() {
		if st := w.devices[n].g.Status(); st.RetainedEpochs > 1 {
			t.Errorf("%s keeps %d epochs", n, st.RetainedEpochs)
		}
	}
}

// A stranded joiner whose inviter was removed on the head.
func TestInviterRemoved(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "eve")
	w.join("eve", "finn")
	w.remove("ada", "eve")

	w.heal()
	for range 5 {
		w.run(time.Minute)
		w.sync()
	}
	w.agree("ada", "ben", "cleo", "dan")
	t.Log("finn:", w.devices["finn"].g.Status().State, "eve:", w.devices["eve"].g.Status().State)
	for _, n := range []string{"ada", "finn"} {
		for _, e := range w.devices[n].events {
			if e.Kind != group.KindPunctured && e.Kind != group.KindErased {
				t.Log(n, e.Time-w.now.UnixMilli(), e.Kind, e.Actions, e.Why, e.Epoch)
			}
		}
	}
	if w.devices["finn"].g.Status().State == "member" && !w.devices["ada"].has(group.KindNeedsApproval) {
		t.Error("finn talks to nobody and neither finn nor anybody else is told (NeedsApproval)")
	}
	for _, n := range []string{"ada", "ben", "cleo", "dan"} {
		if st := w.devices[n].g.Status(); st.RetainedEpochs > 1 {
			t.Errorf("%s keeps %d epochs", n, st.RetainedEpochs)
		}
	}
}
