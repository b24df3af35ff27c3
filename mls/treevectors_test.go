package mls

import (
	"bytes"
	"slices"
	"testing"
)

func parseTree(t testing.TB, s *suite, b []byte) *RatchetTree {
	t.Helper()
	tree, err := ParseRatchetTree(s.id, b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tree.Marshal(), b) {
		t.Fatal("the tree does not marshal to what was parsed")
	}
	return tree
}

// TestTreeOperations runs tree-operations.json (RFC 9420, Sections 7.7, 12.1).
func TestTreeOperations(t *testing.T) {
	type vector struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Proposal    hexBytes
		Sender      LeafIndex `json:"proposal_sender"`
		TreeBefore  hexBytes  `json:"tree_before"`
		TreeAfter   hexBytes  `json:"tree_after"`
		HashBefore  hexBytes  `json:"tree_hash_before"`
		HashAfter   hexBytes  `json:"tree_hash_after"`
	}
	var count suiteCount
	for i, v := range loadVectors[vector](t, "tree-operations.json") {
		s, ok := count.take(v.CipherSuite)
		if !ok {
			continue
		}
		before := parseTree(t, s, v.TreeBefore)
		equal(t, "tree hash before", before.TreeHash(), v.HashBefore)
		r := newReader(v.Proposal)
		p := readProposal(r)
		if err := r.done(); err != nil {
			t.Fatal(err)
		}
		e := before.edit()
		var err error
		switch p := p.(type) {
		case *Add:
			e.addLeaf(&p.KeyPackage.LeafNode)
		case *Update:
			err = e.updateLeaf(v.Sender, &p.LeafNode)
		case *Remove:
			err = e.removeLeaf(p.Removed)
		default:
			t.Fatalf("case %d: proposal %T", i, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		after, err := e.tree()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "tree after", after.Marshal(), v.TreeAfter)
		equal(t, "tree hash after", after.TreeHash(), v.HashAfter)
		equal(t, "the old tree", before.Marshal(), v.TreeBefore)
	}
	count.report(t, "tree-operations.json")
}

// TestTreeValidation runs tree-validation.json (Sections 7.3, 7.8, 7.9).
func TestTreeValidation(t *testing.T) {
	type vector struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		Tree        hexBytes
		GroupID     hexBytes      `json:"group_id"`
		TreeHashes  []hexBytes    `json:"tree_hashes"`
		Resolutions [][]nodeIndex `json:"resolutions"`
	}
	var count suiteCount
	for i, v := range loadVectors[vector](t, "tree-validation.json") {
		s, ok := count.take(v.CipherSuite)
		if !ok {
			continue
		}
		tree := parseTree(t, s, v.Tree)
		for x := range v.TreeHashes {
			equal(t, "tree hash", tree.node(nodeIndex(x)).hash, v.TreeHashes[x])
			checkResolution(t, tree, nodeIndex(x), v.Resolutions[x])
		}
		if err := tree.validate(v.GroupID, Env{}); err != nil {
			t.Errorf("case %d: %v", i, err)
		}
	}
	count.report(t, "tree-validation.json")
}

func checkResolution(t testing.TB, tree *RatchetTree, x nodeIndex, want []nodeIndex) {
	t.Helper()
	got := tree.resolution(x)
	if int(tree.node(x).resolved) != len(got) || len(got) != len(want) {
		t.Fatalf("resolution of node %d = %v, want %v", x, got, want)
	}
	for k := range want {
		if got[k] != want[k] {
			t.Fatalf("resolution of node %d = %v, want %v", x, got, want)
		}
	}
}

type treekemVector struct {
	CipherSuite CipherSuite `json:"cipher_suite"`
	GroupID     hexBytes    `json:"group_id"`
	Epoch       uint64
	Transcript  hexBytes `json:"confirmed_transcript_hash"`
	Tree        hexBytes `json:"ratchet_tree"`
	Leaves      []struct {
		Index          LeafIndex
		EncryptionPriv hexBytes `json:"encryption_priv"`
		SignaturePriv  hexBytes `json:"signature_priv"`
		PathSecrets    []struct {
			Node       nodeIndex
			PathSecret hexBytes `json:"path_secret"`
		} `json:"path_secrets"`
	} `json:"leaves_private"`
	UpdatePaths []struct {
		Sender       LeafIndex
		UpdatePath   hexBytes    `json:"update_path"`
		PathSecrets  []*hexBytes `json:"path_secrets"`
		CommitSecret hexBytes    `json:"commit_secret"`
		HashAfter    hexBytes    `json:"tree_hash_after"`
	} `json:"update_paths"`
}

// context is the provisional GroupContext for a tree hash.
func (v *treekemVector) context(treeHash []byte) []byte {
	w := &writer{}
	w.u16(mls10)
	w.u16(uint16(v.CipherSuite))
	w.vec(v.GroupID)
	w.u64(v.Epoch)
	w.vec(treeHash)
	w.vec(v.Transcript)
	w.vec(nil)
	return w.buf
}

// privates are the private keys of all members that the vector gives.
func (v *treekemVector) privates(t *testing.T, s *suite, tree *RatchetTree) map[LeafIndex]map[uint32][]byte {
	all := map[LeafIndex]map[uint32][]byte{}
	for _, l := range v.Leaves {
		privs := map[uint32][]byte{uint32(l.Index.node()): l.EncryptionPriv}
		if !s.belongs(l.EncryptionPriv, tree.Leaf(l.Index).EncryptionKey) {
			t.Errorf("leaf %d: private key does not belong to the tree", l.Index)
		}
		for _, p := range l.PathSecrets {
			priv, pub, err := s.pathKeyPair(p.PathSecret)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "public key of a path secret", pub, tree.node(p.Node).key())
			privs[uint32(p.Node)] = priv
		}
		all[l.Index] = privs
	}
	return all
}

