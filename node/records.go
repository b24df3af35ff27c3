package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/dmlsd/dmls/group"
)

// Keys of the device's own records. Those of groups are package group's.
const (
	keyIdentity    = "d/identity"
	keyListen      = "d/listen"   // own addresses of the last run
	keyKnown       = "d/known"    // addresses of peers
	keyBlocked     = "d/blocked"  // names of peers that are blocked
	keyGroups      = "d/group/"   // + group id: the list of groups
	keyTickets     = "d/ticket/"  // + ticket id: one that this device gave out
	keyWelcomes    = "d/welcome/" // + KeyPackageRef, hex: the answer to a joiner
	keyKeyPackages = "d/kp/"      // + KeyPackageRef, hex: KeyPackage with its private keys
	keyJoins       = "d/join/"    // + ticket id: one that this device uses or has used
)

const recordVersion = 1

// loadAll reads every record under a prefix through parse.
func loadAll(ctx context.Context, s Store, prefix string, parse func(name string, value []byte) error) error {
	for op, err := range s.Load(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("node: records %s: %w", prefix, err)
		}
		if err := parse(strings.TrimPrefix(op.Key, prefix), op.Value); err != nil {
			return fmt.Errorf("node: record %s: %w", op.Key, err)
		}
	}
	return nil
}

// get reads one record; nil means that there is none.
func get(ctx context.Context, s Store, key string) ([]byte, error) {
	b, err := s.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("node: record %s: %w", key, err)
	}
	return b, nil
}

func marshalStrings(list []string) []byte {
	var w writer
	w.u8(recordVersion)
	w.u32(uint32(len(list)))
	for _, s := range list {
		w.bytes([]byte(s))
	}
	return w.b
}

const maxStrings = 4096

func parseStrings(b []byte) ([]string, error) {
	r := reader{b: b}
	if v := r.u8(); v != recordVersion {
		r.fail("record version %d", v)
	}
	var list []string
	for _, s := range r.list(maxStrings, maxAddr) {
		list = append(list, string(s))
	}
	return list, r.done()
}

// loadAddresses returns what rememberAddresses stored. A damaged record of
// this kind costs nothing but the memory.
func loadAddresses(ctx context.Context, s Store) (listen, known []string, err error) {
	lists := [2][]string{}
	for i, key := range []string{keyListen, keyKnown} {
		b, err := get(ctx, s, key)
		if err != nil {
			return nil, nil, err
		}
		if b == nil {
			continue
		}
		if lists[i], err = parseStrings(b); err != nil {
			lists[i] = nil
		}
	}
	return lists[0], lists[1], nil
}

// rememberAddresses stores own ports and the peers worth dialling, if they
// changed. A transport that knows nobody yet, or does not listen, does not make
// it forget.
func (n *Node) rememberAddresses(ctx context.Context) error {
	own, peers := short(n.transport.ListenAddrs()), short(n.transport.Known())
	if len(own) == 0 {
		own = n.listen
	}
	if len(peers) == 0 {
		peers = n.known
	}
	listen, known := marshalStrings(own), marshalStrings(peers)
	if string(listen)+string(known) == n.remembered {
		return nil
	}
	err := n.store.Commit(ctx, []group.Op{
		{Key: keyListen, Value: listen, Class: group.Public},
		{Key: keyKnown, Value: known, Class: group.Public},
	})
	if err != nil {
		return fmt.Errorf("node: addresses: %w", err)
	}
	n.remembered, n.listen, n.known = string(listen)+string(known), own, peers
	return nil
}

// short drops what parseStrings would refuse.
func short(list []string) []string {
	var kept []string
	for _, s := range list {
		if len(s) <= maxAddr && len(kept) < maxStrings {
			kept = append(kept, s)
		}
	}
	return kept
}
