package group_test

import (
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group"
)

// A device that was added again and removed while it was away, and that thinks
// that all went back to where it is, learns that it is gone when it speaks there,
// and stays so over a restart. One member's word does not do.
func TestToldThatItIsGone(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "dan", "eve", "finn")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "dan", "eve"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	w.cut(1, "eve")
	w.join("eve", "finn")
	w.cut(2, "finn")
	late := w.say("eve", "late").Publish[0].Data
	w.update("ada")
	w.say("ben", "x")
	w.say("cleo", "x")
	w.cut(0, "eve")
	w.sync()
	finn, ada, eve := w.devices["finn"], w.devices["ada"], w.devices["eve"]
	at := mustCID(t, ada.g.Status().Head)
	for _, n := range []string{"ada", "ben", "eve"} {
		w.step(finn, group.Hear{Payload: w.devices[n].g.NoticeAt(finn.g.SelfMember(), at, ""), From: n})
	}
	w.step(ada, group.Hear{Payload: finn.g.Offer(finn.g.SelfMember(), at, finn.g.OfferedKeyPackage()), From: "finn"})
	w.step(finn, group.Receive{Blocks: [][]byte{late}, From: "eve"})
	if st := finn.g.Status(); st.State != "member" || st.Head == eve.g.Status().Head {
		t.Fatalf("finn is %s at %s", st.State, st.Head)
	}
	w.run(w.cfg.ReaddDelay + 5*time.Second)
	w.remove("ada", "finn")
	w.run(time.Minute) // and that is final

	w.step(finn, group.Hear{Payload: ada.g.Gone(finn.g.SelfMember(), mustCID(t, ada.g.Status().Head)), From: "ada"})
	if s := finn.g.Status().State; s != "member" {
		t.Fatalf("finn is %s by the word of one", s)
	}
	clear(w.island)
	w.say("finn", "is anybody here?")
	w.run(5 * time.Second)
	if s := finn.g.Status().State; s != "removed" || !finn.has(group.KindRemoved) {
		t.Fatalf("finn is %s", s)
	}
	w.reload("finn")
	w.run(time.Minute)
	if s := finn.g.Status().State; s != "removed" {
		t.Errorf("finn is %s after a restart", s)
	}
	w.agree("ada", "ben", "cleo", "dan", "eve")
}

// quietThree is a quiet group of three, one of them, and a head that is not theirs.
func quietThree(t *testing.T) (*world, *device, cid.Cid) {
	w := newWorld(t, "ada", "ben", "cleo")
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "cleo")
	w.run(30 * time.Second)
	return w, w.devices["ben"], someCID("elsewhere")
}

// tell has ada and cleo say something to ben, who believes two of three.
func (w *world) tell(ben *device, what func(*group.Group, dag.Member, cid.Cid) []byte, elsewhere cid.Cid) {
	w.t.Helper()
	was := ben.g.Status().State
	for i, n := range []string{"ada", "cleo"} {
		w.step(ben, group.Hear{Payload: what(w.devices[n].g, ben.g.SelfMember(), elsewhere), From: n})
		if s := ben.g.Status().State; (s == was) != (i == 0) {
			w.t.Fatalf("ben is %s by the word of %d", s, i+1)
		}
	}
}

// A device that a late notice stranded, though all are where it is, is told so.
func TestToldThatItIsHere(t *testing.T) {
	w, ben, elsewhere := quietThree(t)
	w.tell(ben, (*group.Group).Notice, elsewhere)
	w.run(10 * time.Second)
	if s := ben.g.Status().State; s != "member" {
		t.Errorf("ben is %s", s)
	}
	w.agree("ada", "ben", "cleo")
}

// A late word of others that it is gone silences nobody who is on the head.
func TestNotGoneAtAll(t *testing.T) {
	w, ben, elsewhere := quietThree(t)
	gone := w.devices["ada"].g.Gone(ben.g.SelfMember(), elsewhere)
	w.tell(ben, (*group.Group).Gone, elsewhere)
	for _, n := range []string{"ada", "cleo"} { // whom that word reaches, too
		w.step(w.devices[n], group.Hear{Payload: gone, From: "mal"})
	}
	w.run(10 * time.Second)
	if s := ben.g.Status().State; s != "member" {
		t.Errorf("ben is %s", s)
	}
	w.agree("ada", "ben", "cleo")
}
