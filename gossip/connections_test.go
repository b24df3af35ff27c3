package gossip

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestPartitionAndHeal(t *testing.T) {
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	join(t, a, b)
	connect(t, a, b)
	publish(t, a, "before")
	eventually(t, 2*time.Second, "block before the cut", func() bool { return rb.has("before") })

	begin := time.Now()
	if err := errors.Join(a.Block(b.Self()), b.Block(a.Self())); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "no connection", func() bool { return len(a.Connections())+len(b.Connections()) == 0 })
	t.Logf("cut in %v", time.Since(begin))
	begin = time.Now()
	if _, err := a.Connect(context.Background(), b.Addrs()); !errors.Is(err, ErrBlocked) {
		t.Errorf("dial of a blocked peer: %v, want ErrBlocked", err)
	}
	if err := a.Send(b.Self(), SyncProtocol, nil); !errors.Is(err, ErrBlocked) {
		t.Errorf("message to a blocked peer: %v, want ErrBlocked", err)
	}
	if took := time.Since(begin); took > 100*time.Millisecond {
		t.Errorf("refusals took %v, want at once", took)
	}
	publish(t, a, "during")
	time.Sleep(500 * time.Millisecond)
	if rb.has("during") || len(a.Connections()) != 0 {
		t.Fatal("the cut leaks")
	}

	begin = time.Now()
	if err := errors.Join(a.Unblock(b.Self()), b.Unblock(a.Self())); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "peers of the topic again", func() bool {
		return len(a.Peers(topic)) == 1 && len(b.Peers(topic)) == 1
	})
	publish(t, a, "after")
	eventually(t, 5*time.Second, "block after the heal", func() bool { return rb.has("after") })
	t.Logf("healed in %v", time.Since(begin))
	rb.mu.Lock()
	defer rb.mu.Unlock()
	if rb.joined[a.Self()] != 2 || rb.left[a.Self()] != 1 {
		t.Errorf("joined %d times, left %d times, want 2 and 1", rb.joined[a.Self()], rb.left[a.Self()])
	}
}

// One side blocks: the other one's dials are refused until it unblocks, and
// then it does not take minutes to try again.
func TestOneSidedBlock(t *testing.T) {
	a, _ := start(t, "a")
	b, _ := start(t, "b")
	join(t, a, b)
	connect(t, a, b)
	eventually(t, time.Second, "peers", func() bool { return len(a.Peers(topic))+len(b.Peers(topic)) == 2 })
	if err := b.Block(a.Self()); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "no peers", func() bool { return len(b.Peers(topic)) == 0 })
	time.Sleep(time.Second) // a dials in vain
	if n := len(b.Peers(topic)); n != 0 {
		t.Fatalf("a blocked peer came back: %d", n)
	}
	if err := b.Unblock(a.Self()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "peers again", func() bool { return len(a.Peers(topic))+len(b.Peers(topic)) == 2 })
}

func TestStaticPeerIsKept(t *testing.T) {
	a, ra := start(t, "a")
	listen, addrs := a.ListenAddrs(), a.Addrs()
	b, rb := start(t, "b", func(c *Config) { c.Static, c.NoListen, c.Listen = addrs, true, nil })
	join(t, a, b)
	eventually(t, 3*time.Second, "static peer dialled", func() bool { return len(b.Peers(topic)) == 1 })
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Second, "loss seen", func() bool { return len(b.Peers(topic)) == 0 })
	time.Sleep(700 * time.Millisecond) // some dials fail

	again, _ := start(t, "a", func(c *Config) { c.Listen = listen })
	if got := again.ListenAddrs(); !slices.Equal(got, listen) {
		t.Fatalf("listens on %v, want the remembered %v", got, listen)
	}
	join(t, again)
	eventually(t, 8*time.Second, "static peer dialled again", func() bool { return len(b.Peers(topic)) == 1 })
	publish(t, again, "restarted")
	eventually(t, 2*time.Second, "block of the restarted peer", func() bool { return rb.has("restarted") })
	if ra.count() != 0 {
		t.Error("a closed transport was delivered to")
	}
}

