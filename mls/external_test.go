package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// listen opens a message with options, on every device, and takes it up. It
// gives what the last of them saw.
func listen(t testing.TB, msg []byte, o OpenOptions, all ...*device) (last *Opened) {
	t.Helper()
	m, err := ParseMLSMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		o.Env = d.env
		var out *Opened
		if m.Public != nil {
			out, err = d.e.OpenPublic(m.Public, o)
		} else {
			out, err = d.e.Open(m.Private, o)
		}
		if err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		var child *Epoch
		if out.Commit != nil && out.Commit.Child != nil {
			child = d.keep(out.Commit.Child)
		}
		d.e = d.apply(d.e, out.Delta)
		if child != nil {
			d.e = child
		}
		last = out
	}
	return last
}

// externalCommit lets a device join by the GroupInfo of a member.
func (d *device) externalCommit(info, tree []byte, r ExternalCommit) *StagedCommit {
	d.t.Helper()
	r.Leaf = d.options()
	c, err := CommitExternal(info, tree, r, d.signer, d.env)
	if err != nil {
		d.t.Fatalf("%s joins: %v", d.name, err)
	}
	d.e = d.keep(c.Child)
	return c
}

func groupInfo(t testing.TB, d *device, withTree bool) []byte {
	t.Helper()
	b, err := d.e.GroupInfo(nil, withTree, d.signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Section 12.4.3.2: joining from outside, with the tree in the GroupInfo or
// beside it, then a resync, then work on both sides.
func TestExternalCommit(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		all := newGroupOf(t, s.id, RFC9420, 3, 90, true)
		joiner := newDeviceOf(t, s.id, 7, all[0].env.Rand)
		joiner.reload = true
		c := joiner.externalCommit(groupInfo(t, all[1], true), nil, ExternalCommit{})
		out := listen(t, c.Message, OpenOptions{}, all...)
		if out.Origin.Type != SenderTypeNewMemberCommit || out.Commit.Leaf == nil {
			t.Errorf("%+v", out)
		}
		all = append(all, joiner)
		agree(t, all...)
		advance(t, joiner, CommitRequest{}, all[:3]...)
		advance(t, all[2], CommitRequest{}, all[0], all[1], joiner)
		all[0].hear(joiner.say("here"), "here")

		// The same client lost its state and comes back in its own place.
		info := groupInfo(t, all[0], false)
		back := &device{t: t, suite: s.id, name: joiner.name, signer: joiner.signer, env: joiner.env,
			nodes: map[string][]byte{}, stores: map[*Epoch]map[string][]byte{}}
		self := joiner.e.Self()
		c = back.externalCommit(info, all[0].e.Tree().Marshal(), ExternalCommit{Resync: &self})
		out = listen(t, c.Message, OpenOptions{}, all[:3]...)
		if !slices.Equal(out.Commit.Removed, []LeafIndex{self}) || back.e.Self() != self {
			t.Errorf("removed %v, now at %d", out.Commit.Removed, back.e.Self())
		}
		if out, err := joiner.stage(joiner.e, c.Message); err != nil || !out.Commit.SelfRemoved {
			t.Errorf("the former self: %v", err)
		}
		all[3] = back
		agree(t, all...)
		advance(t, all[1], CommitRequest{}, all[0], all[2], back)
	})
}

// An external commit may inject PSKs, and takes the leftmost blank leaf.
func TestExternalCommitWithPSKs(t *testing.T) {
	all := newGroup(t, RFC9420, 4, 91, false)
	advance(t, all[0], CommitRequest{Proposals: []Proposal{&Remove{Removed: 1}}}, all[2], all[3])
	joiner := newDevice(t, 7, all[0].env.Rand)
	var ids []PreSharedKeyID
	for i := range 3 {
		ids = append(ids, PreSharedKeyID{Type: PSKTypeExternal, ID: []byte{byte(i)}, Nonce: bytes.Repeat([]byte{byte(i)}, 32)})
	}
	lookup := func(id PreSharedKeyID) []byte { return append([]byte("secret"), id.ID...) }
	c := joiner.externalCommit(groupInfo(t, all[0], true), nil, ExternalCommit{PSKs: ids, PSK: lookup})
	members := []*device{all[0], all[2], all[3]}
	if _, err := all[0].stage(all[0].e, c.Message); !errors.Is(err, ErrPSK) {
		t.Errorf("without the PSKs: %v", err)
	}
	listen(t, c.Message, OpenOptions{PSK: lookup}, members...)
	agree(t, append(members, joiner)...)
	if joiner.e.Self() != 1 {
		t.Errorf("at leaf %d", joiner.e.Self())
	}
}

