package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestPublishRightAfterConnectArrives(t *testing.T) {
	for round := range 3 {
		a, ra := start(t, fmt.Sprint("a", round))
		b, rb := start(t, fmt.Sprint("b", round))
		join(t, a, b)
		connect(t, a, b)
		publish(t, a, "hello")
		eventually(t, 2*time.Second, "block at the other host", func() bool { return rb.has("hello") })
		if ra.count() != 0 {
			t.Error("own block was checked")
		}
		eventually(t, 2*time.Second, "PeerJoin on both sides", func() bool {
			return len(a.Peers(topic)) == 1 && len(b.Peers(topic)) == 1
		})
	}
}

func TestJoinAfterConnectSeesPeers(t *testing.T) {
	a, ra := start(t, "a")
	b, rb := start(t, "b")
	join(t, b)
	connect(t, a, b)
	join(t, a) // b told its topics before a had any
	eventually(t, time.Second, "b known as a peer of the topic", func() bool {
		ra.mu.Lock()
		defer ra.mu.Unlock()
		return ra.joined[b.Self()] == 1
	})
	publish(t, a, "late")
	eventually(t, 2*time.Second, "block", func() bool { return rb.has("late") })
}

func TestFiveHostsOnALine(t *testing.T) {
	var hosts []*Transport
	var recorders []*recorder
	for i := range 5 {
		h, r := start(t, fmt.Sprint(i))
		hosts, recorders = append(hosts, h), append(recorders, r)
		join(t, h)
		if i > 0 {
			connect(t, h, hosts[i-1])
		}
	}
	// Forwarding needs the mesh, which the heartbeat builds.
	for i, h := range hosts {
		want := 2
		if i == 0 || i == 4 {
			want = 1
		}
		eventually(t, 3*time.Second, "peers of the topic", func() bool { return len(h.Peers(topic)) == want })
	}
	time.Sleep(600 * time.Millisecond)
	for i, h := range hosts {
		block := fmt.Sprint("from ", i)
		publish(t, h, block)
		for j, r := range recorders {
			if i != j {
				eventually(t, 5*time.Second, fmt.Sprintf("%q at host %d", block, j), func() bool { return r.has(block) })
			}
		}
	}
}

func TestLeaveAndRejoin(t *testing.T) {
	a, ra := start(t, "a")
	b, rb := start(t, "b")
	join(t, a, b, a)
	connect(t, a, b)
	if err := b.Leave(topic); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "PeerLeave", func() bool {
		ra.mu.Lock()
		defer ra.mu.Unlock()
		return ra.left[b.Self()] == 1
	})
	if err := b.Publish(topic, []byte("x")); !errors.Is(err, ErrTopic) {
		t.Errorf("Publish on a topic left: %v, want ErrTopic", err)
	}
	publish(t, a, "while away")
	join(t, b)
	eventually(t, time.Second, "a sees b again", func() bool { return len(a.Peers(topic)) == 1 })
	publish(t, a, "back")
	eventually(t, 2*time.Second, "block after rejoin", func() bool { return rb.has("back") })
	if rb.has("while away") {
		t.Error("block of a topic that was left was delivered")
	}
}

// A block that was ignored is forwarded once it is published locally, and only
// then (network notes, section 2).
func TestIgnoredThenPublishedIsForwarded(t *testing.T) {
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	c, rc := start(t, "c")
	rb.judge = func([]byte) int { return Ignore }
	join(t, a, b, c)
	connect(t, a, b)
	connect(t, b, c)
	time.Sleep(600 * time.Millisecond) // mesh
	publish(t, a, "orphan")
	eventually(t, 2*time.Second, "check at b", func() bool { return rb.count() == 1 })
	time.Sleep(300 * time.Millisecond)
	if rc.count() != 0 {
		t.Fatal("an ignored block was forwarded")
	}
	publish(t, b, "orphan")
	eventually(t, 2*time.Second, "block at c", func() bool { return rc.has("orphan") })
}

func TestLargeBlockIsAnnounced(t *testing.T) {
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	c, rc := start(t, "c")
	join(t, a, b, c)
	connect(t, a, b)
	connect(t, b, c)
	block := pattern(MaxGossip + 1)
	want, err := blockCID(block)
	if err != nil {
		t.Fatal(err)
	}
	told := func(r *recorder) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.announced) == 1 && bytes.Equal(r.announced[0], want.Bytes())
	}
	publish(t, a, string(block))
	eventually(t, 2*time.Second, "announcement", func() bool { return told(rb) })
	if told(rc) {
		t.Error("announced by a host that does not hold the block")
	}
	publish(t, b, string(block)) // as after fetching it
	eventually(t, 2*time.Second, "announcement by the second holder", func() bool { return told(rc) })
	if rb.count() != 0 || rc.count() != 0 {
		t.Error("an announcement was checked as a block")
	}
	publish(t, a, string(pattern(MaxGossip)))
	eventually(t, 3*time.Second, "block of exactly MaxGossip", func() bool { return rb.count() == 1 })
	if err := a.Publish(topic, marshalAnnouncement(want)); !errors.Is(err, ErrReserved) {
		t.Errorf("Publish of an announcement: %v, want ErrReserved", err)
	}
}

func TestBurstIsDeliveredOrCounted(t *testing.T) {
	const n = 2000
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	rb.judge = func([]byte) int { time.Sleep(2 * time.Millisecond); return Accept }
	join(t, a, b)
	connect(t, a, b)
	begin := time.Now()
	for i := range n {
		publish(t, a, fmt.Sprintf("%04d%s", i, pattern(496)))
	}
	lost := func() uint64 {
		s, r := a.Stats(), b.Stats()
		return s.DroppedRPCs + r.OverQuota + r.Overflowed
	}
	eventually(t, 10*time.Second, "all blocks delivered or counted as lost", func() bool {
		return uint64(rb.count())+lost() >= n
	})
	t.Logf("%d blocks in %v, %d delivered, %d counted as lost", n, time.Since(begin), rb.count(), lost())
	if rb.count() < n*9/10 {
		t.Errorf("only %d of %d delivered: the queues are too short", rb.count(), n)
	}
}

// Junk of a member does not get past the first host.
func TestMemberSendsJunk(t *testing.T) {
	a, ra := start(t, "a")
	b, rb := start(t, "b")
	c, _ := start(t, "c")
	for _, r := range []*recorder{ra, rb} {
		r.judge = func(block []byte) int {
			if bytes.HasPrefix(block, []byte("good")) {
				return Accept
			}
			return Reject
		}
	}
	join(t, a, b, c)
	connect(t, a, b)
	connect(t, c, a)
	eventually(t, 5*time.Second, "c sees a", func() bool { return len(c.Peers(topic)) == 1 })
	c.mu.Lock()
	room := c.topics[topic].topic
	c.mu.Unlock()
	for _, junk := range [][]byte{
		[]byte("junk"), {}, pattern(MaxGossip), pattern(MaxGossip + 1), []byte(announceMagic), []byte(announceMagic + "junk"),
	} {
		if err := room.Publish(t.Context(), junk); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 5*time.Second, "all junk rejected", func() bool { return a.Stats().Rejected >= 6 })
	publish(t, a, "good")
	eventually(t, 5*time.Second, "good block after junk", func() bool { return rb.has("good") })
	rb.mu.Lock()
	defer rb.mu.Unlock()
	if len(rb.blocks) != 1 || len(ra.announced)+len(rb.announced) != 0 {
		t.Errorf("junk got past the first host: %d blocks", len(rb.blocks))
	}
}