// deviant tells the vectors of suite 7, whose leaves do not list suite 7 among
// their capabilities (Section 7.3 wants a leaf that fits the group).
func (v *treekemVector) deviant(tree *RatchetTree) bool {
	for _, l := range tree.Leaves() {
		return !slices.Contains(l.Capabilities.CipherSuites, v.CipherSuite)
	}
	return false
}

// apply is applyPath, for the deviant vectors without the rule that they break.
func (v *treekemVector) apply(tree *RatchetTree, sender LeafIndex, p *UpdatePath) (*RatchetTree, error) {
	if !v.deviant(tree) {
		return tree.applyPath(sender, p, v.GroupID, nil)
	}
	if err := tree.s.verifyWithLabel(p.LeafNode.SignatureKey, "LeafNodeTBS", p.LeafNode.tbs(v.GroupID, sender), p.LeafNode.Signature); err != nil {
		return nil, err
	}
	return tree.mergePath(sender, p, nil)
}

// TestTreeKEM runs treekem.json (Sections 7.4 to 7.6): its paths are applied
// and opened by every member, then every member sends a path of its own.
func TestTreeKEM(t *testing.T) {
	var count suiteCount
	paths, opened, deviant := 0, 0, 0
	for i, v := range loadVectors[treekemVector](t, "treekem.json") {
		s, ok := count.take(v.CipherSuite)
		if !ok {
			continue
		}
		tree := parseTree(t, s, v.Tree)
		if v.deviant(tree) {
			deviant++
		}
		all := v.privates(t, s, tree)
		for _, u := range v.UpdatePaths {
			p, err := ParseUpdatePath(u.UpdatePath)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "marshalled path", p.Marshal(), u.UpdatePath)
			after, err := v.apply(tree, u.Sender, p)
			if err != nil {
				t.Fatalf("case %d, sender %d: %v", i, u.Sender, err)
			}
			equal(t, "tree hash after", after.TreeHash(), u.HashAfter)
			for l, privs := range all {
				if l == u.Sender {
					continue
				}
				o, err := tree.openPath(l, u.Sender, p, v.context(u.HashAfter), nil, privs)
				if err != nil {
					t.Fatalf("case %d, sender %d, leaf %d: %v", i, u.Sender, l, err)
				}
				equal(t, "commit secret", o.commitSecret, u.CommitSecret)
				joined, err := after.joinPath(l, u.Sender, *u.PathSecrets[l])
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "commit secret of the path secret", joined.commitSecret, u.CommitSecret)
				opened++
			}
			paths++
		}
		for _, l := range v.Leaves {
			v.sendPath(t, tree, l.Index, l.SignaturePriv, all)
			paths++
		}
	}
	count.report(t, "treekem.json")
	t.Logf("treekem.json: %d paths, %d openings of foreign ones; %d cases have leaves whose capabilities lack their own suite", paths, opened, deviant)
}

func (v *treekemVector) sendPath(t *testing.T, tree *RatchetTree, sender LeafIndex, seed []byte, all map[LeafIndex]map[uint32][]byte) {
	signer, err := NewSigner(v.CipherSuite, seed)
	if err != nil {
		t.Fatal(err)
	}
	f, err := tree.createPath(sender, signer, LeafChange{}, v.GroupID, testRand(uint64(sender)))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.encrypt(v.context(f.tree.TreeHash()), nil, Env{Rand: testRand(99)}); err != nil {
		t.Fatal(err)
	}
	p, err := ParseUpdatePath(f.path.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	after, err := v.apply(tree, sender, p)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "receiver's tree hash", after.TreeHash(), f.tree.TreeHash())
	if err := after.validate(v.GroupID, Env{}); err != nil && !v.deviant(tree) {
		t.Error(err)
	}
	for l, privs := range all {
		if l == sender {
			continue
		}
		o, err := tree.openPath(l, sender, p, v.context(after.TreeHash()), nil, privs)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "commit secret of our path", o.commitSecret, f.commitSecret)
	}
}

// TestMessagesTreeParts runs the parts of messages.json that are a ratchet
// tree, a KeyPackage or a leaf: parse, then marshal, is the identity.
func TestMessagesTreeParts(t *testing.T) {
	type vector struct {
		Tree       hexBytes `json:"ratchet_tree"`
		KeyPackage hexBytes `json:"mls_key_package"`
		Update     hexBytes `json:"update_proposal"`
	}
	trees, packages, leaves := 0, 0, 0
	for _, v := range loadVectors[vector](t, "messages.json") {
		// Version and wire format precede the KeyPackage; then its version and suite.
		if len(v.KeyPackage) < 8 {
			t.Fatal("short KeyPackage")
		}
		k, err := ParseKeyPackage(v.KeyPackage[4:])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "KeyPackage", k.Marshal(), v.KeyPackage[4:])
		packages++
		l, err := ParseLeafNode(v.Update)
		if err != nil {
			t.Fatal(err)
		}
		fresh := *l
		fresh.raw = nil
		equal(t, "LeafNode", fresh.Marshal(), v.Update)
		leaves++
		s, err := suiteByID(k.CipherSuite)
		if err != nil {
			t.Fatal(err)
		}
		parseTree(t, s, v.Tree)
		trees++
	}
	t.Logf("messages.json: %d KeyPackages, %d leaves, %d ratchet trees", packages, leaves, trees)
	if trees == 0 {
		t.Error("no ratchet tree ran")
	}
}
