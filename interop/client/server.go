// Package client is a client of the MLS working group's test runner: package
// mls behind the service mls_client.MLSClient. It is for tests only. It hands
// out private keys, because that interface wants them.
package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dmlsd/dmls/interop/pb"
	"github.com/dmlsd/dmls/mls"
)

// Server holds the groups of all the actors that the runner has given to this
// client. What it hands out is numbered in one row, so that StorePSK can tell a
// state from a transaction.
type Server struct {
	pb.UnimplementedMLSClientServer

	mu      sync.Mutex
	last    uint32
	groups  map[uint32]*group
	joiners map[uint32]*joiner
	closed  map[uint32]*closedGroup
	signers map[uint32]*identity
}

// New returns a client without any group.
func New() *Server {
	return &Server{groups: map[uint32]*group{}, joiners: map[uint32]*joiner{},
		closed: map[uint32]*closedGroup{}, signers: map[uint32]*identity{}}
}

// Name is what the runner's reports call this client.
func (s *Server) Name(context.Context, *pb.NameRequest) (*pb.NameResponse, error) {
	return &pb.NameResponse{Name: "dmls"}, nil
}

// SupportedCiphersuites lists the suites of RFC 9420.
func (s *Server) SupportedCiphersuites(context.Context, *pb.SupportedCiphersuitesRequest) (*pb.SupportedCiphersuitesResponse, error) {
	out := &pb.SupportedCiphersuitesResponse{}
	for _, id := range mls.CipherSuites() {
		out.Ciphersuites = append(out.Ciphersuites, uint32(id))
	}
	return out, nil
}

// Free wipes a group.
func (s *Server) Free(_ context.Context, r *pb.FreeRequest) (*pb.FreeResponse, error) {
	return with(s, s.groups, r.StateId, func(g *group) (*pb.FreeResponse, error) {
		g.wipe()
		delete(s.groups, r.StateId)
		return &pb.FreeResponse{}, nil
	})
}

// with calls f with the item of that number, alone.
func with[T, R any](s *Server, items map[uint32]T, id uint32, f func(T) (R, error)) (R, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := items[id]
	if !ok {
		var none R
		return none, status.Errorf(codes.NotFound, "nothing is numbered %d", id)
	}
	out, err := f(item)
	return out, asStatus(err)
}

// put numbers an item. The lock is held.
func put[T any](s *Server, items map[uint32]T, item T) uint32 {
	s.last++
	items[s.last] = item
	return s.last
}

// add is put for a caller without the lock.
func add[T any](s *Server, items map[uint32]T, item T) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return put(s, items, item)
}

// asStatus tells the caller's mistakes and the peers' bad messages apart.
func asStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, mls.ErrConfig), errors.Is(err, mls.ErrClosed), errors.Is(err, mls.ErrStale):
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.InvalidArgument, err.Error())
}

func env() mls.Env { return mls.Env{Now: time.Now(), Rand: rand.Reader} }

// identity is a name with a signature key.
type identity struct {
	name    []byte
	signer  mls.Signer
	private []byte
}

func newIdentity(suite mls.CipherSuite, name []byte) (*identity, error) {
	signer, private, err := mls.GenerateSigner(suite, rand.Reader)
	if err != nil {
		return nil, err
	}
	return &identity{name: name, signer: signer, private: private}, nil
}

// options are those of all our leaves: every suite, basic credentials, a
// lifetime that bears a clock that is wrong by a day, and GREASE.
func (i *identity) options(suite mls.CipherSuite) mls.KeyPackageOptions {
	now := uint64(time.Now().Unix())
	const day = 24 * 60 * 60
	return mls.KeyPackageOptions{
		Suite:        suite,
		Credential:   mls.BasicCredential(i.name),
		Capabilities: mls.Capabilities{CipherSuites: mls.CipherSuites()},
		Lifetime:     mls.Lifetime{NotBefore: now - day, NotAfter: now + 90*day},
		GREASE:       true,
	}
}

// greased is one GroupInfo extension that nobody knows.
func greased() ([]mls.Extension, error) {
	x, err := mls.GREASEExtension(rand.Reader)
	return []mls.Extension{x}, err
}

// extensions are those of a request.
func extensions(xs []*pb.Extension) ([]mls.Extension, error) {
	out := make([]mls.Extension, 0, len(xs))
	for _, x := range xs {
		t, err := short(x.ExtensionType, "extension type")
		if err != nil {
			return nil, err
		}
		out = append(out, mls.Extension{Type: mls.ExtensionType(t), Data: x.ExtensionData})
	}
	return out, nil
}

// short is a 16-bit value, for which the interface has no type.
func short(v uint32, what string) (uint16, error) {
	if v > 1<<16-1 {
		return 0, fmt.Errorf("interop: %s %d has more than 16 bits", what, v)
	}
	return uint16(v), nil
}

func suiteOf(v uint32) (mls.CipherSuite, error) {
	id, err := short(v, "cipher suite")
	return mls.CipherSuite(id), err
}

func parseKeyPackage(b []byte) (*mls.KeyPackage, error) {
	m, err := mls.ParseMLSMessage(b)
	if err != nil {
		return nil, err
	}
	if m.KeyPackage == nil {
		return nil, fmt.Errorf("interop: wire format %d, want a KeyPackage", m.WireFormat)
	}
	return m.KeyPackage, nil
}

func parseKeyPackages(bs [][]byte) ([]*mls.KeyPackage, error) {
	out := make([]*mls.KeyPackage, 0, len(bs))
	for _, b := range bs {
		kp, err := parseKeyPackage(b)
		if err != nil {
			return nil, err
		}
		out = append(out, kp)
	}
	return out, nil
}
