package mls

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"github.com/dmlsd/dmls/pprf"
)

// One epoch, two concurrent commits, a third member that opens them in either
// order: two children, each as its author has it.
func TestTwoChildren(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		all := newGroup(t, DMLS, 3, 10, true)
		c := all[2]
		parent := c.e
		commits, children := make([]*StagedCommit, 2), make([]*Epoch, 2)
		for i := range 2 {
			commits[i], children[i] = all[i].commit(all[i].e, CommitRequest{})
		}
		if bytes.Equal(children[0].ID(), children[1].ID()) || children[0].Number() != children[1].Number() {
			t.Fatal("siblings have to share the number and nothing else")
		}
		for _, i := range order {
			_, back, child := c.open(parent, commits[i].Message)
			if !bytes.Equal(child.ID(), children[i].ID()) || !bytes.Equal(child.EpochAuthenticator(), children[i].EpochAuthenticator()) {
				t.Fatalf("order %v: child %d differs from its author's", order, i)
			}
			parent = back
			// Both can talk on that branch.
			all[i].e, c.e = children[i], child
			c.hear(all[i].say("here"), "here")
			all[i].hear(c.say("and here"), "and here")
		}
		// The authors take up each other's commit.
		for i := range 2 {
			p := latest(all[i], commits[i])
			_, _, child := all[i].open(p, commits[1-i].Message)
			if !bytes.Equal(child.ID(), children[1-i].ID()) {
				t.Fatalf("author %d has another sibling", i)
			}
		}
	}
}

// latest finds the epoch that a device committed in, as it is now.
func latest(d *device, c *StagedCommit) *Epoch {
	d.t.Helper()
	for e := range d.stores {
		m, _ := ParsePrivateMessage(c.Message)
		if e.Number() == m.Epoch && e.secret.next(ratchetID{e.self, false}) == c.Generation+1 {
			return e
		}
	}
	d.t.Fatal("no such epoch")
	return nil
}

// Each child can be derived once: forward secrecy of processed commits, and
// replay protection.
func TestChildIsDerivedOnce(t *testing.T) {
	for _, reload := range []bool{false, true} {
		all := newGroup(t, DMLS, 3, 11, reload)
		b := all[1]
		c, _ := all[0].commit(all[0].e, CommitRequest{})
		_, back, _ := b.open(b.e, c.Message)
		_, err := b.stage(back, c.Message)
		if !errors.Is(err, ErrChildTaken) || !errors.Is(err, pprf.ErrPunctured) {
			t.Errorf("reload %v: opened again: %v", reload, err)
		}
		// Staging twice without applying is no second derivation.
		d := all[2]
		if _, err := d.stage(d.e, c.Message); err != nil {
			t.Fatal(err)
		}
		first, err := d.stage(d.e, c.Message)
		if err != nil {
			t.Fatal(err)
		}
		first.Delta.Wipe()
		if err := d.e.Apply(first.Delta); !errors.Is(err, ErrStale) {
			t.Errorf("a wiped delta was applied: %v", err)
		}
		d.open(d.e, c.Message)
	}
}

// Several siblings by one author, with rising generations, in any order: the
// handshake ratchet is kept.
func TestSiblingsOfOneAuthor(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
		all := newGroup(t, DMLS, 3, 12, true)
		a, b := all[0], all[1]
		parent := a.e
		var commits []*StagedCommit
		var children []*Epoch
		for i := range 3 {
			if g := parent.NextGeneration(ContentTypeCommit); g != uint32(i) {
				t.Fatalf("next generation %d, want %d", g, i)
			}
			c, child := a.commit(parent, CommitRequest{})
			commits, children = append(commits, c), append(children, child)
			parent = a.e
		}
		for _, i := range order {
			out, _, child := b.open(b.e, commits[i].Message)
			if !bytes.Equal(child.ID(), children[i].ID()) || out.Generation != uint32(i) || out.Generation != commits[i].Generation {
				t.Fatalf("order %v: sibling %d", order, i)
			}
		}
	}
}

