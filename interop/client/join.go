package client

import (
	"context"
	"fmt"

	"github.com/dmlsd/dmls/interop/pb"
	"github.com/dmlsd/dmls/mls"
)

// joiner is a KeyPackage that waits for its Welcome.
type joiner struct {
	self   *identity
	bundle *mls.KeyPackageBundle
	psks   map[string][]byte
}

func newJoiner(suite mls.CipherSuite, self *identity) (*joiner, error) {
	b, err := mls.NewKeyPackage(self.options(suite), self.signer, env())
	if err != nil {
		return nil, err
	}
	return &joiner{self: self, bundle: b, psks: map[string][]byte{}}, nil
}

func (j *joiner) message() []byte {
	return (&mls.MLSMessage{WireFormat: mls.WireFormatKeyPackage, KeyPackage: j.bundle.KeyPackage}).Marshal()
}

// join takes a Welcome; parent is the epoch that the new group comes from.
func (j *joiner) join(welcome, tree []byte, private bool, parent *mls.Epoch) (*group, error) {
	lookup := func(id mls.PreSharedKeyID) []byte {
		if id.Type != mls.PSKTypeExternal {
			return nil
		}
		return j.psks[string(id.ID)]
	}
	o := mls.JoinOptions{KeySchedule: mls.RFC9420, PSK: lookup, Signer: j.self.signer, Parent: parent}
	e, _, err := mls.Join(welcome, tree, j.bundle, o, env())
	if err != nil {
		return nil, err
	}
	j.bundle.Wipe() // an init key is used once
	return newGroup(e, j.self, private, j.psks), nil
}

// CreateGroup founds a group of one.
func (s *Server) CreateGroup(_ context.Context, r *pb.CreateGroupRequest) (*pb.CreateGroupResponse, error) {
	suite, err := suiteOf(r.CipherSuite)
	if err != nil {
		return nil, asStatus(err)
	}
	self, err := newIdentity(suite, r.Identity)
	if err != nil {
		return nil, asStatus(err)
	}
	c := mls.GroupConfig{Suite: suite, GroupID: r.GroupId, KeySchedule: mls.RFC9420, Leaf: self.options(suite)}
	e, err := mls.Create(c, self.signer, env())
	if err != nil {
		return nil, asStatus(err)
	}
	return &pb.CreateGroupResponse{StateId: add(s, s.groups, newGroup(e, self, r.EncryptHandshake, nil))}, nil
}

// CreateKeyPackage makes a KeyPackage under a new signature key.
func (s *Server) CreateKeyPackage(_ context.Context, r *pb.CreateKeyPackageRequest) (*pb.CreateKeyPackageResponse, error) {
	suite, err := suiteOf(r.CipherSuite)
	if err != nil {
		return nil, asStatus(err)
	}
	j, keys, err := prepare(suite, r.Identity)
	if err != nil {
		return nil, asStatus(err)
	}
	return &pb.CreateKeyPackageResponse{TransactionId: add(s, s.joiners, j), KeyPackage: j.message(),
		InitPriv: keys.init, EncryptionPriv: keys.leaf, SignaturePriv: j.self.private}, nil
}

// prepare makes a new client.
func prepare(suite mls.CipherSuite, name []byte) (*joiner, privateKeys, error) {
	self, err := newIdentity(suite, name)
	if err != nil {
		return nil, privateKeys{}, err
	}
	j, err := newJoiner(suite, self)
	if err != nil {
		return nil, privateKeys{}, err
	}
	keys, err := reveal(j.bundle)
	return j, keys, err
}

// JoinGroup takes a Welcome.
func (s *Server) JoinGroup(_ context.Context, r *pb.JoinGroupRequest) (*pb.JoinGroupResponse, error) {
	return with(s, s.joiners, r.TransactionId, func(j *joiner) (*pb.JoinGroupResponse, error) {
		g, err := j.join(r.Welcome, r.RatchetTree, r.EncryptHandshake, nil)
		if err != nil {
			return nil, err
		}
		delete(s.joiners, r.TransactionId)
		return &pb.JoinGroupResponse{StateId: put(s, s.groups, g), EpochAuthenticator: g.epoch.EpochAuthenticator()}, nil
	})
}

