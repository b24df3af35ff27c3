package main

import (
	"fmt"
	"time"

	"github.com/thomas-vilte/mls-go/ciphersuite"
	"github.com/thomas-vilte/mls-go/credentials"
	"github.com/thomas-vilte/mls-go/framing"
	peer "github.com/thomas-vilte/mls-go/group"
	"github.com/thomas-vilte/mls-go/keypackages"

	"github.com/dmlsd/dmls/internal/synth"
)

const peerSuite = ciphersuite.MLS128DHKEMX25519

// theirs is mls-go.
type theirs struct {
	synth      *synth.Group
	first, far *peerMember
}

type peerMember struct {
	group   *peer.Group
	pack    *keypackages.KeyPackage
	private *keypackages.KeyPackagePrivateKeys
	sig     *ciphersuite.SignaturePrivateKey
}

func newPeerMember(name string) (*peerMember, error) {
	credential, sig, err := credentials.GenerateCredentialWithKeyForCS([]byte(name), peerSuite)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	m := &peerMember{sig: sig}
	m.pack, m.private, err = keypackages.Generate(credential, peerSuite,
		keypackages.WithLifetime(uint64(now.Add(-time.Hour).Unix()), uint64(now.Add(lifetime).Unix())))
	if err != nil {
		return nil, err
	}
	m.sig = m.private.GetSignaturePrivateKey()
	return m, nil
}

func newTheirs(n int) (side, error) {
	var members []*peerMember
	var packages [][]byte
	for i := range 3 {
		m, err := newPeerMember(fmt.Sprintf("member %06d", i))
		if err != nil {
			return nil, err
		}
		members, packages = append(members, m), append(packages, m.pack.Marshal())
	}
	t := &theirs{first: members[0], far: members[2]}
	var err error
	if t.synth, err = group(n, packages); err != nil {
		return nil, err
	}
	for _, m := range []*peerMember{t.first, t.far} {
		if m.group, err = t.enter(m); err != nil {
			return nil, err
		}
	}
	c, err := t.far.commit()
	if err != nil {
		return nil, err
	}
	if err := t.first.process(c); err != nil {
		return nil, err
	}
	if c, err = t.commit(); err != nil {
		return nil, err
	}
	return t, t.process(c)
}

func (t *theirs) enter(m *peerMember) (*peer.Group, error) {
	message, err := framing.UnmarshalMLSMessage(t.synth.WithTree)
	if err != nil {
		return nil, err
	}
	w, err := peer.UnmarshalWelcome(message.Welcome)
	if err != nil {
		return nil, err
	}
	return peer.JoinFromWelcome(w, m.pack, m.private, nil)
}

func (m *peerMember) commit() ([]byte, error) {
	c, err := m.group.Commit(m.sig, m.sig.PublicKey(), nil)
	if err != nil {
		return nil, err
	}
	a := c.AuthenticatedContent()
	message := framing.NewMLSMessagePublic(&framing.PublicMessage{Content: a.Content, Auth: a.Auth, MembershipTag: c.MembershipTag()}).Marshal()
	return message, m.group.MergeCommit(c)
}

func (m *peerMember) process(b []byte) error {
	message, err := framing.UnmarshalMLSMessage(b)
	if err != nil {
		return err
	}
	return m.group.ProcessPublicMessage(message.PublicMessage)
}

func (t *theirs) commit() ([]byte, error) { return t.first.commit() }
func (t *theirs) process(c []byte) error  { return t.far.process(c) }

func (t *theirs) protect(text []byte) ([]byte, error) {
	m, err := t.first.group.SendMessage(text, t.first.sig)
	if err != nil {
		return nil, err
	}
	return framing.NewMLSMessagePrivate(m).Marshal(), nil
}

func (t *theirs) open(b []byte) error {
	message, err := framing.UnmarshalMLSMessage(b)
	if err != nil {
		return err
	}
	_, _, _, err = t.far.group.ReceiveApplicationMessage(message.PrivateMessage)
	return err
}

func (t *theirs) join() error {
	_, err := t.enter(t.first)
	return err
}

func (t *theirs) state() (int, error) {
	b, err := t.far.group.MarshalState()
	return len(b), err
}

// retained: mls-go stores a group as a whole and shares nothing between states.
func (t *theirs) retained() (int, error) { return t.state() }

func buildTheirs(n int) (func() (int, error), error) {
	founder, err := newPeerMember("founder")
	if err != nil {
		return nil, err
	}
	var packages []*keypackages.KeyPackage
	for i := range n - 1 {
		m, err := newPeerMember(fmt.Sprintf("member %06d", i))
		if err != nil {
			return nil, err
		}
		packages = append(packages, m.pack)
	}
	return func() (int, error) {
		g, err := peer.NewGroup(peer.NewGroupID([]byte("built")), peerSuite, founder.pack, founder.private)
		if err != nil {
			return 0, err
		}
		for _, p := range packages {
			if _, err := g.AddMember(p); err != nil {
				return 0, err
			}
		}
		c, err := g.Commit(founder.sig, founder.sig.PublicKey(), nil)
		if err != nil {
			return 0, err
		}
		joiner := c.JoinerSecret()
		if err := g.MergeCommit(c); err != nil {
			return 0, err
		}
		w, err := g.CreateWelcomeWithOpts(packages, founder.sig, peer.WithJoinerSecret(joiner), peer.WithPSKIDs(c.PskIDs()),
			peer.WithPSKSecret(c.RawPskSecret()), peer.WithStagedCommit(c))
		if err != nil {
			return 0, err
		}
		return len(w.Marshal()), nil
	}, nil
}
