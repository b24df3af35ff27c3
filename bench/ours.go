package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/dmlsd/dmls/internal/cores"
	"github.com/dmlsd/dmls/internal/synth"
	"github.com/dmlsd/dmls/mls"
)

const suite = mls.MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519

// ours is dmls in the key schedule of RFC 9420.
type ours struct {
	group      *synth.Group
	first, far *member
	known      map[string]bool // tree records that are stored
}

type member struct {
	epoch  *mls.Epoch
	signer mls.Signer
	bundle *mls.KeyPackageBundle
}

func env() mls.Env { return mls.Env{Now: time.Now(), Rand: rand.Reader, Parallel: cores.Each} }

func newMember(name string) (*member, error) {
	m := &member{}
	var err error
	if m.signer, _, err = mls.GenerateSigner(suite, rand.Reader); err != nil {
		return nil, err
	}
	m.bundle, err = mls.NewKeyPackage(keyPackage(name), m.signer, env())
	return m, err
}

func keyPackage(name string) mls.KeyPackageOptions {
	now := time.Now()
	return mls.KeyPackageOptions{Suite: suite, Credential: mls.BasicCredential([]byte(name)),
		Lifetime: mls.Lifetime{NotBefore: uint64(now.Add(-time.Hour).Unix()), NotAfter: uint64(now.Add(lifetime).Unix())}}
}

func newOurs(n int) (side, error) {
	var members []*member
	var packages [][]byte
	for i := range 3 {
		m, err := newMember(fmt.Sprintf("member %06d", i))
		if err != nil {
			return nil, err
		}
		members, packages = append(members, m), append(packages, m.bundle.KeyPackage.Marshal())
	}
	o := &ours{first: members[0], far: members[2], known: map[string]bool{}}
	var err error
	if o.group, err = group(n, packages); err != nil {
		return nil, err
	}
	for _, m := range []*member{o.first, o.far} {
		if m.epoch, err = o.enter(m); err != nil {
			return nil, err
		}
	}
	c, err := o.far.commit()
	if err != nil {
		return nil, err
	}
	if err := o.first.process(c); err != nil {
		return nil, err
	}
	if c, err = o.commit(); err != nil {
		return nil, err
	}
	return o, o.process(c)
}

func (o *ours) enter(m *member) (*mls.Epoch, error) {
	e, _, err := mls.Join(o.group.WithTree, nil, m.bundle, mls.JoinOptions{KeySchedule: mls.RFC9420, Signer: m.signer}, env())
	return e, err
}

func (m *member) commit() ([]byte, error) {
	c, err := m.epoch.Commit(mls.CommitRequest{Public: true}, m.signer, env())
	if err != nil {
		return nil, err
	}
	return c.Message, m.follow(c.Child, c.Delta)
}

func (m *member) process(b []byte) error {
	message, err := mls.ParseMLSMessage(b)
	if err != nil {
		return err
	}
	o, err := m.epoch.OpenPublic(message.Public, mls.OpenOptions{Env: env()})
	if err != nil {
		return err
	}
	return m.follow(o.Commit.Child, o.Delta)
}

func (m *member) follow(child *mls.Epoch, d mls.Delta) error {
	if err := m.epoch.Apply(d); err != nil {
		return err
	}
	m.epoch.Wipe()
	m.epoch = child
	return nil
}

func (o *ours) commit() ([]byte, error) { return o.first.commit() }
func (o *ours) process(c []byte) error  { return o.far.process(c) }

func (o *ours) protect(text []byte) ([]byte, error) {
	m, d, err := o.first.epoch.Protect(text, nil, o.first.signer, env())
	if err != nil {
		return nil, err
	}
	return m, o.first.epoch.Apply(d)
}

func (o *ours) open(b []byte) error {
	m, err := mls.ParsePrivateMessage(b)
	if err != nil {
		return err
	}
	opened, err := o.far.epoch.Open(m, mls.OpenOptions{Env: env()})
	if err != nil {
		return err
	}
	return o.far.epoch.Apply(opened.Delta)
}

func (o *ours) join() error {
	e, err := o.enter(o.first)
	if err == nil {
		e.Wipe()
	}
	return err
}

// stored adds up the records of an epoch and those of its tree that are not
// stored yet.
func (o *ours) stored(e *mls.Epoch) (n int) {
	for _, r := range e.Records() {
		n += len(r.Key) + len(r.Value)
	}
	e.Tree().WalkNew(func(hash []byte) bool { return o.known[string(hash)] }, func(hash, record []byte) {
		o.known[string(hash)] = true
		n += len(hash) + len(record)
	})
	return n
}

func (o *ours) state() (int, error) { return o.stored(o.far.epoch), nil }

func (o *ours) retained() (int, error) {
	o.stored(o.far.epoch)
	c, err := o.commit()
	if err != nil {
		return 0, err
	}
	if err := o.process(c); err != nil {
		return 0, err
	}
	return o.stored(o.far.epoch), nil
}

func buildOurs(n int) (func() (int, error), error) {
	founder, err := newMember("founder")
	if err != nil {
		return nil, err
	}
	adds := make([]mls.Proposal, 0, n-1)
	var all []*mls.KeyPackage
	for i := range n - 1 {
		m, err := newMember(fmt.Sprintf("member %06d", i))
		if err != nil {
			return nil, err
		}
		all = append(all, m.bundle.KeyPackage)
	}
	return func() (int, error) {
		adds = adds[:0]
		for _, p := range all {
			adds = append(adds, &mls.Add{KeyPackage: *p})
		}
		e, err := mls.Create(mls.GroupConfig{Suite: suite, GroupID: []byte("built"), KeySchedule: mls.RFC9420, Leaf: keyPackage("founder")},
			founder.signer, env())
		if err != nil {
			return 0, err
		}
		c, err := e.Commit(mls.CommitRequest{Proposals: adds, ForcePath: true, Public: true}, founder.signer, env())
		if err != nil {
			return 0, err
		}
		w, err := c.Welcome(nil, true, founder.signer, env())
		c.Wipe()
		return len(w), err
	}, nil
}