func TestMembersAreRemembered(t *testing.T) {
	var mu sync.Mutex
	var told []string
	a, _ := start(t, "a", func(c *Config) {
		c.OnAddresses = func(addrs []string) {
			mu.Lock()
			defer mu.Unlock()
			told = addrs
		}
	})
	b, _ := start(t, "b")
	stranger, _ := start(t, "stranger")
	join(t, a, b)
	connect(t, a, stranger)
	connect(t, b, a) // a learns b's addresses by identify alone
	known := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return told
	}
	eventually(t, 3*time.Second, "both addresses of the member told", func() bool {
		return len(known()) == 2 && slices.Equal(known(), a.Known())
	})
	for _, addr := range known() {
		if !slices.Contains(b.Addrs(), addr) {
			t.Errorf("%s is no address of the member", addr)
		}
	}
	remembered := a.Known()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := start(t, "a", func(c *Config) { c.Remembered = remembered })
	join(t, again)
	eventually(t, 3*time.Second, "remembered member dialled", func() bool { return len(again.Peers(topic)) == 1 })
}

func TestTakenPortFallsBack(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	taken := "/ip4/127.0.0.1/tcp/" + port
	a, _ := start(t, "a", func(c *Config) { c.Listen = []string{taken} })
	got := a.ListenAddrs()
	if len(got) != 1 || got[0] == taken || !strings.HasPrefix(got[0], "/ip4/127.0.0.1/tcp/") {
		t.Errorf("listens on %v", got)
	}
}

func TestDefaultListensOnAllInterfaces(t *testing.T) {
	a, _ := start(t, "a", func(c *Config) { c.Listen = nil })
	if got := a.ListenAddrs(); len(got) != 2 || !strings.HasPrefix(got[0], "/ip4/0.0.0.0/tcp/") ||
		!strings.HasPrefix(got[1], "/ip4/0.0.0.0/udp/") {
		t.Errorf("listens on %v", got)
	}
	addrs := a.Addrs()
	for i, addr := range addrs {
		if !strings.HasSuffix(addr, "/p2p/"+a.Self()) {
			t.Errorf("%s lacks the peer id", addr)
		}
		if strings.Contains(addr, "/127.0.0.1/") && i < len(addrs)-2 {
			t.Errorf("loopback stands before other addresses: %v", addrs)
		}
	}
}

func TestMDNS(t *testing.T) {
	all := func(c *Config) { c.MDNS = true }
	a, _ := start(t, "a", all)
	b, _ := start(t, "b", all)
	join(t, a, b)
	if !multicast() {
		t.Skip("no interface of this machine can multicast")
	}
	begin := time.Now()
	eventually(t, 5*time.Second, "hosts find each other", func() bool {
		return len(a.Peers(topic)) == 1 && len(b.Peers(topic)) == 1
	})
	t.Logf("found in %v", time.Since(begin))
	// mDNS does not tell a second time: the loop must bring them together.
	if err := a.host.Network().ClosePeer(b.host.ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "loss seen", func() bool { return len(a.Peers(topic)) == 0 })
	eventually(t, 5*time.Second, "connected again", func() bool { return len(a.Peers(topic)) == 1 })
}

func multicast() bool {
	interfaces, err := net.Interfaces()
	return err == nil && slices.ContainsFunc(interfaces, func(i net.Interface) bool {
		return i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0
	})
}

func TestConnectErrors(t *testing.T) {
	a, _ := start(t, "a")
	other, err := PeerID(seed("nobody"))
	if err != nil {
		t.Fatal(err)
	}
	for _, addrs := range [][]string{
		nil, {"nonsense"}, {"/ip4/127.0.0.1/tcp/1"}, {"/p2p/" + other}, a.Addrs(),
	} {
		if _, err := a.Connect(context.Background(), addrs); !errors.Is(err, ErrAddress) {
			t.Errorf("Connect(%v): %v, want ErrAddress", addrs, err)
		}
	}
	dead := "/ip4/127.0.0.1/tcp/1/p2p/" + other
	if _, err := a.Connect(context.Background(), []string{dead}); err == nil {
		t.Error("connected to nobody")
	}
	b, _ := start(t, "b")
	// The dead peer's backoff and error do not hide the living one.
	if id, err := a.Connect(context.Background(), append([]string{dead}, b.Addrs()...)); err != nil || id != b.Self() {
		t.Errorf("Connect to a dead and a living peer: %s, %v", id, err)
	}
	if err := a.Block("nonsense"); !errors.Is(err, ErrPeer) {
		t.Errorf("Block: %v, want ErrPeer", err)
	}
}

