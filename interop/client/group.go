package client

import (
	"bytes"
	"fmt"

	"github.com/dmlsd/dmls/mls"
)

// lateEpochs is the number of epochs besides the present one whose messages a
// group still opens.
const lateEpochs = 8

// group is one actor's membership of a group.
type group struct {
	self    *identity
	private bool // handshake messages are PrivateMessages

	epoch   *mls.Epoch
	late    []*mls.Epoch      // earlier ones, the oldest first
	psks    map[string][]byte // external, by psk_id
	resume  map[uint64][]byte // resumption PSKs of this group by epoch
	refs    map[string][]byte // this epoch's proposals, by message
	pending *mls.StagedCommit
}

func newGroup(e *mls.Epoch, self *identity, private bool, psks map[string][]byte) *group {
	if psks == nil {
		psks = map[string][]byte{}
	}
	g := &group{self: self, private: private, psks: psks, resume: map[uint64][]byte{}}
	g.enter(e)
	return g
}

// enter makes an epoch the present one.
func (g *group) enter(e *mls.Epoch) {
	if g.epoch != nil {
		g.late = append(g.late, g.epoch)
	}
	if len(g.late) > lateEpochs {
		g.late[0].Wipe()
		g.late = g.late[1:]
	}
	g.epoch, g.pending = e, nil
	g.refs = map[string][]byte{}
	g.resume[e.Number()] = e.ResumptionPSK()
}

func (g *group) wipe() {
	for _, e := range append(g.late, g.epoch) {
		e.Wipe()
	}
	for _, k := range g.resume {
		clear(k)
	}
	g.dropPending()
}

// dropPending forgets a commit that was not accepted.
func (g *group) dropPending() {
	if g.pending == nil {
		return
	}
	g.pending.Child.Wipe()
	g.pending.Delta.Wipe()
	g.pending.Wipe()
	g.pending = nil
}

// psk looks up what StorePSK installed and the group's own earlier epochs.
func (g *group) psk(id mls.PreSharedKeyID) []byte {
	if id.Type == mls.PSKTypeExternal {
		return g.psks[string(id.ID)]
	}
	if id.Usage == mls.ResumptionApplication && bytes.Equal(id.GroupID, g.epoch.GroupID()) {
		return g.resume[id.Epoch]
	}
	return nil
}

// member finds a leaf by the identity of its credential.
func member(tree *mls.RatchetTree, name []byte) (mls.LeafIndex, error) {
	for i, leaf := range tree.Leaves() {
		if bytes.Equal(leaf.Credential.Identity, name) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("interop: %q is no member", name)
}

// at is the epoch of that number, if it is still there.
func (g *group) at(number uint64) *mls.Epoch {
	for _, e := range g.late {
		if e.Number() == number {
			return e
		}
	}
	return g.epoch
}

// open opens a frame of whichever wire format. Whoever calls applies the delta.
func (g *group) open(b []byte) (*mls.Epoch, *mls.Opened, error) {
	m, err := mls.ParseMLSMessage(b)
	if err != nil {
		return nil, nil, err
	}
	o := mls.OpenOptions{Env: env(), PSK: g.psk}
	switch {
	case m.Private != nil:
		e := g.at(m.Private.Epoch)
		out, err := e.Open(m.Private, o)
		return e, out, err
	case m.Public != nil:
		out, err := g.epoch.OpenPublic(m.Public, o)
		return g.epoch, out, err
	}
	return nil, nil, fmt.Errorf("interop: wire format %d, want a frame", m.WireFormat)
}

// ref is the reference of a proposal's message, which is opened if it is not
// known yet.
func (g *group) ref(message []byte) ([]byte, error) {
	if ref, ok := g.refs[string(message)]; ok {
		return ref, nil
	}
	e, out, err := g.open(message)
	if err != nil {
		return nil, err
	}
	if out.ContentType != mls.ContentTypeProposal {
		return nil, fmt.Errorf("interop: content type %d, want a proposal", out.ContentType)
	}
	if err := e.Apply(out.Delta); err != nil {
		return nil, err
	}
	g.refs[string(message)] = out.Ref
	return out.Ref, nil
}

// propose sends a proposal; nil is an Update of our leaf.
func (g *group) propose(p mls.Proposal) ([]byte, error) {
	msg, delta, err := g.epoch.ProposeWith(mls.ProposalRequest{Proposal: p, Public: !g.private}, g.self.signer, env())
	if err != nil {
		return nil, err
	}
	ref := delta.ProposalRef()
	if err := g.epoch.Apply(delta); err != nil {
		return nil, err
	}
	g.refs[string(msg)] = ref
	return msg, nil
}
