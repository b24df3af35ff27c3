package mls

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"
)

// renewed is the same client with a fresh signature key, perhaps of another
// suite.
func (d *device) renewed(suite CipherSuite) *device {
	d.t.Helper()
	n := newDeviceOf(d.t, suite, 0, d.env.Rand)
	n.name, n.reload = d.name, d.reload
	return n
}

// closeGroup ends a group by a ReInit of one member, committed by another.
func closeGroup(t *testing.T, p *ReInit, proposer, committer *device, others ...*device) {
	t.Helper()
	msg, delta, err := proposer.e.Propose(p, nil, proposer.signer, proposer.env)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParsePrivateMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	proposer.e = proposer.apply(proposer.e, delta)
	for _, d := range append(others, committer) {
		out, err := d.e.Open(m, OpenOptions{Env: d.env})
		if err != nil {
			t.Fatal(err)
		}
		d.e = d.apply(d.e, out.Delta)
	}
	ref := committer.e.CachedProposals()[0].Ref
	advance(t, committer, CommitRequest{References: [][]byte{ref}}, append(others, proposer)...)
}

// Section 11.2: proposed, committed and carried out by three members, with a
// change of suite, group id and extensions.
func TestReInit(t *testing.T) {
	ids := CipherSuites()
	eachSuite(t, func(t *testing.T, s *suite) {
		next := ids[int(s.id)%len(ids)]
		all := newGroupOf(t, s.id, RFC9420, 4, 100, true)
		p := &ReInit{GroupID: []byte("the next group"), Version: mls10, CipherSuite: next,
			Extensions: []Extension{RequiredCapabilities(nil, nil, nil)}}
		closeGroup(t, p, all[0], all[1], all[2], all[3])
		for _, d := range all {
			if q := d.e.ReInit(); q == nil || !bytes.Equal(MarshalProposal(q), MarshalProposal(p)) {
				t.Fatalf("%+v", q)
			}
			if _, _, err := d.e.Protect(nil, nil, d.signer, d.env); !errors.Is(err, ErrClosed) {
				t.Errorf("sending: %v", err)
			}
			if _, err := d.e.Commit(CommitRequest{}, d.signer, d.env); !errors.Is(err, ErrClosed) {
				t.Errorf("committing: %v", err)
			}
		}
		fresh := make([]*device, 4)
		bundles := make([]*KeyPackageBundle, 4)
		var kps []*KeyPackage
		for i, d := range all {
			fresh[i] = d.renewed(next)
			bundles[i] = fresh[i].keyPackage()
			if i != 2 {
				kps = append(kps, bundles[i].KeyPackage)
			}
		}
		f := fresh[2]
		c, err := all[2].e.Reinitialise(SuccessorRequest{KeyPackages: kps, Leaf: f.options()}, f.signer, f.env)
		if err != nil {
			t.Fatal(err)
		}
		welcome, err := c.Welcome(nil, true, f.signer, f.env)
		if err != nil {
			t.Fatal(err)
		}
		f.e = f.keep(c.Child)
		for _, i := range []int{0, 1, 3} {
			if _, _, err := Join(welcome, nil, bundles[i], JoinOptions{KeySchedule: RFC9420}, f.env); !errors.Is(err, ErrPSK) {
				t.Errorf("without the old group: %v", err)
			}
			e, _, err := Join(welcome, nil, bundles[i], JoinOptions{KeySchedule: RFC9420, Parent: all[i].e}, f.env)
			if err != nil {
				t.Fatal(err)
			}
			fresh[i].e = fresh[i].keep(e)
		}
		agree(t, fresh...)
		if f.e.Number() != 1 || f.e.Suite() != next {
			t.Errorf("epoch %d, suite %v", f.e.Number(), f.e.Suite())
		}
		advance(t, fresh[0], CommitRequest{}, fresh[1], fresh[2], fresh[3])
	})
}