// Section 12.4.3.2, the joiner's side: what a GroupInfo must hold.
func TestExternalCommitRefuses(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 92, false)
	joiner := newDevice(t, 7, all[0].env.Rand)
	try := func(what string, want error, change func(*GroupInfo), resign bool) {
		t.Helper()
		g, err := ParseGroupInfo(groupInfo(t, all[0], true))
		if err != nil {
			t.Fatal(err)
		}
		change(g)
		if resign {
			if err := g.sign(all[0].e.suite, all[0].signer); err != nil {
				t.Fatal(err)
			}
		}
		b := (&MLSMessage{WireFormat: WireFormatGroupInfo, GroupInfo: g}).Marshal()
		if _, err := CommitExternal(b, nil, ExternalCommit{Leaf: joiner.options()}, joiner.signer, joiner.env); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	try("signature", ErrSignature, func(g *GroupInfo) { g.Signature[5] ^= 1 }, false)
	try("no external_pub", ErrGroupInfo, func(g *GroupInfo) { g.Extensions = g.Extensions[1:] }, true)
	try("external_pub", ErrGroupInfo, func(g *GroupInfo) { g.Extensions[0].Data = []byte{1, 1} }, true)
	try("no tree", ErrGroupInfo, func(g *GroupInfo) { g.Extensions = g.Extensions[:1] }, true)
	try("tree hash", ErrGroupInfo, func(g *GroupInfo) { g.GroupContext.TreeHash[0] ^= 1 }, true)
	try("signer", ErrMember, func(g *GroupInfo) { g.Signer = 3 }, true)
	try("suite", ErrUnsupported, func(g *GroupInfo) { g.GroupContext.CipherSuite = 0x7777 }, true)
	try("twice", ErrGroupInfo, func(g *GroupInfo) { g.Extensions = append(g.Extensions, g.Extensions[0]) }, true)
	try("group id", ErrTree, func(g *GroupInfo) { // leaves of members who committed are bound to it
		advanceOnce(t, all)
		next, err := ParseGroupInfo(groupInfo(t, all[0], true))
		if err != nil {
			t.Fatal(err)
		}
		*g = *next
		g.GroupContext.GroupID = []byte("another group")
	}, true)
	if _, err := CommitExternal([]byte{0, 1, 0, 9}, nil, ExternalCommit{}, joiner.signer, joiner.env); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no GroupInfo: %v", err)
	}
	gone := LeafIndex(9)
	if _, err := CommitExternal(groupInfo(t, all[0], true), nil, ExternalCommit{Leaf: joiner.options(), Resync: &gone}, joiner.signer, joiner.env); !errors.Is(err, ErrProposals) {
		t.Errorf("resync of nobody: %v", err)
	}
}

func advanceOnce(t *testing.T, all []*device) {
	t.Helper()
	advance(t, all[0], CommitRequest{}, all[1:]...)
}

