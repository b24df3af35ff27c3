package main

import (
	"log/slog"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/node"
	"github.com/dmlsd/dmls/store"
)

// device is a node as the daemon runs it.
type device interface {
	api.Backend
	Close() error
}

// deviceConfig is what the command line says of a device.
type deviceConfig struct {
	home    string
	name    string // only to create an identity
	listen  []string
	peers   []string
	noMDNS  bool
	relays  []string
	relay   bool // be one
	punch   bool
	dht     bool
	metrics string // address for health and metrics, empty: none
	offline bool   // only to look into the home: the network is not used
	keep    node.Keep
	sealing store.Sealing
	log     *slog.Logger
}
