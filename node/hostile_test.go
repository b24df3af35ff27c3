package node

import (
	"testing"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// Theorem: whatever a stranger sends, who knows neither topic nor ticket,
// changes no record of the device and makes it send nothing but a refusal.
func FuzzStranger(f *testing.F) {
	m := joinMessage{kind: joinRequest, ticket: Ticket{}.ID(), proof: make([]byte, proofSize), keyPackage: []byte("kp of eve")}
	tips := syncMessage{kind: syncTips, topic: "topic"}
	for _, b := range [][]byte{nil, m.marshal(), reply(m.ticket, []byte("00|x")), tips.marshal(), marshalSignal("topic", []byte("x"))} {
		for protocol := range 4 {
			f.Add(uint8(protocol), b)
		}
	}
	protocols := []string{ProtocolJoin, ProtocolSync, ProtocolSignal, "/other/1"}
	f.Fuzz(func(t *testing.T, protocol uint8, b []byte) {
		w := newWorld(t, "a", "eve")
		a := w.devices["a"]
		gid := a.must(Create{Name: "ops"}).Group
		a.must(Invite{gid})
		w.queue, w.sent = nil, 0
		before := a.store.commits
		a.do(Message{"eve", protocols[protocol%4], b}, Deliver{string(b), "eve", b}, PeerJoin{string(b), "eve"},
			Announce{string(b), "eve", b}, PeerLeave{string(b), "eve"}, Tick{})
		if a.store.commits != before {
			t.Fatal("a stranger changed the store")
		}
		if s, err := a.driver.Status(gid); err != nil || s.Blocks != 1 {
			t.Fatalf("the group changed: %+v, %v", s, err)
		}
		if w.sent > 1 || w.bytes > 600 {
			t.Fatalf("%d messages of %d bytes for a stranger", w.sent, w.bytes)
		}
	})
}

// Who knows a topic but not the group's secret is told nothing, whatever it
// shows: a guess, a proof of another group, what was shown to it, or what it saw
// shown to another.
func TestTopicWithoutSecret(t *testing.T) {
	w, gid := founders(t, "a", "b")
	a, topic := w.devices["a"], "topic-"+gid
	g := a.driver.groups[gid].engine
	a.must(Step{gid, group.Send{Text: []byte("private")}})
	w.run(0)
	tips := syncMessage{kind: syncTips, topic: topic}
	want := syncMessage{kind: syncWant, topic: topic, cids: g.Tips()}
	key, other := g.PeerKey(), frame.NewGossip(make([]byte, frame.SecretLen), 0).PeerKey()
	ask := func(peer string, proof frame.Proof) (sent int) {
		w.sent = 0
		for _, m := range []syncMessage{tips, want} {
			a.do(Message{peer, ProtocolSync, append(proof[:], m.marshal()...)})
		}
		return w.sent
	}
	for what, proof := range map[string]frame.Proof{
		"a guess": {}, "another group's": other.Prove("eve", "a"), "a's own to her": key.Prove("a", "eve"),
		"b's to a": key.Prove("b", "a"), "hers to b": key.Prove("eve", "b"),
	} {
		if n := ask("eve", proof); n != 0 {
			t.Errorf("%s: %d answers", what, n)
		}
	}
	if n := ask("b", key.Prove("b", "a")); n != 2 {
		t.Errorf("a member gets %d answers, want 2", n)
	}
}

// A peer of the topic may send anything, too; only frames that the group takes
// are stored.
func TestHostilePeer(t *testing.T) {
	w, gid := founders(t, "a", "b")
	a, topic := w.devices["a"], "topic-"+gid
	garbage := [][]byte{nil, {0}, []byte("{"), make([]byte, 1<<16)}
	before, commits := a.store.count(""), a.store.commits
	unasked := syncMessage{kind: syncBlocks, topic: topic, answers: syncTips, blocks: garbage}
	for _, b := range garbage {
		if o := a.do(Deliver{topic, "b", b})[0]; verdict(o) != Reject {
			t.Errorf("%d bytes of garbage: %+v", len(b), o)
		}
		if o := a.do(Announce{topic, "b", b})[0]; o.Err == nil {
			t.Errorf("announced %d bytes of garbage", len(b))
		}
	}
	proof := a.driver.groups[gid].engine.PeerKey().Prove("c", "a")
	if o := a.do(Message{"c", ProtocolSync, append(proof[:], unasked.marshal()...)})[0]; o.Err == nil {
		t.Error("blocks of a peer that was not asked are stepped")
	}
	w.run(0)
	if a.store.count("") != before || a.store.commits != commits {
		t.Error("garbage changed the store")
	}
	a.must(Step{gid, group.Send{Text: []byte("still here")}})
}
