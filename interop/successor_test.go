package interop

import (
	"slices"

	"github.com/dmlsd/dmls/interop/pb"
)

// signer makes somebody outside and has him admitted by a commit.
func (d *driver) signer(name, member string, others ...string) uint32 {
	d.t.Helper()
	out := call(d, d.at(name).CreateExternalSigner, &pb.CreateExternalSignerRequest{CipherSuite: d.suite, Identity: []byte(name)})
	p := call(d, d.at(member).AddExternalSigner, &pb.AddExternalSignerRequest{StateId: d.states[member], ExternalSender: out.ExternalSender})
	d.commit(member, change{byRef: [][]byte{p.Proposal}, members: others})
	return out.SignerId
}

// proposeOutside has a signer propose, who is at that place of external_senders.
func (d *driver) proposeOutside(name string, signer, index uint32, member string, p *pb.ProposalDescription) []byte {
	d.t.Helper()
	info := d.info(member, true)
	return call(d, d.at(name).ExternalSignerProposal, &pb.ExternalSignerProposalRequest{SignerId: signer, SignerIndex: index,
		GroupInfo: info.GroupInfo, RatchetTree: info.RatchetTree, Description: p}).Proposal
}

// reinitialise commits a ReInit and goes on in the new group.
func (d *driver) reinitialise(proposal []byte, committer, welcomer string, all ...string) {
	d.t.Helper()
	closed, keyPackages := map[string]uint32{}, map[string][]byte{}
	commit := call(d, d.at(committer).ReInitCommit, &pb.CommitRequest{StateId: d.states[committer], ByReference: [][]byte{proposal}}).Commit
	own := call(d, d.at(committer).HandlePendingReInitCommit, &pb.HandlePendingCommitRequest{StateId: d.states[committer]})
	closed[committer], keyPackages[committer] = own.ReinitId, own.KeyPackage
	for _, m := range all {
		if m == committer {
			continue
		}
		got := call(d, d.at(m).HandleReInitCommit, &pb.HandleCommitRequest{StateId: d.states[m], Proposal: [][]byte{proposal}, Commit: commit})
		closed[m], keyPackages[m] = got.ReinitId, got.KeyPackage
		d.agree(m, got.EpochAuthenticator, own.EpochAuthenticator)
	}
	request := &pb.ReInitWelcomeRequest{ReinitId: closed[welcomer], ForcePath: d.path, ExternalTree: d.apart}
	for _, m := range all {
		if m != welcomer {
			request.KeyPackage = append(request.KeyPackage, keyPackages[m])
		}
	}
	out := call(d, d.at(welcomer).ReInitWelcome, request)
	d.states[welcomer] = out.StateId
	for _, m := range all {
		if m == welcomer {
			continue
		}
		got := call(d, d.at(m).HandleReInitWelcome, &pb.HandleReInitWelcomeRequest{ReinitId: closed[m], Welcome: out.Welcome, RatchetTree: out.RatchetTree})
		d.states[m] = got.StateId
		d.agree(m, got.EpochAuthenticator, out.EpochAuthenticator)
	}
	d.talk(all)
	// The new group is one like others.
	d.commit(welcomer, change{members: slices.DeleteFunc(slices.Clone(all), func(m string) bool { return m == welcomer })})
}

// branch founds a subgroup and checks that the old group goes on.
func (d *driver) branch(founder string, xs []*pb.Extension, members ...string) {
	d.t.Helper()
	request := &pb.CreateBranchRequest{StateId: d.states[founder], GroupId: append([]byte("branch "), d.group...), Extensions: xs,
		ForcePath: d.path, ExternalTree: d.apart}
	for _, m := range members {
		request.KeyPackages = append(request.KeyPackages, d.keyPackage(m))
	}
	old := map[string]uint32{founder: d.states[founder]}
	out := call(d, d.at(founder).CreateBranch, request)
	d.states[founder] = out.StateId
	for _, m := range members {
		old[m] = d.states[m]
		got := call(d, d.at(m).HandleBranch, &pb.HandleBranchRequest{StateId: old[m], TransactionId: d.tx[m], Welcome: out.Welcome, RatchetTree: out.RatchetTree})
		d.states[m] = got.StateId
		d.agree(m, got.EpochAuthenticator, out.EpochAuthenticator)
	}
	d.commit(founder, change{members: members})
	d.free()
	d.states = old
	d.commit(founder, change{members: members})
}

// free frees all groups.
func (d *driver) free() {
	d.t.Helper()
	for actor, id := range d.states {
		call(d, d.at(actor).Free, &pb.FreeRequest{StateId: id})
	}
}