// Section 12.2: what members refuse of an external commit.
func TestExternalCommitLists(t *testing.T) {
	all := newGroup(t, RFC9420, 4, 93, false)
	joiner := newDevice(t, 7, all[0].env.Rand)
	c := joiner.externalCommit(groupInfo(t, all[0], true), nil, ExternalCommit{})
	kp := newDevice(t, 8, all[0].env.Rand).keyPackage().KeyPackage
	for what, change := range map[string]func(*Commit){
		"no ExternalInit":  func(c *Commit) { c.Proposals = nil },
		"two ExternalInit": func(c *Commit) { c.Proposals = append(c.Proposals, c.Proposals[0]) },
		"two Removes": func(c *Commit) {
			c.Proposals = append(c.Proposals, ProposalOrRef{Proposal: &Remove{Removed: 1}}, ProposalOrRef{Proposal: &Remove{Removed: 2}})
		},
		"Add": func(c *Commit) { c.Proposals = append(c.Proposals, ProposalOrRef{Proposal: &Add{KeyPackage: *kp}}) },
		"GroupContextExtensions": func(c *Commit) {
			c.Proposals = append(c.Proposals, ProposalOrRef{Proposal: &GroupContextExtensions{}})
		},
		"ReInit": func(c *Commit) {
			c.Proposals = append(c.Proposals, ProposalOrRef{Proposal: &ReInit{Version: 1, CipherSuite: 1}})
		},
	} {
		m, err := ParseMLSMessage(c.Message)
		if err != nil {
			t.Fatal(err)
		}
		change(m.Public.Content.Commit)
		a := m.Public.authenticated()
		if err := a.sign(all[1].e.suite, all[1].e.encoded, joiner.signer); err != nil {
			t.Fatal(err)
		}
		m.Public.Auth.Signature = a.Auth.Signature
		if _, err := all[1].stage(all[1].e, m.Marshal()); !errors.Is(err, ErrProposals) {
			t.Errorf("%s: %v", what, err)
		}
	}
	listen(t, c.Message, OpenOptions{}, all...)
	agree(t, append(all, joiner)...)
}

// Section 12.1.8: proposals of external senders and of who wants to join.
func TestExternalProposals(t *testing.T) {
	eachSuite(t, func(t *testing.T, s *suite) {
		all := newGroupOf(t, s.id, RFC9420, 3, 94, true)
		a, b, c := all[0], all[1], all[2]
		service := newDeviceOf(t, s.id, 20, a.env.Rand)
		senders := []ExternalSender{{a.signer.Public(), BasicCredential([]byte("nobody"))}, {service.signer.Public(), BasicCredential([]byte("service"))}}
		extensions := []Extension{ExternalSenders(senders)}
		advance(t, a, CommitRequest{Proposals: []Proposal{&GroupContextExtensions{Extensions: extensions}}}, b, c)

		joiner := newDeviceOf(t, s.id, 21, a.env.Rand)
		bundle := joiner.keyPackage()
		volunteer := newDeviceOf(t, s.id, 22, a.env.Rand)
		own := volunteer.keyPackage()
		context := a.e.GroupContext()
		psk := PreSharedKeyID{Type: PSKTypeExternal, ID: []byte("psk"), Nonce: make([]byte, s.nh)}
		lookup := func(PreSharedKeyID) []byte { return []byte("secret") }
		var refs [][]byte
		for _, p := range []Proposal{&Add{KeyPackage: *bundle.KeyPackage}, &Remove{Removed: 2}, &PreSharedKey{ID: psk},
			&GroupContextExtensions{Extensions: append(extensions, RequiredCapabilities(nil, nil, nil))}} {
			msg, err := ExternalProposal(&context, 1, p, []byte("aad"), service.signer)
			if err != nil {
				t.Fatal(err)
			}
			out := listen(t, msg, OpenOptions{}, all...)
			if out.Origin != (Sender{SenderTypeExternal, 1}) || string(out.AuthenticatedData) != "aad" {
				t.Errorf("%+v", out.Origin)
			}
			refs = append(refs, out.Ref)
		}
		msg, err := ProposeJoin(&context, own.KeyPackage, nil, volunteer.signer)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, listen(t, msg, OpenOptions{}, all...).Ref)

		commit, child := a.commit(a.e, CommitRequest{References: refs, PSK: lookup})
		welcome, err := commit.Welcome(nil, true, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		a.e = child
		listen(t, commit.Message, OpenOptions{PSK: lookup}, b)
		for d, kp := range map[*device]*KeyPackageBundle{joiner: bundle, volunteer: own} {
			e, _, err := Join(welcome, nil, kp, JoinOptions{KeySchedule: RFC9420, Signer: d.signer, PSK: lookup}, d.env)
			if err != nil {
				t.Fatal(err)
			}
			d.e = d.keep(e)
		}
		agree(t, a, b, joiner, volunteer)
		if out, err := c.stage(c.e, commit.Message); err != nil || !out.Commit.SelfRemoved {
			t.Errorf("the removed member: %v", err)
		}
	})
}

