package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-varint"
)

func TestMessagesKeepOrder(t *testing.T) {
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	connect(t, a, b)
	const n = 500
	for i := range n {
		message := []byte(fmt.Sprint(i))
		if err := a.Send(b.Self(), SyncProtocol, message); err != nil {
			t.Fatal(err)
		}
		clear(message) // Send must not depend on the caller's slice
	}
	eventually(t, 5*time.Second, "all messages", func() bool { return len(rb.received()) == n })
	for i, m := range rb.received() {
		if string(m) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m)
		}
	}
	streams := 0
	for _, conn := range b.host.Network().ConnsToPeer(a.host.ID()) {
		for _, s := range conn.GetStreams() {
			if s.Protocol() == SyncProtocol {
				streams++
			}
		}
	}
	if streams != 1 {
		t.Errorf("%d messages took %d streams, want 1", n, streams)
	}
	if from := rb.from[0]; from != a.Self() {
		t.Errorf("message from %s, want %s", from, a.Self())
	}
}

func TestLongestMessage(t *testing.T) {
	a, ra := start(t, "a")
	b, rb := start(t, "b")
	connect(t, a, b)
	long := pattern(MaxStream)
	begin := time.Now()
	if err := a.Send(b.Self(), JoinProtocol, long); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(b.Self(), SyncProtocol, []byte("meanwhile")); err != nil {
		t.Fatal(err)
	}
	if err := b.Send(a.Self(), SignalProtocol, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 15*time.Second, "both messages", func() bool { return len(rb.received()) == 2 })
	t.Logf("%d MiB in %v", MaxStream>>20, time.Since(begin))
	if got := rb.received(); string(got[0]) != "meanwhile" || !bytes.Equal(got[1], long) {
		t.Error("the long message held up the other protocol, or was damaged")
	}
	eventually(t, time.Second, "empty message", func() bool { return len(ra.received()) == 1 })
	if err := a.Send(b.Self(), JoinProtocol, append(long, 0)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte more: %v, want ErrTooLarge", err)
	}
}

func TestSendRefuses(t *testing.T) {
	a, _ := start(t, "a")
	b, _ := start(t, "b")
	for _, c := range []struct {
		peer, protocol string
		want           error
	}{
		{"nobody", SyncProtocol, ErrPeer},
		{a.Self(), SyncProtocol, ErrPeer},
		{b.Self(), "/other/1", ErrProtocol},
	} {
		if err := a.Send(c.peer, c.protocol, nil); !errors.Is(err, c.want) {
			t.Errorf("Send(%s, %s): %v, want %v", c.peer, c.protocol, err, c.want)
		}
	}
	// b is unknown: the message is queued and then counted as not sent.
	if err := a.Send(b.Self(), SyncProtocol, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "unsent message counted", func() bool { return a.Stats().Unsent == 1 })
	connect(t, a, b)
	if err := a.Send(b.Self(), SyncProtocol, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "message after the peer was found", func() bool { return b.Stats().Received == 1 })
}

func TestQueueIsBounded(t *testing.T) {
	a, _ := start(t, "a")
	b, _ := start(t, "b")
	c, _ := start(t, "c", func(c *Config) { c.NoListen, c.Listen = true, nil })
	connect(t, a, b)
	// b's handler hangs and never reads.
	hang := make(chan struct{})
	defer close(hang)
	b.host.SetStreamHandler(SyncProtocol, func(s network.Stream) {
		<-hang
		_ = s.Reset()
	})
	var err error
	sent := 0
	for ; err == nil && sent < 3*maxQueued; sent++ {
		err = a.Send(b.Self(), SyncProtocol, pattern(64<<10))
	}
	if !errors.Is(err, ErrQueueFull) {
		t.Fatalf("after %d messages: %v, want ErrQueueFull", sent, err)
	}
	if err := a.Send(c.Self(), SyncProtocol, nil); err != nil {
		t.Errorf("the full queue of one peer concerns another: %v", err)
	}
}

