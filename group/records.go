package group

import (
	"maps"
	"slices"
	"strings"
)

// Records lists what the group holds in memory to open frames with, under the
// keys that the same records have in the store: the retained epochs with their
// trees, the gossip secret, the private keys of own offers. They are secrets,
// and copies; it is for tests of erasure, which compare memory and disk.
func (g *Group) Records() []Op {
	s := &step{Group: g}
	s.put(s.key("gossip"), slices.Clone(g.gossipKey), Secret)
	seen := map[string]bool{}
	known := func(hash []byte) bool { return seen[string(hash)] }
	for _, id := range slices.Sorted(maps.Keys(g.epochs)) {
		e := g.epochs[id]
		s.writeMLS(s.epochKey(id), e.mls.Records())
		e.mls.Tree().WalkNew(known, func(hash, record []byte) {
			seen[string(hash)] = true
			s.put(s.nodeKey(hash), record, Public)
		})
	}
	for _, j := range g.rejoins {
		s.put(s.rejoinKey(j), j.marshal(), Secret)
	}
	slices.SortFunc(s.out.Batch, func(a, b Op) int { return strings.Compare(a.Key, b.Key) })
	return s.out.Batch
}