// What founder and joiner refuse of a successor (sections 11.2 and 12.4.3.1).
func TestReInitRefuses(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 101, false)
	if _, err := all[0].e.Reinitialise(SuccessorRequest{Leaf: all[0].options()}, all[0].signer, all[0].env); !errors.Is(err, ErrConfig) {
		t.Errorf("an open group: %v", err)
	}
	p := &ReInit{GroupID: []byte("next"), Version: mls10, CipherSuite: testSuite}
	kp := newDevice(t, 9, all[0].env.Rand).keyPackage()
	if _, err := all[0].e.Commit(CommitRequest{Proposals: []Proposal{p, &Add{KeyPackage: *kp.KeyPackage}}}, all[0].signer, all[0].env); !errors.Is(err, ErrProposals) {
		t.Errorf("ReInit with an Add: %v", err)
	}
	if _, err := all[0].e.Commit(CommitRequest{Proposals: []Proposal{&ReInit{GroupID: []byte("x"), CipherSuite: testSuite}}}, all[0].signer, all[0].env); !errors.Is(err, ErrProposals) {
		t.Errorf("ReInit to version 0: %v", err)
	}
	closeGroup(t, p, all[0], all[1], all[2])
	d, e := all[1].renewed(testSuite), all[2].renewed(testSuite)
	db, eb := d.keyPackage(), e.keyPackage()
	founder := all[0].renewed(testSuite)
	found := func(kps ...*KeyPackage) error {
		_, err := all[0].e.Reinitialise(SuccessorRequest{KeyPackages: kps, Leaf: founder.options()}, founder.signer, founder.env)
		return err
	}
	if err := found(db.KeyPackage); !errors.Is(err, ErrWelcome) {
		t.Errorf("a member is missing: %v", err)
	}
	if err := found(db.KeyPackage, kp.KeyPackage); !errors.Is(err, ErrWelcome) {
		t.Errorf("a stranger: %v", err)
	}
	if err := found(db.KeyPackage, all[1].renewed(testSuite).keyPackage().KeyPackage); !errors.Is(err, ErrWelcome) {
		t.Errorf("one client twice: %v", err)
	}
	// A founder who does not keep to the proposal. The joiners notice.
	for what, q := range map[string]*ReInit{
		"group id":   {GroupID: []byte("other"), Version: mls10, CipherSuite: testSuite},
		"suite":      {GroupID: []byte("next"), Version: mls10, CipherSuite: 3},
		"extensions": {GroupID: []byte("next"), Version: mls10, CipherSuite: testSuite, Extensions: []Extension{RequiredCapabilities(nil, nil, nil)}},
	} {
		honest := all[0].e.reinit
		all[0].e.reinit = q
		dd, ee, ff := all[1].renewed(q.CipherSuite), all[2].renewed(q.CipherSuite), all[0].renewed(q.CipherSuite)
		bd := dd.keyPackage()
		c, err := all[0].e.Reinitialise(SuccessorRequest{KeyPackages: []*KeyPackage{bd.KeyPackage, ee.keyPackage().KeyPackage}, Leaf: ff.options()}, ff.signer, ff.env)
		all[0].e.reinit = honest
		if err != nil {
			t.Fatal(err)
		}
		welcome, err := c.Welcome(nil, true, ff.signer, ff.env)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Join(welcome, nil, bd, JoinOptions{KeySchedule: RFC9420, Parent: all[1].e}, dd.env); !errors.Is(err, ErrWelcome) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := found(db.KeyPackage, eb.KeyPackage); err != nil {
		t.Error(err)
	}
}

// Section 11.3: some members branch off; the group goes on.
func TestBranch(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		all := newGroupOf(t, s.id, RFC9420, 4, 102, true)
		f, j := all[1].renewed(s.id), all[3].renewed(s.id)
		b := j.keyPackage()
		r := SuccessorRequest{GroupID: []byte("branch"), KeyPackages: []*KeyPackage{b.KeyPackage}, Leaf: f.options(), ForcePath: true}
		c, err := all[1].e.Branch(r, f.signer, f.env)
		if err != nil {
			t.Fatal(err)
		}
		welcome, err := c.Welcome(nil, false, f.signer, f.env)
		if err != nil {
			t.Fatal(err)
		}
		f.e = f.keep(c.Child)
		tree := f.e.Tree().Marshal()
		if _, _, err := Join(welcome, tree, b, JoinOptions{KeySchedule: RFC9420}, j.env); !errors.Is(err, ErrPSK) {
			t.Errorf("without the main group: %v", err)
		}
		e, _, err := Join(welcome, tree, b, JoinOptions{KeySchedule: RFC9420, Parent: all[3].e}, j.env)
		if err != nil {
			t.Fatal(err)
		}
		j.e = j.keep(e)
		agree(t, f, j)
		advance(t, j, CommitRequest{}, f)
		advance(t, all[0], CommitRequest{}, all[1:]...)
		// Who branches off from a later epoch is bound to it.
		if _, _, err := Join(welcome, tree, b, JoinOptions{KeySchedule: RFC9420, Parent: all[3].e}, j.env); !errors.Is(err, ErrPSK) {
			t.Errorf("another epoch of the main group: %v", err)
		}
		stranger := newDeviceOf(t, s.id, 40, f.env.Rand)
		r.KeyPackages = []*KeyPackage{stranger.keyPackage().KeyPackage}
		if _, err := all[1].e.Branch(r, f.signer, f.env); !errors.Is(err, ErrWelcome) {
			t.Errorf("a stranger: %v", err)
		}
	})
}

