package mls

import (
	"bytes"
	"errors"
	"testing"
)

// dmlsCommit frames a commit of d as the forger who is its author: signed,
// canonical, and with a right path; the confirmation tag is that of an honest
// commit of the same generation.
func dmlsCommit(t *testing.T, d, insider *device, change func(*Commit)) []byte {
	t.Helper()
	honest, err := d.e.Commit(CommitRequest{}, d.signer, d.env)
	if err != nil {
		t.Fatal(err)
	}
	return forge(t, insider.e, honest.Message, forgery{resign: d.signer, change: func(a *AuthenticatedContent) { change(a.Content.Commit) }})
}

// TestDMLSRules: what a DMLS group forbids beyond RFC 9420 (draft-kohbrok-mls-
// dmls and docs/decisions/0003, 0005, 0007, 0009).
func TestDMLSRules(t *testing.T) {
	k := kind{schedule: DMLS}
	all := k.group(t, 3, 150)
	a, b, insider := all[0], all[1], all[2]
	for name, r := range map[string]struct {
		p     Proposal
		words string
	}{
		"PreSharedKey": {testPSK("x"), "proposal type 4"},
		"ReInit":       {&ReInit{GroupID: []byte("n"), Version: 1, CipherSuite: testSuite}, "proposal type 5"},
		"ExternalInit": {&ExternalInit{KEMOutput: make([]byte, 32)}, "proposal type 6"},
		"Update":       {a.update(), "Update by proposal"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.stage(b.e, dmlsCommit(t, a, insider, func(c *Commit) { c.Proposals = byValue(r.p) }))
			refused(t, err, ErrForbidden, r.words)
			_, err = a.e.Commit(CommitRequest{Proposals: []Proposal{r.p}}, a.signer, a.env)
			refused(t, err, ErrForbidden, r.words)
			_, _, err = a.e.Propose(r.p, nil, a.signer, a.env)
			refused(t, err, ErrForbidden, r.words)
			_, err = b.stage(b.e, dmlsProposal(t, a, insider, r.p))
			refused(t, err, ErrForbidden, r.words)
		})
	}
	for name, p := range map[string]Proposal{
		"Add by reference": plainAdd(t, a), "Remove of another by reference": &Remove{Removed: 1}, "GroupContextExtensions by reference": &GroupContextExtensions{},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := a.e.Propose(p, nil, a.signer, a.env)
			refused(t, err, ErrForbidden, "by reference")
			_, err = b.stage(b.e, dmlsProposal(t, a, insider, p))
			refused(t, err, ErrForbidden, "by reference")
		})
	}
	t.Run("self-Remove by reference", func(t *testing.T) {
		if _, err := b.stage(b.e, dmlsProposal(t, a, insider, &Remove{Removed: 0})); err != nil {
			t.Error(err)
		}
	})
	for name, list := range map[string][]ProposalOrRef{"commit of nothing without a path": nil, "commit of an Add without a path": byValue(plainAdd(t, a))} {
		t.Run(name, func(t *testing.T) {
			_, err := b.stage(b.e, dmlsCommit(t, a, insider, func(c *Commit) { *c = Commit{Proposals: list} }))
			refused(t, err, ErrForbidden, "without a path")
		})
	}
	t.Run("frame in the clear", func(t *testing.T) {
		c := a.e.content(FramedContent{ContentType: ContentTypeCommit, Commit: &Commit{Path: a.path()}}, WireFormatPublicMessage)
		if err := c.sign(a.e.suite, a.e.encoded, a.signer); err != nil {
			t.Fatal(err)
		}
		_, err := b.e.OpenPublic(&PublicMessage{Content: c.Content, Auth: c.Auth}, OpenOptions{})
		refused(t, err, ErrForbidden, "PublicMessage")
		_, err = a.e.Commit(CommitRequest{Public: true}, a.signer, a.env)
		refused(t, err, ErrForbidden, "PublicMessage")
	})
	t.Run("external commit", func(t *testing.T) {
		c := &FramedContent{GroupID: b.e.GroupID(), Epoch: b.e.Number(), Sender: Sender{Type: SenderTypeNewMemberCommit},
			ContentType: ContentTypeCommit, Commit: &Commit{Path: a.path()}}
		_, err := b.e.OpenPublic(&PublicMessage{Content: *c}, OpenOptions{})
		refused(t, err, ErrForbidden, "")
		refused(t, b.e.checkList(&transition{external: true}, true), ErrForbidden, "external commit")
	})
}

