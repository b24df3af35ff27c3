package mls

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// forgery is what an insider can do: it derives the author's ratchet keys and
// sender data keys itself, opens a frame and seals it again, changed.
type forgery struct {
	tag     func([]byte) // changes the confirmation tag in place
	resign  Signer       // signs the changed content anew
	change  func(*AuthenticatedContent)
	guard   *[4]byte // nil: as the schedule wants it
	padding int      // bytes beyond the bucket
	dirty   bool     // the last byte is not zero
	at      *uint32  // another generation
}

// forge applies f to a frame that insider can open. The insider's epoch stays
// as it is.
func forge(t testing.TB, insider *Epoch, msg []byte, f forgery) []byte {
	t.Helper()
	m, err := ParsePrivateMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	fr := insider.framer()
	d, err := m.openSenderData(insider.suite, fr.senderData)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := insider.secret.stage(m.ContentType.ratchet(d.leaf), d.generation)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := fr.open(m, d, k)
	if err != nil {
		t.Fatal(err)
	}
	if f.tag != nil {
		f.tag(a.Auth.ConfirmationTag)
	}
	if f.change != nil {
		f.change(a)
	}
	if f.resign != nil {
		if err := a.sign(insider.suite, insider.encoded, f.resign); err != nil {
			t.Fatal(err)
		}
	}
	if f.at != nil {
		if k, _, err = insider.secret.stage(m.ContentType.ratchet(d.leaf), *f.at); err != nil {
			t.Fatal(err)
		}
	}
	if f.guard != nil {
		d.guard = *f.guard
	} else if d.guard, err = fr.reuseGuard(a, nil); err != nil {
		t.Fatal(err)
	}
	plain := a.unpadded()
	plain = append(plain, make([]byte, padme(len(plain))-len(plain)+f.padding)...)
	if f.dirty {
		plain[len(plain)-1] |= 1
	}
	out := &PrivateMessage{GroupID: m.GroupID, Epoch: m.Epoch, ContentType: m.ContentType, AuthenticatedData: a.Content.AuthenticatedData}
	if out.Ciphertext, err = insider.suite.aeadSeal(k.key, guarded(k.nonce, d.guard), out.contentAAD(), plain); err != nil {
		t.Fatal(err)
	}
	d.generation = k.generation
	if err := out.sealSenderData(insider.suite, fr.senderData, d); err != nil {
		t.Fatal(err)
	}
	return out.Marshal()
}

// refused checks that it was a certain rule that refused: by the kind of the
// error and by words of its text.
func refused(t testing.TB, err, want error, words string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %v with %q", err, want, words)
	}
}

// kind describes the members and the GroupContext of a group.
type kind struct {
	schedule     KeySchedule
	capabilities Capabilities
	extensions   []Extension
}

func (k kind) keyPackage(d *device) *KeyPackageBundle {
	d.t.Helper()
	o := d.options()
	o.Capabilities = k.capabilities
	b, err := NewKeyPackage(o, d.signer, d.env)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// group makes a group of n members. Under RFC 9420 nobody has sent a path, so
// that the tree has no parents yet.
func (k kind) group(t testing.TB, n int, seed uint64) []*device {
	t.Helper()
	rand := testRand(seed)
	all := make([]*device, n)
	for i := range all {
		all[i] = newDevice(t, i, rand)
	}
	leaf := all[0].options()
	leaf.Capabilities = k.capabilities
	first, err := Create(GroupConfig{Suite: testSuite, GroupID: []byte("a group"), KeySchedule: k.schedule,
		Extensions: k.extensions, Leaf: leaf}, all[0].signer, all[0].env)
	if err != nil {
		t.Fatal(err)
	}
	all[0].e = all[0].keep(first)
	var r CommitRequest
	bundles := make([]*KeyPackageBundle, n)
	for i := 1; i < n; i++ {
		bundles[i] = k.keyPackage(all[i])
		r.Proposals = append(r.Proposals, &Add{KeyPackage: *bundles[i].KeyPackage})
	}
	c, child := all[0].commit(all[0].e, r)
	welcome, err := c.Welcome(nil, true, all[0].signer, all[0].env)
	if err != nil {
		t.Fatal(err)
	}
	all[0].e = child
	for i := 1; i < n; i++ {
		all[i].join(welcome, nil, bundles[i], k.schedule)
	}
	return all
}

// frame signs content with any key and frames it in the clear, without any of
// a sender's checks. Group, epoch and, for members, the tag are right.
func frame(t testing.TB, e *Epoch, c FramedContent, s Signer) []byte {
	t.Helper()
	c.GroupID, c.Epoch = e.context.GroupID, e.context.Epoch
	a := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: c}
	if err := a.sign(e.suite, e.encoded, s); err != nil {
		t.Fatal(err)
	}
	if c.ContentType == ContentTypeCommit {
		a.Auth.ConfirmationTag = make([]byte, e.suite.nh)
	}
	m := &PublicMessage{Content: a.Content, Auth: a.Auth}
	if c.Sender.Type == SenderTypeMember {
		m.MembershipTag = a.membershipTag(e.suite, e.secrets.membership, e.encoded)
	}
	return m.Marshal()
}

