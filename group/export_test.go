package group

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/mls"
)

// Forge lets a test lie about the own chain.
func (g *Group) Forge(next uint64, prev cid.Cid) { g.next, g.prev = next, prev }

func (g *Group) Chain() (uint64, cid.Cid) { return g.next, g.prev }

func (g *Group) SelfMember() dag.Member { return g.self }

// SendRaw sends application data of any kind.
func (g *Group) SendRaw(env Env, kind uint8, body []byte) (Output, error) {
	s := &step{Group: g, env: env}
	_, err := s.sendApplication(appData{Kind: appKind(kind), Body: body})
	return s.done(), err
}

// Notice makes a notice signed by this device.
func (g *Group) Notice(to dag.Member, head cid.Cid) []byte {
	s := &step{Group: g}
	n := notice{Joiner: to, Head: head, Signer: g.id.ID()}
	n.Signature, _ = s.signed(labelNotice, n.content(g.gid))
	return g.gossip.SealSignal(n.marshal())
}

func (g *Group) Offer(joiner dag.Member, head cid.Cid, kp []byte) []byte {
	s := &step{Group: g}
	o := offer{Joiner: joiner, Head: head, KeyPackage: kp}
	o.Signature, _ = s.signed(labelOffer, o.content(g.gid))
	return g.gossip.SealSignal(o.marshal())
}

func (g *Group) Due() string {
	return fmt.Sprintf("ack %v work %v notice %v offer %v", g.due.ack, g.due.workAt, len(g.due.notice), g.due.offer)
}

func (g *Group) Offers() int { return len(g.offers) }

// Info is what the group's extension says.
type Info = groupInfo

// ChangeInfo rewrites the content of the group's extension, sensible or not.
func ChangeInfo(t testing.TB, b []byte, change func(*Info)) []byte {
	info, err := parseGroupInfo(b)
	if err != nil {
		t.Fatal(err)
	}
	change(&info)
	slices.Sort(info.Admins)
	return info.marshal()
}

func (g *Group) Extensions() []mls.Extension { return g.epochs[g.head].mls.GroupContext().Extensions }

// CommitRaw makes a commit that nobody authorised and returns its block. The
// group stays as it was.
func (g *Group) CommitRaw(t testing.TB, env Env, r mls.CommitRequest, supersedes ...cid.Cid) []byte {
	s := &step{Group: g, env: env}
	e := g.epochs[g.head]
	l := s.links(e, mls.ContentTypeCommit)
	l.Supersedes = supersedes
	r.AuthenticatedData = l.Marshal()
	staged, err := e.mls.Commit(r, g.id.Signer, mlsEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	f, err := frame.New(staged.Message, e.mls.ID())
	if err != nil {
		t.Fatal(err)
	}
	return g.gossip.Seal(f.Marshal()).Data
}

// ReplacingOptions asks for a KeyPackage that replaces what a commit added.
func ReplacingOptions(env Env, id Identity, added cid.Cid) mls.KeyPackageOptions {
	o := keyPackageOptions(env, id)
	o.Extensions = []mls.Extension{{Type: extReplaces, Data: marshalReplaces(idOf(added))}}
	return o
}

// ForgeAdd commits an Add that no honest device would make.
func (g *Group) ForgeAdd(env Env, kp *mls.KeyPackage) (Output, error) {
	s := &step{Group: g, env: env}
	_, err := s.commitOnHead(mls.CommitRequest{Proposals: []mls.Proposal{&mls.Add{KeyPackage: *kp}}}, nil)
	return s.done(), err
}

// OfferedKeyPackage is the latest that this stranded device offered.
func (g *Group) OfferedKeyPackage() []byte {
	if len(g.rejoins) == 0 {
		return nil
	}
	return g.rejoins[len(g.rejoins)-1].offer.KeyPackage
}

// WelcomeSignal hands a Welcome to a stranded device.
func (g *Group) WelcomeSignal(w Welcome) []byte {
	return g.gossip.SealSignal(marshalWelcome(w.KeyPackageRef, w.Bundle))
}