// An insider sends an honest, signed commit with another tag. It is refused
// without any trace, and the honest one opens afterwards (reference case 2, 3).
func TestSwappedTag(t *testing.T) {
	all := newGroup(t, DMLS, 3, 13, false)
	a, b, insider := all[0], all[1], all[2]
	c, child := a.commit(a.e, CommitRequest{})
	bad := forge(t, insider.e, c.Message, forgery{tag: func(tag []byte) { tag[0] ^= 1 }})
	if _, err := b.stage(b.e, bad); !errors.Is(err, ErrConfirmation) {
		t.Fatalf("wrong tag: %v", err)
	}
	out, _, got := b.open(b.e, c.Message)
	if !bytes.Equal(got.ID(), child.ID()) {
		t.Fatal("the honest commit leads elsewhere")
	}
	if !bytes.Equal(out.ContentHash, c.ContentHash) {
		t.Fatal("author and receiver name the content differently")
	}
}

// The content hash does not see the tag, so that the repeat of an opened commit
// is known before any PPRF work.
func TestContentHashIgnoresTag(t *testing.T) {
	all := newGroup(t, DMLS, 3, 14, false)
	a, b, insider := all[0], all[1], all[2]
	c, _ := a.commit(a.e, CommitRequest{})
	bad := forge(t, insider.e, c.Message, forgery{tag: func(tag []byte) { tag[5] ^= 4 }})
	refuse := errors.New("seen")
	m, err := ParsePrivateMessage(bad)
	if err != nil {
		t.Fatal(err)
	}
	var seen []byte
	_, err = b.e.Open(m, OpenOptions{Check: func(o *Opened) error {
		seen = o.ContentHash
		if o.Commit == nil || o.Commit.Child != nil {
			t.Error("the check has to run before the child is derived")
		}
		return refuse
	}})
	if !errors.Is(err, refuse) || !bytes.Equal(seen, c.ContentHash) {
		t.Fatalf("%v, content %x", err, seen)
	}
}

// A frame is a function of its content: nobody, not even its author, can make
// a second one of the same content.
func TestNotCanonical(t *testing.T) {
	all := newGroup(t, DMLS, 3, 15, false)
	a, b, insider := all[0], all[1], all[2]
	commit, _ := a.commit(a.e, CommitRequest{})
	for _, honest := range [][]byte{a.say("text"), commit.Message} {
		if same := forge(t, insider.e, honest, forgery{}); !bytes.Equal(same, honest) {
			t.Error("sealing the same content gave another frame")
		}
		for name, f := range map[string]forgery{
			"reuse guard":  {guard: &[4]byte{1, 2, 3, 4}},
			"more padding": {padding: 1},
			"much padding": {padding: 256},
		} {
			if _, err := b.stage(b.e, forge(t, insider.e, honest, f)); !errors.Is(err, ErrNotCanonical) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := b.stage(b.e, honest); err != nil {
			t.Error(err)
		}
	}
	// 85 bytes of content go into a bucket of 88.
	if _, err := b.stage(b.e, forge(t, insider.e, a.say("0123456789abcdefgh"), forgery{dirty: true})); !errors.Is(err, ErrMalformed) {
		t.Errorf("padding of ones: %v", err)
	}
	plain := &AuthenticatedContent{Content: FramedContent{ContentType: ContentTypeApplication, Data: []byte("text")}}
	if n := len(plain.unpadded()); padme(n) < n {
		t.Error("padding shrinks")
	}
}

func TestPadme(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, 2: 2, 9: 10, 70: 72, 100: 104, 1000: 1024, 1025: 1088, 100_000: 100_352} {
		if got := padme(n); got != want {
			t.Errorf("padme(%d) = %d, want %d", n, got, want)
		}
	}
	for n := range 1 << 14 {
		if p := padme(n); p < n || n >= 8 && p-n > n/8 || padme(p) != p {
			t.Fatalf("padme(%d) = %d", n, p)
		}
	}
}

// An insider can not put its own words into another's frame.
func TestForgedSignature(t *testing.T) {
	all := newGroup(t, DMLS, 3, 16, false)
	honest := all[0].say("yes")
	change := func(a *AuthenticatedContent) { a.Content.Data = []byte("no!") }
	for _, f := range []forgery{{change: change}, {change: change, resign: all[2].signer}} {
		if _, err := all[1].stage(all[1].e, forge(t, all[2].e, honest, f)); !errors.Is(err, ErrSignature) {
			t.Errorf("%v", err)
		}
	}
	all[1].hear(honest, "yes")
	if _, err := all[1].stage(all[1].e, honest); !errors.Is(err, ErrSpent) {
		t.Errorf("application frame opened twice: %v", err)
	}
	if out, err := all[0].stage(all[0].e, honest); err != nil || string(out.Data) != "yes" {
		t.Errorf("own frame: %v", err)
	}
}

