package client

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/dmlsd/dmls/interop/pb"
	"github.com/dmlsd/dmls/mls"
)

func externalPSK(suite mls.CipherSuite, id []byte) (*mls.PreSharedKey, error) {
	return mls.NewPreSharedKey(suite, mls.PreSharedKeyID{Type: mls.PSKTypeExternal, ID: id}, rand.Reader)
}

// described is the proposal of a description, for the group of a context.
func described(d *pb.ProposalDescription, c mls.GroupContext, tree *mls.RatchetTree) (mls.Proposal, error) {
	switch kind := string(d.GetProposalType()); kind {
	case "add":
		kp, err := parseKeyPackage(d.KeyPackage)
		if err != nil {
			return nil, err
		}
		return &mls.Add{KeyPackage: *kp}, nil
	case "remove":
		leaf, err := member(tree, d.RemovedId)
		return &mls.Remove{Removed: leaf}, err
	case "externalPSK":
		return externalPSK(c.CipherSuite, d.PskId)
	case "resumptionPSK":
		return mls.NewPreSharedKey(c.CipherSuite, mls.PreSharedKeyID{Type: mls.PSKTypeResumption,
			Usage: mls.ResumptionApplication, GroupID: c.GroupID, Epoch: d.EpochId}, rand.Reader)
	case "groupContextExtensions":
		xs, err := extensions(d.Extensions)
		return &mls.GroupContextExtensions{Extensions: xs}, err
	case "reinit":
		suite, err := suiteOf(d.CipherSuite)
		if err != nil {
			return nil, err
		}
		xs, err := extensions(d.Extensions)
		return &mls.ReInit{GroupID: d.GroupId, Version: c.Version, CipherSuite: suite, Extensions: xs}, err
	default:
		return nil, fmt.Errorf("interop: proposal type %q", kind)
	}
}

// proposeDescribed sends a proposal by reference.
func (s *Server) proposeDescribed(state uint32, d *pb.ProposalDescription) (*pb.ProposalResponse, error) {
	return with(s, s.groups, state, func(g *group) (*pb.ProposalResponse, error) {
		p, err := described(d, g.epoch.GroupContext(), g.epoch.Tree())
		if err != nil {
			return nil, err
		}
		msg, err := g.propose(p)
		return &pb.ProposalResponse{Proposal: msg}, err
	})
}

// AddProposal proposes to add the owner of a KeyPackage.
func (s *Server) AddProposal(_ context.Context, r *pb.AddProposalRequest) (*pb.ProposalResponse, error) {
	return s.proposeDescribed(r.StateId, &pb.ProposalDescription{ProposalType: []byte("add"), KeyPackage: r.KeyPackage})
}

// UpdateProposal proposes a new leaf of the actor.
func (s *Server) UpdateProposal(_ context.Context, r *pb.UpdateProposalRequest) (*pb.ProposalResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.ProposalResponse, error) {
		msg, err := g.propose(nil)
		return &pb.ProposalResponse{Proposal: msg}, err
	})
}

// RemoveProposal proposes to remove a member by its identity.
func (s *Server) RemoveProposal(_ context.Context, r *pb.RemoveProposalRequest) (*pb.ProposalResponse, error) {
	return s.proposeDescribed(r.StateId, &pb.ProposalDescription{ProposalType: []byte("remove"), RemovedId: r.RemovedId})
}

// ExternalPSKProposal proposes an external PSK.
func (s *Server) ExternalPSKProposal(_ context.Context, r *pb.ExternalPSKProposalRequest) (*pb.ProposalResponse, error) {
	return s.proposeDescribed(r.StateId, &pb.ProposalDescription{ProposalType: []byte("externalPSK"), PskId: r.PskId})
}

// ResumptionPSKProposal proposes the resumption PSK of an earlier epoch.
func (s *Server) ResumptionPSKProposal(_ context.Context, r *pb.ResumptionPSKProposalRequest) (*pb.ProposalResponse, error) {
	return s.proposeDescribed(r.StateId, &pb.ProposalDescription{ProposalType: []byte("resumptionPSK"), EpochId: r.EpochId})
}

// GroupContextExtensionsProposal proposes extensions of the GroupContext.
func (s *Server) GroupContextExtensionsProposal(_ context.Context, r *pb.GroupContextExtensionsProposalRequest) (*pb.ProposalResponse, error) {
	return s.proposeDescribed(r.StateId, &pb.ProposalDescription{ProposalType: []byte("groupContextExtensions"), Extensions: r.Extensions})
}

// ReInitProposal proposes to go on in another group.
func (s *Server) ReInitProposal(_ context.Context, r *pb.ReInitProposalRequest) (*pb.ProposalResponse, error) {
	return s.proposeDescribed(r.StateId, &pb.ProposalDescription{ProposalType: []byte("reinit"),
		CipherSuite: r.CipherSuite, GroupId: r.GroupId, Extensions: r.Extensions})
}

// CreateExternalSigner makes somebody who may propose from outside.
func (s *Server) CreateExternalSigner(_ context.Context, r *pb.CreateExternalSignerRequest) (*pb.CreateExternalSignerResponse, error) {
	suite, err := suiteOf(r.CipherSuite)
	if err != nil {
		return nil, asStatus(err)
	}
	who, err := newIdentity(suite, r.Identity)
	if err != nil {
		return nil, asStatus(err)
	}
	x := mls.ExternalSender{SignatureKey: who.signer.Public(), Credential: mls.BasicCredential(who.name)}
	return &pb.CreateExternalSignerResponse{SignerId: add(s, s.signers, who), ExternalSender: x.Marshal()}, nil
}

// AddExternalSigner proposes to let somebody propose from outside, besides
// those who may already.
func (s *Server) AddExternalSigner(_ context.Context, r *pb.AddExternalSignerRequest) (*pb.ProposalResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.ProposalResponse, error) {
		sender, err := mls.ParseExternalSender(r.ExternalSender)
		if err != nil {
			return nil, err
		}
		present := g.epoch.GroupContext().Extensions
		senders, err := mls.ParseExternalSenders(present)
		if err != nil {
			return nil, err
		}
		var xs []mls.Extension
		for _, x := range present {
			if x.Type != mls.ExtensionExternalSenders {
				xs = append(xs, x)
			}
		}
		xs = append(xs, mls.ExternalSenders(append(senders, *sender)))
		msg, err := g.propose(&mls.GroupContextExtensions{Extensions: xs})
		return &pb.ProposalResponse{Proposal: msg}, err
	})
}

// ExternalSignerProposal proposes from outside.
func (s *Server) ExternalSignerProposal(_ context.Context, r *pb.ExternalSignerProposalRequest) (*pb.ProposalResponse, error) {
	return with(s, s.signers, r.SignerId, func(who *identity) (*pb.ProposalResponse, error) {
		info, err := mls.ParseGroupInfo(r.GroupInfo)
		if err != nil {
			return nil, err
		}
		tree, err := treeOf(info, r.RatchetTree)
		if err != nil {
			return nil, err
		}
		p, err := described(r.Description, info.GroupContext, tree)
		if err != nil {
			return nil, err
		}
		msg, err := mls.ExternalProposal(&info.GroupContext, r.SignerIndex, p, nil, who.signer)
		return &pb.ProposalResponse{Proposal: msg}, err
	})
}
