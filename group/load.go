package group

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/mls"
)

// loader collects the records of one group and puts the state together again.
type loader struct {
	*Group
	state  stateRecord
	rows   []tableRow
	nodes  map[string][]byte
	epochs map[string]map[string][]byte // by CID text, then by relative key
}

// Load restores a group from its records, in any order.
func Load(c Config, id Identity, gid string, records iter.Seq2[Op, error]) (*Group, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := &loader{Group: newGroup(c, id), nodes: map[string][]byte{}, epochs: map[string]map[string][]byte{}}
	var err error
	if l.gid, err = hex.DecodeString(gid); err != nil {
		return nil, fmt.Errorf("%w: group id %q", ErrRecords, gid)
	}
	for op, err := range records {
		if err != nil {
			return nil, fmt.Errorf("group: load: %w", err)
		}
		if err := l.read(strings.TrimPrefix(op.Key, Prefix(gid)), op.Value); err != nil {
			return nil, err
		}
	}
	if l.state.Self == nil || len(l.gossipKey) != 32 {
		return nil, fmt.Errorf("%w: no state record for group %s", ErrRecords, gid)
	}
	if err := l.restore(); err != nil {
		return nil, err
	}
	if err := l.keepBlocks(records); err != nil {
		return nil, err
	}
	return l.Group, nil
}

// keepBlocks reads the blocks of frames that can be opened again, now that it
// is known which these are.
func (l *loader) keepBlocks(records iter.Seq2[Op, error]) error {
	want := map[string]cid.Cid{}
	for c, m := range l.frames {
		if l.Group.epochs[idOf(m.Links.Parent)] != nil && l.reopens(m) {
			want[BlockKey(l.ID(), c)] = c
		}
	}
	if len(want) == 0 {
		return nil
	}
	for op, err := range records {
		if err != nil {
			return fmt.Errorf("group: load: %w", err)
		}
		if c, ok := want[op.Key]; ok {
			l.keep(c, l.frames[c], slices.Clone(op.Value))
			if delete(want, op.Key); len(want) == 0 {
				break
			}
		}
	}
	return nil
}

func (l *loader) read(key string, value []byte) error {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case "state":
		if err := json.Unmarshal(value, &l.state); err != nil {
			return fmt.Errorf("%w: state: %w", ErrRecords, err)
		}
	case "gossip":
		l.gossipKey = slices.Clone(value)
	case "base":
		return l.readRow(value)
	case "name":
		k, err := hex.DecodeString(rest)
		if err != nil {
			return fmt.Errorf("%w: name %q", ErrRecords, rest)
		}
		l.names[string(k)] = string(value)
	case "n":
		k, err := hex.DecodeString(rest)
		if err != nil {
			return fmt.Errorf("%w: tree node %q", ErrRecords, rest)
		}
		l.nodes[string(k)] = slices.Clone(value)
	case "e":
		id, name, _ := strings.Cut(rest, "/")
		if l.epochs[id] == nil {
			l.epochs[id] = map[string][]byte{}
		}
		l.epochs[id][name] = slices.Clone(value)
	case "offer":
		return l.readOffer(value)
	case "entered":
		l.entered = true
	case "former":
		var err error
		l.former, err = parseFormer(value)
		return err
	case "seeds":
		return l.readSeeds(rest, value)
	case "gap":
		return l.readGap(rest, value)
	case "hint":
		m, err := parseIncarnation(value)
		if err != nil {
			return fmt.Errorf("%w: hint: %w", ErrRecords, err)
		}
		l.hinted[m] = struct{}{}
	case "word":
		w, err := parseWord(value)
		if err != nil {
			return err
		}
		l.said[keyOf(w.by)] = w
	case "rejoin":
		r, err := parseRejoin(value)
		if err != nil {
			return err
		}
		l.rejoins = append(l.rejoins, r)
	case "answer":
		k, err := hex.DecodeString(rest)
		if err != nil {
			return fmt.Errorf("%w: answer %q", ErrRecords, rest)
		}
		a, err := parseAnswer(value)
		l.answered[string(k)] = a
		return err
	case "q":
		m, liar, err := parseLiar(value)
		l.liars[m] = liar
		return err
	case "w":
		m, err := parsePending(value)
		l.pending = append(l.pending, m)
		return err
	case "c", "f", "u":
		return l.readFrame(kind, rest, value)
	case "v":
		return l.readEvent(value)
	}
	return nil // blocks are read by others
}

// readEvent notes which messages were delivered: those of an earlier stay are
// not among the frames.
func (l *loader) readEvent(value []byte) error {
	if !bytes.Contains(value, []byte(KindMessage)) {
		return nil
	}
	ev, err := DecodeEvent(value)
	if err == nil {
		l.delivered(ev)
	}
	return err
}

func (l *loader) readRow(value []byte) error {
	r := cursor{b: value}
	r.u32()
	m, err := parseIncarnation(r.bytes())
	if err != nil {
		return fmt.Errorf("%w: base: %w", ErrRecords, err)
	}
	row := tableRow{Member: m, Next: r.u64()}
	if row.Prev, err = cid.Cast(r.bytes()); err != nil || r.done() != nil {
		return fmt.Errorf("%w: base row", ErrRecords)
	}
	l.rows = append(l.rows, row)
	return nil
}

func (l *loader) readOffer(value []byte) error {
	r := &cursor{b: value}
	r.u8()
	o, err := parseOffer(r)
	if err != nil {
		return fmt.Errorf("%w: offer: %w", ErrRecords, err)
	}
	kp, err := mls.ParseKeyPackage(o.KeyPackage)
	if err != nil {
		return fmt.Errorf("%w: offer: %w", ErrRecords, err)
	}
	o.ref = kp.Ref()
	if o.replaces, err = replaces(kp); err != nil {
		return fmt.Errorf("%w: offer: %w", ErrRecords, err)
	}
	l.offers[keyOf(o.Joiner)] = o
	return nil
}