func TestExternalProposalsRefused(t *testing.T) {
	all := newGroup(t, RFC9420, 2, 95, false)
	service := newDevice(t, 20, all[0].env.Rand)
	context := all[0].e.GroupContext()
	// Without the extension, nobody outside may propose.
	msg, err := ExternalProposal(&context, 0, &Remove{Removed: 1}, nil, service.signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all[0].stage(all[0].e, msg); !errors.Is(err, ErrMember) {
		t.Errorf("no external_senders: %v", err)
	}
	x := ExternalSenders([]ExternalSender{{service.signer.Public(), BasicCredential(nil)}})
	advance(t, all[0], CommitRequest{Proposals: []Proposal{&GroupContextExtensions{Extensions: []Extension{x}}}}, all[1])
	context = all[0].e.GroupContext()
	if msg, err = ExternalProposal(&context, 0, &Remove{Removed: 1}, nil, all[1].signer); err != nil {
		t.Fatal(err)
	}
	if _, err := all[0].stage(all[0].e, msg); !errors.Is(err, ErrSignature) {
		t.Errorf("another's signature: %v", err)
	}
	for _, p := range []Proposal{&Update{}, &ExternalInit{}} {
		if _, err := ExternalProposal(&context, 0, p, nil, service.signer); !errors.Is(err, ErrProposals) {
			t.Errorf("%T made: %v", p, err)
		}
	}
	leaf, _, err := all[1].e.suite.newUpdateLeaf(all[1].e.tree.Leaf(1), LeafChange{}, all[1].signer, context.GroupID, 1, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Proposal{&Update{LeafNode: *leaf}, &ExternalInit{}} {
		for _, from := range []Sender{{SenderTypeExternal, 0}, {SenderTypeNewMemberProposal, 0}} {
			if msg, err = proposeOutside(&context, from, p, nil, service.signer); err != nil {
				t.Fatal(err)
			}
			if _, err := all[0].stage(all[0].e, msg); !errors.Is(err, ErrMalformed) {
				t.Errorf("%T of %v: %v", p, from, err)
			}
		}
	}
	if _, err := ProposeJoin(&context, newDevice(t, 3, all[0].env.Rand).keyPackage().KeyPackage, nil, service.signer); !errors.Is(err, ErrConfig) {
		t.Errorf("another's KeyPackage: %v", err)
	}
	if _, err := ParseExternalSenders([]Extension{{Type: ExtensionExternalSenders, Data: []byte{3, 1}}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("broken extension: %v", err)
	}
}

// Design 5.2: a DMLS group has no outside.
func TestDMLSHasNoOutside(t *testing.T) {
	all := newGroup(t, DMLS, 2, 96, false)
	if _, err := all[0].e.GroupInfo(nil, true, all[0].signer); !errors.Is(err, ErrForbidden) {
		t.Errorf("GroupInfo: %v", err)
	}
	if _, err := all[0].e.Branch(SuccessorRequest{GroupID: []byte("b"), Leaf: all[0].options()}, all[0].signer, all[0].env); !errors.Is(err, ErrForbidden) {
		t.Errorf("Branch: %v", err)
	}
	if _, _, err := all[0].e.ProposeWith(ProposalRequest{Proposal: &Remove{}, Public: true}, all[0].signer, all[0].env); !errors.Is(err, ErrForbidden) {
		t.Errorf("public proposal: %v", err)
	}
	context := all[0].e.GroupContext()
	d := newDevice(t, 3, all[0].env.Rand)
	msg, err := ProposeJoin(&context, d.keyPackage().KeyPackage, nil, d.signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all[0].stage(all[0].e, msg); !errors.Is(err, ErrForbidden) {
		t.Errorf("new member's proposal: %v", err)
	}
	plain := newGroup(t, RFC9420, 1, 97, false)
	c := d.externalCommit(groupInfo(t, plain[0], true), nil, ExternalCommit{})
	m, err := ParseMLSMessage(c.Message)
	if err != nil {
		t.Fatal(err)
	}
	m.Public.Content.Epoch = all[0].e.Number()
	if _, err := all[0].stage(all[0].e, m.Marshal()); !errors.Is(err, ErrForbidden) {
		t.Errorf("external commit: %v", err)
	}
}

// picky is a CredentialValidator that knows names.
type picky struct {
	bad  string
	seen map[string]int
}

func (p *picky) Validate(_ CipherSuite, leaf *LeafNode, _ time.Time) error {
	p.seen[string(leaf.Credential.Identity)]++
	if string(leaf.Credential.Identity) == p.bad {
		return fmt.Errorf("%s is not welcome", p.bad)
	}
	return nil
}

func (p *picky) ValidateSender(_ CipherSuite, x *ExternalSender, _ time.Time) error {
	p.seen[string(x.Credential.Identity)]++
	if string(x.Credential.Identity) == p.bad {
		return fmt.Errorf("%s has no say", p.bad)
	}
	return nil
}

func (p *picky) Replaces(old, successor *LeafNode) error {
	if !bytes.Equal(old.Credential.Identity, successor.Credential.Identity) {
		return errors.New("another client")
	}
	return nil
}

// anybody is a CredentialValidator that lets everything pass.
type anybody struct{}

func (anybody) Validate(CipherSuite, *LeafNode, time.Time) error             { return nil }
func (anybody) ValidateSender(CipherSuite, *ExternalSender, time.Time) error { return nil }
func (anybody) Replaces(*LeafNode, *LeafNode) error                          { return nil }

// Section 5.3.1: the application judges every credential that comes in.
func TestCredentialValidator(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 98, false)
	a, b := all[0], all[1]
	v := &picky{bad: "member-9", seen: map[string]int{}}
	joiner := newDevice(t, 9, a.env.Rand)
	bundle := joiner.keyPackage()
	add := CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *bundle.KeyPackage}}, Credentials: v}
	if _, err := a.e.Commit(add, a.signer, a.env); !errors.Is(err, ErrCredential) {
		t.Errorf("committer: %v", err)
	}
	add.Credentials = nil
	c, _ := a.commit(a.e, add)
	m, err := ParsePrivateMessage(c.Message)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.e.Open(m, OpenOptions{Env: b.env, Credentials: v}); !errors.Is(err, ErrCredential) {
		t.Errorf("receiver: %v", err)
	}
	welcome, err := c.Welcome(nil, true, a.signer, a.env)
	if err != nil {
		t.Fatal(err)
	}
	v.bad = "member-2"
	if _, _, err := Join(welcome, nil, bundle, JoinOptions{KeySchedule: RFC9420, Credentials: v}, joiner.env); !errors.Is(err, ErrCredential) {
		t.Errorf("joiner: %v", err)
	}
	v.bad, v.seen = "", map[string]int{}
	if _, _, err := Join(welcome, nil, bundle, JoinOptions{KeySchedule: RFC9420, Credentials: v}, joiner.env); err != nil || len(v.seen) != 4 {
		t.Errorf("joiner saw %v: %v", v.seen, err)
	}
	// A resync of somebody else's leaf.
	stranger := newDevice(t, 30, a.env.Rand)
	victim := LeafIndex(2)
	if _, err := CommitExternal(groupInfo(t, b, true), nil, ExternalCommit{Leaf: stranger.options(), Resync: &victim, Credentials: v}, stranger.signer, stranger.env); !errors.Is(err, ErrCredential) {
		t.Errorf("resync, own side: %v", err)
	}
	bad := stranger.externalCommit(groupInfo(t, b, true), nil, ExternalCommit{Resync: &victim, Credentials: anybody{}})
	pm, err := ParseMLSMessage(bad.Message)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.e.OpenPublic(pm.Public, OpenOptions{Env: b.env, Credentials: v}); !errors.Is(err, ErrCredential) {
		t.Errorf("resync: %v", err)
	}
}
