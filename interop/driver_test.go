package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/dmlsd/dmls/interop/client"
	"github.com/dmlsd/dmls/interop/pb"
)

// serveClients starts n clients on loopback.
func serveClients(t *testing.T, n int) []pb.MLSClientClient {
	t.Helper()
	out := make([]pb.MLSClientClient, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		pb.RegisterMLSClientServer(s, client.New())
		go s.Serve(l)
		t.Cleanup(s.Stop)
		c, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		out[i] = pb.NewMLSClientClient(c)
	}
	return out
}

// variant is one way to run a scenario.
type variant struct {
	suite   uint32
	encrypt bool // handshake messages as PrivateMessages
	apart   bool // the ratchet tree travels beside Welcome and GroupInfo
	path    bool // commits have a path where none is required
}

func (v variant) String() string {
	return fmt.Sprintf("suite %d private %t tree-apart %t path %t", v.suite, v.encrypt, v.apart, v.path)
}

// driver drives actors, who are spread over the clients, through one group. A
// step that fails ends the test.
type driver struct {
	t *testing.T
	variant
	clients []pb.MLSClientClient
	place   map[string]pb.MLSClientClient
	states  map[string]uint32
	tx      map[string]uint32
	group   []byte
	calls   int
}

func newDriver(t *testing.T, clients []pb.MLSClientClient, v variant) *driver {
	group := make([]byte, 16)
	rand.Read(group)
	return &driver{t: t, variant: v, clients: clients, group: group, place: map[string]pb.MLSClientClient{},
		states: map[string]uint32{}, tx: map[string]uint32{}}
}

// at is the client of an actor: new actors go to the clients in turn.
func (d *driver) at(actor string) pb.MLSClientClient {
	if d.place[actor] == nil {
		d.place[actor] = d.clients[len(d.place)%len(d.clients)]
	}
	return d.place[actor]
}

// call is one RPC of a step.
func call[Q, R any](d *driver, rpc func(context.Context, Q, ...grpc.CallOption) (R, error), request Q) R {
	d.t.Helper()
	d.calls++
	out, err := rpc(context.Background(), request)
	if err != nil {
		d.t.Fatalf("%T: %v", request, err)
	}
	return out
}

func (d *driver) agree(actor string, got, want []byte) {
	d.t.Helper()
	if len(got) == 0 || !bytes.Equal(got, want) {
		d.t.Fatalf("%s is in another epoch: authenticator %x, want %x", actor, got, want)
	}
}

// create founds the group.
func (d *driver) create(founder string, members ...string) {
	d.t.Helper()
	d.states[founder] = call(d, d.at(founder).CreateGroup, &pb.CreateGroupRequest{GroupId: d.group, CipherSuite: d.suite,
		EncryptHandshake: d.encrypt, Identity: []byte(founder)}).StateId
	if len(members) == 0 {
		return
	}
	var adds []*pb.ProposalDescription
	for _, m := range members {
		adds = append(adds, add(d.keyPackage(m)))
	}
	d.commit(founder, change{byValue: adds, joiners: members})
}

func (d *driver) keyPackage(actor string) []byte {
	d.t.Helper()
	out := call(d, d.at(actor).CreateKeyPackage, &pb.CreateKeyPackageRequest{CipherSuite: d.suite, Identity: []byte(actor)})
	if len(out.InitPriv) == 0 || len(out.EncryptionPriv) == 0 || len(out.SignaturePriv) == 0 {
		d.t.Fatal("a private key is missing")
	}
	d.tx[actor] = out.TransactionId
	return out.KeyPackage
}

func add(kp []byte) *pb.ProposalDescription {
	return &pb.ProposalDescription{ProposalType: []byte("add"), KeyPackage: kp}
}

func remove(actor string) *pb.ProposalDescription {
	return &pb.ProposalDescription{ProposalType: []byte("remove"), RemovedId: []byte(actor)}
}

func externalPSK(id []byte) *pb.ProposalDescription {
	return &pb.ProposalDescription{ProposalType: []byte("externalPSK"), PskId: id}
}

func resumptionPSK(epoch uint64) *pb.ProposalDescription {
	return &pb.ProposalDescription{ProposalType: []byte("resumptionPSK"), EpochId: epoch}
}

func newExtensions(xs ...*pb.Extension) *pb.ProposalDescription {
	return &pb.ProposalDescription{ProposalType: []byte("groupContextExtensions"), Extensions: xs}
}

// nothingRequired and nobodyOutside are GroupContext extensions that all know.
func nothingRequired() *pb.Extension {
	return &pb.Extension{ExtensionType: 3, ExtensionData: make([]byte, 3)}
}
func nobodyOutside() *pb.Extension {
	return &pb.Extension{ExtensionType: 5, ExtensionData: make([]byte, 1)}
}

// propose sends a proposal by the RPC of its type; nil is an Update.
func (d *driver) propose(actor string, p *pb.ProposalDescription) []byte {
	d.t.Helper()
	c, id := d.at(actor), d.states[actor]
	switch string(p.GetProposalType()) {
	case "add":
		return call(d, c.AddProposal, &pb.AddProposalRequest{StateId: id, KeyPackage: p.KeyPackage}).Proposal
	case "remove":
		return call(d, c.RemoveProposal, &pb.RemoveProposalRequest{StateId: id, RemovedId: p.RemovedId}).Proposal
	case "externalPSK":
		return call(d, c.ExternalPSKProposal, &pb.ExternalPSKProposalRequest{StateId: id, PskId: p.PskId}).Proposal
	case "resumptionPSK":
		return call(d, c.ResumptionPSKProposal, &pb.ResumptionPSKProposalRequest{StateId: id, EpochId: p.EpochId}).Proposal
	case "groupContextExtensions":
		return call(d, c.GroupContextExtensionsProposal, &pb.GroupContextExtensionsProposalRequest{StateId: id, Extensions: p.Extensions}).Proposal
	case "":
		return call(d, c.UpdateProposal, &pb.UpdateProposalRequest{StateId: id}).Proposal
	}
	d.t.Fatalf("proposal type %q", p.ProposalType)
	return nil
}