// A Welcome that is not bound to the group that the joiner comes from, and PSKs
// of successors where none is founded (section 12.1.4).
func TestSuccessorPSKs(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 103, false)
	a := all[0]
	for _, usage := range []uint8{ResumptionReInit, ResumptionBranch} {
		id := PreSharedKeyID{Type: PSKTypeResumption, Usage: usage, GroupID: a.e.GroupID(), Epoch: a.e.Number(), Nonce: make([]byte, 32)}
		psk := func(PreSharedKeyID) []byte { return a.e.ResumptionPSK() }
		if _, err := a.e.Commit(CommitRequest{Proposals: []Proposal{&PreSharedKey{ID: id}}, PSK: psk}, a.signer, a.env); !errors.Is(err, ErrProposals) {
			t.Errorf("usage %d in a commit: %v", usage, err)
		}
		if _, _, err := a.e.Propose(&PreSharedKey{ID: id}, nil, a.signer, a.env); !errors.Is(err, ErrProposals) {
			t.Errorf("usage %d in a proposal: %v", usage, err)
		}
	}
	joiner := newDevice(t, 9, a.env.Rand)
	b := joiner.keyPackage()
	c, _ := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *b.KeyPackage}}})
	welcome, err := c.Welcome(nil, true, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Join(welcome, nil, b, JoinOptions{KeySchedule: RFC9420, Parent: all[1].e}, joiner.env); !errors.Is(err, ErrWelcome) {
		t.Errorf("a plain Welcome in place of a successor's: %v", err)
	}
}

// Section 8.4: PSKs of both types enter in the order of the commit, and the
// joiners of one Welcome learn it from there. Section 12.4.3.1: a Welcome for
// several joiners, with and without a path.
func TestPSKOrderAndSeveralJoiners(t *testing.T) {
	for _, path := range []bool{false, true} {
		all := newGroup(t, RFC9420, 3, 104, true)
		a := all[0]
		old := a.e.ResumptionPSK()
		number := a.e.Number()
		advance(t, a, CommitRequest{}, all[1:]...)
		nonce := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
		ids := []PreSharedKeyID{
			{Type: PSKTypeExternal, ID: []byte("z"), Nonce: nonce(1)},
			{Type: PSKTypeResumption, Usage: ResumptionApplication, GroupID: a.e.GroupID(), Epoch: number, Nonce: nonce(2)},
			{Type: PSKTypeExternal, ID: []byte("a"), Nonce: nonce(3)},
		}
		var asked []string
		lookup := func(id PreSharedKeyID) []byte {
			asked = append(asked, string(id.ID))
			if id.Type == PSKTypeResumption {
				return old
			}
			return append([]byte("secret "), id.ID...)
		}
		var bundles []*KeyPackageBundle
		var joiners []*device
		r := CommitRequest{PSK: lookup, ForcePath: path}
		for i, id := range ids {
			d := newDevice(t, 10+i, a.env.Rand)
			joiners, bundles = append(joiners, d), append(bundles, d.keyPackage())
			r.Proposals = append(r.Proposals, &PreSharedKey{ID: id}, &Add{KeyPackage: *bundles[i].KeyPackage})
		}
		c, child := a.commit(a.e, r)
		welcome, err := c.Welcome(nil, true, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		a.e = child
		listen(t, c.Message, OpenOptions{PSK: lookup}, all[1:]...)
		for i, d := range joiners {
			asked = nil
			e, _, err := Join(welcome, nil, bundles[i], JoinOptions{KeySchedule: RFC9420, PSK: lookup}, d.env)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(asked, []string{"z", "", "a"}) {
				t.Errorf("asked for %q", asked)
			}
			d.e = d.keep(e)
		}
		agree(t, append(all, joiners...)...)
		advance(t, joiners[1], CommitRequest{}, all[0], all[1], all[2], joiners[0], joiners[2])
		// The order is part of the secret.
		s := a.e.suite
		var psks, swapped []psk
		for _, id := range ids {
			psks = append(psks, psk{id, lookup(id)})
		}
		swapped = []psk{psks[1], psks[0], psks[2]}
		if bytes.Equal(s.pskSecret(psks), s.pskSecret(swapped)) {
			t.Error("the order of PSKs has no effect")
		}
	}
}

// Design 5.3 d and section 10.1: the joiner judges the present time.
func TestLifetimeAtJoin(t *testing.T) {
	for _, k := range []KeySchedule{RFC9420, DMLS} {
		all := newGroup(t, k, 2, 105, false)
		a := all[0]
		joiner := newDevice(t, 9, a.env.Rand)
		b := joiner.keyPackage()
		c, _ := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *b.KeyPackage}}})
		welcome, err := c.Welcome(nil, true, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []time.Duration{-61 * time.Second, 3601 * time.Second} {
			env := joiner.env
			env.Now = testNow.Add(off)
			if _, _, err := Join(welcome, nil, b, JoinOptions{KeySchedule: k}, env); !errors.Is(err, ErrKeyPackage) {
				t.Errorf("%v, %v off: %v", k, off, err)
			}
		}
		// Another receiver's clock has no say.
		all[1].env.Now = testNow.Add(1000 * time.Hour)
		all[1].open(all[1].e, c.Message)
	}
}

