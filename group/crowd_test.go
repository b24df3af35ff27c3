package group

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/internal/synth"
	"github.com/dmlsd/dmls/mls"
)

// Crowd makes a synthetic group of n and lets two devices join it: leaf 0 and
// the first leaf of the right half, of which stored are the records. All others
// stay silent.
func Crowd(n int, c Config) (first, far *Group, stored []Op, env Env, err error) {
	env = Env{Now: synth.Now, Rand: rand.NewChaCha8([32]byte{1})}
	var ids []Identity
	var bundles []*mls.KeyPackageBundle
	var packages []*mls.KeyPackage
	for i := range synth.Places(n) {
		signer, err := mls.NewEd25519Signer(slices.Repeat([]byte{byte(i + 1)}, 32))
		if err != nil {
			return nil, nil, nil, env, err
		}
		id := Identity{Name: fmt.Sprint("member ", i), Signer: signer}
		b, err := NewKeyPackage(env, id)
		if err != nil {
			return nil, nil, nil, env, err
		}
		ids, bundles, packages = append(ids, id), append(bundles, b), append(packages, b.KeyPackage)
	}
	var table []byte
	g, err := synth.NewShaped(n, packages, synth.Shape{
		Extensions: capabilities().Extensions,
		Leaf:       []mls.Extension{{Type: extName, Data: []byte("a member")}},
		Context: []mls.Extension{{Type: extGroup, Data: groupInfo{Policy: PolicyOpen, Name: "crowd"}.marshal()},
			mls.RequiredCapabilities([]mls.ExtensionType{extGroup, extName}, nil, nil)},
		Info: func(tree []byte) (xs []mls.Extension, err error) {
			table, xs, err = crowdBase(tree, ids)
			return xs, err
		},
	})
	if err != nil {
		return nil, nil, nil, env, err
	}
	b := bundle{Welcome: g.Welcome, Tree: g.Tree, Table: table}.marshal()
	if first, _, err = Join(env, c, ids[0], b, bundles[0], nil); err != nil {
		return nil, nil, nil, env, err
	}
	far, out, err := Join(env, c, ids[2], b, bundles[2], nil)
	return first, far, out.Batch, env, err
}

// crowdBase is where the joiners begin: all others were added long ago.
func crowdBase(tree []byte, joiners []Identity) (table []byte, xs []mls.Extension, err error) {
	t, err := mls.ParseRatchetTree(suite, tree)
	if err != nil {
		return nil, nil, err
	}
	x := base{CID: frame.CIDOf([]byte("base")), Gossip: make([]byte, 32)}
	var rows []tableRow
	for leaf, node := range t.Leaves() {
		r := tableRow{Member: incarnation(uint32(leaf), node.SignatureKey, frame.CIDOf([]byte("before"))), Prev: frame.CIDOf([]byte("before"))}
		if slices.ContainsFunc(joiners, func(id Identity) bool { return sameKey(id.ID(), string(node.SignatureKey)) }) {
			r = tableRow{Member: incarnation(uint32(leaf), node.SignatureKey, x.CID), Prev: x.CID}
		}
		rows = append(rows, r)
	}
	table = marshalBase(rows, nil)
	sum := sha256.Sum256(table)
	x.TableHash = sum[:]
	return table, []mls.Extension{{Type: extBase, Data: x.marshal()}}, nil
}
