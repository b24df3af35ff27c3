package mls

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// Plain RFC 9420: proposals by reference, Updates, skipped keys, one child.
func TestRFCProposalsByReference(t *testing.T) {
	for _, reload := range []bool{false, true} {
		all := newGroup(t, RFC9420, 4, 40, reload)
		a, b, c, d := all[0], all[1], all[2], all[3]
		joiner := newDevice(t, 9, a.env.Rand)
		joiner.reload = reload
		bundle := joiner.keyPackage()
		update, delta, err := b.e.ProposeUpdate(nil, nil, b.signer, b.env)
		if err != nil {
			t.Fatal(err)
		}
		b.e = b.apply(b.e, delta)
		add, delta, err := c.e.Propose(&Add{KeyPackage: *bundle.KeyPackage}, nil, c.signer, c.env)
		if err != nil {
			t.Fatal(err)
		}
		c.e = c.apply(c.e, delta)
		var refs [][]byte
		for _, d := range all {
			refs = nil
			for _, m := range [][]byte{update, add} {
				if m := m; !(d == b && &m[0] == &update[0] || d == c && &m[0] == &add[0]) {
					d.open(d.e, m)
				}
			}
			for _, p := range d.e.CachedProposals() {
				refs = append(refs, p.Ref)
			}
		}
		if len(refs) != 2 {
			t.Fatalf("%d proposals", len(refs))
		}
		commit, child := a.commit(a.e, CommitRequest{References: refs})
		welcome, err := commit.Welcome(nil, true, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		joiner.join(welcome, nil, bundle, RFC9420)
		for _, x := range []*device{b, c, d} {
			out, _, child := x.open(x.e, commit.Message)
			if !slices.Equal(out.Commit.Updated, []LeafIndex{1}) || !slices.Equal(out.Commit.Added, []LeafIndex{4}) {
				t.Fatalf("%+v", out.Commit)
			}
			x.e = child
		}
		a.e = child
		agree(t, a, b, c, d, joiner)
		// The updated leaf's private key has to work: b opens the next path.
		advance(t, joiner, CommitRequest{}, a, b, c, d)
		advance(t, b, CommitRequest{}, a, c, d, joiner)
	}
}

func TestRFCOneChild(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 41, false)
	a, b := all[0], all[1]
	first, _ := a.commit(a.e, CommitRequest{})
	second, err := b.e.Commit(CommitRequest{}, b.signer, b.env)
	if err != nil {
		t.Fatal(err)
	}
	c := all[2]
	c.open(c.e, first.Message)
	if _, err := c.stage(c.e, second.Message); !errors.Is(err, ErrChildTaken) {
		t.Errorf("second child: %v", err)
	}
	if _, err := a.e.Commit(CommitRequest{}, a.signer, a.env); !errors.Is(err, ErrChildTaken) {
		t.Errorf("second commit: %v", err)
	}
}

func TestRFCSkippedKeys(t *testing.T) {
	all := newGroup(t, RFC9420, 2, 42, true)
	var sent [][]byte
	for range 40 {
		sent = append(sent, all[0].say("x"))
	}
	for _, i := range []int{38, 10, 39, 7, 6} {
		all[1].hear(sent[i], "x")
		if _, err := all[1].stage(all[1].e, sent[i]); !errors.Is(err, ErrSpent) {
			t.Errorf("frame %d opened twice: %v", i, err)
		}
	}
	if _, err := all[1].stage(all[1].e, sent[5]); !errors.Is(err, ErrSpent) {
		t.Errorf("beyond the window: %v", err)
	}
}

