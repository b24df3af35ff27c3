package mls

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dmlsd/dmls/pprf"
)

// Record is one durable value of an epoch. Keys are relative to the epoch. A
// nil Value deletes. A Secret record that is deleted or replaced must be erased
// for good.
type Record struct {
	Key    string
	Value  []byte
	Secret bool
}

// The keys of an epoch's records. Besides these: nodes and ratchets of the
// secret tree ("t/<leaf>", "r/<leaf>/<h|a>").
const (
	keyContext  = "ctx"
	keySecrets  = "sec"
	keyExporter = "exp"
	keyPrivs    = "priv"
	keyReInit   = "reinit" // the proposal that closed the group
	prefixPPRF  = "p/"     // delta number
	prefixQueue = "q/"     // proposal reference, hex
	prefixOwn   = "u/"     // private key of an own Update, by its reference
)

// recordVersion is the first byte of "ctx".
const recordVersion = 2

// Delta is what a frame changes in the epoch that it was opened or made in:
// used keys, a punctured point, a cached proposal. It is staged until Apply and
// holds secrets until then.
type Delta struct{ c *change }

type change struct {
	epoch   *Epoch
	version uint64 // of the epoch when this was staged
	tree    *treeChange
	punct   *pprf.Puncture
	add     *CachedProposal
	own     []byte  // private key of our own Update, with add
	spend   bool    // RFC 9420: the init secret goes
	sent    *change // of a commit under RFC 9420: the part that may be applied before
	done    bool    // applied or wiped
	applied bool
}

// ProposalRef is the reference by which a commit names the proposal that the
// frame carries; nil for other frames.
func (d Delta) ProposalRef() []byte {
	if d.c == nil || d.c.add == nil {
		return nil
	}
	return bytes.Clone(d.c.add.Ref)
}

// stage binds a change to the epoch's present state.
func (e *Epoch) delta(c change) Delta {
	c.epoch, c.version = e, e.version
	return Delta{&c}
}

// Apply carries a delta out. One that was made on another epoch or on an
// earlier state is refused with ErrStale, and nothing changes.
func (e *Epoch) Apply(d Delta) error {
	if err := e.alive(); err != nil {
		return err
	}
	c := d.c
	if c == nil {
		return fmt.Errorf("%w: empty delta", ErrConfig)
	}
	late := c.wasSent()
	if c.epoch != e || c.version != e.version && !late || c.done || c.sent != nil && c.sent.done && !late {
		return fmt.Errorf("%w: made on state %d, now %d", ErrStale, c.version, e.version)
	}
	if c.spend && e.secrets.init == nil {
		return fmt.Errorf("%w: %w", ErrStale, ErrChildTaken)
	}
	if c.punct != nil {
		if err := e.pprf.Apply(c.punct); err != nil {
			return fmt.Errorf("%w: %w", ErrStale, err)
		}
	}
	if c.tree != nil && !late {
		e.secret.apply(c.tree)
	}
	if c.add != nil {
		e.proposals[string(c.add.Ref)] = *c.add
		if c.own != nil {
			e.pending[string(c.add.Ref)] = c.own
		}
	}
	if c.spend {
		clear(e.secrets.init)
		e.secrets.init = nil
	}
	c.end(true)
	e.version++
	return nil
}

// wasSent reports whether the used generation of a commit was applied when the
// commit was sent.
func (c *change) wasSent() bool { return c.sent != nil && c.sent.applied }

// end marks a change, and its part with it, as applied or wiped.
func (c *change) end(applied bool) {
	c.done, c.applied = true, applied
	if c.sent != nil {
		c.sent.done = true
	}
}

// Wipe drops the secrets of a delta that will not be applied.
func (d Delta) Wipe() {
	if d.c == nil || d.c.done {
		return
	}
	d.c.end(false)
	if d.c.tree != nil && !d.c.wasSent() {
		d.c.tree.wipe()
	}
	if d.c.punct != nil {
		d.c.punct.Wipe()
	}
	clear(d.c.own)
}

// Records is the write set of a delta, O(log n) of them, to be read right
// before or right after Apply.
func (d Delta) Records() []Record {
	if d.c == nil {
		return nil
	}
	var out []Record
	if d.c.tree != nil && !d.c.wasSent() {
		out = d.c.tree.records()
	}
	if p := d.c.punct; p != nil {
		left := slices.DeleteFunc(d.c.epoch.pprf.Delta(p.From), func(n pprf.Node) bool { return n.ID == p.Drop })
		out = append(out, pprfRecord(p.From, left))
		if len(p.Keep) > 0 {
			out = append(out, pprfRecord(p.To, p.Keep))
		}
		pprf.WipeNodes(left)
	}
	if d.c.spend {
		out = append(out, Record{keySecrets, d.c.epoch.secretsRecord(true), true})
	}
	if q := d.c.add; q != nil {
		out = append(out, Record{Key: q.key(), Value: q.marshal()})
		if d.c.own != nil {
			out = append(out, Record{prefixOwn + hex.EncodeToString(q.Ref), bytes.Clone(d.c.own), true})
		}
	}
	return out
}