// change is what a commit does and who follows it.
type change struct {
	byRef   [][]byte
	byValue []*pb.ProposalDescription
	members []string // besides the committer
	joiners []string
}

// commit commits, and all follow.
func (d *driver) commit(actor string, c change) {
	d.t.Helper()
	out := call(d, d.at(actor).Commit, &pb.CommitRequest{StateId: d.states[actor], ByReference: c.byRef, ByValue: c.byValue,
		ForcePath: d.path, ExternalTree: d.apart})
	if !d.apart && len(out.RatchetTree) > 0 || len(out.Welcome) > 0 != (len(c.joiners) > 0) {
		d.t.Fatal("a ratchet tree or Welcome that nobody asked for, or none")
	}
	own := call(d, d.at(actor).HandlePendingCommit, &pb.HandlePendingCommitRequest{StateId: d.states[actor]})
	d.states[actor] = own.StateId
	for _, m := range c.members {
		got := call(d, d.at(m).HandleCommit, &pb.HandleCommitRequest{StateId: d.states[m], Proposal: c.byRef, Commit: out.Commit})
		d.states[m] = got.StateId
		d.agree(m, got.EpochAuthenticator, own.EpochAuthenticator)
	}
	for _, j := range c.joiners {
		got := call(d, d.at(j).JoinGroup, &pb.JoinGroupRequest{TransactionId: d.tx[j], Welcome: out.Welcome,
			EncryptHandshake: d.encrypt, Identity: []byte(j), RatchetTree: out.RatchetTree})
		d.states[j] = got.StateId
		d.agree(j, got.EpochAuthenticator, own.EpochAuthenticator)
	}
	d.talk(append(slices.Concat(c.members, c.joiners), actor))
}

// talk has each say something to the next, and compares what they export.
func (d *driver) talk(actors []string) {
	d.t.Helper()
	var exported []byte
	for i, from := range actors {
		to := actors[(i+1)%len(actors)]
		secret := call(d, d.at(from).Export, &pb.ExportRequest{StateId: d.states[from], Label: "interop", Context: d.group, KeyLength: 32}).ExportedSecret
		if exported == nil {
			exported = secret
		}
		d.agree(from, secret, exported)
		if from == to {
			return
		}
		d.receive(to, d.say(from))
	}
}

// said is a message with what it has to be opened as.
type said struct{ message, aad, text []byte }

func (d *driver) say(actor string) said {
	d.t.Helper()
	s := said{aad: []byte("of " + actor), text: fmt.Appendf(nil, "text %d", d.calls)}
	s.message = call(d, d.at(actor).Protect, &pb.ProtectRequest{StateId: d.states[actor], AuthenticatedData: s.aad, Plaintext: s.text}).Ciphertext
	return s
}

func (d *driver) receive(actor string, s said) {
	d.t.Helper()
	out := call(d, d.at(actor).Unprotect, &pb.UnprotectRequest{StateId: d.states[actor], Ciphertext: s.message})
	if !bytes.Equal(out.Plaintext, s.text) || !bytes.Equal(out.AuthenticatedData, s.aad) {
		d.t.Fatalf("%s opens %q with %q, want %q with %q", actor, out.Plaintext, out.AuthenticatedData, s.text, s.aad)
	}
}

// install gives actors an external PSK.
func (d *driver) install(actors ...string) *pb.PreSharedKey {
	d.t.Helper()
	p := &pb.PreSharedKey{PskId: make([]byte, 32), PskSecret: make([]byte, 32)}
	rand.Read(p.PskId)
	rand.Read(p.PskSecret)
	for _, a := range actors {
		id := d.states[a]
		if id == 0 {
			id = d.tx[a]
		}
		call(d, d.at(a).StorePSK, &pb.StorePSKRequest{StateOrTransactionId: id, PskId: p.PskId, PskSecret: p.PskSecret})
	}
	return p
}

func (d *driver) info(actor string, apart bool) *pb.GroupInfoResponse {
	d.t.Helper()
	return call(d, d.at(actor).GroupInfo, &pb.GroupInfoRequest{StateId: d.states[actor], ExternalTree: apart})
}

// externalJoin joins by the GroupInfo of a member; all others follow.
func (d *driver) externalJoin(member, joiner string, resync bool, psks []*pb.PreSharedKey, others ...string) {
	d.t.Helper()
	info := d.info(member, d.apart)
	out := call(d, d.at(joiner).ExternalJoin, &pb.ExternalJoinRequest{GroupInfo: info.GroupInfo, RatchetTree: info.RatchetTree,
		EncryptHandshake: d.encrypt, Identity: []byte(joiner), RemovePrior: resync, Psks: psks})
	d.states[joiner] = out.StateId
	all := append(slices.Clone(others), member)
	for _, m := range all {
		got := call(d, d.at(m).HandleCommit, &pb.HandleCommitRequest{StateId: d.states[m], Commit: out.Commit})
		d.states[m] = got.StateId
		d.agree(m, got.EpochAuthenticator, out.EpochAuthenticator)
	}
	d.talk(append(all, joiner))
}
