package sim

import (
	"fmt"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// A puppet is a member whom an adversary added: an identity of its own, no device,
// and nothing of its own mind.

// bring adds puppets in an epoch with one commit, sends that, and lets them in.
func (in *insider) bring(at string, n int) (puppets []*insider, child string) {
	var bundles []*mls.KeyPackageBundle
	var ids []group.Identity
	var adds []mls.Proposal
	for range n {
		signer, err := mls.NewEd25519Signer(in.bytes(32))
		if err != nil {
			in.r.fail(err)
			return nil, ""
		}
		in.r.puppets++
		id := group.Identity{Name: fmt.Sprintf("puppet%d", in.r.puppets), Signer: signer}
		kp, err := group.NewKeyPackage(group.Env{Now: in.r.now, Rand: in.rand}, id)
		if err != nil {
			in.r.fail(err)
			return nil, ""
		}
		ids, bundles, adds = append(ids, id), append(bundles, kp), append(adds, &mls.Add{KeyPackage: *kp.KeyPackage})
	}
	b, child := in.commit(at, mls.CommitRequest{Proposals: adds}, nil)
	if b.Data == nil {
		return nil, ""
	}
	in.send(b)
	welcome, err := in.staged.Welcome(nil, true, in.signer, in.env())
	if err != nil {
		in.r.fail(fmt.Errorf("sim: %s: %w", in.d.name, err))
		return nil, ""
	}
	for i, kp := range bundles {
		e, _, err := mls.Join(welcome, nil, kp, mls.JoinOptions{KeySchedule: mls.DMLS, Signer: ids[i].Signer}, in.env())
		if err != nil {
			in.r.fail(fmt.Errorf("sim: %s: %w", ids[i].Name, err))
			return nil, ""
		}
		p := *in
		p.self, p.signer = incarnationOf(uint32(e.Self()), ids[i].ID(), b.CID), ids[i].Signer
		p.next, p.prev, p.own = 0, b.CID, map[string]*mls.Epoch{child: e}
		puppets = append(puppets, &p)
	}
	return puppets, child
}
