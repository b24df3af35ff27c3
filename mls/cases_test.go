package mls

import (
	"bytes"
	"testing"
)

// Case 12 of the list of attacks: two commits of one author with the same path
// secrets and different content lie at different points of the PPRF, so that
// both can be processed (reference/dmls.md, 1.4, reading 1).
func TestSamePathSecrets(t *testing.T) {
	all := newGroup(t, DMLS, 3, 77, false)
	a, b := all[0], all[1]
	var staged []*StagedCommit
	for _, aad := range []string{"one", "two"} {
		env := a.env
		env.Rand = testRand(4711)
		c, err := a.e.Commit(CommitRequest{AuthenticatedData: []byte(aad)}, a.signer, env)
		if err != nil {
			t.Fatal(err)
		}
		staged = append(staged, c)
	}
	one, two := staged[0].Child, staged[1].Child
	if !bytes.Equal(one.Tree().TreeHash(), two.Tree().TreeHash()) {
		t.Fatal("the path secrets are not the same")
	}
	for i, c := range staged {
		_, _, child := b.open(b.e, c.Message)
		if !bytes.Equal(child.ID(), staged[i].Child.ID()) {
			t.Errorf("commit %d leads elsewhere", i+1)
		}
	}
	if bytes.Equal(one.ID(), two.ID()) {
		t.Error("two commits, one epoch")
	}
}
