package group

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/internal/bend"
	"github.com/dmlsd/dmls/mls"
)

// Forge lets a test lie about the own chain.
func (g *Group) Forge(next uint64, prev cid.Cid) { g.next, g.prev = next, prev }

func (g *Group) Chain() (uint64, cid.Cid) { return g.next, g.prev }

func (g *Group) SelfMember() dag.Member { return g.self }

// SendRaw sends application data of any kind, sensible or not.
func (g *Group) SendRaw(env Env, kind uint8, body []byte) (Output, error) {
	s := &step{Group: g, env: env}
	e := g.epochs[g.head]
	d := appData{Kind: appKind(kind), Body: body}
	msg, delta, err := e.mls.Protect(d.marshal(), s.links(e, mls.ContentTypeApplication).Marshal(), s.id.Signer, mlsEnv(env))
	if err != nil {
		return Output{}, err
	}
	if err := s.apply(e, delta); err != nil {
		return Output{}, err
	}
	a, err := s.publish(e, msg, nil)
	if err != nil {
		return Output{}, err
	}
	s.settleOpened(a, s.self, nil)
	s.advance(a)
	return s.done(), nil
}

// Notice makes a notice signed by this device.
func (g *Group) Notice(to dag.Member, head cid.Cid) []byte {
	s := &step{Group: g}
	n := notice{Joiner: to, Head: head, Signer: g.self, At: g.stamp()}
	n.Signature, _ = s.signed(labelNotice, n.content(g.gid))
	return g.gossip.SealSignal(n.marshal())
}

// NoticeAt is a notice that names the incarnation that the head has.
func (g *Group) NoticeAt(to dag.Member, head cid.Cid, present dag.ID) []byte {
	s := &step{Group: g}
	n := notice{Joiner: to, Head: head, Present: present, Signer: g.self, At: g.stamp()}
	n.Signature, _ = s.signed(labelNotice, n.content(g.gid))
	return g.gossip.SealSignal(n.marshal())
}

// Gone is a notice that an incarnation was removed.
func (g *Group) Gone(to dag.Member, head cid.Cid) []byte {
	s := &step{Group: g}
	n := notice{Joiner: to, Head: head, Gone: true, Signer: g.self, At: g.stamp()}
	n.Signature, _ = s.signed(labelNotice, n.content(g.gid))
	return g.gossip.SealSignal(n.marshal())
}

// Here is a notice that an incarnation is where it should be.
func (g *Group) Here(to dag.Member) []byte { return g.NoticeAt(to, cidOf(g.head), addedBy(to)) }

// WantsSeeds reports whether frames before the base are asked for.
func (g *Group) WantsSeeds() bool { return len(g.seedsWanted) > 0 }

// Later lets an event pass.
func (g *Group) Later() { g.cursor++ }

// AddedBy is the commit that added this device.
func (g *Group) AddedBy() dag.ID { return addedBy(g.self) }

// ToldAbsent reports whether this device was told of a head that does not have it.
func (g *Group) ToldAbsent() bool { return g.told && g.present == "" }

func (g *Group) Offer(joiner dag.Member, head cid.Cid, kp []byte) []byte {
	s := &step{Group: g}
	o := offer{Joiner: joiner, Head: head, KeyPackage: kp, At: g.stamp()}
	o.Signature, _ = s.signed(labelOffer, o.content(g.gid))
	return g.gossip.SealSignal(o.marshal())
}

// Ask asks for the Welcomes of an offer, or withdraws it.
func (g *Group) Ask(joiner dag.Member, kp []byte) []byte {
	s, a := &step{Group: g}, ask{Joiner: joiner, At: g.stamp()}
	if p, err := mls.ParseKeyPackage(kp); err == nil {
		a.Ref = p.Ref()
	}
	a.Signature, _ = s.signed(labelAsk, a.content(g.gid))
	return g.gossip.SealSignal(a.marshal())
}