func (l *loader) readFrame(kind, rest string, value []byte) error {
	c, err := cid.Decode(rest)
	if err != nil {
		return fmt.Errorf("%w: %s/%s", ErrRecords, kind, rest)
	}
	switch kind {
	case "u":
		l.unsent[c] = slices.Clone(value)
	case "c":
		v, err := parseCommit(idOf(c), value)
		if err != nil {
			return err
		}
		l.commits[v.ID] = v
		if !v.Settled && !v.Base { // what a device came by is not its work
			l.unsettled[v.ID] = struct{}{}
		}
		if v.Gone {
			l.exits = append(l.exits, v)
		}
	case "f":
		m, err := parseMeta(value)
		if err != nil {
			return err
		}
		m.name = c
		l.frames[c] = m
	}
	return nil
}

// restore rebuilds what is derived: epochs over shared trees, the graph by
// adding its frames again, tips, delivered messages.
func (l *loader) restore() error {
	st := l.state
	if err := l.counters(st); err != nil {
		return err
	}
	trees := mls.NewTreeLoader(suite, func(hash []byte) ([]byte, error) {
		if b, ok := l.nodes[string(hash)]; ok {
			return b, nil
		}
		return nil, fmt.Errorf("%w: a tree node is missing", ErrRecords)
	})
	loaded := map[dag.ID]*epoch{}
	for _, name := range slices.Sorted(maps.Keys(l.epochs)) {
		e, err := l.loadEpoch(name, trees)
		if err != nil {
			return err
		}
		loaded[e.id] = e
	}
	base := loaded[dag.ID(st.Base)]
	if base == nil {
		if st.State == left || st.State == removed {
			l.restoreGone(st)
			return nil
		}
		return fmt.Errorf("%w: the base epoch is missing", ErrRecords)
	}
	slices.SortFunc(l.rows, func(a, b tableRow) int { return int(int64(leafOf(a.Member)) - int64(leafOf(b.Member))) })
	l.begin(base.id, base.mls, base.info, l.rows)
	l.root, l.floor = dag.ID(st.Root), st.Floor
	base.leaves = l.Group.epochs[base.id].leaves
	l.Group.epochs = loaded
	for _, e := range loaded {
		if e.old {
			e.seeds = l.seedsFor(e.id)
		}
	}
	l.seed()
	if err := l.replay(); err != nil {
		return err
	}
	l.head = l.ownHead()
	l.derive()
	return nil
}

func (l *loader) counters(st stateRecord) error {
	var err error
	l.info = groupInfo{Policy: st.Policy, Name: st.Name}
	l.diverged, l.halves, l.ejected = st.Diverged, st.Halves, st.Ejected
	l.present, l.told, l.noticed = dag.ID(st.Present), st.Told, st.Noticed
	l.generation, l.cursor, l.settled, l.next = st.Generation, st.Cursor, st.Settled, st.Next
	l.self, l.leaveIn, l.Group.state = dag.Member(st.Self), dag.ID(st.LeaveIn), st.State
	if l.prev, err = cid.Decode(st.Prev); err != nil {
		return fmt.Errorf("%w: state: %w", ErrRecords, err)
	}
	if st.GoneAt != 0 {
		l.goneAt = time.UnixMilli(st.GoneAt)
	}
	inviter, err := hex.DecodeString(st.Inviter)
	if err != nil {
		return fmt.Errorf("%w: state: %w", ErrRecords, err)
	}
	l.inviter = string(inviter)
	for _, id := range st.Expelled {
		l.expelled[dag.ID(id)] = true
	}
	for at, mark := range st.Forks {
		k, err := hex.DecodeString(at)
		if err != nil {
			return fmt.Errorf("%w: state: %w", ErrRecords, err)
		}
		l.forks[dag.ID(k)] = mark
	}
	return nil
}

func (l *loader) loadEpoch(name string, trees *mls.TreeLoader) (*epoch, error) {
	c, err := cid.Decode(name)
	if err != nil {
		return nil, fmt.Errorf("%w: epoch %q", ErrRecords, name)
	}
	records := l.epochs[name]
	var born int64
	if err := json.Unmarshal(records["born"], &born); err != nil {
		return nil, fmt.Errorf("%w: epoch %s: %w", ErrRecords, name, err)
	}
	table, old := records["old"]
	var leaves leafTable
	if old {
		if leaves, err = parseLeaves(table); err != nil {
			return nil, err
		}
	}
	delete(records, "born")
	delete(records, "old")
	e, err := mls.LoadEpoch(records, trees)
	if err != nil {
		return nil, fmt.Errorf("%w: epoch %s: %w", ErrRecords, name, err)
	}
	e.Tree().WalkHashes(l.retainNode, func([]byte) {})
	info, err := readGroup(e.GroupContext().Extensions)
	if err != nil {
		return nil, fmt.Errorf("%w: epoch %s: %w", ErrRecords, name, err)
	}
	out := newEpoch(idOf(c), e, info, leaves)
	out.born, out.old = time.UnixMilli(born), old
	return out, nil
}

// restoreGone restores a group whose secrets were wiped: only its log is left.
func (l *loader) restoreGone(st stateRecord) {
	l.root, l.head, l.floor = dag.ID(st.Root), dag.ID(st.Head), st.Floor
	l.setBase(dag.ID(st.Base), l.rows)
	l.seed()
	l.gossip = frame.NewGossip(l.gossipKey, l.generation)
	l.graph = newGraph(l.cfg.Rule, l.baseCommit(dag.ID(st.Base), st.Number), l.info, l.rows)
	l.derive()
}