// ExternalJoin joins by an external commit.
func (s *Server) ExternalJoin(_ context.Context, r *pb.ExternalJoinRequest) (*pb.ExternalJoinResponse, error) {
	info, err := mls.ParseGroupInfo(r.GroupInfo)
	if err != nil {
		return nil, asStatus(err)
	}
	suite := info.GroupContext.CipherSuite
	self, err := newIdentity(suite, r.Identity)
	if err != nil {
		return nil, asStatus(err)
	}
	c := mls.ExternalCommit{Leaf: self.options(suite)}
	psks := map[string][]byte{}
	for _, p := range r.Psks {
		proposal, err := externalPSK(suite, p.PskId)
		if err != nil {
			return nil, asStatus(err)
		}
		psks[string(p.PskId)] = p.PskSecret
		c.PSKs = append(c.PSKs, proposal.ID)
	}
	c.PSK = func(id mls.PreSharedKeyID) []byte { return psks[string(id.ID)] }
	if r.RemovePrior {
		tree, err := treeOf(info, r.RatchetTree)
		if err != nil {
			return nil, asStatus(err)
		}
		prior, err := member(tree, r.Identity)
		if err != nil {
			return nil, asStatus(err)
		}
		c.Resync = &prior
	}
	out, err := mls.CommitExternal(r.GroupInfo, r.RatchetTree, c, self.signer, env())
	if err != nil {
		return nil, asStatus(err)
	}
	g := newGroup(out.Child, self, r.EncryptHandshake, psks)
	return &pb.ExternalJoinResponse{StateId: add(s, s.groups, g), Commit: out.Message, EpochAuthenticator: g.epoch.EpochAuthenticator()}, nil
}

// treeOf parses the tree of a GroupInfo, which may carry it itself.
func treeOf(info *mls.GroupInfo, given []byte) (*mls.RatchetTree, error) {
	for _, x := range info.Extensions {
		if x.Type == mls.ExtensionRatchetTree {
			given = x.Data
		}
	}
	return mls.ParseRatchetTree(info.GroupContext.CipherSuite, given)
}

// NewMemberAddProposal asks from outside to be added.
func (s *Server) NewMemberAddProposal(_ context.Context, r *pb.NewMemberAddProposalRequest) (*pb.NewMemberAddProposalResponse, error) {
	info, err := mls.ParseGroupInfo(r.GroupInfo)
	if err != nil {
		return nil, asStatus(err)
	}
	j, keys, err := prepare(info.GroupContext.CipherSuite, r.Identity)
	if err != nil {
		return nil, asStatus(err)
	}
	msg, err := mls.ProposeJoin(&info.GroupContext, j.bundle.KeyPackage, nil, j.self.signer)
	if err != nil {
		return nil, asStatus(err)
	}
	return &pb.NewMemberAddProposalResponse{TransactionId: add(s, s.joiners, j), Proposal: msg,
		InitPriv: keys.init, EncryptionPriv: keys.leaf, SignaturePriv: j.self.private}, nil
}

// privateKeys are those of a KeyPackage.
type privateKeys struct{ init, leaf []byte }

// reveal reads them from the bundle's stored form, a version and three
// opaque<V>: package mls gives them to nobody.
func reveal(b *mls.KeyPackageBundle) (privateKeys, error) {
	stored, err := b.MarshalBinary()
	if err != nil {
		return privateKeys{}, err
	}
	var parts [3][]byte
	for i, rest := 0, stored[1:]; i < len(parts); i++ {
		if parts[i], rest, err = cutVector(rest); err != nil {
			return privateKeys{}, err
		}
	}
	return privateKeys{init: parts[1], leaf: parts[2]}, nil
}

// cutVector cuts an opaque<V> off (RFC 9420, section 2.1.2).
func cutVector(b []byte) (v, rest []byte, err error) {
	if len(b) == 0 || b[0]>>6 == 3 || len(b) < 1<<(b[0]>>6) {
		return nil, nil, fmt.Errorf("interop: not a vector")
	}
	size := 1 << (b[0] >> 6)
	n := int(b[0] & 0x3f)
	for _, c := range b[1:size] {
		n = n<<8 | int(c)
	}
	if n > len(b)-size {
		return nil, nil, fmt.Errorf("interop: a vector of %d bytes in %d", n, len(b)-size)
	}
	return b[size : size+n], b[size+n:], nil
}
