package main

import (
	"context"
	"errors"

	dmls "github.com/dmlsd/dmls"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/store"
)

// openNode opens the real thing.
func openNode(ctx context.Context, c deviceConfig) (device, error) {
	q := dmls.Config{Home: c.home, Name: c.name, Listen: c.listen, Peers: c.peers, NoMDNS: c.noMDNS || c.offline, Logger: c.log}
	n, err := dmls.Open(ctx, q)
	if err != nil {
		return nil, err
	}
	return api.FromNode(n), nil
}

// explainOpen adds what the store can say to the API's table.
func explainOpen(home, what string, err error) *api.Error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return inUse(home)
	}
	return api.Explain(what, err)
}
