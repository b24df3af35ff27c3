package client

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dmlsd/dmls/interop/pb"
	"github.com/dmlsd/dmls/mls"
)

// closedGroup is a group that a ReInit closed, with the KeyPackage by which its
// member goes on.
type closedGroup struct {
	old  *group
	next *joiner
}

// ReInitCommit commits a ReInit.
func (s *Server) ReInitCommit(ctx context.Context, r *pb.CommitRequest) (*pb.CommitResponse, error) {
	return s.Commit(ctx, r)
}

// HandlePendingReInitCommit enters the epoch that closes the group, as its author.
func (s *Server) HandlePendingReInitCommit(_ context.Context, r *pb.HandlePendingCommitRequest) (*pb.HandleReInitCommitResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.HandleReInitCommitResponse, error) {
		if err := g.accept(); err != nil {
			return nil, err
		}
		return s.close(r.StateId, g)
	})
}

// HandleReInitCommit enters the epoch that closes the group.
func (s *Server) HandleReInitCommit(_ context.Context, r *pb.HandleCommitRequest) (*pb.HandleReInitCommitResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.HandleReInitCommitResponse, error) {
		if err := g.handle(r); err != nil {
			return nil, err
		}
		return s.close(r.StateId, g)
	})
}

// close makes the KeyPackage for the new group, of its cipher suite.
func (s *Server) close(state uint32, g *group) (*pb.HandleReInitCommitResponse, error) {
	promise := g.epoch.ReInit()
	if promise == nil {
		return nil, status.Error(codes.InvalidArgument, "the commit has no ReInit")
	}
	self, err := newIdentity(promise.CipherSuite, g.self.name)
	if err != nil {
		return nil, err
	}
	j, err := newJoiner(promise.CipherSuite, self)
	if err != nil {
		return nil, err
	}
	delete(s.groups, state)
	return &pb.HandleReInitCommitResponse{ReinitId: put(s, s.closed, &closedGroup{g, j}), KeyPackage: j.message(),
		EpochAuthenticator: g.epoch.EpochAuthenticator()}, nil
}

// ReInitWelcome founds the new group.
func (s *Server) ReInitWelcome(_ context.Context, r *pb.ReInitWelcomeRequest) (*pb.CreateSubgroupResponse, error) {
	return with(s, s.closed, r.ReinitId, func(c *closedGroup) (*pb.CreateSubgroupResponse, error) {
		kps, err := parseKeyPackages(r.KeyPackage)
		if err != nil {
			return nil, err
		}
		self := c.next.self
		out, err := c.old.epoch.Reinitialise(mls.SuccessorRequest{Leaf: self.options(0), KeyPackages: kps, ForcePath: r.ForcePath}, self.signer, env())
		if err != nil {
			return nil, err
		}
		answer, err := s.found(out, self, c.old.private, r.ExternalTree)
		if err == nil {
			s.forget(r.ReinitId, c)
		}
		return answer, err
	})
}

// found enters a group of which this actor is the founder.
func (s *Server) found(out *mls.StagedCommit, self *identity, private, apart bool) (*pb.CreateSubgroupResponse, error) {
	msg, err := welcome(out, apart, self)
	if err != nil {
		return nil, err
	}
	out.Wipe()
	g := newGroup(out.Child, self, private, nil)
	return &pb.CreateSubgroupResponse{StateId: put(s, s.groups, g), Welcome: msg, RatchetTree: treeIf(apart, out.Child),
		EpochAuthenticator: out.Child.EpochAuthenticator()}, nil
}

func (s *Server) forget(id uint32, c *closedGroup) {
	c.old.wipe()
	c.next.bundle.Wipe()
	delete(s.closed, id)
}

// HandleReInitWelcome enters the new group.
func (s *Server) HandleReInitWelcome(_ context.Context, r *pb.HandleReInitWelcomeRequest) (*pb.JoinGroupResponse, error) {
	return with(s, s.closed, r.ReinitId, func(c *closedGroup) (*pb.JoinGroupResponse, error) {
		g, err := c.next.join(r.Welcome, r.RatchetTree, c.old.private, c.old.epoch)
		if err != nil {
			return nil, err
		}
		s.forget(r.ReinitId, c)
		return &pb.JoinGroupResponse{StateId: put(s, s.groups, g), EpochAuthenticator: g.epoch.EpochAuthenticator()}, nil
	})
}

// CreateBranch founds a subgroup under the actor's present signature key.
func (s *Server) CreateBranch(_ context.Context, r *pb.CreateBranchRequest) (*pb.CreateSubgroupResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.CreateSubgroupResponse, error) {
		kps, err := parseKeyPackages(r.KeyPackages)
		if err != nil {
			return nil, err
		}
		xs, err := extensions(r.Extensions)
		if err != nil {
			return nil, err
		}
		out, err := g.epoch.Branch(mls.SuccessorRequest{GroupID: r.GroupId, Extensions: xs, Leaf: g.self.options(0),
			KeyPackages: kps, ForcePath: r.ForcePath}, g.self.signer, env())
		if err != nil {
			return nil, err
		}
		return s.found(out, g.self, g.private, r.ExternalTree)
	})
}

// HandleBranch enters a subgroup. The group that it branches from goes on.
func (s *Server) HandleBranch(_ context.Context, r *pb.HandleBranchRequest) (*pb.HandleBranchResponse, error) {
	return with(s, s.groups, r.StateId, func(old *group) (*pb.HandleBranchResponse, error) {
		j, ok := s.joiners[r.TransactionId]
		if !ok {
			return nil, status.Errorf(codes.NotFound, "nothing is numbered %d", r.TransactionId)
		}
		g, err := j.join(r.Welcome, r.RatchetTree, old.private, old.epoch)
		if err != nil {
			return nil, err
		}
		delete(s.joiners, r.TransactionId)
		return &pb.HandleBranchResponse{StateId: put(s, s.groups, g), EpochAuthenticator: g.epoch.EpochAuthenticator()}, nil
	})
}
