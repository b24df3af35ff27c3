package interop

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dmlsd/dmls/interop/pb"
)

// TestRefusals: a client answers nonsense with an error of the right kind, and
// its groups go on.
func TestRefusals(t *testing.T) {
	d := newDriver(t, serveClients(t, 2), variant{suite: 1})
	d.create("alice", "bob", "charlie")
	c, ctx := d.at("alice"), context.Background()
	alice := d.states["alice"]
	refused := func(name string, want codes.Code, err error) {
		t.Helper()
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	_, err := c.StateAuth(ctx, &pb.StateAuthRequest{StateId: 1 << 20})
	refused("no such state", codes.NotFound, err)
	_, err = c.StorePSK(ctx, &pb.StorePSKRequest{StateOrTransactionId: 1 << 20})
	refused("no such state or transaction", codes.NotFound, err)
	_, err = c.CreateGroup(ctx, &pb.CreateGroupRequest{GroupId: []byte("x"), CipherSuite: 1<<16 + 1})
	refused("a cipher suite of 17 bits", codes.InvalidArgument, err)
	_, err = c.HandlePendingCommit(ctx, &pb.HandlePendingCommitRequest{StateId: alice})
	refused("no commit is staged", codes.FailedPrecondition, err)
	_, err = c.RemoveProposal(ctx, &pb.RemoveProposalRequest{StateId: alice, RemovedId: []byte("nobody")})
	refused("Remove of nobody", codes.InvalidArgument, err)
	_, err = c.Unprotect(ctx, &pb.UnprotectRequest{StateId: alice, Ciphertext: []byte("no message")})
	refused("no message", codes.InvalidArgument, err)
	_, err = c.Commit(ctx, &pb.CommitRequest{StateId: alice, ByValue: []*pb.ProposalDescription{{ProposalType: []byte("sub")}}})
	refused("a proposal of no type", codes.InvalidArgument, err)

	said := d.say("alice")
	d.receive("bob", said)
	_, err = d.at("bob").Unprotect(ctx, &pb.UnprotectRequest{StateId: d.states["bob"], Ciphertext: said.message})
	refused("a message twice", codes.InvalidArgument, err)

	out := call(d, c.Commit, &pb.CommitRequest{StateId: alice, ByValue: []*pb.ProposalDescription{remove("charlie")}})
	_, err = d.at("charlie").HandleCommit(ctx, &pb.HandleCommitRequest{StateId: d.states["charlie"], Commit: out.Commit})
	refused("the commit that removes oneself", codes.FailedPrecondition, err)
	d.commit("alice", change{byValue: []*pb.ProposalDescription{remove("charlie")}, members: []string{"bob"}})
	d.free()
}