// rawStream opens a stream as a peer that does not keep the rules.
func rawStream(t *testing.T, from, to *Transport, name string) network.Stream {
	t.Helper()
	s, err := from.host.NewStream(context.Background(), to.host.ID(), protocol.ID(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBadStreamsAreReset(t *testing.T) {
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	connect(t, a, b)
	for i, c := range []struct {
		name     string
		protocol string
		bytes    []byte
		half     bool
	}{
		{"over the limit", JoinProtocol, varint.ToUvarint(MaxStream + 1), false},
		{"over the limit of its protocol", SignalProtocol, varint.ToUvarint(MaxSignal + 1), false},
		{"length of 2^62", SyncProtocol, varint.ToUvarint(1 << 62), false},
		{"length not minimal", SyncProtocol, []byte{0x81, 0x00, 'x'}, false},
		{"length without end", SyncProtocol, bytes.Repeat([]byte{0xff}, 12), false},
		{"cut short", SyncProtocol, append(varint.ToUvarint(100), 'x'), true},
		{"length cut short", SyncProtocol, []byte{0x80}, true},
	} {
		s := rawStream(t, a, b, c.protocol)
		if _, err := s.Write(c.bytes); err != nil {
			t.Fatal(err)
		}
		if c.half {
			if err := s.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, 2*time.Second, c.name+": counted", func() bool { return b.Stats().BadStreams == uint64(i+1) })
		_ = s.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, network.ErrReset) {
			t.Errorf("%s: read on the refused stream: %v, want a reset", c.name, err)
		}
	}
	if n := len(rb.received()); n != 0 {
		t.Errorf("%d bad messages were delivered", n)
	}
	if err := a.Send(b.Self(), SyncProtocol, []byte("good")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "good message on the same connection", func() bool { return len(rb.received()) == 1 })
}

// A stream that claims a long message but sends little must not cost its length.
func TestClaimedLengthIsNotAllocated(t *testing.T) {
	a, _ := start(t, "a")
	b, _ := start(t, "b")
	connect(t, a, b)
	for range 20 {
		s := rawStream(t, a, b, JoinProtocol)
		if _, err := s.Write(append(varint.ToUvarint(MaxStream), make([]byte, 100)...)); err != nil {
			t.Fatal(err)
		}
	}
	reserved := func() (n int64) {
		_ = b.host.Network().ResourceManager().ViewService(service, func(s network.ServiceScope) error {
			n = s.Stat().Memory
			return nil
		})
		return n
	}
	eventually(t, 2*time.Second, "reservation of the first pieces", func() bool { return reserved() >= 20*piece })
	if n := reserved(); n > 40*piece {
		t.Errorf("20 claims of %d bytes hold %d bytes", MaxStream, n)
	}
}

func TestStreamsOfAPeerAreBounded(t *testing.T) {
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	c, _ := start(t, "c")
	connect(t, a, b)
	connect(t, c, b)
	for range 64 {
		s, err := a.host.NewStream(context.Background(), b.host.ID(), SyncProtocol)
		if err != nil {
			continue // refused by the limit on streams of one protocol
		}
		if _, err := s.Write([]byte{10}); err != nil && !errors.Is(err, network.ErrReset) {
			t.Fatal(err)
		}
	}
	eventually(t, 2*time.Second, "streams over the quota refused", func() bool { return b.Stats().BadStreams >= 30 })
	if err := c.Send(b.Self(), SyncProtocol, []byte("other peer")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "message of another peer", func() bool { return len(rb.received()) == 1 })
}

func TestBrokenStreamIsReplaced(t *testing.T) {
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	connect(t, a, b)
	for i := range 3 {
		if err := a.Send(b.Self(), SyncProtocol, []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 2*time.Second, "message", func() bool { return len(rb.received()) == i+1 })
		for _, conn := range b.host.Network().ConnsToPeer(a.host.ID()) {
			for _, s := range conn.GetStreams() {
				if s.Protocol() == SyncProtocol {
					_ = s.Reset()
				}
			}
		}
		time.Sleep(50 * time.Millisecond) // let the reset arrive; before that a write is lost
	}
}

func TestAllowanceSlowsAFloodDown(t *testing.T) {
	b := newInbox(nil)
	b.enter("p")
	now := time.Now()
	for range peerBurst {
		if wait := b.take("p", now); wait > 0 {
			t.Fatalf("waits %v within the burst", wait)
		}
	}
	if wait := b.take("p", now); wait != time.Second/peerRate {
		t.Errorf("first message over the burst waits %v, want %v", wait, time.Second/peerRate)
	}
	if wait := b.take("p", now.Add(time.Second)); wait != 0 {
		t.Errorf("a second later it waits %v", wait)
	}
}

// A peer that sends too fast is read slower; nothing of it is lost.
func TestFloodIsReadSlowly(t *testing.T) {
	a, _ := start(t, "a")
	b, _ := start(t, "b")
	connect(t, a, b)
	begin := time.Now()
	if _, err := rawStream(t, a, b, SyncProtocol).Write(make([]byte, peerBurst+peerRate/2)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "all empty messages", func() bool { return b.Stats().Received == peerBurst+peerRate/2 })
	if took := time.Since(begin); took < 400*time.Millisecond {
		t.Errorf("read in %v, want about 500ms", took)
	}
}

// FuzzMessage: what readMessage accepts, writeMessage writes back byte for
// byte; it reads nothing beyond the message and never more than it announced.
func FuzzMessage(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{3, 'a', 'b', 'c', 'd'})
	f.Add([]byte{0x80, 0x01})
	f.Add(append(varint.ToUvarint(piece+1), make([]byte, piece+1)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 20
		r, ahead := bytes.NewReader(in), 0
		message, err := readMessage(r, limit, func(n int) error { ahead += n; return nil })
		if ahead > limit || ahead > 2*len(in)+piece {
			t.Fatalf("%d bytes reserved for an input of %d", ahead, len(in))
		}
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := writeMessage(&out, message, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(out.Bytes(), rest...), in) {
			t.Fatal("parse then marshal changed the bytes")
		}
	})
}

// FuzzAnnouncement: parse then marshal is the identity.
func FuzzAnnouncement(f *testing.F) {
	id, err := blockCID([]byte("block"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(marshalAnnouncement(id))
	f.Add([]byte(announceMagic))
	f.Fuzz(func(t *testing.T, in []byte) {
		id, err := parseAnnouncement(in)
		if err == nil && !bytes.Equal(marshalAnnouncement(id), in) {
			t.Fatal("parse then marshal changed the bytes")
		}
	})
}
