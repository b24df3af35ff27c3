package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// thief has copies of devices and every block and Welcome that was ever sent,
// before the theft and after, and tries everything on everything: the key
// schedule is the real one, and nothing that it opens is used up.
type thief struct {
	loots  []*loot
	gossip *frame.Gossip
	now    time.Time
	frames map[string][]sealed // by the epoch they were sent in, in the order in which they were heard
	nodes  map[string][]byte   // tree records by hash
	epochs map[view]*mls.Epoch
	roots  map[string][]source // PPRF states by epoch
	tried  map[string]bool
	queue  []view
	heard  int // captured blocks taken in
	spoils spoils
	fault  error // something of the engine's own does not load
}

// sealed is a captured frame.
type sealed struct {
	cid    string
	header frame.Header
	msg    *mls.PrivateMessage
}

// view is an epoch as one stolen device is or would be in it. A fresh one was
// derived by the thief, with all its ratchets at the beginning.
type view struct {
	who   int // index of the loot
	at    string
	state string // "", "memory", "leak" or "fresh"
}

// source is one PPRF state of an epoch.
type source struct {
	of      view
	records map[string][]byte
}

// spoils are what a thief gets: epochs of which it has keys, and application
// frames that it reads.
type spoils struct{ epochs, frames map[string]bool }

func newSpoils() spoils { return spoils{map[string]bool{}, map[string]bool{}} }

const simSuite = mls.MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519

// rob lets a thief go through what was taken. What a leaky disk failed to
// erase counts only if leaks is set.
func (w *world) rob(leaks bool, loots ...*loot) (spoils, error) {
	t, err := w.newThief(leaks, loots...)
	if err != nil {
		return spoils{}, err
	}
	t.listen(w)
	return t.spoils, t.fault
}

func (w *world) newThief(leaks bool, loots ...*loot) (*thief, error) {
	t := &thief{loots: loots, now: w.now, frames: map[string][]sealed{}, nodes: map[string][]byte{}, epochs: map[view]*mls.Epoch{},
		roots: map[string][]source{}, tried: map[string]bool{}, spoils: newSpoils()}
	l := loots[0]
	var st struct{ Generation uint32 }
	if err := json.Unmarshal(l.records[group.Prefix(l.gid)+"state"].Value, &st); err != nil {
		return nil, fmt.Errorf("sim: thief: %w", err)
	}
	key := l.records[group.Prefix(l.gid)+"gossip"].Value
	if len(key) != frame.SecretLen {
		return nil, fmt.Errorf("sim: thief: no gossip key at %s", l.name)
	}
	t.gossip = frame.NewGossip(key, st.Generation)
	for i, l := range loots {
		for hash, record := range l.nodes() {
			t.nodes[hash] = record
		}
		t.unpack(i, leaks)
		t.welcome(w, i)
	}
	return t, nil
}

// listen takes in the blocks that were captured since, tries everything on
// them, and ends when nothing leads further.
func (t *thief) listen(w *world) {
	var news []sealed
	for _, c := range w.heard[t.heard:] {
		if f, ok := t.unseal(c, w.captured[c].data); ok {
			news = append(news, f)
			at := f.header.Links.Parent.String()
			t.frames[at] = append(t.frames[at], f)
		}
	}
	t.heard = len(w.heard)
	t.now = w.now
	for _, v := range t.views() {
		for _, f := range news {
			if f.header.Links.Parent.String() == v.at && !slices.Contains(t.queue, v) {
				t.try(v, t.epochs[v], f)
			}
		}
	}
	for len(t.queue) > 0 || t.mix() {
		if len(t.queue) > 0 {
			v := t.queue[0]
			t.queue = t.queue[1:]
			t.search(v, t.epochs[v])
		}
	}
}

// unseal opens the seal around a block with the group's gossip key.
func (t *thief) unseal(c string, block []byte) (sealed, bool) { return unseal(t.gossip, c, block) }

func unseal(g *frame.Gossip, c string, block []byte) (sealed, bool) {
	plain, _, err := g.Open(block)
	if err != nil {
		return sealed{}, false // junk of an adversary
	}
	f, err := frame.Parse(plain)
	if err != nil {
		return sealed{}, false
	}
	m, err := mls.ParsePrivateMessage(f.Message)
	return sealed{c, f.Header(), m}, err == nil
}

// views lists what the thief has, in a fixed order.
func (t *thief) views() []view {
	out := make([]view, 0, len(t.epochs))
	for v := range t.epochs {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b view) int {
		return cmp.Or(cmp.Compare(a.who, b.who), cmp.Compare(a.at, b.at), cmp.Compare(a.state, b.state))
	})
	return out
}

// unpack takes the epochs out of a loot: as the disk has them, as the memory
// has them where that differs, and as they were before what should be erased.
func (t *thief) unpack(who int, leaks bool) {
	l := t.loots[who]
	disk := l.epochRecords(l.live())
	for _, at := range sortedKeys(disk) {
		t.learn(view{who, at, ""}, disk[at])
	}
	memory := l.epochRecords(l.memory)
	for _, at := range sortedKeys(memory) {
		if !equalRecords(memory[at], disk[at]) {
			t.learn(view{who, at, "memory"}, memory[at])
		}
	}
	if !leaks {
		return
	}
	kept := l.epochRecords(l.leaked())
	for _, at := range sortedKeys(kept) {
		if r := before(disk[at], kept[at]); r["ctx"] != nil {
			t.learn(view{who, at, "leak"}, r)
		}
	}
}

func equalRecords(a, b map[string][]byte) bool {
	return len(a) == len(b) && !slices.ContainsFunc(sortedKeys(a), func(k string) bool { return string(a[k]) != string(b[k]) })
}

