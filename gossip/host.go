package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

// Transport is a libp2p host with the house's topics and protocols. Its methods
// may be called from any goroutine.
type Transport struct {
	config Config
	log    *slog.Logger
	host   host.Host
	pubsub *pubsub.PubSub
	gater  *gater

	ctx    context.Context
	cancel context.CancelFunc
	unhook func() bool // from the end of New's ctx

	handler atomic.Pointer[Handler]
	started chan struct{} // closed by Start

	mu     sync.Mutex // guards closed, topics and the start
	closed bool
	topics map[string]*subscription

	calls  sync.WaitGroup // running callbacks and goroutines of ours
	ended  chan struct{}  // closed when Close has finished
	keeper *keeper
	sender *sender
	hellos *hellos
	proofs *proofs

	circuits *circuits
	relayed  *relayed
	dht      *dht.IpfsDHT // nil: none
	door     *door
	inbox    *inbox
	counts   counters
}

// New builds the host and listens; nothing is dialled or delivered before
// Start. The end of ctx closes the transport.
func New(ctx context.Context, config Config) (*Transport, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	t := &Transport{
		config:  config,
		log:     config.Logger,
		gater:   newGater(),
		started: make(chan struct{}),
		ended:   make(chan struct{}),
		topics:  make(map[string]*subscription),
		hellos:  newHellos(),

		circuits: newCircuits(),
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.ctx, t.cancel = context.WithCancel(ctx)
	t.keeper, t.sender, t.inbox, t.proofs = newKeeper(t), newSender(t), newInbox(t), newProofs(t)
	t.door, t.relayed = newDoor(t.proofs), newRelayed(t)
	if err := t.open(); err != nil {
		t.cancel()
		if t.host != nil {
			err = errors.Join(err, t.host.Close())
		}
		return nil, err
	}
	t.unhook = context.AfterFunc(ctx, func() { _ = t.Close() }) // nobody is there to hear its error
	return t, nil
}

// open makes the host, listens, and starts gossipsub.
func (t *Transport) open() error {
	key, _, err := identity(t.config.KeySeed)
	if err != nil {
		return err
	}
	limits, err := t.resources()
	if err != nil {
		return err
	}
	quietQUIC()
	agent := t.config.UserAgent
	if agent == "" {
		agent = "dmls"
	}
	t.host, err = libp2p.New(append(t.internet(),
		libp2p.Identity(key),
		libp2p.NoListenAddrs, // listen does it, with a fallback for taken ports
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.ConnectionGater(t.gater),
		libp2p.ResourceManager(limits),
		libp2p.UserAgent(agent),
		libp2p.DisableMetrics(),
		libp2p.Ping(true),
	)...)
	if err != nil {
		return fmt.Errorf("gossip: host: %w", errors.Join(err, limits.Close()))
	}
	if err := t.listen(); err != nil {
		return err
	}
	if err := t.proofs.open(); err != nil {
		return err
	}
	if t.pubsub, err = t.newPubSub(); err != nil {
		return err
	}
	t.host.Network().Notify(t.keeper.notifiee())
	return t.openDHT()
}

// quietQUIC keeps quic-go from writing a line about small UDP buffers, which is
// the normal state of a fresh Linux, to the standard logger of the program.
func quietQUIC() {
	const name = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if _, set := os.LookupEnv(name); !set {
		_ = os.Setenv(name, "true") // at worst the line is written
	}
}

// listen opens every address of the configuration. One whose port is taken is
// opened on a random port instead, and one that cannot be opened at all is an
// error only if no other can.
func (t *Transport) listen() error {
	texts := t.config.Listen
	if t.config.NoListen {
		return nil
	}
	if texts == nil {
		texts = []string{"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"}
	}
	var failed error
	for _, text := range texts {
		addr, err := ma.NewMultiaddr(text)
		if err != nil {
			return fmt.Errorf("%w: Listen %q: %w", ErrConfig, text, err)
		}
		err = t.host.Network().Listen(addr)
		if err != nil {
			if err = t.host.Network().Listen(anyPort(addr)); err == nil {
				t.log.Warn("port is taken, listening on a random one", "addr", text)
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%w: %s: %w", ErrListen, text, err))
		}
	}
	if len(t.ListenAddrs()) == 0 && failed != nil {
		return failed
	}
	if failed != nil {
		t.log.Warn("not all addresses are listened on", "err", failed)
	}
	return nil
}

// anyPort is addr with its TCP or UDP port replaced by 0.
func anyPort(addr ma.Multiaddr) ma.Multiaddr {
	out := make(ma.Multiaddr, 0, len(addr))
	for _, part := range addr {
		if code := part.Protocol().Code; code == ma.P_TCP || code == ma.P_UDP {
			if zero, err := ma.NewComponent(part.Protocol().Name, "0"); err == nil {
				part = *zero
			}
		}
		out = append(out, part)
	}
	return out
}

// service names our streams in the resource manager.
const service = "dmls"

// resources makes room for stream messages of the configured size: the
// defaults of libp2p allow 16 MiB a peer. One peer may hold a message of every
// kind in flight but no more than a quarter of what all may hold.
func (t *Transport) resources() (network.ResourceManager, error) {
	largest := 0
	for _, protocol := range t.config.protocols() {
		largest = max(largest, t.config.limit(protocol))
	}
	peerMemory := rcmgr.LimitVal64(largest) + 16<<20
	all := 4 * peerMemory
	streams := rcmgr.ResourceLimits{
		StreamsInbound: 32, StreamsOutbound: 64, Streams: 96, Memory: peerMemory,
	}
	limits := rcmgr.PartialLimitConfig{
		Stream:              rcmgr.ResourceLimits{Memory: peerMemory},
		ProtocolPeerDefault: rcmgr.ResourceLimits{Memory: peerMemory},
		ProtocolDefault:     rcmgr.ResourceLimits{Memory: all},
		PeerDefault:         rcmgr.ResourceLimits{Memory: peerMemory + 128<<20}, // and the windows of its connections
		Service:             map[string]rcmgr.ResourceLimits{service: {Memory: all}},
		ServicePeer:         map[string]rcmgr.ResourceLimits{service: streams},
	}
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	manager, err := rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(limits.Build(scaling.AutoScale())),
		// The default of 8 connections per IPv4 address starves an office
		// behind one NAT.
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: 64}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: 64}}),
		rcmgr.WithMetricsDisabled(),
	)
	if err != nil {
		return nil, fmt.Errorf("gossip: resource manager: %w", err)
	}
	return manager, nil
}