// Section 13.5: values that nobody knows, in all lists that may hold them.
func TestGREASE(t *testing.T) {
	all := newGroup(t, RFC9420, 2, 106, true)
	a := all[0]
	d := newDevice(t, 9, a.env.Rand)
	o := d.options()
	o.Capabilities = Capabilities{Versions: []uint16{0x0A0A, mls10}, CipherSuites: []CipherSuite{0x1A1A, testSuite, 0xFAFA},
		Extensions: []ExtensionType{0x2A2A, 0xEAEA}, Proposals: []ProposalType{0x3A3A}, Credentials: []CredentialType{CredentialBasic, 0x4A4A}}
	o.LeafExtensions = []Extension{{Type: 0x2A2A, Data: []byte("grease")}}
	o.Extensions = []Extension{{Type: 0xEAEA}}
	b, err := NewKeyPackage(o, d.signer, d.env)
	if err != nil {
		t.Fatal(err)
	}
	c, child := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *b.KeyPackage}}})
	welcome, err := c.Welcome([]Extension{{Type: 0x5A5A, Data: []byte("grease")}}, true, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	a.e = child
	listen(t, c.Message, OpenOptions{}, all[1])
	if info := d.join(welcome, nil, b, RFC9420); len(info.Extensions) != 2 {
		t.Errorf("%d extensions", len(info.Extensions))
	}
	agree(t, a, all[1], d)
	advance(t, d, CommitRequest{}, a, all[1])
	if leaf := a.e.Tree().Leaf(2); len(leaf.Extensions) != 1 || !slices.Equal(leaf.Capabilities.CipherSuites, o.Capabilities.CipherSuites) {
		t.Errorf("%+v", leaf)
	}
	// An extension that the leaf does not claim to know is refused, and so is a
	// proposal that cannot be parsed: its end is unknown.
	o.Capabilities.Extensions = nil
	if _, err := NewKeyPackage(o, d.signer, d.env); !errors.Is(err, ErrLeafNode) {
		t.Errorf("unlisted extension: %v", err)
	}
	if _, err := ParseProposal([]byte{0x3A, 0x3A, 1, 2}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("unknown proposal: %v", err)
	}
	required := RequiredCapabilities([]ExtensionType{0x2A2A}, nil, nil)
	if _, err := a.e.Commit(CommitRequest{Proposals: []Proposal{&GroupContextExtensions{Extensions: []Extension{required}}}}, a.signer, a.env); !errors.Is(err, ErrProposals) {
		t.Errorf("required of all, known to one: %v", err)
	}
}
