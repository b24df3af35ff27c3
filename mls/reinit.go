package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// This file is groups that come from other groups (RFC 9420, sections 11.2 and
// 11.3): the new one in whose favour a ReInit closed the old one, and the
// subgroup that branches from a group that goes on. A resumption PSK binds both
// to the epoch that they come from.

// ReInit is the proposal that closed the group with the commit that began this
// epoch, or nil. In a closed group nothing is sent or opened; Reinitialise or a
// Welcome from it leads on.
func (e *Epoch) ReInit() *ReInit { return e.reinit }

// inUse refuses the use of a closed group.
func (e *Epoch) inUse() error {
	if e.reinit != nil {
		return fmt.Errorf("%w: group %x goes on as %x", ErrClosed, e.context.GroupID, e.reinit.GroupID)
	}
	return nil
}

// SuccessorRequest says how to found a group that comes from another one. The
// signer is that of the founder's new leaf.
type SuccessorRequest struct {
	GroupID     []byte            // of a branch; a ReInit names its own
	Extensions  []Extension       // of a branch's GroupContext; a ReInit names its own
	Leaf        KeyPackageOptions // of the founder; Suite is the new group's
	KeyPackages []*KeyPackage     // of the other members
	ForcePath   bool
	Window      Window
	Credentials CredentialValidator // nil: the same client has the same credential
}

// Reinitialise founds the group that a ReInit promised (section 11.2). e is the
// epoch after the commit of the ReInit. The commit's Child is epoch 1; its
// message is for nobody, its Welcome for all.
func (e *Epoch) Reinitialise(r SuccessorRequest, s Signer, env Env) (*StagedCommit, error) {
	if err := e.alive(); err != nil {
		return nil, err
	}
	if e.reinit == nil {
		return nil, fmt.Errorf("%w: the group is not closed by a ReInit", ErrConfig)
	}
	if e.reinit.Version != mls10 {
		return nil, fmt.Errorf("%w: ReInit to version %d", ErrUnsupported, e.reinit.Version)
	}
	c := GroupConfig{Suite: e.reinit.CipherSuite, GroupID: e.reinit.GroupID, Extensions: e.reinit.Extensions}
	return e.found(c, ResumptionReInit, r, s, env)
}

// Branch founds a subgroup of e's group, with the same version and cipher suite
// (section 11.3). All its members are members of e's group.
func (e *Epoch) Branch(r SuccessorRequest, s Signer, env Env) (*StagedCommit, error) {
	if err := e.alive(); err != nil {
		return nil, err
	}
	if err := e.inUse(); err != nil {
		return nil, err
	}
	if e.schedule == DMLS {
		return nil, fmt.Errorf("%w: branch", ErrForbidden)
	}
	c := GroupConfig{Suite: e.suite.id, GroupID: r.GroupID, Extensions: r.Extensions}
	return e.found(c, ResumptionBranch, r, s, env)
}

func (e *Epoch) found(c GroupConfig, usage uint8, r SuccessorRequest, s Signer, env Env) (*StagedCommit, error) {
	if err := judgeSenders(r.Credentials, c.Suite, c.Extensions, env.Now); err != nil {
		return nil, err
	}
	c.KeySchedule, c.Leaf, c.Window = RFC9420, r.Leaf, r.Window
	first, err := Create(c, s, env)
	if err != nil {
		return nil, err
	}
	defer first.Wipe()
	nonce, err := randomBytes(env.Rand, first.suite.nh)
	if err != nil {
		return nil, err
	}
	id := PreSharedKeyID{Type: PSKTypeResumption, Usage: usage, GroupID: e.context.GroupID, Epoch: e.context.Epoch, Nonce: nonce}
	request := CommitRequest{ForcePath: r.ForcePath, founding: true, Credentials: r.Credentials,
		PSK: func(PreSharedKeyID) []byte { return e.secrets.resumption }}
	for _, kp := range r.KeyPackages {
		request.Proposals = append(request.Proposals, &Add{KeyPackage: *kp})
	}
	request.Proposals = append(request.Proposals, &PreSharedKey{ID: id})
	out, err := first.Commit(request, s, env)
	if err != nil {
		return nil, err
	}
	out.Delta.Wipe() // of an epoch that nobody is in any more
	if err := e.checkSuccessor(usage, out.Child.context, out.Child.tree, r.Credentials); err != nil {
		out.Child.Wipe()
		out.Wipe()
		return nil, err
	}
	return out, nil
}