func pprfKey(number uint32) string { return prefixPPRF + strconv.FormatUint(uint64(number), 10) }

func pprfRecord(number uint32, nodes []pprf.Node) Record {
	return Record{pprfKey(number), pprf.MarshalNodes(nodes), true}
}

func (q *CachedProposal) key() string { return prefixQueue + hex.EncodeToString(q.Ref) }

func (q *CachedProposal) marshal() []byte {
	w := &writer{}
	q.Sender.write(w)
	writeProposal(w, q.Proposal)
	return w.buf
}

// Records lists everything of an epoch but its tree nodes, in a fixed order.
func (e *Epoch) Records() []Record {
	return e.list(func(value func() []byte) []byte { return value() })
}

// RecordKeys lists the same without the values: what to delete with the epoch.
func (e *Epoch) RecordKeys() []Record { return e.list(func(func() []byte) []byte { return nil }) }

// list asks whether each value is wanted.
func (e *Epoch) list(want func(value func() []byte) []byte) []Record {
	if e.wiped {
		return nil
	}
	var out []Record
	add := func(key string, secret bool, value func() []byte) {
		out = append(out, Record{key, want(value), secret})
	}
	add(keyContext, false, e.contextRecord)
	add(keySecrets, true, func() []byte { return e.secretsRecord(false) })
	if e.secrets.exporter != nil {
		add(keyExporter, true, func() []byte { return bytes.Clone(e.secrets.exporter) })
	}
	add(keyPrivs, true, e.privsRecord)
	if e.reinit != nil {
		add(keyReInit, false, func() []byte { return MarshalProposal(e.reinit) })
	}
	if e.pprf != nil {
		for _, i := range e.pprf.Deltas() {
			add(pprfKey(i), true, func() []byte {
				nodes := e.pprf.Delta(i)
				defer pprf.WipeNodes(nodes)
				return pprf.MarshalNodes(nodes)
			})
		}
	}
	e.secret.list(add)
	for _, q := range e.CachedProposals() {
		add(q.key(), false, q.marshal)
	}
	for _, ref := range slices.Sorted(maps.Keys(e.pending)) {
		add(prefixOwn+hex.EncodeToString([]byte(ref)), true, func() []byte { return bytes.Clone(e.pending[ref]) })
	}
	return out
}

// Held returns how many secret records the epoch has and the bytes in them, as
// Records would, which is asked only once for each state.
func (e *Epoch) Held() (records, size int) {
	if e.wiped {
		return 0, 0
	}
	state := e.version + 1
	if h := &e.held; h.state != state || h.exporter != (e.secrets.exporter != nil) {
		*h = held{state: state, exporter: e.secrets.exporter != nil}
		for _, r := range e.Records() {
			if r.Secret {
				h.records, h.size = h.records+1, h.size+len(r.Value)
				clear(r.Value)
			}
		}
	}
	return e.held.records, e.held.size
}

// held is what Held said in a state.
type held struct {
	state         uint64 // version + 1; zero: not asked yet
	exporter      bool
	records, size int
}

func (e *Epoch) contextRecord() []byte {
	w := &writer{}
	w.u8(recordVersion)
	w.u8(uint8(e.schedule))
	w.vec(e.encoded)
	w.u32(uint32(e.self))
	w.u32(e.window.Skipped)
	w.u32(e.window.Forward)
	w.vec(e.tag)
	w.vec(e.secrets.epochID) // public: it stands in every frame
	return w.buf
}

// kept lists the secrets of the record "sec" in its order.
func (x *secrets) kept() []*[]byte {
	return []*[]byte{&x.senderData, &x.external, &x.membership, &x.resumption, &x.authenticator, &x.init}
}

// secretsRecord encodes them; spent leaves the init secret out.
func (e *Epoch) secretsRecord(spent bool) []byte {
	w := &writer{}
	for _, s := range e.secrets.kept() {
		if spent && s == &e.secrets.init {
			w.vec(nil)
			continue
		}
		w.vec(*s)
	}
	return w.buf
}

func (e *Epoch) privsRecord() []byte {
	w := &writer{}
	for _, node := range slices.Sorted(maps.Keys(e.privs)) {
		w.u32(node)
		w.vec(e.privs[node])
	}
	return w.buf
}