// Receivers follow a gap up to the bound, and what was skipped is gone.
func TestForwardJump(t *testing.T) {
	all := newGroup(t, DMLS, 2, 17, true)
	var sent [][]byte
	for range 5 {
		sent = append(sent, all[0].say("x"))
	}
	all[1].hear(sent[3], "x")
	if _, err := all[1].stage(all[1].e, sent[1]); !errors.Is(err, ErrSpent) {
		t.Errorf("skipped frame: %v", err)
	}
	all[1].hear(sent[4], "x")
	far := uint32(5000)
	if _, _, err := all[1].e.secret.stage(ratchetID{0, true}, far); !errors.Is(err, ErrGeneration) {
		t.Errorf("far jump: %v", err)
	}
}

func TestRemovals(t *testing.T) {
	all := newGroup(t, DMLS, 4, 18, true)
	a, b, gone := all[0], all[1], all[3]
	c, child := a.commit(a.e, CommitRequest{Proposals: []Proposal{&Remove{Removed: gone.e.Self()}}})
	out, back, none := gone.open(gone.e, c.Message)
	if !out.Commit.SelfRemoved || none != nil || !slices.Equal(out.Commit.Removed, []LeafIndex{3}) {
		t.Fatalf("%+v", out.Commit)
	}
	if back.PPRFNodes() != 1 {
		t.Error("a removed member can not know the point, yet it punctured one")
	}
	_, _, b.e = b.open(b.e, c.Message)
	a.e = child
	agree(t, a, b)
	if b.e.Tree().Leaf(3) != nil {
		t.Error("still in the tree")
	}

	// A leave: proposed by the leaver, committed by anyone by reference.
	c2 := all[2]
	_, _, c2.e = c2.open(c2.e, c.Message)
	msg, delta, err := c2.e.Propose(&Remove{Removed: c2.e.Self()}, nil, c2.signer, c2.env)
	if err != nil {
		t.Fatal(err)
	}
	c2.e = c2.apply(c2.e, delta)
	leave, _, _ := a.open(a.e, msg)
	b.open(b.e, msg)
	if leave.Proposal == nil || len(a.e.CachedProposals()) != 1 || !bytes.Equal(a.e.CachedProposals()[0].Ref, leave.Ref) {
		t.Fatal("the leave is not cached")
	}
	if own := c2.e.CachedProposals(); len(own) != 1 || !bytes.Equal(own[0].Ref, leave.Ref) {
		t.Fatal("the leaver does not know its own proposal")
	}
	c, child = a.commit(a.e, CommitRequest{References: [][]byte{leave.Ref}})
	out, _, b.e = b.open(b.e, c.Message)
	if p := out.Commit.Proposals; len(p) != 1 || p[0].Sender != c2.e.Self() || !bytes.Equal(p[0].Ref, leave.Ref) {
		t.Fatalf("%+v", p)
	}
	a.e = child
	agree(t, a, b)
	if out, _, _ := c2.open(c2.e, c.Message); !out.Commit.SelfRemoved {
		t.Error("the leaver is not removed")
	}
}

