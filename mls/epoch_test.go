package mls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// testNow is the present of all tests.
var testNow = time.Unix(1_800_000_000, 0)

const testSuite = MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519

// device is one member: its key, its present epoch, and a store that is kept
// by write sets alone and must always equal the epoch's own records.
type device struct {
	t      testing.TB
	name   string
	suite  CipherSuite
	signer Signer
	env    Env
	e      *Epoch
	nodes  map[string][]byte            // tree records by hash
	stores map[*Epoch]map[string][]byte // records of each epoch
	reload bool                         // go through LoadEpoch after every step
}

func newDevice(t testing.TB, i int, rand io.Reader) *device {
	t.Helper()
	return newDeviceOf(t, testSuite, i, rand)
}

func newDeviceOf(t testing.TB, suite CipherSuite, i int, rand io.Reader) *device {
	t.Helper()
	signer, _, err := GenerateSigner(suite, rand)
	if err != nil {
		t.Fatal(err)
	}
	return &device{t: t, suite: suite, name: fmt.Sprintf("member-%d", i), signer: signer, env: Env{Now: testNow, Rand: rand},
		nodes: map[string][]byte{}, stores: map[*Epoch]map[string][]byte{}}
}

func (d *device) options() KeyPackageOptions {
	return KeyPackageOptions{Suite: d.suite, Credential: BasicCredential([]byte(d.name)),
		Lifetime: Lifetime{NotBefore: uint64(testNow.Unix()) - 60, NotAfter: uint64(testNow.Unix()) + 3600}}
}

func (d *device) keyPackage() *KeyPackageBundle {
	d.t.Helper()
	b, err := NewKeyPackage(d.options(), d.signer, d.env)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

func (d *device) create(k KeySchedule) {
	d.t.Helper()
	e, err := Create(GroupConfig{Suite: d.suite, GroupID: []byte("a group"), KeySchedule: k, Leaf: d.options()}, d.signer, d.env)
	if err != nil {
		d.t.Fatal(err)
	}
	d.e = d.keep(e)
}

// keep stores a new epoch and, with reload, gives what comes back from there.
func (d *device) keep(e *Epoch) *Epoch {
	d.t.Helper()
	store := map[string][]byte{}
	d.stores[e] = store
	write(d.t, store, e.Records())
	e.Tree().WalkNew(func(h []byte) bool { return d.nodes[string(h)] != nil },
		func(h, record []byte) { d.nodes[string(h)] = bytes.Clone(record) })
	return d.again(e)
}

// again loads an epoch from its store.
func (d *device) again(e *Epoch) *Epoch {
	d.t.Helper()
	store := d.stores[e]
	if !d.reload {
		return e
	}
	loader := NewTreeLoader(e.Suite(), func(h []byte) ([]byte, error) { return d.nodes[string(h)], nil })
	back, err := LoadEpoch(store, loader)
	if err != nil {
		d.t.Fatal(err)
	}
	d.stores[back] = store
	sameRecords(d.t, "loaded", back, store)
	return back
}

// apply carries a delta out in memory and, as a write set, in the store.
func (d *device) apply(e *Epoch, delta Delta) *Epoch {
	d.t.Helper()
	records := delta.Records()
	if err := e.Apply(delta); err != nil {
		d.t.Fatal(err)
	}
	write(d.t, d.stores[e], records)
	sameRecords(d.t, "after a delta", e, d.stores[e])
	return d.again(e)
}

func write(t testing.TB, store map[string][]byte, records []Record) {
	t.Helper()
	for _, r := range records {
		if r.Value == nil {
			if _, ok := store[r.Key]; !ok {
				t.Fatalf("delta deletes %s, which is not there", r.Key)
			}
			delete(store, r.Key)
			continue
		}
		store[r.Key] = bytes.Clone(r.Value)
	}
}

// snapshot is an epoch's records as a map.
// snapshot gives the records, and checks that RecordKeys lists the same ones.
func snapshot(e *Epoch) map[string][]byte {
	out := map[string][]byte{}
	keys := e.RecordKeys()
	for i, r := range e.Records() {
		out[r.Key] = r.Value
		if k := keys[i]; len(keys) != len(e.Records()) || k.Key != r.Key || k.Secret != r.Secret || k.Value != nil {
			panic("mls: RecordKeys are not those of Records")
		}
	}
	return out
}

func sameRecords(t testing.TB, what string, e *Epoch, store map[string][]byte) {
	t.Helper()
	if got := snapshot(e); !maps.EqualFunc(got, store, bytes.Equal) {
		t.Fatalf("%s: records %v, store has %v", what, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(store)))
	}
}

