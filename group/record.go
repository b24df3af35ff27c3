package group

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/mls"
)

// Prefix is the part of the store that belongs to one group. Under it:
//
//	state            counters and where this device stands
//	gossip           the gossip secret                                (Secret)
//	base/<leaf>      members at the base, with their chains
//	name/<key>       names of members, by signature key
//	c/<cid>          commits: what fork choice and plans need
//	f/<cid>, b/<cid> frames: links and place; the sealed block
//	e/<cid>/…        a retained epoch                                 (Secret)
//	n/<hash>         nodes of ratchet trees, shared between epochs
//	u/<cid>          own blocks that nobody is known to hold: the outbox
//	w/<cid>          messages that wait for those they follow         (History)
//	v/<cursor>       the event log                                    (History)
//	q/<key>/<cid>    members that equivocated, with a proof            (History)
//	offer/<key>      offers of stranded joiners, answer/<ref>: the Welcomes that
//	                 answered them                                    (Secret)
//	word/<key>       what members said last of another head
//	rejoin/<ref>     our own offers while stranded                    (Secret)
//	entered, former  one of them brought us here; who we were before
//	seeds/<cid>      of bases that were given up: the table of members
//	gap/<cid>        a frame missing in a chain that goes through two bases
func Prefix(gid string) string { return "g/" + gid + "/" }

// BlockKey names the record of a sealed block.
func BlockKey(gid string, c cid.Cid) string { return Prefix(gid) + "b/" + c.String() }

// EventPrefix is where the event log of a group lies.
func EventPrefix(gid string) string { return Prefix(gid) + "v/" }

// EventKey names one event; keys sort like cursors.
func EventKey(gid string, cursor uint64) string {
	return fmt.Sprintf("%s%016x", EventPrefix(gid), cursor)
}

// DecodeEvent reads the record of an event.
func DecodeEvent(b []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		return Event{}, fmt.Errorf("%w: event: %w", ErrRecords, err)
	}
	return e, nil
}

func encodeEvent(e Event) []byte { return mustJSON(e) }

// mustJSON encodes the engine's own plain structs, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("group: %T does not encode: %v", v, err))
	}
	return b
}

func (s *step) put(key string, value []byte, class Class) {
	s.out.Batch = append(s.out.Batch, Op{Key: key, Value: value, Class: class})
}

func (s *step) del(key string, class Class) { s.put(key, nil, class) }

func (s *step) key(rest string) string { return Prefix(s.ID()) + rest }

// stateRecord holds the counters; it is rewritten with every change.
type stateRecord struct {
	Name       string
	Policy     Policy
	Root, Base []byte
	Head       []byte // for a group whose epochs were wiped
	Number     uint64 // of the base
	Floor      uint64
	State      state
	Self       []byte
	Inviter    string // hex
	Next       uint64
	Prev       string
	Cursor     uint64
	Settled    uint64
	GoneAt     int64
	LeaveIn    []byte
	Generation uint32
	Forks      map[string]string
	Diverged   bool     `json:",omitempty"`
	Halves     bool     `json:",omitempty"`
	Ejected    bool     `json:",omitempty"`
	Present    []byte   `json:",omitempty"`
	Told       bool     `json:",omitempty"`
	Noticed    uint64   `json:",omitempty"`
	Expelled   [][]byte `json:",omitempty"`
}

func (s *step) writeState() {
	r := stateRecord{
		Name: s.info.Name, Policy: s.info.Policy, Root: []byte(s.root), Head: []byte(s.head), Base: []byte(s.graph.Base()), Number: s.graph.Number(s.graph.Base()), Floor: s.floor,
		State: s.state, Self: []byte(s.self), Inviter: hexKey(s.inviter),
		Next: s.next, Prev: s.prev.String(), Cursor: s.cursor, Settled: s.settled, LeaveIn: []byte(s.leaveIn),
		Generation: s.generation, Forks: map[string]string{}, Diverged: s.diverged, Halves: s.halves, Ejected: s.ejected,
		Present: []byte(s.present), Told: s.told, Noticed: s.noticed, Expelled: toBytes(slices.Sorted(maps.Keys(s.expelled))),
	}
	if !s.goneAt.IsZero() {
		r.GoneAt = s.goneAt.UnixMilli()
	}
	for at, child := range s.forks {
		r.Forks[hexKey(string(at))] = child
	}
	s.put(s.key("state"), mustJSON(r), Public)
	s.dirty = false
}

// writeBase records the gossip secret and the members at the base.
func (s *step) writeBase() {
	s.put(s.key("gossip"), bytes.Clone(s.gossipKey), Secret)
	for r := range s.base.all() {
		s.writeRow(r)
	}
	s.dirty = true
}

func (s *step) writeRow(r tableRow) {
	s.put(s.rowKey(leafOf(r.Member)), marshalTable([]tableRow{r}), Public)
}

// memberKey names a record of an incarnation.
func (s *step) memberKey(kind string, m dag.Member) string {
	return s.key(kind + hexKey(keyOf(m)) + "/" + text(addedBy(m)))
}

func (s *step) rowKey(leaf uint32) string { return fmt.Sprintf("%sbase/%08x", Prefix(s.ID()), leaf) }

func (s *step) epochKey(id dag.ID) string { return s.key("e/" + text(id) + "/") }

// writeEpoch records a new epoch: its own secrets, and those nodes of its tree
// that no other retained epoch has.
func (s *step) writeEpoch(e *epoch) {
	e.born = s.env.Now
	p := s.epochKey(e.id)
	s.put(p+"born", mustJSON(e.born.UnixMilli()), Public)
	s.writeMLS(p, e.mls.Records())
	e.mls.Tree().WalkNew(s.retainNode, func(hash, record []byte) {
		s.put(s.nodeKey(hash), record, Public)
	})
}

// retainNode counts one more user of a tree record and reports whether the
// record exists already, so that the walk need not descend.
func (g *Group) retainNode(hash []byte) bool {
	g.nodes[string(hash)]++
	return g.nodes[string(hash)] > 1
}

// releaseNode is its inverse: it reports whether others still use the record.
func (g *Group) releaseNode(hash []byte) bool {
	g.nodes[string(hash)]--
	if g.nodes[string(hash)] > 0 {
		return true
	}
	delete(g.nodes, string(hash))
	return false
}

func (s *step) nodeKey(hash []byte) string { return s.key("n/" + hex.EncodeToString(hash)) }

func (s *step) writeMLS(prefix string, records []mls.Record) {
	for _, r := range records {
		class := Public
		if r.Secret {
			class = Secret
		}
		s.put(prefix+r.Key, r.Value, class)
	}
}

// eraseEpoch wipes an epoch from memory and puts its deletion into the batch.
// It returns the number of secret records that go.
func (s *step) eraseEpoch(e *epoch) int {
	p, n := s.epochKey(e.id), 0
	for _, r := range e.mls.RecordKeys() {
		class := Public
		if r.Secret {
			class, n = Secret, n+1
		}
		s.del(p+r.Key, class)
	}
	s.del(p+"born", Public)
	if e.old {
		s.del(p+"old", Public)
	}
	e.mls.Tree().WalkHashes(s.releaseNode, func(hash []byte) { s.del(s.nodeKey(hash), Public) })
	e.mls.Wipe()
	delete(s.epochs, e.id)
	delete(s.expelled, e.id)
	s.orphans = append(s.orphans, s.leaves[e.id]...)
	return n
}