// What would bypass or blind the PPRF, and what the tree of proposals forbids.
func TestRefusedProposals(t *testing.T) {
	all := newGroup(t, DMLS, 3, 19, false)
	a, b := all[0], all[1]
	kp := newDevice(t, 9, a.env.Rand).keyPackage().KeyPackage
	nonce := make([]byte, 32)
	for name, c := range map[string]struct {
		p    []Proposal
		want error
	}{
		"psk":            {[]Proposal{&PreSharedKey{ID: PreSharedKeyID{Type: PSKTypeExternal, ID: []byte("x"), Nonce: nonce}}}, ErrForbidden},
		"reinit":         {[]Proposal{&ReInit{GroupID: []byte("y"), Version: 1, CipherSuite: testSuite}}, ErrForbidden},
		"external init":  {[]Proposal{&ExternalInit{KEMOutput: nonce}}, ErrForbidden},
		"update":         {[]Proposal{&Update{LeafNode: *a.e.Tree().Leaf(1)}}, ErrForbidden},
		"committer":      {[]Proposal{&Remove{Removed: 0}}, ErrProposals},
		"blank":          {[]Proposal{&Remove{Removed: 3}}, ErrProposals},
		"beyond":         {[]Proposal{&Remove{Removed: 1 << 31}}, ErrProposals},
		"remove twice":   {[]Proposal{&Remove{Removed: 1}, &Remove{Removed: 1}}, ErrProposals},
		"add twice":      {[]Proposal{&Add{KeyPackage: *kp}, &Add{KeyPackage: *kp}}, ErrProposals},
		"add a member":   {[]Proposal{&Add{KeyPackage: *b.keyPackage().KeyPackage}}, ErrProposals},
		"extensions":     {[]Proposal{&GroupContextExtensions{}, &GroupContextExtensions{}}, ErrProposals},
		"unknown to all": {[]Proposal{&GroupContextExtensions{Extensions: []Extension{{Type: 0xF0F0}}}}, ErrProposals},
	} {
		before := snapshot(a.e)
		if _, err := a.e.Commit(CommitRequest{Proposals: c.p}, a.signer, a.env); !errors.Is(err, c.want) {
			t.Errorf("%s: committing: %v", name, err)
		}
		sameRecords(t, name, a.e, before)
		// A member that does not check can send it all the same.
		honest, _ := a.commit(a.e, CommitRequest{})
		bad := forge(t, all[2].e, honest.Message, forgery{resign: a.signer, change: func(x *AuthenticatedContent) {
			x.Content.Commit.Proposals = nil
			for _, p := range c.p {
				x.Content.Commit.Proposals = append(x.Content.Commit.Proposals, ProposalOrRef{Proposal: p})
			}
		}})
		if _, err := b.stage(b.e, bad); !errors.Is(err, c.want) {
			t.Errorf("%s: opening: %v", name, err)
		}
	}
}

func TestRefusedForms(t *testing.T) {
	all := newGroup(t, DMLS, 3, 20, false)
	a, b := all[0], all[1]
	kp := newDevice(t, 9, a.env.Rand).keyPackage().KeyPackage
	honest, _ := a.commit(a.e, CommitRequest{})
	withCommit := func(change func(*Commit)) []byte {
		return forge(t, all[2].e, honest.Message, forgery{resign: a.signer, change: func(x *AuthenticatedContent) { change(x.Content.Commit) }})
	}
	pathless := withCommit(func(c *Commit) { c.Path, c.Proposals = nil, []ProposalOrRef{{Proposal: &Add{KeyPackage: *kp}}} })
	if _, err := b.stage(b.e, pathless); !errors.Is(err, ErrForbidden) {
		t.Errorf("commit without a path: %v", err)
	}
	unknown := withCommit(func(c *Commit) { c.Proposals = []ProposalOrRef{{Ref: make([]byte, 32)}} })
	if _, err := b.stage(b.e, unknown); !errors.Is(err, ErrUnknownProposal) {
		t.Errorf("unknown reference: %v", err)
	}
	if _, err := a.e.Commit(CommitRequest{Public: true}, a.signer, a.env); !errors.Is(err, ErrForbidden) {
		t.Errorf("public commit: %v", err)
	}
	if _, _, err := a.e.Propose(&Add{KeyPackage: *kp}, nil, a.signer, a.env); !errors.Is(err, ErrForbidden) {
		t.Errorf("Add by reference: %v", err)
	}
	if _, _, err := a.e.Propose(&Remove{Removed: 1}, nil, a.signer, a.env); !errors.Is(err, ErrForbidden) {
		t.Errorf("Remove of another by reference: %v", err)
	}
	if _, _, err := a.e.ProposeUpdate(nil, nil, a.signer, a.env); !errors.Is(err, ErrForbidden) {
		t.Errorf("Update: %v", err)
	}
	public := &PublicMessage{Content: FramedContent{GroupID: b.e.GroupID(), Epoch: b.e.Number(), Sender: Sender{SenderTypeNewMemberCommit, 0},
		ContentType: ContentTypeCommit, Commit: &Commit{}}}
	if _, err := b.e.OpenPublic(public, OpenOptions{}); !errors.Is(err, ErrForbidden) {
		t.Errorf("PublicMessage: %v", err)
	}
	if _, err := a.stage(a.e, honest.Message); !errors.Is(err, ErrUnopenable) {
		t.Errorf("own commit: %v", err)
	}
	if _, _, err := a.e.Protect(nil, nil, b.signer, a.env); !errors.Is(err, ErrConfig) {
		t.Errorf("another's signer: %v", err)
	}
}