// commit commits on e and gives the staged commit with its child as stored.
func (d *device) commit(e *Epoch, r CommitRequest) (*StagedCommit, *Epoch) {
	d.t.Helper()
	before := snapshot(e)
	c, err := e.Commit(r, d.signer, d.env)
	if err != nil {
		d.t.Fatalf("%s commits: %v", d.name, err)
	}
	sameRecords(d.t, "after a staged commit", e, before)
	child := d.keep(c.Child)
	back := d.apply(e, c.Delta)
	if d.e == e {
		d.e = back
	}
	return c, child
}

// stage opens a message without taking it up, and checks that nothing changed.
func (d *device) stage(e *Epoch, msg []byte) (*Opened, error) {
	d.t.Helper()
	before := snapshot(e)
	m, err := ParseMLSMessage(msg)
	if err != nil {
		d.t.Fatal(err)
	}
	var out *Opened
	if m.Private != nil {
		out, err = e.Open(m.Private, OpenOptions{Env: d.env})
	} else {
		out, err = e.OpenPublic(m.Public, OpenOptions{Env: d.env})
	}
	sameRecords(d.t, "after opening", e, before)
	return out, err
}

// open takes a message up and gives the epoch afterwards, and the child.
func (d *device) open(e *Epoch, msg []byte) (out *Opened, back, child *Epoch) {
	d.t.Helper()
	out, err := d.stage(e, msg)
	if err != nil {
		d.t.Fatalf("%s: %v", d.name, err)
	}
	if out.Commit != nil && out.Commit.Child != nil {
		child = d.keep(out.Commit.Child)
	}
	back = d.apply(e, out.Delta)
	if d.e == e {
		d.e = back
	}
	return out, back, child
}

func (d *device) say(text string) []byte {
	d.t.Helper()
	msg, delta, err := d.e.Protect([]byte(text), nil, d.signer, d.env)
	if err != nil {
		d.t.Fatal(err)
	}
	d.e = d.apply(d.e, delta)
	return msg
}

func (d *device) hear(msg []byte, text string) {
	d.t.Helper()
	out, _, _ := d.open(d.e, msg)
	if string(out.Data) != text {
		d.t.Fatalf("%s: got %q, want %q", d.name, out.Data, text)
	}
}

func (d *device) join(welcome, tree []byte, b *KeyPackageBundle, k KeySchedule) *GroupInfo {
	d.t.Helper()
	e, info, err := Join(welcome, tree, b, JoinOptions{KeySchedule: k, Signer: d.signer}, d.env)
	if err != nil {
		d.t.Fatalf("%s joins: %v", d.name, err)
	}
	d.e = d.keep(e)
	return info
}

// newGroup makes a group of n devices: the first creates it and adds all
// others with one commit.
func newGroup(t testing.TB, k KeySchedule, n int, seed uint64, reload bool) []*device {
	t.Helper()
	return newGroupOf(t, testSuite, k, n, seed, reload)
}

func newGroupOf(t testing.TB, suite CipherSuite, k KeySchedule, n int, seed uint64, reload bool) []*device {
	t.Helper()
	rand := testRand(seed)
	all := make([]*device, n)
	for i := range all {
		all[i] = newDeviceOf(t, suite, i, rand)
		all[i].reload = reload
	}
	all[0].create(k)
	if n == 1 {
		return all
	}
	var r CommitRequest
	bundles := make([]*KeyPackageBundle, n)
	for i := 1; i < n; i++ {
		bundles[i] = all[i].keyPackage()
		r.Proposals = append(r.Proposals, &Add{KeyPackage: *bundles[i].KeyPackage})
	}
	c, child := all[0].commit(all[0].e, r)
	welcome, err := c.Welcome(nil, true, all[0].signer, all[0].env)
	if err != nil {
		t.Fatal(err)
	}
	c.Wipe()
	all[0].e = child
	for i := 1; i < n; i++ {
		all[i].join(welcome, nil, bundles[i], k)
	}
	agree(t, all...)
	return all
}

