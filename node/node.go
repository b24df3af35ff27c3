package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/cores"
)

// Config is what a [Node] stands on.
type Config struct {
	// Name is the device's name, needed when the store holds no identity yet;
	// afterwards an empty Name keeps the stored one.
	Name  string
	Store Store
	// Transport makes the network side once the identity is known: seed is the
	// 32-byte seed of its own Ed25519 key, listen and known are what
	// ListenAddrs and Known returned at the end of the last run.
	Transport func(ctx context.Context, seed []byte, listen, known []string) (Transport, error)

	Group  group.Config     // zero: group.LAN()
	Timing Timing           // zero: DefaultTiming()
	Keep   Keep             // of event logs
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
	Rand   io.Reader        // nil: crypto/rand

	engines *engines // for tests; nil: package group's
}

// Node is a device that runs: many groups, one goroutine that steps them, and
// a clock. All methods may be called from any goroutine; what they return are
// copies.
type Node struct {
	c         Config
	id        identity
	store     Store
	transport Transport
	driver    *Driver // touched by the loop's goroutine only, once Open has returned
	box       *mailbox
	hub       *hub
	started   time.Time

	// life ends when Close has waited long enough for work under way.
	life      context.Context
	kill      context.CancelFunc
	loopDone  chan struct{}
	closeOnce sync.Once
	closed    chan struct{} // closed when Close begins
	closeErr  error
	blocked   sync.Map // peer -> struct{}, of Block

	storeMu    sync.RWMutex // held by readers of events; Close takes it for good
	remembered string       // addresses as last stored; of the loop's goroutine, like the lists
	listen     []string
	known      []string
}

// closeWait bounds how long Close waits for queued work; the rest of the 5
// seconds that a daemon may take is for transport and store.
const closeWait = 2 * time.Second

// Open starts a node. It owns the store and the transport from here on: both
// are closed by Close, or at once if Open fails. ctx bounds Open itself only.
func Open(ctx context.Context, c Config) (*Node, error) {
	n, err := open(ctx, c)
	if err != nil {
		if c.Store != nil {
			err = errors.Join(err, c.Store.Close())
		}
		return nil, err
	}
	return n, nil
}

func open(ctx context.Context, c Config) (*Node, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	id, err := loadIdentity(ctx, c.Store, c.Name, c.Rand)
	if err != nil {
		return nil, err
	}
	n := &Node{
		c: c, id: id, store: c.Store, box: newMailbox(), hub: newHub(), started: c.Now(),
		loopDone: make(chan struct{}), closed: make(chan struct{}),
	}
	listen, known, err := loadAddresses(ctx, c.Store)
	if err != nil {
		return nil, err
	}
	n.listen, n.known = listen, known
	if n.transport, err = c.Transport(ctx, id.transportSeed[:], listen, known); err != nil {
		return nil, fmt.Errorf("node: transport: %w", err)
	}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.transport.Close())
	}
	return n, nil
}

func (c Config) complete() (Config, error) {
	if c.Store == nil || c.Transport == nil {
		return c, errors.New("node: Config needs a Store and a Transport")
	}
	if c.Group == (group.Config{}) {
		c.Group = group.LAN()
	}
	if err := c.Group.Validate(); err != nil {
		return c, fmt.Errorf("node: %w", err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return c, nil
}

// start loads the groups, opens the door and begins the loop.
func (n *Node) start(ctx context.Context) error {
	signer, err := n.id.signer()
	if err != nil {
		return err
	}
	c := DriverConfig{
		Identity: group.Identity{Name: n.id.name, Signer: signer}, Group: n.c.Group,
		Store: n.store, Network: n.transport, Sink: n.hub, Timing: n.c.Timing, Keep: n.c.Keep,
	}
	if n.c.engines != nil {
		n.driver, err = newDriver(ctx, c, *n.c.engines)
	} else {
		n.driver, err = NewDriver(ctx, c)
	}
	if err != nil {
		return err
	}
	for _, gid := range n.driver.Groups() {
		status, err := n.driver.Status(gid)
		if err != nil {
			return err
		}
		n.hub.know(gid, status.Cursor+1)
	}
	if err := n.blockAgain(ctx); err != nil {
		return err
	}
	if err := n.transport.Start(n); err != nil {
		return fmt.Errorf("node: transport: %w", err)
	}
	if err := n.driver.Start(n.env()); err != nil {
		return err
	}
	if err := n.rememberAddresses(ctx); err != nil {
		return err
	}
	n.life, n.kill = context.WithCancel(context.Background())
	go n.loop()
	return nil
}

func (n *Node) env() group.Env {
	return group.Env{Now: n.c.Now(), Rand: n.c.Rand, Parallel: cores.Each}
}

// Close refuses new work, finishes what is queued, and closes transport and
// store. After 2 seconds it gives queued work up, as a crash would. Closing
// again returns the first result.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		close(n.closed)
		n.box.close()
		patience := time.AfterFunc(closeWait, n.kill)
		<-n.loopDone
		patience.Stop()
		n.kill()
		err := n.rememberAddresses(context.Background())
		n.hub.close()
		err = errors.Join(err, n.transport.Close())
		n.storeMu.Lock()
		defer n.storeMu.Unlock()
		n.closeErr = errors.Join(err, n.store.Close())
	})
	return n.closeErr
}

// ID is the device's identity: its Ed25519 public key in hex.
func (n *Node) ID() string { return hex.EncodeToString(n.id.public()) }

// Name is the device's name.
func (n *Node) Name() string { return n.id.name }

// PeerID is the device's name on the network, apart from its identity.
func (n *Node) PeerID() string { return n.transport.Self() }

// Addrs lists the device's addresses, each with its peer id.
func (n *Node) Addrs() []string { return n.transport.Addrs() }

// Info is a summary of a running node.
type Info struct {
	Name    string        `json:"name"`
	ID      string        `json:"id"`
	Peer    string        `json:"peer"`
	Addrs   []string      `json:"addrs"`
	Started time.Time     `json:"started"`
	Uptime  time.Duration `json:"uptime_ns"`
	Groups  int           `json:"groups"`
	Peers   int           `json:"peers"`
	Queued  int           `json:"queued"`  // inputs waiting to be stepped
	Dropped uint64        `json:"dropped"` // arrivals refused because too many waited
}

// Counters tells what the transport counts, nil if it does not.
func (n *Node) Counters() map[string]uint64 {
	if t, ok := n.transport.(interface{ Counters() map[string]uint64 }); ok {
		return t.Counters()
	}
	return nil
}

// Info returns the summary.
func (n *Node) Info() Info {
	queued, dropped := n.box.load()
	now := n.c.Now()
	return Info{
		Name: n.id.name, ID: n.ID(), Peer: n.PeerID(), Addrs: n.Addrs(),
		Started: n.started, Uptime: now.Sub(n.started),
		Groups: n.hub.count(), Peers: len(n.Peers()), Queued: queued, Dropped: dropped,
	}
}
