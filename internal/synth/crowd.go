package synth

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/dmlsd/dmls/internal/cores"
	"github.com/dmlsd/dmls/mls"
)

// Now is the present of all synthetic groups.
var Now = time.Unix(1_800_000_000, 0)

// Member is a measured member.
type Member struct {
	Epoch  *mls.Epoch
	Signer mls.Signer
	Env    mls.Env
	Bundle *mls.KeyPackageBundle // by which it joined
}

// Crowd is a synthetic group with its measured members inside, all in one
// epoch in which every parent is filled and each of them knows all private keys
// of its path.
type Crowd struct {
	N        int
	Schedule mls.KeySchedule
	Group    *Group
	First    *Member // leaf 0
	Second   *Member // leaf 1: its lowest common ancestor with First is First's parent; nil if left out
	Far      *Member // leaf of the right half: its lowest common ancestor with First is the root
}

// NewMember makes a member with a KeyPackage; everything follows from its number.
func NewMember(n int, place int) (*Member, error) {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("member %d of %d", place, n))
	random := rand.NewChaCha8(seed)
	m := &Member{Env: mls.Env{Now: Now, Rand: random, Parallel: cores.Each}}
	key := make([]byte, 32)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, err
	}
	var err error
	if m.Signer, err = mls.NewEd25519Signer(key); err != nil {
		return nil, err
	}
	m.Bundle, err = mls.NewKeyPackage(mls.KeyPackageOptions{
		Suite:      mls.MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
		Credential: mls.BasicCredential(fmt.Appendf(nil, "member %06d", place)),
		Lifetime:   mls.Lifetime{NotBefore: uint64(Now.Unix()) - 3600, NotAfter: uint64(Now.Unix()) + 3600},
	}, m.Signer, m.Env)
	return m, err
}

// NewCrowd makes a group of n and lets the measured members join by its
// Welcome. neighbour says whether Second does.
func NewCrowd(n int, schedule mls.KeySchedule, neighbour bool) (*Crowd, error) {
	c := &Crowd{N: n, Schedule: schedule}
	var all []*Member
	var packages []*mls.KeyPackage
	for _, place := range Places(n) {
		m, err := NewMember(n, place)
		if err != nil {
			return nil, err
		}
		all, packages = append(all, m), append(packages, m.Bundle.KeyPackage)
	}
	var err error
	if c.Group, err = New(n, packages); err != nil {
		return nil, err
	}
	c.First, c.Far = all[0], all[2]
	if neighbour {
		c.Second = all[1]
	}
	for _, m := range c.members() {
		if err := c.join(m); err != nil {
			return nil, err
		}
	}
	// Who joined knows the path from the committer's common ancestor up: each
	// renews its own, so that First's last commit is one that all can open.
	for _, author := range []*Member{c.Far, c.First} {
		if err := c.Advance(author); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Crowd) members() []*Member {
	if c.Second == nil {
		return []*Member{c.First, c.Far}
	}
	return []*Member{c.First, c.Second, c.Far}
}

func (c *Crowd) join(m *Member) error {
	var err error
	m.Epoch, _, err = mls.Join(c.Group.Welcome, c.Group.Tree, m.Bundle, mls.JoinOptions{KeySchedule: c.Schedule, Signer: m.Signer}, m.Env)
	return err
}

// Advance lets one member commit and all process it.
func (c *Crowd) Advance(author *Member) error {
	commit, err := author.Epoch.Commit(mls.CommitRequest{}, author.Signer, author.Env)
	if err != nil {
		return err
	}
	message, err := mls.ParsePrivateMessage(commit.Message)
	if err != nil {
		return err
	}
	for _, m := range c.members() {
		child := commit.Child
		delta := commit.Delta
		if m != author {
			opened, err := m.Epoch.Open(message, mls.OpenOptions{Env: m.Env})
			if err != nil {
				return err
			}
			child, delta = opened.Commit.Child, opened.Delta
		}
		if err := m.Epoch.Apply(delta); err != nil {
			return err
		}
		m.Epoch.Wipe()
		m.Epoch = child
	}
	commit.Wipe()
	return nil
}
