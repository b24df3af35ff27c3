package mls

import (
	"errors"
	"testing"
)

// TestExternalSenderRules: who may propose from outside is judged when the
// extension comes into the group, changes, or is met by who joins (sections
// 5.3.1 and 12.1.8.1).
func TestExternalSenderRules(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 160, false)
	a, b, c := all[0], all[1], all[2]
	outside := newDevice(t, 20, a.env.Rand)
	extension := func(name string) []Extension {
		return []Extension{ExternalSenders([]ExternalSender{{outside.signer.Public(), BasicCredential([]byte(name))}})}
	}
	honest, bad := extension("service"), extension("intruder")
	v := &picky{bad: "intruder", seen: map[string]int{}}
	judged := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrCredential) {
			t.Errorf("%s: %v", what, err)
		}
	}
	commit := func(p Proposal) *StagedCommit {
		t.Helper()
		out, err := a.e.Commit(CommitRequest{Proposals: []Proposal{p}}, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	receive := func(d *device, msg []byte) error {
		m, err := ParsePrivateMessage(msg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.e.Open(m, OpenOptions{Env: d.env, Credentials: v})
		return err
	}
	for what, p := range map[string]Proposal{
		"extension with a bad sender":            &GroupContextExtensions{Extensions: bad},
		"ReInit to an extension of a bad sender": &ReInit{GroupID: []byte("next"), Version: mls10, CipherSuite: testSuite, Extensions: bad},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := a.e.Commit(CommitRequest{Proposals: []Proposal{p}, Credentials: v}, a.signer, a.env)
			judged("committer", err)
			judged("receiver", receive(b, commit(p).Message))
			msg, _, err := c.e.Propose(p, nil, c.signer, c.env)
			if err != nil {
				t.Fatal(err)
			}
			judged("receiver of the proposal", receive(b, msg))
		})
	}
	t.Run("extension that stays as it was", func(t *testing.T) {
		advance(t, a, CommitRequest{Proposals: []Proposal{&GroupContextExtensions{Extensions: honest}}}, b, c)
		v.bad, v.seen = "service", map[string]int{}
		more := append([]Extension{RequiredCapabilities(nil, nil, nil)}, honest...)
		if err := receive(b, commit(&GroupContextExtensions{Extensions: more}).Message); err != nil || v.seen["service"] != 0 {
			t.Errorf("judged again: %v, %v", err, v.seen)
		}
	})
	t.Run("joining a group with a bad sender", func(t *testing.T) {
		joiner := newDevice(t, 9, a.env.Rand)
		bundle := joiner.keyPackage()
		welcome, err := commit(&Add{KeyPackage: *bundle.KeyPackage}).Welcome(nil, true, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = Join(welcome, nil, bundle, JoinOptions{KeySchedule: RFC9420, Credentials: v}, joiner.env)
		judged("by Welcome", err)
		_, err = CommitExternal(groupInfo(t, b, true), nil, ExternalCommit{Leaf: joiner.options(), Credentials: v}, joiner.signer, joiner.env)
		judged("by external commit", err)
		_, err = a.e.Branch(SuccessorRequest{GroupID: []byte("branch"), Extensions: honest, Leaf: a.options(), Credentials: v}, a.signer, a.env)
		judged("founding a branch", err)
	})
	for what, x := range map[string]Extension{
		"external_senders that do not parse": {Type: ExtensionExternalSenders, Data: []byte{2, 1}},
		"key of an external sender":          ExternalSenders([]ExternalSender{{[]byte("short"), BasicCredential(nil)}}),
	} {
		t.Run(what, func(t *testing.T) {
			p := &GroupContextExtensions{Extensions: []Extension{x}}
			if _, err := a.e.Commit(CommitRequest{Proposals: []Proposal{p}}, a.signer, a.env); !errors.Is(err, ErrProposals) {
				t.Errorf("committer: %v", err)
			}
			if _, err := b.stage(b.e, a.lawlessList(byValue(p)...)); !errors.Is(err, ErrProposals) {
				t.Errorf("receiver: %v", err)
			}
		})
	}
}

// TestBranchRules: which leaves a subgroup may have, and of which group (section
// 11.3).
func TestBranchRules(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 161, false)
	a, b := all[0], all[1]
	// branch founds a subgroup of a with b and others, and has b join it.
	branch := func(parent *Epoch, others ...*KeyPackage) error {
		t.Helper()
		f, j := a.renewed(testSuite), b.renewed(testSuite)
		bundle := j.keyPackage()
		r := SuccessorRequest{GroupID: []byte("branch"), KeyPackages: append(others, bundle.KeyPackage), Leaf: f.options()}
		c, err := a.e.Branch(r, f.signer, f.env)
		if err != nil {
			return err
		}
		welcome, err := c.Welcome(nil, true, f.signer, f.env)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = Join(welcome, nil, bundle, JoinOptions{KeySchedule: RFC9420, Parent: parent}, j.env)
		return err
	}
	t.Run("two leaves that match one of the old group", func(t *testing.T) {
		if err := branch(b.e, b.renewed(testSuite).keyPackage().KeyPackage); err != nil {
			t.Error(err)
		}
	})
	t.Run("a leaf that matches none", func(t *testing.T) {
		stranger := newDevice(t, 40, a.env.Rand).keyPackage().KeyPackage
		refused(t, branch(b.e, stranger), ErrWelcome, "is no member of the old group")
	})
	t.Run("branch of a group that a ReInit closed", func(t *testing.T) {
		b.e.reinit = &ReInit{GroupID: []byte("next"), Version: mls10, CipherSuite: testSuite}
		defer func() { b.e.reinit = nil }()
		refused(t, branch(b.e), ErrWelcome, "closed group")
	})
}