func (g *Group) Due() string {
	return fmt.Sprintf("proofs %v ack %v work %v notice %v offer %v", len(g.due.proofs), g.due.ack, g.due.workAt, len(g.due.notice), g.due.offer)
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

// CommitSpoiled commits on the head like an adversary: rubbish for the leaves
// named, and for all that share a node with them.
func (g *Group) CommitSpoiled(env Env, r mls.CommitRequest, leaves ...uint32) (Output, error) {
	s := &step{Group: g, env: env}
	above := func(node uint32) bool {
		half := uint32(1)<<bits.TrailingZeros32(^node) - 1 // half of the width of the subtree below
		return slices.ContainsFunc(leaves, func(l uint32) bool { return node-half <= 2*l && 2*l <= node+half })
	}
	r.Bend = bend.With(func(p *mls.UpdatePath, sealed [][]uint32) {
		for k, nodes := range sealed {
			for i, node := range nodes {
				if above(node) {
					p.Nodes[k].EncryptedPathSecret[i].Ciphertext[0] ^= 1
				}
			}
		}
	})
	if _, err := s.commitOnHead(r, nil); err != nil {
		return Output{}, err
	}
	err := s.follow()
	return s.done(), err
}

// Complain says, true or not, that a child of its parent does not open here.
func (g *Group) Complain(env Env, child, parent string) (Output, error) {
	c, err := cid.Decode(child)
	if err != nil {
		return Output{}, err
	}
	p, err := cid.Decode(parent)
	if err != nil {
		return Output{}, err
	}
	s := &step{Group: g, env: env}
	if _, err := s.sendIn(g.epochs[idOf(p)], appData{Kind: appComplaint, Body: c.Bytes()}); err != nil {
		return Output{}, err
	}
	err = s.follow()
	return s.done(), err
}

// Proof makes the body of a proof of two frames that this device can open.
func (g *Group) Proof(env Env, m dag.Member, a, b cid.Cid) []byte {
	s := &step{Group: g, env: env}
	v, _ := s.evidence(a)
	w, _ := s.evidence(b)
	return equivocation{Member: m, Of: [2]mls.Evidence{v, w}}.marshal()
}

// Answers and Rejoins count the Welcomes and the private keys that are kept for
// the case that a re-add has to be repeated.
func (g *Group) Answers() int { return len(g.answered) }

func (g *Group) Rejoins() int { return len(g.rejoins) }

// AckIn sends an empty frame in any epoch that this device can still open.
func (g *Group) AckIn(env Env, epoch string) (Output, error) {
	c, err := cid.Decode(epoch)
	if err != nil {
		return Output{}, err
	}
	s := &step{Group: g, env: env}
	if _, err := s.sendIn(g.epochs[idOf(c)], appData{Kind: appAck}); err != nil {
		return Output{}, err
	}
	err = s.follow()
	return s.done(), err
}

// Follows links frames in the order in which they settle, with what each follows,
// and reports whether one is found in the past of another.
func Follows(order []string, after map[string][]string, c, past string) bool {
	g := newGroup(Sim(), Identity{})
	id := func(name string) cid.Cid { return frame.CIDOf([]byte(name)) }
	for i, name := range order {
		m := &meta{Status: opened, Type: typeApplication, N: uint64(i) + 1, name: id(name)}
		for _, p := range after[name] {
			m.Links.After = append(m.Links.After, id(p))
		}
		g.frames[m.name] = m
		g.link(m.name, m)
	}
	return g.follows(id(c), id(past))
}

// Order is how long the list for landmarks gets when one frame expires and comes
// again, over and over.
func Order(times int) int {
	g := newGroup(Sim(), Identity{})
	c := frame.CIDOf([]byte("again"))
	g.frames[c] = &meta{Status: opened}
	for range times {
		g.inOrderOfSettling(c)
	}
	return len(g.order)
}
