package mls

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
)

// What follows writes the key schedule of draft-kohbrok-mls-dmls down a second
// time, from the text and with nothing of the package's but the GroupContext.

func naiveExpand(secret []byte, label string, context []byte) []byte {
	info := binary.BigEndian.AppendUint16(nil, 32)
	info = append(append(info, byte(len("MLS 1.0 ")+len(label))), "MLS 1.0 "+label...)
	switch n := len(context); {
	case n < 64:
		info = append(info, byte(n))
	case n < 1<<14:
		info = binary.BigEndian.AppendUint16(info, 0x4000|uint16(n))
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(append(append(info, context...), 1))
	return mac.Sum(nil)
}

func naiveExtract(salt, ikm []byte) []byte {
	mac := hmac.New(sha256.New, salt)
	mac.Write(ikm)
	return mac.Sum(nil)
}

// naiveChild goes from the parent's epoch_secret, the last path secret and the
// child's GroupContext to the child's epoch_secret.
func naiveChild(parentEpochSecret, lastPathSecret, childContext []byte) []byte {
	confirmation := naiveExpand(lastPathSecret, "conf", nil)
	index := naiveExpand(confirmation, "child_init", childContext)
	node := naiveExpand(parentEpochSecret, "parent_init", nil)
	for _, b := range index {
		for bit := 7; bit >= 0; bit-- {
			side := "left"
			if b>>bit&1 == 1 {
				side = "right"
			}
			node = naiveExpand(node, "tree", []byte(side))
		}
	}
	init := naiveExpand(node, "pprf", nil)
	commitSecret := naiveExpand(lastPathSecret, "path", nil)
	joiner := naiveExpand(naiveExtract(init, commitSecret), "joiner", childContext)
	return naiveExpand(naiveExtract(joiner, make([]byte, 32)), "epoch", childContext)
}

// The chain of three epochs, whose secrets only this test still knows.
func TestPaperKeySchedule(t *testing.T) {
	a := newDevice(t, 0, testRand(50))
	b := a.keyPackage()
	s, err := suiteByID(testSuite)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := newTree(s, &b.KeyPackage.LeafNode)
	if err != nil {
		t.Fatal(err)
	}
	epochSecret := bytes.Repeat([]byte{7}, 32)
	e := epochSeed{suite: s, schedule: DMLS, tree: tree, privs: map[uint32][]byte{0: b.leafPriv}, context: GroupContext{
		Version: mls10, CipherSuite: testSuite, GroupID: []byte("g"), TreeHash: tree.TreeHash()}}.grow(epochSecret)
	e.setTag(s.confirmationTag(e.secrets.confirmation, nil))
	for i := range 3 {
		if !bytes.Equal(e.ID(), naiveExpand(epochSecret, "epoch", nil)) {
			t.Fatalf("epoch %d: dmls_epoch", i)
		}
		if !bytes.Equal(e.EpochAuthenticator(), naiveExpand(epochSecret, "authentication", nil)) {
			t.Fatalf("epoch %d: authenticator", i)
		}
		// An Add keeps the staged path secrets alive for the Welcome.
		kp := newDevice(t, i+1, a.env.Rand).keyPackage().KeyPackage
		c, err := e.Commit(CommitRequest{Proposals: []Proposal{&Add{KeyPackage: *kp}}}, a.signer, a.env)
		if err != nil {
			t.Fatal(err)
		}
		gc := c.Child.GroupContext()
		epochSecret = naiveChild(epochSecret, c.path.lastSecret(), gc.Marshal())
		e = c.Child
	}
}

// RFC 9420, section 8.3, and 12.4.3.2: members follow an external commit.
func TestPaperExternalCommit(t *testing.T) {
	all := newGroup(t, RFC9420, 3, 51, false)
	e := all[0].e
	s := e.suite
	joiner := newDevice(t, 9, all[0].env.Rand)
	b := joiner.keyPackage()
	_, externalPub, err := s.deriveKeyPair(e.secrets.external)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := s.encapSeed(joiner.env.Rand)
	if err != nil {
		t.Fatal(err)
	}
	kem, init, err := s.hpkeSendExport(externalPub, nil, []byte("MLS 1.0 external init secret"), s.nh, seed)
	if err != nil {
		t.Fatal(err)
	}
	// The joiner's side, by hand: a leaf, a path from it, the commit.
	list := []ProposalOrRef{{Proposal: &ExternalInit{KEMOutput: kem}}}
	edit := e.tree.edit()
	leaf := edit.addLeaf(&b.KeyPackage.LeafNode)
	before, err := edit.tree()
	if err != nil {
		t.Fatal(err)
	}
	path, err := before.createPath(leaf, joiner.signer, LeafChange{}, e.context.GroupID, joiner.env.Rand)
	if err != nil {
		t.Fatal(err)
	}
	tr := &transition{tree: path.tree, external: true, committer: leaf}
	if err := path.encrypt(e.provisional(tr), nil, joiner.env); err != nil {
		t.Fatal(err)
	}
	a := &AuthenticatedContent{WireFormat: WireFormatPublicMessage, Content: FramedContent{GroupID: e.context.GroupID, Epoch: e.context.Epoch,
		Sender: Sender{Type: SenderTypeNewMemberCommit}, ContentType: ContentTypeCommit, Commit: &Commit{Proposals: list, Path: path.path}}}
	if err := a.sign(s, e.encoded, joiner.signer); err != nil {
		t.Fatal(err)
	}
	child := e.context.clone()
	child.Epoch++
	child.TreeHash = path.tree.TreeHash()
	child.ConfirmedTranscriptHash = a.confirmedTranscriptHash(s, e.interim)
	_, secret := s.epochSecrets(s.joinerSecret(init, path.commitSecret, child.Marshal()), nil, child.Marshal())
	x := s.deriveSecrets(secret, RFC9420)
	a.Auth.ConfirmationTag = s.confirmationTag(x.confirmation, child.ConfirmedTranscriptHash)
	m, err := a.protectPublic(s, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		_, _, got := d.open(d.e, m.Marshal())
		if !bytes.Equal(got.EpochAuthenticator(), x.authenticator) {
			t.Errorf("%s does not agree with the joiner", d.name)
		}
	}

	a.Content.Commit.Proposals = append(a.Content.Commit.Proposals, ProposalOrRef{Proposal: &GroupContextExtensions{}})
	if err := a.sign(s, e.encoded, joiner.signer); err != nil {
		t.Fatal(err)
	}
	bad := &PublicMessage{Content: a.Content, Auth: a.Auth}
	if _, err := all[1].e.OpenPublic(bad, OpenOptions{}); !errors.Is(err, ErrProposals) {
		t.Errorf("external commit with other proposals: %v", err)
	}
}