// agree checks that devices are in one epoch.
func agree(t testing.TB, all ...*device) {
	t.Helper()
	for _, d := range all[1:] {
		if !bytes.Equal(d.e.EpochAuthenticator(), all[0].e.EpochAuthenticator()) || !bytes.Equal(d.e.ID(), all[0].e.ID()) {
			t.Fatalf("%s and %s are in different epochs", d.name, all[0].name)
		}
	}
}

// advance lets everybody follow a commit of author.
func advance(t testing.TB, author *device, r CommitRequest, others ...*device) *StagedCommit {
	t.Helper()
	c, child := author.commit(author.e, r)
	for _, d := range others {
		_, _, d.e = d.open(d.e, c.Message)
	}
	author.e = child
	agree(t, append(others, author)...)
	return c
}

func TestChatBothDirections(t *testing.T) {
	for _, k := range []KeySchedule{RFC9420, DMLS} {
		t.Run(k.String(), func(t *testing.T) {
			all := newGroup(t, k, 4, 1, false)
			b, c := all[2], all[3] // both joined by Welcome
			for i := range 3 {
				text := fmt.Sprintf("message %d", i)
				c.hear(b.say(text), text)
				b.hear(c.say(text+" back"), text+" back")
			}
			advance(t, c, CommitRequest{}, all[0], all[1], b)
			all[0].hear(c.say("after"), "after")
		})
	}
}

func TestWelcomeNamesItsCommit(t *testing.T) {
	all := newGroup(t, DMLS, 2, 2, false)
	a := all[0]
	joiner := newDevice(t, 9, a.env.Rand)
	b := joiner.keyPackage()
	c, child := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *b.KeyPackage}}})
	// The commit is framed and may be stored and sent before its Welcome is made.
	name := Extension{Type: 0xF0D3, Data: child.suite.hash(c.Message)}
	welcome, err := c.Welcome([]Extension{name}, false, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	c.Wipe()
	if _, err := c.Welcome(nil, true, a.signer, a.env); !errors.Is(err, ErrWiped) {
		t.Errorf("Welcome after Wipe: %v", err)
	}
	a.e = child
	if _, _, err := Join(welcome, nil, b, JoinOptions{KeySchedule: DMLS}, joiner.env); !errors.Is(err, ErrWelcome) {
		t.Errorf("Join without a tree: %v", err)
	}
	info := joiner.join(welcome, child.Tree().Marshal(), b, DMLS)
	if data, ok := findExtension(info.Extensions, 0xF0D3); !ok || !bytes.Equal(data, name.Data) {
		t.Error("the GroupInfo does not name the commit")
	}
	_, _, all[1].e = all[1].open(all[1].e, c.Message)
	agree(t, a, all[1], joiner)
	joiner.hear(all[1].say("welcome"), "welcome")
}

func TestJoinRefuses(t *testing.T) {
	a := newGroup(t, DMLS, 1, 3, false)[0]
	joiner := newDevice(t, 9, a.env.Rand)
	b, other := joiner.keyPackage(), joiner.keyPackage()
	c, child := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *b.KeyPackage}}})
	welcome, err := c.Welcome(nil, false, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	tree := child.Tree().Marshal()
	if _, _, err := Join(welcome, tree, other, JoinOptions{KeySchedule: DMLS}, joiner.env); !errors.Is(err, ErrWelcome) {
		t.Errorf("another KeyPackage: %v", err)
	}
	if _, _, err := Join(welcome, a.e.Tree().Marshal(), b, JoinOptions{KeySchedule: DMLS}, joiner.env); !errors.Is(err, ErrWelcome) || !strings.Contains(err.Error(), "tree hash") {
		t.Errorf("another tree: %v", err)
	}
	if _, _, err := Join(welcome, tree, b, JoinOptions{KeySchedule: DMLS, Signer: a.signer}, joiner.env); !errors.Is(err, ErrConfig) {
		t.Errorf("another signer: %v", err)
	}
	for i := 0; i < len(welcome); i += 7 {
		bad := bytes.Clone(welcome)
		bad[i] ^= 1
		if _, _, err := Join(bad, tree, b, JoinOptions{KeySchedule: DMLS}, joiner.env); err == nil {
			t.Fatalf("byte %d of the Welcome was changed and it was accepted", i)
		}
	}
	joiner.join(welcome, tree, b, DMLS)
}

