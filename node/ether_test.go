package node

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/dmlsd/dmls/frame"
)

// ether joins memTransports.
type ether struct {
	mu    sync.Mutex
	nodes map[string]*memTransport
}

// memTransport delivers from one goroutine for each node.
type memTransport struct {
	ether   *ether
	name    string
	queue   chan func(Handler)
	done    chan struct{}
	handler Handler
	topics  map[string]bool // guarded by ether.mu, like blocked
	blocked map[string]bool
	closed  sync.Once
}

func newEther() *ether { return &ether{nodes: map[string]*memTransport{}} }

func (e *ether) transport(name string) func(context.Context, []byte, []string, []string) (Transport, error) {
	return func(context.Context, []byte, []string, []string) (Transport, error) {
		t := &memTransport{ether: e, name: name, queue: make(chan func(Handler), 10000), done: make(chan struct{}),
			topics: map[string]bool{}, blocked: map[string]bool{}}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.nodes[name] = t
		return t, nil
	}
}

func (t *memTransport) Start(h Handler) error {
	t.handler = h
	go func() {
		defer close(t.done)
		for f := range t.queue {
			f(h)
		}
	}()
	return nil
}

func (t *memTransport) reach(o *memTransport) bool {
	return o != nil && o != t && !t.blocked[o.name] && !o.blocked[t.name]
}

func (t *memTransport) members(topic string) (list []*memTransport) {
	for _, n := range sortedKeys(t.ether.nodes) {
		if o := t.ether.nodes[n]; t.reach(o) && o.topics[topic] {
			list = append(list, o)
		}
	}
	return list
}

func (t *memTransport) meet(topic string) {
	for _, o := range t.members(topic) {
		o.queue <- func(h Handler) { h.PeerJoin(topic, t.name) }
		t.queue <- func(h Handler) { h.PeerJoin(topic, o.name) }
	}
}

func (t *memTransport) Join(topic string, _ frame.PeerKey) error {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	t.topics[topic] = true
	t.meet(topic)
	return nil
}

func (t *memTransport) Leave(topic string) error {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	delete(t.topics, topic)
	return nil
}

func (t *memTransport) Publish(topic string, b []byte) error {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	for _, o := range t.members(topic) {
		o.queue <- func(h Handler) { h.Check(context.Background(), topic, t.name, b) }
	}
	return nil
}

func (t *memTransport) Send(peer, protocol string, m []byte) error {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	if o := t.ether.nodes[peer]; t.reach(o) {
		o.queue <- func(h Handler) { h.Message(t.name, protocol, m) }
	}
	return nil
}

func (t *memTransport) Peers(topic string) (names []string) {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	for _, o := range t.members(topic) {
		names = append(names, o.name)
	}
	return names
}

func (t *memTransport) Addrs() []string       { return []string{"/memory/" + t.name} }
func (t *memTransport) ListenAddrs() []string { return []string{"/listen/" + t.name} }
func (t *memTransport) Known() []string       { return nil }
func (t *memTransport) Self() string          { return t.name }

func (t *memTransport) Connections() (list [][3]string) {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	for _, n := range sortedKeys(t.ether.nodes) {
		if t.reach(t.ether.nodes[n]) {
			list = append(list, [3]string{n, "/memory/" + n, "out"})
		}
	}
	return list
}

func (t *memTransport) Connect(_ context.Context, addrs []string) (string, error) {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	for _, a := range addrs {
		if name := strings.TrimPrefix(a, "/memory/"); name == t.name || t.reach(t.ether.nodes[name]) {
			return name, nil
		}
	}
	return "", errors.New("nobody there")
}

func (t *memTransport) Block(peer string) error {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	t.blocked[peer] = true
	for topic := range t.topics {
		if o := t.ether.nodes[peer]; o != nil && o.topics[topic] {
			o.queue <- func(h Handler) { h.PeerLeave(topic, t.name) }
			t.queue <- func(h Handler) { h.PeerLeave(topic, peer) }
		}
	}
	return nil
}

func (t *memTransport) Unblock(peer string) error {
	t.ether.mu.Lock()
	defer t.ether.mu.Unlock()
	delete(t.blocked, peer)
	for topic := range t.topics {
		t.meet(topic)
	}
	return nil
}

func (t *memTransport) Close() error {
	t.closed.Do(func() {
		t.ether.mu.Lock()
		delete(t.ether.nodes, t.name)
		t.ether.mu.Unlock()
		close(t.queue)
		<-t.done
	})
	return nil
}