// dmlsProposal frames a proposal of d that no check has seen.
func dmlsProposal(t *testing.T, d, insider *device, p Proposal) []byte {
	t.Helper()
	honest, _, err := d.e.Propose(&Remove{Removed: d.e.self}, nil, d.signer, d.env)
	if err != nil {
		t.Fatal(err)
	}
	return forge(t, insider.e, honest, forgery{resign: d.signer, change: func(a *AuthenticatedContent) { a.Content.Proposal = p }})
}

// TestDMLSFrameRules: a frame is a function of its content.
func TestDMLSFrameRules(t *testing.T) {
	k := kind{schedule: DMLS}
	all := k.group(t, 3, 151)
	a, b, insider := all[0], all[1], all[2]
	commit, err := a.e.Commit(CommitRequest{}, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	leave, _, err := a.e.Propose(&Remove{Removed: 0}, nil, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	for kind, honest := range map[string][]byte{"commit": commit.Message, "proposal": leave, "application": a.say("text")} {
		t.Run(kind, func(t *testing.T) {
			_, err := b.stage(b.e, forge(t, insider.e, honest, forgery{guard: &[4]byte{1, 2, 3, 4}}))
			refused(t, err, ErrNotCanonical, "reuse guard")
			for _, n := range []int{1, 64, 1000} {
				_, err = b.stage(b.e, forge(t, insider.e, honest, forgery{padding: n}))
				refused(t, err, ErrNotCanonical, "bytes of padding")
			}
			if again := forge(t, insider.e, honest, forgery{}); !bytes.Equal(again, honest) {
				t.Error("the honest frame sealed again is another")
			}
		})
	}
}

// TestDMLSStateRules: a wrong tag consumes nothing; a child is derived once.
func TestDMLSStateRules(t *testing.T) {
	k := kind{schedule: DMLS}
	all := k.group(t, 3, 153)
	a, b, insider := all[0], all[1], all[2]
	c, _ := a.commit(a.e, CommitRequest{})
	for range 3 {
		_, err := b.stage(b.e, forge(t, insider.e, c.Message, forgery{tag: func(tag []byte) { tag[7] ^= 1 }}))
		refused(t, err, ErrConfirmation, "")
	}
	_, back, child := b.open(b.e, c.Message)
	if child == nil {
		t.Fatal("no child")
	}
	_, err := b.stage(back, c.Message)
	refused(t, err, ErrChildTaken, "")
	_, err = b.stage(back, forge(t, insider.e, c.Message, forgery{tag: func(tag []byte) { tag[7] ^= 1 }}))
	refused(t, err, ErrChildTaken, "")
}

// TestDMLSWelcomeRules: a Welcome into a DMLS group has a path secret and no
// PSK, and is bound to the key schedule.
func TestDMLSWelcomeRules(t *testing.T) {
	x := newWelcomed(t, kind{schedule: DMLS}, 154)
	if err := x.join(t, welcomeForgery{}); err != nil {
		t.Fatal(err)
	}
	refused(t, x.join(t, welcomeForgery{secrets: func(g *groupSecrets) { g.pathSecret = nil }}), ErrForbidden, "path")
	refused(t, x.join(t, welcomeForgery{secrets: func(g *groupSecrets) { g.psks = []PreSharedKeyID{testPSK("x").ID} }}), ErrForbidden, "PSK")
	if _, _, err := Join(forgeWelcome(t, x.all[0], x.staged, welcomeForgery{}), nil, x.kp, JoinOptions{}, x.joiner.env); !errors.Is(err, ErrConfig) {
		t.Errorf("no key schedule: %v", err)
	}
}
