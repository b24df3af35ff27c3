package client

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dmlsd/dmls/interop/pb"
	"github.com/dmlsd/dmls/mls"
)

// GroupInfo gives what an outsider needs to join.
func (s *Server) GroupInfo(_ context.Context, r *pb.GroupInfoRequest) (*pb.GroupInfoResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.GroupInfoResponse, error) {
		xs, err := greased()
		if err != nil {
			return nil, err
		}
		info, err := g.epoch.GroupInfo(xs, !r.ExternalTree, g.self.signer)
		if err != nil {
			return nil, err
		}
		return &pb.GroupInfoResponse{GroupInfo: info, RatchetTree: treeIf(r.ExternalTree, g.epoch)}, nil
	})
}

// treeIf is the tree of an epoch where it travels apart.
func treeIf(apart bool, e *mls.Epoch) []byte {
	if !apart {
		return nil
	}
	return e.Tree().Marshal()
}

// StateAuth gives the epoch authenticator.
func (s *Server) StateAuth(_ context.Context, r *pb.StateAuthRequest) (*pb.StateAuthResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.StateAuthResponse, error) {
		return &pb.StateAuthResponse{StateAuthSecret: g.epoch.EpochAuthenticator()}, nil
	})
}

// Export is MLS-Exporter.
func (s *Server) Export(_ context.Context, r *pb.ExportRequest) (*pb.ExportResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.ExportResponse, error) {
		secret, err := g.epoch.Export(r.Label, r.Context, int(r.KeyLength))
		if err != nil {
			return nil, err
		}
		return &pb.ExportResponse{ExportedSecret: secret}, nil
	})
}

// Protect sends application data.
func (s *Server) Protect(_ context.Context, r *pb.ProtectRequest) (*pb.ProtectResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.ProtectResponse, error) {
		msg, delta, err := g.epoch.Protect(r.Plaintext, r.AuthenticatedData, g.self.signer, env())
		if err != nil {
			return nil, err
		}
		if err := g.epoch.Apply(delta); err != nil {
			return nil, err
		}
		return &pb.ProtectResponse{Ciphertext: msg}, nil
	})
}

// Unprotect opens application data, also of an earlier epoch.
func (s *Server) Unprotect(_ context.Context, r *pb.UnprotectRequest) (*pb.UnprotectResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.UnprotectResponse, error) {
		e, out, err := g.open(r.Ciphertext)
		if err != nil {
			return nil, err
		}
		if out.ContentType != mls.ContentTypeApplication {
			return nil, status.Errorf(codes.InvalidArgument, "content type %d is no application data", out.ContentType)
		}
		if err := e.Apply(out.Delta); err != nil {
			return nil, err
		}
		return &pb.UnprotectResponse{AuthenticatedData: out.AuthenticatedData, Plaintext: out.Data}, nil
	})
}

// StorePSK installs an external PSK for a member or for somebody who joins.
func (s *Server) StorePSK(_ context.Context, r *pb.StorePSKRequest) (*pb.StorePSKResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g, ok := s.groups[r.StateOrTransactionId]; ok {
		g.psks[string(r.PskId)] = r.PskSecret
		return &pb.StorePSKResponse{}, nil
	}
	if j, ok := s.joiners[r.StateOrTransactionId]; ok {
		j.psks[string(r.PskId)] = r.PskSecret
		return &pb.StorePSKResponse{}, nil
	}
	return nil, status.Errorf(codes.NotFound, "nothing is numbered %d", r.StateOrTransactionId)
}