func (d *device) me() Sender { return Sender{SenderTypeMember, uint32(d.e.self)} }

// lawless frames a commit of d that no check has seen.
func (d *device) lawless(c *Commit) []byte {
	d.t.Helper()
	return frame(d.t, d.e, FramedContent{Sender: d.me(), ContentType: ContentTypeCommit, Commit: c}, d.signer)
}

// lawlessList commits a list of proposals that no check has seen: where they
// can be applied at all, path and confirmation tag are those of the new epoch,
// so that nothing but the rules on the list can refuse it.
func (d *device) lawlessList(refs ...ProposalOrRef) []byte {
	d.t.Helper()
	list, err := d.e.resolve(refs, d.me())
	if err != nil {
		return d.lawless(&Commit{Proposals: refs, Path: d.path()})
	}
	t := &transition{list: list, committer: d.e.self}
	for _, p := range list {
		switch x := p.Proposal.(type) {
		case *Remove:
			t.removed = append(t.removed, x.Removed)
		case *PreSharedKey:
			t.psks = append(t.psks, x.ID)
		}
	}
	if d.e.applyList(t, nil) != nil || t.tree.Leaf(d.e.self) == nil {
		return d.lawless(&Commit{Proposals: refs, Path: d.path()})
	}
	f, err := d.e.makePath(t, LeafChange{}, d.signer, d.env)
	if err != nil {
		d.t.Fatal(err)
	}
	a := d.e.content(FramedContent{ContentType: ContentTypeCommit, Commit: &Commit{Proposals: refs, Path: f.path}}, WireFormatPublicMessage)
	if err := a.sign(d.e.suite, d.e.encoded, d.signer); err != nil {
		d.t.Fatal(err)
	}
	n, err := d.e.advance(t, a, f.opened(), onePSK)
	if err != nil {
		d.t.Fatal(err)
	}
	a.Auth.ConfirmationTag = d.e.suite.confirmationTag(n.child.secrets.confirmation, n.child.context.ConfirmedTranscriptHash)
	m, err := a.protectPublic(d.e.suite, d.e.secrets.membership, d.e.encoded)
	if err != nil {
		d.t.Fatal(err)
	}
	return m.Marshal()
}

// onePSK is the secret of all PSKs of these tests.
func onePSK(PreSharedKeyID) []byte { return []byte("psk") }

// lawlessProposal frames a proposal of d that no check has seen.
func (d *device) lawlessProposal(p Proposal) []byte {
	d.t.Helper()
	return frame(d.t, d.e, FramedContent{Sender: d.me(), ContentType: ContentTypeProposal, Proposal: p}, d.signer)
}

// byValue puts proposals into a commit by value.
func byValue(ps ...Proposal) []ProposalOrRef {
	var out []ProposalOrRef
	for _, p := range ps {
		out = append(out, ProposalOrRef{Proposal: p})
	}
	return out
}

