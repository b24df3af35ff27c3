package main

import (
	"context"

	dmls "github.com/dmlsd/dmls"
	"github.com/dmlsd/dmls/gossip"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/store"
)

// openNode opens the real thing.
func openNode(ctx context.Context, c deviceConfig) (device, error) {
	n, err := dmls.Open(ctx, dmls.Config{
		Home: c.home, Name: c.name, Listen: c.listen, Peers: c.peers,
		NoMDNS: c.noMDNS, Offline: c.offline, Logger: c.log,
	})
	if err != nil {
		return nil, err
	}
	return api.FromNode(n), nil
}

// causes adds what store and transport return to the API's table of errors,
// which knows neither.
var causes = []api.Cause{
	{Err: store.ErrLocked, Code: api.Conflict, Fix: "another daemon runs on this home: use that one, stop it first, or name another home with --home"},
	{Err: store.ErrDiskFull, Code: api.DiskFull, Fix: "free some space and try again; nothing is lost"},
	{Err: store.ErrNewerFormat, Code: api.Failed, Fix: "update dmlsd"},
	{Err: store.ErrRootMismatch, Code: api.Damaged, Fix: damagedFix},
	{Err: store.ErrCorrupt, Code: api.Damaged, Fix: damagedFix},
	{Err: store.ErrUnsafe, Code: api.Denied, Fix: "let only its owner read and write the home"},
	{Err: store.ErrBroken, Code: api.Failed, Fix: "stop the daemon and start it again; nothing that was acknowledged is lost"},
	{Err: store.ErrClosed, Code: api.NotRunning, Fix: "start it with: dmlsd run"},
	{Err: dmls.ErrHome, Code: api.Failed, Fix: "name another home with --home"},
	{Err: gossip.ErrConfig, Code: api.Usage, Fix: "see the addresses given with --listen and --peer"},
	{Err: gossip.ErrAddress, Code: api.Usage, Fix: "give addresses with a peer id, as dmlsd id prints them"},
	{Err: gossip.ErrPeer, Code: api.Usage, Fix: "see: dmlsd peers"},
}

const damagedFix = "restore the home from a backup, or begin a new one: dmlsd --home DIR init --name NAME"
