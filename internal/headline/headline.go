// Package headline measures what made MLS: one member of a group renews its
// keys, with a ratchet tree and with one message for each of the others. The
// groups are synthetic (internal/synth), the commits are those of package mls,
// and equal sizes give equal figures.
package headline

import (
	"fmt"
	"math/rand/v2"

	"github.com/dmlsd/dmls/internal/synth"
	"github.com/dmlsd/dmls/mls"
)

// Update is the cost of one member's new keys.
type Update struct {
	Way         string `json:"way"`
	Members     int    `json:"members"`
	Ciphertexts int    `json:"hpke_ciphertexts"`
	Upload      int    `json:"upload_bytes"`   // by the member
	Download    int    `json:"download_bytes"` // by all the others together
}

// The ways of Measure.
const (
	Tree   = "ratchet tree"
	FanOut = "one message each"
)

// Least is the size of the smallest group that can be measured.
const Least = 10

// Measure returns both ways in a group of n. In the tree one message goes to
// everybody. Without it the member shares a group of two with each of the
// others, and commits in all of them.
func Measure(n int) (tree, fanOut Update, err error) {
	if n < Least {
		return tree, fanOut, fmt.Errorf("headline: a group of %d, at least %d", n, Least)
	}
	tree = Update{Way: Tree, Members: n}
	if tree.Ciphertexts, tree.Upload, err = inTree(n); err != nil {
		return tree, fanOut, fmt.Errorf("headline: %w", err)
	}
	tree.Download = (n - 1) * tree.Upload
	each, err := ofTwo()
	if err != nil {
		return tree, fanOut, fmt.Errorf("headline: %w", err)
	}
	return tree, Update{Way: FanOut, Members: n, Ciphertexts: n - 1, Upload: (n - 1) * each, Download: (n - 1) * each}, nil
}

// inTree joins a group with every parent filled and commits in it: in the open,
// to count what is inside, and under the key schedule of DMLS, for the size.
func inTree(n int) (ciphertexts, size int, err error) {
	var members []*synth.Member
	var packages []*mls.KeyPackage
	for _, place := range synth.Places(n) {
		m, err := synth.NewMember(n, place)
		if err != nil {
			return 0, 0, err
		}
		members, packages = append(members, m), append(packages, m.Bundle.KeyPackage)
	}
	g, err := synth.New(n, packages)
	if err != nil {
		return 0, 0, err
	}
	me := members[0]
	commit := func(schedule mls.KeySchedule) ([]byte, error) {
		e, _, err := mls.Join(g.Welcome, g.Tree, me.Bundle, mls.JoinOptions{KeySchedule: schedule, Signer: me.Signer}, me.Env)
		if err != nil {
			return nil, err
		}
		c, err := e.Commit(mls.CommitRequest{Public: schedule == mls.RFC9420}, me.Signer, me.Env)
		if err != nil {
			return nil, err
		}
		return c.Message, nil
	}
	open, err := commit(mls.RFC9420)
	if err != nil {
		return 0, 0, err
	}
	m, err := mls.ParseMLSMessage(open)
	if err != nil {
		return 0, 0, err
	}
	for _, node := range m.Public.Content.Commit.Path.Nodes {
		ciphertexts += len(node.EncryptedPathSecret)
	}
	sealed, err := commit(mls.DMLS)
	return ciphertexts, len(sealed), err
}

// ofTwo is the size of a commit in a group of two.
func ofTwo() (int, error) {
	env := mls.Env{Now: synth.Now, Rand: rand.NewChaCha8([32]byte{2})}
	a, err := synth.NewMember(2, 0)
	if err != nil {
		return 0, err
	}
	b, err := synth.NewMember(2, 1)
	if err != nil {
		return 0, err
	}
	e, err := mls.Create(mls.GroupConfig{Suite: a.Bundle.KeyPackage.CipherSuite, GroupID: []byte("a group of two"), KeySchedule: mls.DMLS,
		Leaf: mls.KeyPackageOptions{Credential: a.Bundle.KeyPackage.LeafNode.Credential, Lifetime: *a.Bundle.KeyPackage.LeafNode.Lifetime}},
		a.Signer, env)
	if err != nil {
		return 0, err
	}
	add, err := e.Commit(mls.CommitRequest{Proposals: []mls.Proposal{&mls.Add{KeyPackage: *b.Bundle.KeyPackage}}}, a.Signer, env)
	if err != nil {
		return 0, err
	}
	c, err := add.Child.Commit(mls.CommitRequest{}, a.Signer, env)
	if err != nil {
		return 0, err
	}
	return len(c.Message), nil
}