// LoadEpoch rebuilds an epoch from its records and its tree from the loader.
func LoadEpoch(records map[string][]byte, loader *TreeLoader) (*Epoch, error) {
	e, err := loadContext(records[keyContext])
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRecords, keyContext, err)
	}
	if e.tree, err = loader.Load(e.context.TreeHash); err != nil {
		return nil, err
	}
	if e.tree.Leaf(e.self) == nil {
		return nil, fmt.Errorf("%w: own leaf %d is blank", ErrRecords, e.self)
	}
	r := newReader(records[keySecrets])
	for _, s := range e.secrets.kept() {
		if *s = r.vec(); len(*s) == 0 {
			*s = nil
		}
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRecords, keySecrets, err)
	}
	if n := len(e.secrets.senderData); n != e.suite.nh {
		return nil, fmt.Errorf("%w: %s: sender_data_secret of %d bytes", ErrRecords, keySecrets, n)
	}
	if x := records[keyReInit]; x != nil {
		p, err := ParseProposal(x)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrRecords, keyReInit, err)
		}
		var ok bool
		if e.reinit, ok = p.(*ReInit); !ok {
			return nil, fmt.Errorf("%w: %s: %w: proposal type %d", ErrRecords, keyReInit, ErrMalformed, p.Type())
		}
	}
	if x := records[keyExporter]; x != nil {
		e.secrets.exporter = bytes.Clone(x)
	}
	r = newReader(records[keyPrivs])
	for !r.empty() {
		node := r.u32()
		e.privs[node] = r.vec()
		if n := e.tree.node(nodeIndex(node)); n == nil || n.blank() {
			r.failf("private key of node %d, which is blank", node)
		}
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrRecords, keyPrivs, err)
	}
	if e.privs[uint32(e.self.node())] == nil {
		return nil, fmt.Errorf("%w: %s: the own leaf's key is missing", ErrRecords, keyPrivs)
	}
	if err := e.loadParts(records); err != nil {
		return nil, err
	}
	return e, nil
}

func loadContext(b []byte) (*Epoch, error) {
	r := newReader(b)
	if v := r.u8(); r.err == nil && v != recordVersion {
		return nil, fmt.Errorf("%w: version %d", ErrUnsupported, v)
	}
	e := &Epoch{schedule: KeySchedule(r.u8()), encoded: r.vec(), self: LeafIndex(r.u32()), secrets: &secrets{},
		privs: map[uint32][]byte{}, proposals: map[string]CachedProposal{}, pending: map[string][]byte{}}
	e.window = Window{Skipped: r.u32(), Forward: r.u32()}
	tag := r.vec()
	if id := r.vec(); len(id) > 0 {
		e.secrets.epochID = id
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	c, err := ParseGroupContext(e.encoded)
	if err != nil {
		return nil, err
	}
	e.context = *c
	if e.suite, err = suiteByID(c.CipherSuite); err != nil {
		return nil, err
	}
	e.setTag(tag)
	return e, e.schedule.check()
}

// loadParts reads the records of which there can be many.
func (e *Epoch) loadParts(records map[string][]byte) error {
	e.secret = newSecretTree(e.suite, e.tree.LeafCount(), nil, e.window, keepsFor(e.schedule, e.self))
	clear(e.secret.nodes)
	deltas := map[uint32][]pprf.Node{}
	for _, key := range slices.Sorted(maps.Keys(records)) {
		if err := e.loadPart(key, records[key], deltas); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrRecords, key, err)
		}
	}
	if e.schedule != DMLS {
		return nil
	}
	var err error
	if e.pprf, err = pprf.Restore(newPPRFKDF(e.suite), 8*e.suite.nh, deltas); err != nil {
		return fmt.Errorf("%w: %w", ErrRecords, err)
	}
	for _, nodes := range deltas {
		pprf.WipeNodes(nodes)
	}
	return nil
}

func (e *Epoch) loadPart(key string, value []byte, deltas map[uint32][]pprf.Node) error {
	switch kind, name, _ := strings.Cut(key, "/"); kind + "/" {
	case prefixPPRF:
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return err
		}
		deltas[uint32(n)], err = pprf.ParseNodes(value)
		return err
	case prefixOffshoots:
		leaf, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return err
		}
		return e.secret.readOffshoots(LeafIndex(leaf), value)
	case "r/":
		id, err := parseRatchetID(name)
		if err != nil {
			return err
		}
		e.secret.ratchets[id], err = parseRatchet(e.suite, value)
		return err
	case prefixQueue:
		ref, err := hex.DecodeString(name)
		if err != nil {
			return err
		}
		r := newReader(value)
		e.proposals[string(ref)] = CachedProposal{Ref: ref, Sender: readSender(r), Proposal: readProposal(r)}
		return r.done()
	case prefixOwn:
		ref, err := hex.DecodeString(name)
		if err != nil {
			return err
		}
		e.pending[string(ref)] = bytes.Clone(value)
	}
	return nil
}

func parseRatchetID(name string) (ratchetID, error) {
	leaf, kind, _ := strings.Cut(name, "/")
	n, err := strconv.ParseUint(leaf, 10, 32)
	if err != nil {
		return ratchetID{}, err
	}
	if kind != "h" && kind != "a" {
		return ratchetID{}, fmt.Errorf("%w: ratchet %q", ErrMalformed, kind)
	}
	return ratchetID{LeafIndex(n), kind == "a"}, nil
}