// checkSuccessor checks a new group against the epoch that it comes from.
func (e *Epoch) checkSuccessor(usage uint8, c GroupContext, tree *RatchetTree, v CredentialValidator) error {
	refuse := func(what string) error {
		return fmt.Errorf("%w: the new group is not the successor: %s", ErrWelcome, what)
	}
	if c.Epoch != 1 {
		return refuse("its epoch is not 1")
	}
	if usage == ResumptionBranch {
		if e.reinit != nil { // section 12.4.2: it waits for the group of the ReInit
			return refuse("a branch of a closed group")
		}
		if c.Version != e.context.Version || c.CipherSuite != e.context.CipherSuite {
			return refuse("version or cipher suite")
		}
		return e.checkClients(tree, v, false, refuse)
	}
	p := e.reinit
	if p == nil {
		return refuse("the old group is not closed by a ReInit")
	}
	if c.Version != p.Version || c.CipherSuite != p.CipherSuite || !bytes.Equal(c.GroupID, p.GroupID) {
		return refuse("version, cipher suite or group id")
	}
	if x, y := new(writer), new(writer); !sameExtensions(x, y, c.Extensions, p.Extensions) {
		return refuse("extensions")
	}
	if tree.MemberCount() != e.tree.MemberCount() {
		return refuse("number of members")
	}
	return e.checkClients(tree, v, true, refuse)
}

func sameExtensions(x, y *writer, a, b []Extension) bool {
	writeExtensions(x, a)
	writeExtensions(y, b)
	return bytes.Equal(x.buf, y.buf)
}

// sameCredential is what stands for the same client where no validator knows
// better.
func sameCredential(a, b *LeafNode) bool {
	x, y := new(writer), new(writer)
	a.Credential.write(x)
	b.Credential.write(y)
	return bytes.Equal(x.buf, y.buf)
}

// checkClients checks that each member of the new group presents a client of
// the old one. After a ReInit the membership is the same: as many members, and
// each with another one of the old group (section 11.2). The leaves of a branch
// have to match some leaf (section 11.3).
func (e *Epoch) checkClients(tree *RatchetTree, v CredentialValidator, pairs bool, refuse func(string) error) error {
	same := func(old, successor *LeafNode) bool {
		if v != nil {
			return v.Replaces(old, successor) == nil
		}
		return sameCredential(old, successor)
	}
	var olds []*LeafNode
	for _, old := range e.tree.Leaves() {
		olds = append(olds, old)
	}
	for i, leaf := range tree.Leaves() {
		j := slices.IndexFunc(olds, func(old *LeafNode) bool { return old != nil && same(old, leaf) })
		if j < 0 {
			return refuse(fmt.Sprintf("leaf %d is no member of the old group", i))
		}
		if pairs {
			olds[j] = nil // taken
		}
	}
	return nil
}

// parentPSK is the PSK of a Welcome that binds the group to an earlier one.
func (j *joining) parentPSK() *PreSharedKeyID {
	for i := range j.secrets.psks {
		if j.secrets.psks[i].succeeds() {
			return &j.secrets.psks[i]
		}
	}
	return nil
}

// lookup finds PSKs; the one of the parent there and nowhere else.
func (j *joining) lookup(id PreSharedKeyID) []byte {
	if !id.succeeds() {
		if j.options.PSK == nil {
			return nil
		}
		return j.options.PSK(id)
	}
	p := j.options.Parent
	if p == nil || p.wiped || id.Epoch != p.context.Epoch || !bytes.Equal(id.GroupID, p.context.GroupID) {
		return nil
	}
	return p.secrets.resumption
}

// checkParent checks that the group is the successor that it claims to be, and
// that it claims so if that is what the caller expects.
func (j *joining) checkParent() error {
	id := j.parentPSK()
	switch {
	case id == nil && j.options.Parent == nil:
		return nil
	case id == nil:
		return fmt.Errorf("%w: it is not bound to the group that it should come from", ErrWelcome)
	}
	return j.options.Parent.checkSuccessor(id.Usage, j.info.GroupContext, j.tree, j.options.Credentials)
}
