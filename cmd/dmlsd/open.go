package main

import (
	"context"

	dmls "github.com/dmlsd/dmls"
	"github.com/dmlsd/dmls/gossip"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/store"
)

// storedNode is a node with the store that it runs on.
type storedNode struct {
	api.Node
	store *store.Store
}

var _ api.Keeper = storedNode{}

// openNode opens the real thing.
func openNode(ctx context.Context, c deviceConfig) (device, error) {
	conf := dmls.Config{
		Home: c.home, Name: c.name, Listen: c.listen, Peers: c.peers,
		Relays: c.relays, RelayService: c.relay, HolePunching: c.punch, DHT: c.dht,
		NoMDNS: c.noMDNS, Offline: c.offline, Logger: c.log, Sealing: c.sealing, Keep: c.keep,
	}
	if c.offline {
		conf.Keep.Events = -1 // whoever looks changes nothing
	}
	s, err := dmls.OpenStore(ctx, conf)
	if err != nil {
		return nil, err
	}
	conf.Store = s
	n, err := dmls.Open(ctx, conf) // closes the store, also when it fails
	if err != nil {
		return nil, err
	}
	return storedNode{api.FromNode(n), s}, nil
}

// failed is closed when the store of a device breaks, nil if it has none.
func failed(d device) <-chan struct{} {
	if n, ok := d.(storedNode); ok {
		return n.store.Failed()
	}
	return nil
}

// Keys implements api.Keeper.
func (n storedNode) Keys(context.Context) (api.StoreKeys, error) {
	st := n.store.Status()
	k := api.StoreKeys{
		Sealing: st.Sealing, Generation: st.Generation, Pending: st.Pending, Erased: st.Erased, EraseInterval: st.EraseSeconds,
	}
	if st.Pending > 0 {
		k.PendingSince = &st.PendingSince
	}
	return k, nil
}

// RotateRoot implements api.Keeper.
func (n storedNode) RotateRoot(ctx context.Context) error { return n.store.RotateRoot(ctx) }

// causes adds what store and transport return to the API's table of errors,
// which knows neither.
var causes = []api.Cause{
	{Err: store.ErrLocked, Code: api.Conflict, Fix: "another daemon runs on this home: use that one, stop it first, or name another home with --home"},
	{Err: store.ErrDiskFull, Code: api.DiskFull, Fix: "free some space and try again; nothing is lost"},
	{Err: store.ErrNewerFormat, Code: api.Failed, Fix: "update dmlsd"},
	{Err: store.ErrRootMismatch, Code: api.Damaged, Fix: damagedFix},
	{Err: store.ErrSealed, Code: api.Denied, Fix: "give the passphrase (--passphrase-file, DMLSD_PASSPHRASE or at the terminal) or the key file (--key-file)"},
	{Err: store.ErrWrongKey, Code: api.Denied, Fix: "try again with the right passphrase or key file; nothing was changed"},
	{Err: store.ErrCorrupt, Code: api.Damaged, Fix: damagedFix},
	{Err: store.ErrUnsafe, Code: api.Denied, Fix: "let only its owner read and write the home"},
	{Err: store.ErrBroken, Code: api.Failed, Fix: "stop the daemon and start it again; nothing that was acknowledged is lost"},
	{Err: store.ErrClosed, Code: api.NotRunning, Fix: "start it with: dmlsd run"},
	{Err: dmls.ErrHome, Code: api.Failed, Fix: "name another home with --home"},
	{Err: gossip.ErrAddress, Code: api.Usage, Fix: "give addresses with a peer id, as dmlsd id prints them"},
	{Err: gossip.ErrConfig, Code: api.Usage, Fix: "see the addresses given with --listen and --peer"},
	{Err: gossip.ErrListen, Code: api.Usage, Fix: "listen on an address of this machine, or on all: --listen /ip4/0.0.0.0/tcp/0"},
	{Err: gossip.ErrPeer, Code: api.Usage, Fix: "see: dmlsd peers"},
}

const damagedFix = "see what is wrong: dmlsd fsck; what cannot be put back is lost: begin a new home, dmlsd --home DIR init --name NAME, and join again"