// before puts old versions of records in the place of what followed from them.
func before(now, old map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	has := func(prefix string) bool {
		return slices.ContainsFunc(sortedKeys(old), func(k string) bool { return strings.HasPrefix(k, prefix) })
	}
	roots, trees := has("p/"), has("t/")
	for k, v := range now {
		if roots && strings.HasPrefix(k, "p/") || trees && (strings.HasPrefix(k, "t/") || strings.HasPrefix(k, "r/")) {
			continue
		}
		out[k] = v
	}
	for k, v := range old {
		if (!roots || !strings.HasPrefix(k, "p/") || k == "p/0") && (!trees || !strings.HasPrefix(k, "r/")) {
			out[k] = v
		}
	}
	return out
}

// welcome opens captured Welcomes with stolen KeyPackages.
func (t *thief) welcome(w *world, who int) {
	l := t.loots[who]
	offers := l.offers()
	for _, ref := range sortedKeys(offers) {
		bundle := w.welcomes[ref]
		if bundle == nil {
			continue
		}
		kp, err := mls.ParseKeyPackageBundle(offers[ref])
		if err != nil {
			t.fail(l.name+" KeyPackage "+ref, err)
			continue
		}
		g, _, err := group.Join(group.Env{Now: l.at, Rand: stream(w.Seed, "thief")}, group.Sim(), l.identity, bundle, kp, nil)
		if err != nil {
			continue // not for this group, or made for another offer
		}
		joined := &loot{name: l.name, gid: g.ID(), memory: g.Records()}
		for hash, record := range joined.nodes() {
			t.nodes[hash] = record
		}
		epochs := joined.epochRecords(joined.memory)
		for _, at := range sortedKeys(epochs) {
			t.learn(view{who, at, "fresh"}, epochs[at])
		}
	}
}

func (t *thief) fail(what string, err error) {
	if t.fault == nil {
		t.fault = fmt.Errorf("sim: thief: %s: %w", what, err)
	}
}

func (t *thief) load(records map[string][]byte) (*mls.Epoch, error) {
	return mls.LoadEpoch(records, mls.NewTreeLoader(simSuite, func(hash []byte) ([]byte, error) {
		if b := t.nodes[string(hash)]; b != nil {
			return b, nil
		}
		return nil, fmt.Errorf("no tree record %x", hash)
	}))
}

// learn adds an epoch from its records.
func (t *thief) learn(v view, records map[string][]byte) {
	if t.epochs[v] != nil {
		return
	}
	e, err := t.load(records)
	if err != nil {
		if v.state == "" {
			t.fail(t.loots[v.who].name+" epoch "+tail(v.at), err)
		}
		return // pieces that do not make an epoch
	}
	t.epochs[v] = e
	t.roots[v.at] = append(t.roots[v.at], source{v, records})
	t.queue = append(t.queue, v)
	t.spoils.epochs[v.at] = true
}

// search tries the frames of an epoch. Proposals come first: commits refer to
// them.
func (t *thief) search(v view, e *mls.Epoch) {
	for _, kind := range []uint8{frame.Proposal, frame.Application, frame.Commit} {
		for _, f := range t.frames[v.at] {
			if f.header.ContentType == kind {
				t.try(v, e, f)
			}
		}
	}
}

// try opens one frame. A commit leads into its child.
func (t *thief) try(v view, e *mls.Epoch, f sealed) {
	child := view{v.who, f.cid, "fresh"}
	if f.header.ContentType == frame.Commit && t.epochs[child] != nil {
		return
	}
	o, err := e.Open(f.msg, mls.OpenOptions{Env: mls.Env{Now: t.now}})
	if err != nil {
		return
	}
	switch {
	case o.Proposal != nil:
		if err := e.Apply(o.Delta); err != nil {
			t.fail("a proposal", err)
		}
	case o.Commit == nil:
		t.spoils.frames[f.cid] = true
	case o.Commit.Child != nil:
		t.derived(child, o.Commit.Child)
	}
}

// derived takes a derived epoch to the others, and its tree.
func (t *thief) derived(v view, e *mls.Epoch) {
	known := func(hash []byte) bool { return t.nodes[string(hash)] != nil }
	e.Tree().WalkNew(known, func(hash, record []byte) { t.nodes[string(hash)] = record })
	t.learn(v, recordsOf(e))
}

// recordsOf is an epoch as it is stored.
func recordsOf(e *mls.Epoch) map[string][]byte {
	records := map[string][]byte{}
	for _, r := range e.Records() {
		records[r.Key] = r.Value
	}
	return records
}

// mix tries the path keys of one theft with the PPRF of another. It reports
// whether that led anywhere.
func (t *thief) mix() bool {
	if len(t.loots) == 1 {
		return false
	}
	for _, v := range t.views() {
		for _, s := range slices.Clone(t.roots[v.at]) {
			if key := fmt.Sprint(v, s.of); s.of != v && !t.tried[key] {
				t.tried[key] = true
				t.mixed(v, s)
			}
		}
	}
	return len(t.queue) > 0
}

// mixed tries the commits of an epoch with another's PPRF.
func (t *thief) mixed(v view, s source) {
	own := t.roots[v.at][slices.IndexFunc(t.roots[v.at], func(s source) bool { return s.of == v })].records
	records := map[string][]byte{}
	for k, b := range own {
		if !strings.HasPrefix(k, "p/") {
			records[k] = b
		}
	}
	for k, b := range s.records {
		if strings.HasPrefix(k, "p/") {
			records[k] = b
		}
	}
	e, err := t.load(records)
	if err != nil {
		t.fail("a mixed epoch", err)
		return
	}
	t.search(v, e)
}