// A failed dial leaves a backoff of 5 s and more in the swarm; ours ignore it.
func TestConnectAfterAFailedDial(t *testing.T) {
	a, _ := start(t, "a")
	b, _ := start(t, "b")
	listen, addrs := b.ListenAddrs(), b.Addrs()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := a.Connect(ctx, addrs[:1]); err == nil {
		t.Fatal("connected to a closed host")
	}
	start(t, "b", func(c *Config) { c.Listen = listen })
	begin := time.Now()
	if _, err := a.Connect(context.Background(), addrs[:1]); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("connected after %v", took)
	}
}

func TestConfigValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"seed":      func(c *Config) { c.KeySeed = c.KeySeed[1:] },
		"message":   func(c *Config) { c.MaxMessage = -1 },
		"messages":  func(c *Config) { c.MaxMessages = map[string]int{SyncProtocol: 0} },
		"heartbeat": func(c *Config) { c.Heartbeat = time.Millisecond },
		"listen":    func(c *Config) { c.NoListen, c.Listen = true, []string{"/ip4/127.0.0.1/tcp/0"} },
		"multiaddr": func(c *Config) { c.Listen = []string{"localhost:80"} },
		"protocol":  func(c *Config) { c.Protocols = []string{"sync"} },
		"static":    func(c *Config) { c.Static = []string{"/ip4/127.0.0.1/tcp/1"} },
	} {
		config := Config{KeySeed: seed(name)}
		change(&config)
		if transport, err := New(context.Background(), config); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
			if err == nil {
				_ = transport.Close()
			}
		}
	}
}

func TestNoCallbackAfterClose(t *testing.T) {
	a, _ := start(t, "a")
	b, rb := start(t, "b")
	var mu sync.Mutex
	running, begun := 0, 0
	count := func(change int) {
		mu.Lock()
		defer mu.Unlock()
		running += change
		begun += max(change, 0)
	}
	rb.judge = func([]byte) int {
		count(1)
		defer count(-1)
		time.Sleep(200 * time.Millisecond)
		return Accept
	}
	join(t, a, b)
	connect(t, a, b)
	for i := range 50 {
		publish(t, a, string(rune('a'+i)))
		if err := a.Send(b.Self(), SyncProtocol, pattern(1<<20)); err != nil {
			break // the queue is full, which will do
		}
	}
	eventually(t, 2*time.Second, "checks are running", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return running > 0
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	before, messages := begun, len(rb.received())
	if running != 0 {
		t.Errorf("%d checks run after Close", running)
	}
	mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	mu.Lock()
	if begun != before || len(rb.received()) != messages {
		t.Error("the handler was called after Close")
	}
}

// Closing meets dials in every stage.
func TestCloseWhileDialling(t *testing.T) {
	a, _ := start(t, "a")
	for i := range 20 {
		b, _ := start(t, "b", func(c *Config) { c.Static = a.Addrs() })
		join(t, b)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				_, err := b.Connect(context.Background(), a.Addrs())
				if err == nil {
					err = b.Send(a.Self(), SyncProtocol, pattern(1000))
				}
				_ = err // it may be too late for either
			})
		}
		time.Sleep(time.Duration(i) * 500 * time.Microsecond)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		wg.Wait()
		if took := time.Since(begin); took > 500*time.Millisecond {
			t.Errorf("Connect went on for %v after Close", took)
		}
	}
}

func TestCloseIsIdempotentAndFinal(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	a, err := New(ctx, Config{KeySeed: seed("a"), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, MDNS: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(newRecorder()); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(newRecorder()); !errors.Is(err, ErrStarted) {
		t.Errorf("second Start: %v, want ErrStarted", err)
	}
	join(t, a)
	cancel() // closes as well
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	id, err := PeerID(seed("b"))
	if err != nil {
		t.Fatal(err)
	}
	_, dialErr := a.Connect(context.Background(), []string{"/ip4/127.0.0.1/tcp/1/p2p/" + id})
	for what, err := range map[string]error{
		"Join": a.Join("other", key), "Publish": a.Publish(topic, nil), "Connect": dialErr,
		"Send": a.Send(id, SyncProtocol, nil), "Start": a.Start(newRecorder()),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
	if err := a.Leave(topic); err != nil {
		t.Errorf("Leave after Close: %v", err)
	}
}
