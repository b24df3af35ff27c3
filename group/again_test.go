package group_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group"
)

// A member that never speaks and is replaced again and again makes the others
// repeat themselves a few times, and no more.
func TestSaidAgainIsBounded(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "finn")
	w.create("ada")
	w.join("ada", "ben")
	w.join("ada", "cleo")
	w.run(20 * time.Second)
	w.join("ada", "finn")
	w.queue = nil
	w.cut(1, "finn")
	finn, ada := w.devices["finn"], w.devices["ada"]
	finn.wake = time.Time{}
	head := ada.g.Status().Head
	w.say("ada", "hello")
	again := 0
	for range 12 {
		w.step(w.devices["cleo"], group.Change{Add: [][]byte{replacing(t, w, finn, head)}})
		w.flush()
		head = w.devices["cleo"].g.Status().Head
		w.run(15 * time.Second)
		again = len(ada.events1(group.KindResent))
	}
	if again < 2 || again > 8 {
		t.Errorf("ada said it %d times again", again)
	}
	if got := w.devices["ben"].texts(); len(got) != 1 {
		t.Errorf("ben read %q", got)
	}
}

// An ex-member who makes up incarnations of its own does not fill what relays
// remember of others.
func TestRelayHoldsAnExMember(t *testing.T) {
	w := newWorld(t, "ada", "ben", "cleo", "mal")
	w.create("ada")
	for _, n := range []string{"ben", "cleo", "mal"} {
		w.join("ada", n)
	}
	w.run(20 * time.Second)
	ada, mal, ben := w.devices["ada"], w.devices["mal"], w.devices["ben"]
	w.remove("ada", "mal")
	w.run(20 * time.Second)
	pass := func(d *device, as dag.Member) int {
		kp, err := group.NewKeyPackage(w.env(d), d.id)
		if err != nil {
			t.Fatal(err)
		}
		out := w.step(ada, group.Hear{Payload: d.g.Offer(as, someCID("elsewhere"), kp.KeyPackage.Marshal()), From: d.name})
		w.queue = nil
		return len(out.Signals)
	}
	sent := 0
	for i := range uint32(300) {
		key := mal.id.ID()
		b := binary.BigEndian.AppendUint32(nil, i)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(key))), key...)
		sent += pass(mal, dag.Member(append(b, someCID(fmt.Sprint("joined", i)).Bytes()...)))
	}
	if n := pass(ben, ben.g.SelfMember()); sent > 8 || n == 0 {
		t.Errorf("%d offers of an ex-member were passed on, %d of ben", sent, n)
	}
}