// Start begins deliveries to h, mDNS, and dialling of static and remembered
// peers. Topics may be joined before.
func (t *Transport) Start(h Handler) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	if !t.handler.CompareAndSwap(nil, &h) {
		return ErrStarted
	}
	for _, name := range t.config.protocols() {
		t.host.SetStreamHandler(protocol.ID(name), func(s network.Stream) { t.inbox.serve(s, name) })
	}
	t.keeper.start()
	t.startInternet()
	if t.config.MDNS {
		t.spawn(newDiscovery(t).run)
	}
	close(t.started)
	return nil
}

// spawn runs f in a goroutine that Close waits for. The caller holds t.mu and
// has seen that the transport is open, or runs within such a goroutine.
func (t *Transport) spawn(f func()) {
	t.calls.Add(1)
	go func() {
		defer t.calls.Done()
		f()
	}()
}

// later is spawn for callers that know neither.
func (t *Transport) later(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.spawn(f)
	}
}

// enter reports the handler if it may be called, and makes Close wait until
// exit is called.
func (t *Transport) enter() (h Handler, exit func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.handler.Load()
	if t.closed || p == nil {
		return nil, nil, false
	}
	t.calls.Add(1)
	return *p, t.calls.Done, true
}

// Self is the own peer id.
func (t *Transport) Self() string { return t.host.ID().String() }

// Addrs lists own addresses with /p2p/ id, those that other hosts can dial
// first, loopback last.
func (t *Transport) Addrs() []string { return fullAddrs(t.host.ID(), t.host.Addrs()) }

// ListenAddrs lists what the host listens on, with the actual ports, for
// Config.Listen of the next run.
func (t *Transport) ListenAddrs() []string {
	var out []string
	for _, addr := range t.host.Network().ListenAddresses() {
		if _, err := addr.ValueForProtocol(ma.P_CIRCUIT); err != nil { // relays are no ports of ours
			out = append(out, addr.String())
		}
	}
	slices.Sort(out)
	return out
}

// Close ends everything and waits for callbacks and goroutines. It is
// idempotent; every call returns when the transport is closed.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		<-t.ended
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	defer close(t.ended)
	t.unhook()
	t.cancel()
	t.sender.close()
	var err error
	if t.dht != nil {
		err = t.dht.Close()
	}
	err = errors.Join(err, t.host.Close())
	t.calls.Wait()
	if err != nil {
		return fmt.Errorf("gossip: close: %w", err)
	}
	return nil
}
