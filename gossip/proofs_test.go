package gossip

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/dmlsd/dmls/frame"
)

var (
	otherKey = frame.NewGossip(bytes.Repeat([]byte{1}, frame.SecretLen), 0).PeerKey()
	wrongKey = frame.NewGossip(bytes.Repeat([]byte{2}, frame.SecretLen), 0).PeerKey()
)

// Who has the topic's name but not its key gets no block, is no peer of the
// topic and cannot publish; this holds for a member of another common topic too.
func TestNameWithoutKey(t *testing.T) {
	a, ra := start(t, "a")
	b, rb := start(t, "b")
	thief, rt := start(t, "thief")
	join(t, a, b)
	for _, host := range []*Transport{a, thief} {
		if err := host.Join("common", otherKey); err != nil {
			t.Fatal(err)
		}
	}
	if err := thief.Join(topic, wrongKey); err != nil {
		t.Fatal(err)
	}
	connect(t, a, b)
	connect(t, thief, a)
	eventually(t, 5*time.Second, "the common topic works", func() bool {
		return len(a.Peers("common")) == 1 && len(thief.Peers("common")) == 1
	})
	publish(t, a, "secret")
	publish(t, thief, "junk")
	eventually(t, 5*time.Second, "block at the member", func() bool { return rb.has("secret") })
	time.Sleep(500 * time.Millisecond) // two heartbeats
	if rt.count() != 0 || ra.count() != 0 {
		t.Errorf("the thief got %d blocks and placed %d", rt.count(), ra.count())
	}
	if len(thief.Peers(topic)) != 0 || len(a.Peers(topic)) != 1 {
		t.Errorf("peers of the topic: %v at the thief, %v at a", thief.Peers(topic), a.Peers(topic))
	}
	ra.mu.Lock()
	defer ra.mu.Unlock()
	if ra.joined[thief.Self()] != 1 { // of the common topic
		t.Errorf("the thief joined %d topics", ra.joined[thief.Self()])
	}
}

// A stranger who speaks the same gossipsub, or a plain one, learns no topic.
func TestStrangerSeesNoTopic(t *testing.T) {
	a, ra := start(t, "a")
	join(t, a)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stranger, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	saw := make(chan string, 16)
	ps, err := pubsub.NewGossipSub(ctx, stranger, pubsub.WithFloodPublish(true),
		pubsub.WithGossipSubProtocols([]protocol.ID{meshProtocol, pubsub.GossipSubID_v12}, features),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithMessageIdFn(messageID),
		pubsub.WithAppSpecificRpcInspector(func(_ peer.ID, rpc *pubsub.RPC) error { saw <- rpc.String(); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	room, err := ps.Join(topic) // somebody told it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := room.Subscribe(); err != nil {
		t.Fatal(err)
	}
	infos, err := parseAddrs(a.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Connect(ctx, peer.AddrInfo{ID: infos[0].ID, Addrs: infos[0].Addrs}); err != nil {
		t.Fatal(err)
	}
	// Proofs by guess and by echo.
	stream, err := stranger.NewStream(ctx, infos[0].ID, helloProtocol)
	if err != nil {
		t.Fatal(err)
	}
	guess := padded([]frame.Proof{{}, a.proofs.mine(stranger.ID(), topic)[0]})
	theirs, err := exchange(stream, func() error { return sendProofs(stream, guess) })
	if err != nil || len(theirs) != 0 {
		t.Errorf("the answer to a guess has %d proofs, %v", len(theirs), err)
	}
	publish(t, a, "secret")
	if err := room.Publish(ctx, []byte("junk")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	select {
	case s := <-saw:
		t.Errorf("the stranger was told %q", s)
	default:
	}
	if len(room.ListPeers()) != 0 || ra.count() != 0 || len(a.Peers(topic)) != 0 {
		t.Errorf("the stranger is in: %v, %v, %d blocks", room.ListPeers(), a.Peers(topic), ra.count())
	}
}

// Hellos that are no hellos cost a stream.
func TestMalformedHello(t *testing.T) {
	a, _ := start(t, "a")
	b, _ := start(t, "b")
	join(t, a)
	connect(t, b, a)
	for _, hello := range [][]byte{
		{frame.ProofLen - 1}, append([]byte{33}, make([]byte, 33)...), {0xff, 0xff, 0xff, 0xff, 0x7f}, {},
	} {
		stream, err := b.host.NewStream(t.Context(), a.host.ID(), helloProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write(hello); err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_ = stream.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := stream.Read(make([]byte, 1)); err == nil {
			t.Errorf("hello %x is answered with %d bytes", hello, n)
		}
		_ = stream.Reset()
	}
	if a.host.Network().Connectedness(b.host.ID()) != network.Connected {
		t.Error("the connection is lost")
	}
}

// Theorem: what parses is written again, sorted; and no bytes prove a topic but
// those with its proof in them.
func FuzzHello(f *testing.F) {
	const from, to = "peer", "self"
	right := key.Prove(from, to)
	for _, b := range [][]byte{nil, right[:], make([]byte, frame.ProofLen), append(make([]byte, frame.ProofLen), right[:]...), {1}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseProofs(b)
		if (err == nil) != (len(b)%frame.ProofLen == 0) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		again, err := parseProofs(marshalProofs(slices.Clone(list)))
		if err != nil || len(again) != len(list) {
			t.Fatalf("%d proofs become %d, %v", len(list), len(again), err)
		}
		for _, p := range list {
			if !slices.Contains(again, p) {
				t.Fatal("a proof is lost")
			}
		}
		if slices.ContainsFunc(list, right.Equal) != bytes.Contains(b, right[:]) && len(list) == 1 {
			t.Fatal("proved by something else")
		}
	})
}
