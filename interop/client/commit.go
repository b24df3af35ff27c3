package client

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dmlsd/dmls/interop/pb"
	"github.com/dmlsd/dmls/mls"
)

// Commit stages a commit; HandlePendingCommit enters its epoch.
func (s *Server) Commit(_ context.Context, r *pb.CommitRequest) (*pb.CommitResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.CommitResponse, error) { return g.commit(r) })
}

func (g *group) commit(r *pb.CommitRequest) (*pb.CommitResponse, error) {
	request := mls.CommitRequest{ForcePath: r.ForcePath, PSK: g.psk, Public: !g.private}
	for _, message := range r.ByReference {
		ref, err := g.ref(message)
		if err != nil {
			return nil, err
		}
		request.References = append(request.References, ref)
	}
	for _, d := range r.ByValue {
		p, err := described(d, g.epoch.GroupContext(), g.epoch.Tree())
		if err != nil {
			return nil, err
		}
		request.Proposals = append(request.Proposals, p)
	}
	out, err := g.epoch.Commit(request, g.self.signer, env())
	if err != nil {
		return nil, err
	}
	answer := &pb.CommitResponse{Commit: out.Message, RatchetTree: treeIf(r.ExternalTree, out.Child)}
	if len(out.Added) > 0 {
		if answer.Welcome, err = welcome(out, r.ExternalTree, g.self); err != nil {
			return nil, err
		}
	}
	// The runner may let another commit win: the key of this one is used.
	if err := g.epoch.Apply(out.Sent); err != nil {
		return nil, err
	}
	g.dropPending()
	g.pending = out
	return answer, nil
}

// welcome is the Welcome of a commit, whose tree may travel apart.
func welcome(c *mls.StagedCommit, apart bool, self *identity) ([]byte, error) {
	xs, err := greased()
	if err != nil {
		return nil, err
	}
	return c.Welcome(xs, !apart, self.signer, env())
}

// accept enters the epoch of the staged commit.
func (g *group) accept() error {
	if g.pending == nil {
		return status.Error(codes.FailedPrecondition, "no commit is staged")
	}
	if err := g.epoch.Apply(g.pending.Delta); err != nil {
		return err
	}
	g.pending.Wipe()
	g.enter(g.pending.Child)
	return nil
}

// HandlePendingCommit enters the epoch of the actor's own commit.
func (s *Server) HandlePendingCommit(_ context.Context, r *pb.HandlePendingCommitRequest) (*pb.HandleCommitResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.HandleCommitResponse, error) {
		if err := g.accept(); err != nil {
			return nil, err
		}
		return &pb.HandleCommitResponse{StateId: r.StateId, EpochAuthenticator: g.epoch.EpochAuthenticator()}, nil
	})
}

// handle enters the epoch of somebody else's commit.
func (g *group) handle(r *pb.HandleCommitRequest) error {
	for _, message := range r.Proposal {
		if _, err := g.ref(message); err != nil {
			return err
		}
	}
	e, out, err := g.open(r.Commit)
	if err != nil {
		return err
	}
	switch {
	case out.Commit == nil:
		return status.Errorf(codes.InvalidArgument, "content type %d is no commit", out.ContentType)
	case out.Commit.SelfRemoved:
		return status.Error(codes.FailedPrecondition, "the commit removes this member")
	}
	if err := e.Apply(out.Delta); err != nil {
		return err
	}
	g.dropPending()
	g.enter(out.Commit.Child)
	return nil
}

// HandleCommit enters the epoch of another member's commit.
func (s *Server) HandleCommit(_ context.Context, r *pb.HandleCommitRequest) (*pb.HandleCommitResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.HandleCommitResponse, error) {
		if err := g.handle(r); err != nil {
			return nil, err
		}
		return &pb.HandleCommitResponse{StateId: r.StateId, EpochAuthenticator: g.epoch.EpochAuthenticator()}, nil
	})
}