// path makes a path of d in its present epoch, as honest members do.
func (d *device) path() *UpdatePath {
	d.t.Helper()
	t := &transition{committer: d.e.self}
	if err := d.e.applyList(t, nil); err != nil {
		d.t.Fatal(err)
	}
	f, err := d.e.makePath(t, LeafChange{}, d.signer, d.env)
	if err != nil {
		d.t.Fatal(err)
	}
	p, err := ParseUpdatePath(f.path.Marshal())
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

// resignPath makes parent hash and signature of a changed path right again.
func (d *device) resignPath(p *UpdatePath) {
	d.t.Helper()
	steps := d.e.tree.filteredDirectPath(d.e.self)
	if len(p.Nodes) == len(steps) {
		_, p.LeafNode.ParentHash = d.e.tree.pathParents(steps, p.Nodes)
	}
	if err := d.e.suite.signLeaf(&p.LeafNode, d.signer, d.e.context.GroupID, d.e.self); err != nil {
		d.t.Fatal(err)
	}
}

// resignKeyPackage makes both signatures of a changed KeyPackage right again.
func resignKeyPackage(t testing.TB, k *KeyPackage, signer Signer) {
	t.Helper()
	s, err := suiteByID(testSuite)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.signLeaf(&k.LeafNode, signer, nil, 0); err != nil {
		t.Fatal(err)
	}
	w := &writer{}
	k.writeTBS(w)
	if k.Signature, err = s.signWithLabel(signer, "KeyPackageTBS", w.buf); err != nil {
		t.Fatal(err)
	}
}

// welcomeForgery is what an insider can make of a Welcome. All that depends on
// a change (tree hash, confirmation tag, signature, encryption) follows it.
type welcomeForgery struct {
	tree    func(flat []treeNode)
	array   func(array []byte) []byte // the ratchet_tree extension; its hash does not follow
	info    func(*GroupInfo)
	secrets func(*groupSecrets)
	tag     func(*GroupInfo) // before signing
	signer  Signer
	signed  func(*GroupInfo) // after signing
	plain   func(info []byte) []byte
	opaque  func(groupSecrets []byte) []byte
	sealed  func(*Welcome)
}

// forgeWelcome makes a Welcome for the members that c adds, changed by f.
func forgeWelcome(t testing.TB, author *device, c *StagedCommit, f welcomeForgery) []byte {
	t.Helper()
	child, s := c.Child, c.Child.suite
	info := &GroupInfo{GroupContext: child.context.clone(), Signer: child.self}
	flat := flatten(child.tree)
	if f.tree != nil {
		f.tree(flat)
	}
	array := arrayOf(flat)
	if tree, err := ParseRatchetTree(s.id, array); err == nil {
		info.GroupContext.TreeHash = tree.TreeHash()
	}
	if f.array != nil {
		array = f.array(array)
	}
	info.Extensions = []Extension{{Type: ExtensionRatchetTree, Data: array}}
	g := &groupSecrets{joiner: c.next.joiner}
	if c.path != nil {
		g.pathSecret = bytes.Clone(c.path.secretFor(c.Added[0]))
	}
	if f.info != nil {
		f.info(info)
	}
	if f.secrets != nil {
		f.secrets(g)
	}
	welcome, epochSecret := s.epochSecrets(c.next.joiner, nil, info.GroupContext.Marshal())
	secrets := s.deriveSecrets(epochSecret, child.schedule)
	info.ConfirmationTag = s.confirmationTag(secrets.confirmation, info.GroupContext.ConfirmedTranscriptHash)
	if f.tag != nil {
		f.tag(info)
	}
	signer := author.signer
	if f.signer != nil {
		signer = f.signer
	}
	if err := info.sign(s, signer); err != nil {
		t.Fatal(err)
	}
	if f.signed != nil {
		f.signed(info)
	}
	plain := info.Marshal()
	if f.plain != nil {
		plain = f.plain(plain)
	}
	key, nonce := s.welcomeKey(welcome)
	m := &Welcome{CipherSuite: s.id}
	var err error
	if m.EncryptedGroupInfo, err = s.aeadSeal(key, nonce, nil, plain); err != nil {
		t.Fatal(err)
	}
	w := &writer{}
	g.write(w)
	if f.opaque != nil {
		w.buf = f.opaque(w.buf)
	}
	for _, kp := range c.joiners {
		ct, err := s.encryptWithLabel(kp.InitKey, "Welcome", m.EncryptedGroupInfo, w.buf, testRand(77))
		if err != nil {
			t.Fatal(err)
		}
		m.Secrets = append(m.Secrets, EncryptedGroupSecrets{NewMember: kp.Ref(), Secrets: ct})
	}
	if f.sealed != nil {
		f.sealed(m)
	}
	return (&MLSMessage{WireFormat: WireFormatWelcome, Welcome: m}).Marshal()
}

// arrayOf is the ratchet_tree extension of a list of nodes.
func arrayOf(flat []treeNode) []byte {
	w := &writer{}
	w.vector(func(w *writer) {
		end := len(w.buf)
		for i := range flat {
			flat[i].writeInOrder(w, &end)
		}
		w.buf = w.buf[:end]
	})
	return w.buf
}

// without is a copy of a list that lacks a value.
func without[T comparable](list []T, v T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(x T) bool { return x == v })
}