// An author who encrypts rubbish to some members only: not openable there, good
// elsewhere, and no reason to refuse it for all.
func TestPoisonedPath(t *testing.T) {
	all := newGroup(t, DMLS, 3, 21, false)
	a, b, c := all[0], all[1], all[2]
	honest, _ := a.commit(a.e, CommitRequest{})
	bad := forge(t, c.e, honest.Message, forgery{resign: a.signer, change: func(x *AuthenticatedContent) {
		node := &x.Content.Commit.Path.Nodes[0] // seen by leaf 1 alone
		node.EncryptedPathSecret[0].Ciphertext[3] ^= 1
	}})
	if _, err := b.stage(b.e, bad); !errors.Is(err, ErrUnopenable) {
		t.Errorf("poisoned: %v", err)
	}
	if _, err := c.stage(c.e, bad); errors.Is(err, ErrUnopenable) {
		t.Errorf("not poisoned for this member: %v", err)
	}
}

// script is a run with joins, forks, a leave, messages on both branches. It
// gives a hash of all bytes that left a device or a store.
func script(t *testing.T, seed uint64, reload bool, parallel func(int, func(int))) []byte {
	t.Helper()
	all := newGroup(t, DMLS, 4, seed, reload)
	for _, d := range all {
		d.env.Parallel = parallel
	}
	log := sha256.New()
	a, b, c, d := all[0], all[1], all[2], all[3]
	x, xe := a.commit(a.e, CommitRequest{Proposals: []Proposal{&GroupContextExtensions{}}})
	joiner := newDevice(t, 9, a.env.Rand)
	joiner.reload = reload
	bundle := joiner.keyPackage()
	y, ye := b.commit(b.e, CommitRequest{AuthenticatedData: []byte("aad"), Proposals: []Proposal{&Remove{Removed: 3}, &Add{KeyPackage: *bundle.KeyPackage}}})
	welcome, err := y.Welcome(nil, true, b.signer, b.env)
	if err != nil {
		t.Fatal(err)
	}
	joiner.join(welcome, nil, bundle, DMLS)
	_, back, cx := c.open(c.e, x.Message)
	_, _, cy := c.open(back, y.Message)
	d.open(d.e, y.Message)
	_, _, d.e = d.open(d.e, x.Message)
	a.e, b.e, c.e = xe, ye, cx
	agree(t, a, c, d)
	for _, m := range [][]byte{x.Message, y.Message, welcome, a.say("on x")} {
		log.Write(m)
	}
	c.e = cy
	agree(t, b, c, joiner)
	m := joiner.say("on y")
	b.hear(m, "on y")
	c.hear(m, "on y")
	log.Write(m)
	log.Write(advance(t, c, CommitRequest{}, b, joiner).Message)
	log.Write(b.say("end"))
	for _, d := range append(all, joiner) {
		for _, r := range d.e.Records() {
			log.Write([]byte(r.Key))
			log.Write(r.Value)
		}
	}
	return log.Sum(nil)
}

// Same seed, same bytes; and neither storing and loading at every step nor the
// schedule of Parallel makes a difference.
func TestDeterministic(t *testing.T) {
	want := script(t, 7, false, nil)
	backwards := func(n int, f func(int)) {
		for i := n - 1; i >= 0; i-- {
			f(i)
		}
	}
	for name, got := range map[string][]byte{
		"again": script(t, 7, false, nil), "reloaded": script(t, 7, true, nil), "backwards": script(t, 7, true, backwards),
	} {
		if !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes", name)
		}
	}
	if bytes.Equal(script(t, 8, false, nil), want) {
		t.Error("another seed gave the same bytes")
	}
}
