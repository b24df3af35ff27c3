package gossip

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dmlsd/dmls/frame"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // zeroconf writes there
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// A topic and the key of those who may be in it.
const topic = "0123456789abcdef"

var key = frame.NewGossip(make([]byte, frame.SecretLen), 0).PeerKey()

// recorder is a Handler that keeps what it is told.
type recorder struct {
	judge func(block []byte) int // nil: Accept

	mu        sync.Mutex
	blocks    map[string]int // every block checked, with its verdict
	messages  [][]byte
	from      []string
	announced [][]byte
	joined    map[string]int
	left      map[string]int
}

func newRecorder() *recorder {
	return &recorder{blocks: map[string]int{}, joined: map[string]int{}, left: map[string]int{}}
}

func (r *recorder) Check(_ context.Context, _, _ string, block []byte) int {
	verdict := Accept
	if r.judge != nil {
		verdict = r.judge(block)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocks[string(block)] = verdict
	return verdict
}

func (r *recorder) Message(peer, _ string, message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, message)
	r.from = append(r.from, peer)
}

func (r *recorder) Announce(_, _ string, cid []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.announced = append(r.announced, cid)
}

func (r *recorder) PeerJoin(_, peer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joined[peer]++
}

func (r *recorder) PeerLeave(_, peer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left[peer]++
}

// has reports whether block was checked and accepted.
func (r *recorder) has(block string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	verdict, ok := r.blocks[block]
	return ok && verdict == Accept
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.blocks)
}

func (r *recorder) received() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([][]byte(nil), r.messages...)
}

func seed(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// start runs a transport on loopback that closes with the test.
func start(t *testing.T, name string, change ...func(*Config)) (*Transport, *recorder) {
	t.Helper()
	config := Config{
		KeySeed:   seed(t.Name() + name),
		Listen:    []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
		Heartbeat: 200 * time.Millisecond,
	}
	for _, f := range change {
		f(&config)
	}
	transport, err := New(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	r := newRecorder()
	if err := transport.Start(r); err != nil {
		t.Fatal(err)
	}
	return transport, r
}

func connect(t *testing.T, from, to *Transport) {
	t.Helper()
	id, err := from.Connect(context.Background(), to.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if id != to.Self() {
		t.Fatalf("connected to %s, want %s", id, to.Self())
	}
}

func join(t *testing.T, transports ...*Transport) {
	t.Helper()
	for _, transport := range transports {
		if err := transport.Join(topic, key); err != nil {
			t.Fatal(err)
		}
	}
}

func publish(t *testing.T, transport *Transport, block string) {
	t.Helper()
	if err := transport.Publish(topic, []byte(block)); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for ok, at most within.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func pattern(n int) []byte {
	return bytes.Repeat([]byte("dmls"), n/4+1)[:n]
}
