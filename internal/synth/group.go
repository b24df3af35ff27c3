package synth

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/cloudflare/circl/hpke"

	"github.com/dmlsd/dmls/mls"
)

// Group is a group in the state in which its measured members join it.
type Group struct {
	ID      []byte
	Tree    []byte // ratchet_tree
	Welcome []byte // MLSMessage, for all joiners, without the tree
	// WithTree is the same Welcome with the tree in the GroupInfo.
	WithTree []byte
}

// Places are the leaves of the measured members of a group of n: the first two,
// who are neighbours, and the first one of the right half.
func Places(n int) []int { return []int{0, 1, width(n) / 2} }

func width(n int) int {
	w := 1
	for w < n {
		w *= 2
	}
	return w
}

// signerLeaf is the member who "committed" the joiners in.
const signerLeaf = 2

// Shape is what a group has beyond the bare minimum.
type Shape struct {
	Extensions []mls.ExtensionType // that the leaves support
	Leaf       []mls.Extension     // of every leaf
	Context    []mls.Extension     // of the GroupContext
	// Info makes the extensions of the GroupInfo, once the tree is known. nil: none.
	Info func(tree []byte) ([]mls.Extension, error)
}

// New makes a group of n members, at least 10, into which the owners of the
// KeyPackages come at Places. Every parent is filled but the one of the
// neighbours: their first commit fills it.
func New(n int, packages []*mls.KeyPackage) (*Group, error) { return NewShaped(n, packages, Shape{}) }

// NewShaped makes such a group with extensions.
func NewShaped(n int, packages []*mls.KeyPackage, shape Shape) (*Group, error) {
	places := Places(n)
	if n < 10 || len(packages) != len(places) {
		return nil, fmt.Errorf("synth: group of %d with %d KeyPackages", n, len(packages))
	}
	t := &tree{n: n, width: width(n), group: []byte("a synthetic group"), seed: fmt.Appendf(nil, "dmls synthetic group of %d", n),
		shape: shape, joiners: map[int][]byte{}, keys: map[int][]byte{}, signer: signerLeaf}
	for k, p := range packages {
		t.joiners[places[k]] = p.LeafNode.Marshal()
	}
	secrets, err := t.pathSecrets()
	if err != nil {
		return nil, err
	}
	t.build()
	g := &Group{ID: t.group, Tree: t.marshal()}
	var info []mls.Extension
	if shape.Info != nil {
		if info, err = shape.Info(g.Tree); err != nil {
			return nil, err
		}
	}
	if g.Welcome, err = t.welcome(packages, places, secrets, extensions(info)); err != nil {
		return nil, err
	}
	info = append(info, mls.Extension{Type: mls.ExtensionRatchetTree, Data: g.Tree})
	if g.WithTree, err = t.welcome(packages, places, secrets, extensions(info)); err != nil {
		return nil, err
	}
	return g, nil
}

// pathSecrets derives the key pairs on the signer's path (section 7.4); it
// gives the path secret of each node.
func (t *tree) pathSecrets() (map[int][]byte, error) {
	secrets, secret := map[int][]byte{}, t.derive("path", 0)
	scheme := hpke.KEM_X25519_HKDF_SHA256.Scheme()
	for x := 2 * t.signer; x != t.root(); {
		x = parent(x)
		if t.blank(x) {
			continue
		}
		secrets[x] = secret
		public, _ := scheme.DeriveKeyPair(derive(secret, "node"))
		var err error
		if t.keys[x], err = public.MarshalBinary(); err != nil {
			return nil, err
		}
		secret = derive(secret, "path")
	}
	return secrets, nil
}

// welcome is section 12.4.3.1.
func (t *tree) welcome(packages []*mls.KeyPackage, places []int, secrets map[int][]byte, inInfo []byte) ([]byte, error) {
	context := append([]byte{0, 1, 0, 1}, vec(t.group)...)
	context = binary.BigEndian.AppendUint64(context, 1)
	confirmed := t.derive("transcript", 0)
	context = append(context, vec(t.nodes[t.root()].hash)...)
	context = append(append(context, vec(confirmed)...), extensions(t.shape.Context)...)

	joiner := t.derive("joiner", 0)
	member := extract(joiner, make([]byte, sha256.Size))
	epoch := expand(member, "epoch", context, sha256.Size)
	info := append(append([]byte{}, context...), inInfo...)
	info = append(info, vec(mac(derive(epoch, "confirm"), confirmed))...)
	info = binary.BigEndian.AppendUint32(info, uint32(t.signer))
	info = append(info, vec(sign(t.signatureKey(t.signer), "GroupInfoTBS", info))...)
	welcome := derive(member, "welcome")
	sealed := seal(expand(welcome, "key", nil, 16), expand(welcome, "nonce", nil, 12), info)

	var all []byte
	random := rand.NewChaCha8([32]byte(t.derive("encapsulation", 0)))
	for k, p := range packages {
		plain := append(vec(joiner), optional(vec(secrets[common(t.signer, places[k])]))...)
		one, err := encrypt(p.InitKey, sealed, append(plain, 0), random)
		if err != nil {
			return nil, err
		}
		all = append(append(all, vec(p.Ref())...), one...)
	}
	out := append([]byte{0, 1, 0, 3, 0, 1}, vec(all)...)
	return append(out, vec(sealed)...), nil
}

// common is the lowest node above two leaves.
func common(a, b int) int {
	x := 2 * a
	for firstLeaf(x) > b || firstLeaf(x)+1<<level(x) <= b {
		x = parent(x)
	}
	return x
}

// encrypt is EncryptWithLabel "Welcome" as HPKECiphertext.
func encrypt(public, context, plain []byte, random io.Reader) ([]byte, error) {
	key, err := hpke.KEM_X25519_HKDF_SHA256.Scheme().UnmarshalBinaryPublicKey(public)
	if err != nil {
		return nil, err
	}
	suite := hpke.NewSuite(hpke.KEM_X25519_HKDF_SHA256, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES128GCM)
	sender, err := suite.NewSender(key, append(vec([]byte("MLS 1.0 Welcome")), vec(context)...))
	if err != nil {
		return nil, err
	}
	enc, sealer, err := sender.Setup(random)
	if err != nil {
		return nil, err
	}
	ct, err := sealer.Seal(plain, nil)
	if err != nil {
		return nil, err
	}
	return append(vec(enc), vec(ct)...), nil
}
