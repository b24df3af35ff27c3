package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/dmlsd/dmls/group"
)

// Keeper is a Backend whose store can be asked about its keys.
type Keeper interface {
	Keys(ctx context.Context) (StoreKeys, error)
	RotateRoot(ctx context.Context) error
}

// StoreKeys tells how the store keeps keys. It holds none.
type StoreKeys struct {
	Sealing       string     `json:"sealing"`          // of the root key: none, passphrase or key file
	Generation    uint64     `json:"generation"`       // of the root key
	Pending       int        `json:"pending_erasures"` // records deleted or overwritten whose keys are not gone yet
	PendingSince  *time.Time `json:"pending_since,omitempty"`
	Erased        uint64     `json:"erased"` // records since the start
	EraseInterval float64    `json:"erase_interval_seconds"`
}

// Keys is what a thief of the device would find, and why it is still there.
type Keys struct {
	Store  StoreKeys `json:"store"`
	Groups []Kept    `json:"groups"`
}

// Kept is what one group keeps.
type Kept struct {
	Group   string     `json:"group"`
	Name    string     `json:"name"`
	Epochs  int        `json:"epochs"`
	Secrets int        `json:"secrets"`
	Bytes   int        `json:"bytes"`
	Since   *time.Time `json:"since,omitempty"` // of the oldest epoch
	Why     string     `json:"why"`

	Each []group.Kept `json:"each,omitempty"` // of the epochs, the one in use first
}

var errNoKeeper = errors.New("api: this daemon's store cannot be asked about its keys")

func (s *Server) keys(r *http.Request) (any, error) {
	k, ok := s.backend.(Keeper)
	if !ok {
		return nil, errNoKeeper
	}
	st, err := k.Keys(r.Context())
	if err != nil {
		return nil, err
	}
	return KeysOf(st, s.backend.Groups()), nil
}

func (s *Server) rotate(r *http.Request) (any, error) {
	k, ok := s.backend.(Keeper)
	if !ok {
		return nil, errNoKeeper
	}
	if err := k.RotateRoot(r.Context()); err != nil {
		return nil, err
	}
	return s.keys(r)
}

// KeysOf puts together what a store and its groups say.
func KeysOf(st StoreKeys, groups []Group) Keys {
	k := Keys{Store: st, Groups: []Kept{}}
	for _, g := range groups {
		kept := Kept{Group: g.Group, Name: g.Name, Epochs: g.RetainedEpochs, Secrets: g.SecretsRetained, Bytes: g.SecretBytes, Why: whyKept(g), Each: g.Kept}
		if g.OldestRetained > 0 {
			t := time.UnixMilli(g.OldestRetained).UTC()
			kept.Since = &t
		}
		k.Groups = append(k.Groups, kept)
	}
	return k
}

// whyKept is the reason why more than the head epoch is there: that of the
// oldest one.
func whyKept(g Group) string {
	switch {
	case g.RetainedEpochs == 0:
		return "no epoch is kept"
	case g.State == "removed":
		return "this device was removed; what it has goes when it is too old"
	case g.ForksOpen > 0:
		return "a fork is open"
	case g.RetainedEpochs == 1 || len(g.Kept) == 0:
		return "the epoch in use"
	}
	return g.Kept[len(g.Kept)-1].Why
}

// Keys tells what is kept and why.
func (c *Client) Keys(ctx context.Context) (v Keys, err error) {
	return v, c.call(ctx, "GET", "/v1/keys", nil, &v)
}

// RotateRoot replaces the store's root key, which carries out all pending
// erasures.
func (c *Client) RotateRoot(ctx context.Context) (v Keys, err error) {
	return v, c.call(ctx, "POST", "/v1/keys/rotate", nil, &v)
}