func TestRFCPublicCommitsAndPSK(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 43, true)
	a, b := all[0], all[1]
	id := PreSharedKeyID{Type: PSKTypeExternal, ID: []byte("psk"), Nonce: make([]byte, 32)}
	lookup := func(PreSharedKeyID) []byte { return []byte("secret") }
	r := CommitRequest{Public: true, Proposals: []Proposal{&PreSharedKey{ID: id}}, PSK: lookup}
	c, child := a.commit(a.e, r)
	m, err := ParseMLSMessage(c.Message)
	if err != nil || m.Public == nil || m.Public.Content.Commit.Path != nil {
		t.Fatal("want a public commit without a path")
	}
	if _, err := b.e.OpenPublic(m.Public, OpenOptions{}); !errors.Is(err, ErrPSK) {
		t.Errorf("without the PSK: %v", err)
	}
	wrong := OpenOptions{PSK: func(PreSharedKeyID) []byte { return []byte("other") }}
	if _, err := b.e.OpenPublic(m.Public, wrong); !errors.Is(err, ErrConfirmation) {
		t.Errorf("another PSK: %v", err)
	}
	out, err := b.e.OpenPublic(m.Public, OpenOptions{PSK: lookup})
	if err != nil || !bytes.Equal(out.Commit.Child.EpochAuthenticator(), child.EpochAuthenticator()) {
		t.Errorf("%v", err)
	}
	m.Public.MembershipTag[0] ^= 1
	if _, err := b.e.OpenPublic(m.Public, OpenOptions{PSK: lookup}); !errors.Is(err, ErrMAC) {
		t.Errorf("membership tag: %v", err)
	}
}

// Section 12.4: a Remove needs a path, so does a commit of nothing.
func TestRFCPathRequired(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 44, false)
	a, b := all[0], all[1]
	honest, _ := a.commit(a.e, CommitRequest{})
	for _, list := range [][]ProposalOrRef{nil, {{Proposal: &Remove{Removed: 2}}}, {{Proposal: &GroupContextExtensions{}}}} {
		bad := forge(t, all[2].e, honest.Message, forgery{guard: &[4]byte{}, resign: a.signer, change: func(x *AuthenticatedContent) {
			x.Content.Commit = &Commit{Proposals: list}
		}})
		if _, err := b.stage(b.e, bad); !errors.Is(err, ErrProposals) {
			t.Errorf("%v without a path: %v", list, err)
		}
	}
}

// Gaps add up: only the window's last keys are kept.
func TestSkippedKeysAreBounded(t *testing.T) {
	s, err := suiteByID(testSuite)
	if err != nil {
		t.Fatal(err)
	}
	r := &ratchet{secret: make([]byte, 32)}
	w := Window{Skipped: 2, Forward: 10}
	for _, g := range []uint32{0, 3, 6} {
		if _, err := r.take(s, g, w); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.skipped) != 2 || r.skipped[0].generation != 4 {
		t.Errorf("%d keys kept", len(r.skipped))
	}
	if _, err := r.take(s, 1, w); !errors.Is(err, ErrSpent) {
		t.Errorf("a key beyond the window: %v", err)
	}
	for _, g := range []uint32{18, 1<<32 - 1} {
		if _, err := r.take(s, g, w); !errors.Is(err, ErrGeneration) {
			t.Errorf("generation %d: %v", g, err)
		}
	}
	if _, err := r.take(s, 17, w); err != nil {
		t.Error(err)
	}
}

// A kept ratchet gives every generation again, also across its marks and
// through its record.
func TestKeptRatchet(t *testing.T) {
	s, err := suiteByID(testSuite)
	if err != nil {
		t.Fatal(err)
	}
	w := Window{Forward: 5000}
	r := &ratchet{secret: make([]byte, 32), marks: [][]byte{make([]byte, 32)}}
	plain := &ratchet{secret: make([]byte, 32)}
	keys := map[uint32]ratchetKey{}
	for g := range uint32(2*markEvery + 3) {
		if keys[g], err = plain.take(s, g, w); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.take(s, 2*markEvery+2, w); err != nil {
		t.Fatal(err)
	}
	if r, err = parseRatchet(s, r.record()); err != nil {
		t.Fatal(err)
	}
	for _, g := range []uint32{0, 1, markEvery - 1, markEvery, markEvery + 1, 2*markEvery - 1, 2 * markEvery, 2*markEvery + 2} {
		k, err := r.take(s, g, w)
		if err != nil || !bytes.Equal(k.key, keys[g].key) || !bytes.Equal(k.nonce, keys[g].nonce) {
			t.Errorf("generation %d: %v", g, err)
		}
	}
}
