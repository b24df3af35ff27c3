package dmls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/dmlsd/dmls/gossip"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
	"github.com/dmlsd/dmls/store"
)

// Config says where a device lives and whom it talks to. Home alone is enough
// for a device that has an identity, Home and Name for a new one.
type Config struct {
	Home string // directory, made with mode 0700; one process at a time
	Name string // for others to see, 1 to 64 bytes; empty: the stored one

	// Listen holds multiaddrs; nil means TCP and QUIC on all IPv4 interfaces.
	// Port 0 is the port of the last run, if that is still free.
	Listen []string
	Peers  []string // multiaddrs with /p2p/ id that are always kept connected
	NoMDNS bool     // do not look for peers on the local network

	// Beyond the local network; see gossip.Config for what they reveal.
	Relays       []string // multiaddrs with /p2p/ id of relays that take connections for this device
	RelayService bool     // be a relay for others
	HolePunching bool     // try to turn relayed connections into direct ones
	DHT          bool     // find peers by their id
	Offline      bool     // neither listen nor look for peers

	Group  group.Config // limits and delays; zero: group.LAN()
	Timing node.Timing  // of sync and joins; zero: node.DefaultTiming()
	Keep   node.Keep    // of event logs
	Logger *slog.Logger // nil: silent
	Rand   io.Reader    // nil: crypto/rand

	// EraseInterval is the time that the erasure of deleted secrets may take; 0 is
	// 1 s, negative: before anything that depends on it leaves the device.
	EraseInterval time.Duration
	Sealing       store.Sealing // of the store's root key

	// Store and Transport take the places of package store and package gossip.
	Store     node.Store
	Transport func(ctx context.Context, seed []byte, listen, known []string) (node.Transport, error)
}

// ErrHome is wrapped by complaints about the home directory.
var ErrHome = errors.New("dmls: unusable home")

// Open starts a device. Close the node to stop it. ctx bounds Open alone.
func Open(ctx context.Context, c Config) (*node.Node, error) {
	s, err := openStore(ctx, c)
	if err != nil {
		return nil, err
	}
	transport := c.Transport
	if transport == nil {
		transport = c.gossip
	}
	n, err := node.Open(ctx, node.Config{
		Name: c.Name, Store: s, Transport: transport,
		Group: c.Group, Timing: c.Timing, Keep: c.Keep, Logger: c.Logger, Rand: c.Rand,
	})
	if err != nil {
		return nil, fmt.Errorf("dmls: %w", err)
	}
	return n, nil
}

func openStore(ctx context.Context, c Config) (node.Store, error) {
	if c.Store != nil {
		return c.Store, nil
	}
	return OpenStore(ctx, c)
}

// StoreDir is where a home has its store.
func StoreDir(home string) string { return filepath.Join(home, "store") }

// OpenStore opens the store of c.Home as [Open] does, for callers that want to
// hold it as well: they hand it to Open as Config.Store, which then closes it.
func OpenStore(ctx context.Context, c Config) (*store.Store, error) {
	if c.Home == "" {
		return nil, fmt.Errorf("%w: Config.Home is empty", ErrHome)
	}
	if err := os.MkdirAll(c.Home, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHome, err)
	}
	// A directory that was there before may be open to others.
	if err := os.Chmod(c.Home, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHome, err)
	}
	s, err := store.Open(ctx, store.Options{
		Dir: StoreDir(c.Home), Logger: c.Logger, EraseInterval: c.EraseInterval, Sealing: c.Sealing,
	})
	if err != nil {
		return nil, fmt.Errorf("dmls: home %s: %w", c.Home, err)
	}
	return s, nil
}

// gossip makes the libp2p transport. The context that Open was given ends with
// Open; the transport ends with Close.
func (c Config) gossip(ctx context.Context, seed []byte, listen, known []string) (node.Transport, error) {
	g := gossip.Config{
		KeySeed: seed, Static: c.Peers, Remembered: known, MDNS: !c.NoMDNS,
		Listen: samePorts(c.Listen, listen), Logger: c.Logger,
		Relays: c.Relays, RelayService: c.RelayService, HolePunching: c.HolePunching, DHT: c.DHT,
	}
	if c.Offline {
		g = gossip.Config{KeySeed: seed, NoListen: true, Logger: c.Logger}
	}
	t, err := gossip.New(context.WithoutCancel(ctx), g)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// everywhere is where a device listens that was not told where.
var everywhere = []string{"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"}

var port = regexp.MustCompile(`/(tcp|udp)/[0-9]+`)

// samePorts puts the ports of the last run into addresses with port 0. Peers
// remember our addresses; after a restart they find us again without help.
func samePorts(want, last []string) []string {
	if len(want) == 0 {
		want = everywhere
	}
	ports := map[string]string{}
	for _, addr := range last {
		ports[port.ReplaceAllString(addr, "/$1/0")] = addr
	}
	out := make([]string, len(want))
	for i, addr := range want {
		out[i] = addr
		if same, ok := ports[addr]; ok {
			out[i] = same
		}
	}
	return out
}