func TestExporter(t *testing.T) {
	all := newGroup(t, DMLS, 2, 4, false)
	x, err := all[0].e.Export("label", []byte("context"), 48)
	if err != nil {
		t.Fatal(err)
	}
	y, err := all[1].e.Export("label", []byte("context"), 48)
	if err != nil || !bytes.Equal(x, y) || len(x) != 48 {
		t.Fatalf("%x, %x, %v", x, y, err)
	}
	if _, err := all[0].e.Export("label", nil, 1<<20); !errors.Is(err, ErrConfig) {
		t.Errorf("too long: %v", err)
	}
	write(t, all[0].stores[all[0].e], all[0].e.DropExporter())
	sameRecords(t, "without the exporter", all[0].e, all[0].stores[all[0].e])
	if _, err := all[0].e.Export("label", nil, 32); !errors.Is(err, ErrExporter) {
		t.Errorf("dropped: %v", err)
	}
	if r := all[0].e.DropExporter(); r != nil {
		t.Errorf("dropped twice: %v", r)
	}
}

func TestWipe(t *testing.T) {
	all := newGroup(t, DMLS, 3, 5, false)
	msg := all[1].say("late")
	e := all[0].e
	tree := e.Tree()
	before := tree.Marshal()
	e.Wipe()
	m, err := ParsePrivateMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Open(m, OpenOptions{}); !errors.Is(err, ErrWiped) {
		t.Errorf("open: %v", err)
	}
	if _, _, err := e.Protect(nil, nil, all[0].signer, all[0].env); !errors.Is(err, ErrWiped) {
		t.Errorf("protect: %v", err)
	}
	if _, err := e.Commit(CommitRequest{}, all[0].signer, all[0].env); !errors.Is(err, ErrWiped) {
		t.Errorf("commit: %v", err)
	}
	if e.Records() != nil || !bytes.Equal(tree.Marshal(), before) {
		t.Error("records left, or the shared tree was touched")
	}
}

func TestStaleDelta(t *testing.T) {
	all := newGroup(t, DMLS, 2, 6, false)
	a := all[0]
	_, first, err := a.e.Protect([]byte("one"), nil, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := a.e.Protect([]byte("two"), nil, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	a.apply(a.e, first)
	before := snapshot(a.e)
	for _, d := range []Delta{first, second} {
		if err := a.e.Apply(d); !errors.Is(err, ErrStale) {
			t.Errorf("stale delta: %v", err)
		}
	}
	if err := all[1].e.Apply(second); !errors.Is(err, ErrStale) {
		t.Errorf("delta of another epoch: %v", err)
	}
	sameRecords(t, "after stale deltas", a.e, before)
}

// Damaged records are an error or an epoch that opens less, never a panic; a
// missing one is an error.
func TestDamagedRecords(t *testing.T) {
	all := newGroup(t, DMLS, 3, 7, false)
	a, b := all[0], all[1]
	b.hear(a.say("x"), "x")
	first, _ := a.commit(a.e, CommitRequest{})
	b.open(b.e, first.Message)
	c, _ := a.commit(a.e, CommitRequest{})
	m, err := ParsePrivateMessage(c.Message)
	if err != nil {
		t.Fatal(err)
	}
	good := snapshot(b.e)
	load := func(records map[string][]byte) error {
		e, err := LoadEpoch(records, NewTreeLoader(testSuite, func(h []byte) ([]byte, error) { return b.nodes[string(h)], nil }))
		if err != nil {
			return err
		}
		if out, err := e.Open(m, OpenOptions{}); err == nil {
			return e.Apply(out.Delta)
		}
		return nil
	}
	if err := load(good); err != nil {
		t.Fatal(err)
	}
	for key, value := range good {
		for i := 0; i < len(value); i += 1 + len(value)/64 {
			bad := maps.Clone(good)
			bad[key] = bytes.Clone(value)
			bad[key][i] ^= 0x41
			_ = load(bad) // must not panic
			bad[key] = value[:i]
			_ = load(bad)
		}
	}
	for _, key := range []string{keyContext, keySecrets, keyPrivs} {
		bad := maps.Clone(good)
		delete(bad, key)
		if err := load(bad); !errors.Is(err, ErrRecords) {
			t.Errorf("without %s: %v", key, err)
		}
	}
	misplaced := maps.Clone(good)
	delete(misplaced, "t/0")
	misplaced["t/1"] = good["t/0"]
	if err := load(misplaced); good["t/0"] == nil || !errors.Is(err, ErrRecords) {
		t.Errorf("with the secret tree's nodes beside another leaf: %v", err)
	}
}
