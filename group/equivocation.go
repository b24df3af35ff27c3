package group

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group/internal/plan"
	"github.com/dmlsd/dmls/mls"
)

// An equivocation is two different frames of one incarnation with one sequence
// number: what its member signed, so that whoever saw only one of the two, or
// neither, can judge it from this alone (design, section 5.1).
//
//	struct { opaque signed<V>; opaque signature<V>; } Evidence
//	struct { opaque member<V>; Evidence of[2]; } Equivocation
type equivocation struct {
	Member dag.Member
	Of     [2]mls.Evidence
}

func (p equivocation) marshal() []byte {
	var w buffer
	w.bytes([]byte(p.Member))
	for _, v := range p.Of {
		w.bytes(v.Signed)
		w.bytes(v.Signature)
	}
	return w.b
}

func parseEquivocation(b []byte) (equivocation, error) {
	r := cursor{b: b}
	m, err := parseIncarnation(r.bytes())
	if err != nil {
		return equivocation{}, err
	}
	p := equivocation{Member: m}
	for i := range p.Of {
		p.Of[i] = mls.Evidence{Signed: r.bytes(), Signature: r.bytes()}
	}
	if err := r.done(); err != nil {
		return equivocation{}, fmt.Errorf("%w: equivocation: %w", ErrMalformed, err)
	}
	return p, nil
}

// verify needs nothing but the group's id: every member of the epoch that a
// proof is sent in comes to one answer.
func (p equivocation) verify(gid []byte) error {
	if bytes.Equal(p.Of[0].Signed, p.Of[1].Signed) {
		return fmt.Errorf("%w: a proof by one frame", ErrForged)
	}
	var seq [2]uint64
	for i, v := range p.Of {
		c, err := v.Verify(suite, []byte(keyOf(p.Member)))
		if err != nil {
			return fmt.Errorf("%w: a proof: %w", ErrForged, err)
		}
		l, err := frame.ParseLinks(c.AuthenticatedData)
		if err != nil {
			return fmt.Errorf("%w: a proof: %w", ErrForged, err)
		}
		if !bytes.Equal(c.GroupID, gid) || c.Sender.Index != leafOf(p.Member) || l.Leaf != leafOf(p.Member) || idOf(l.Joined) != addedBy(p.Member) {
			return fmt.Errorf("%w: a proof about another sender", ErrForged)
		}
		seq[i] = l.Seq
	}
	if seq[0] != seq[1] {
		return fmt.Errorf("%w: a proof by frames %d and %d of a chain", ErrForged, seq[0], seq[1])
	}
	return nil
}

func (s *step) checkProof(d appData) error {
	p, err := parseEquivocation(d.Body)
	if err != nil {
		return err
	}
	return p.verify(s.gid)
}

// takeProof takes up a proof frame: the member has no vote where it was sent
// and above.
func (s *step) takeProof(a arrival, e *epoch, author dag.Member, d appData) error {
	if err := s.addMute(a, author, ""); err != nil {
		return err
	}
	m := dag.Member(d.about())
	s.graph.Equivocated(m, e.id)
	s.noteProven(a.cid, m, true)
	return s.mine(a.cid, m)
}

// addMute tells the graph of a frame that stands nowhere.
func (s *step) addMute(a arrival, author dag.Member, cannotOpen dag.ID) error {
	change, err := s.graph.AddStand(dag.Stand{ID: idOf(a.cid), Author: author, Seq: a.header.Links.Seq,
		At: idOf(a.header.Links.Parent), Mute: true, CannotOpen: cannotOpen})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err)
	}
	s.notePair(change)
	return nil
}

// about is what a proof or a complaint speaks of.
func (a appData) about() []byte {
	switch a.Kind {
	case appComplaint:
		return a.Body
	case appProof:
		p, err := parseEquivocation(a.Body)
		if err != nil {
			return nil // parseAppData has seen it
		}
		return []byte(p.Member)
	}
	return nil
}

// pair is two frames with one sequence number, found by the graph.
type pair struct {
	member dag.Member
	of     [2]dag.ID
}

func (s *step) notePair(change dag.Change) {
	if change.Equivocator != nil {
		s.pairs = append(s.pairs, pair{*change.Equivocator, change.Proof})
	}
}

// takePairs makes proofs of them, when both have settled.
func (s *step) takePairs() {
	for _, p := range s.pairs {
		if p.member == s.self {
			continue // mine has more to say
		}
		s.noteProven(cidOf(p.of[0]), p.member, false)
		if _, planned := s.due.proofs[p.member]; planned || s.proven[p.member] {
			continue
		}
		if q := s.prove(cidOf(p.of[0]), cidOf(p.of[1])); q != nil {
			s.due.proofs[p.member] = q
		}
	}
	s.pairs = nil
}

// noteProven keeps that a member equivocated, tells it once, and asks for its
// removal. shared: a frame proves it to all.
func (s *step) noteProven(c cid.Cid, m dag.Member, shared bool) {
	was, known := s.proven[m]
	if known && (was || !shared) {
		return
	}
	s.proven[m] = was || shared
	s.put(s.provenKey(m), marshalProven(m, s.proven[m]), Public)
	if shared {
		delete(s.due.proofs, m)
	}
	if known || m == s.self {
		return
	}
	key := keyOf(m)
	s.emit(Event{Kind: KindEquivocation, CID: c.String(), From: hexKey(key), Name: s.names[key],
		Why: "it signed two different frames with one sequence number: it lies, or runs from two copies of one store; its votes stop counting"})
	if e := s.epochs[s.head]; e != nil && e.leaves.has(m) && s.state == member && e.info.mayRemove(keyOf(s.self)) {
		s.emit(Event{Kind: KindNeedsApproval, CID: c.String(), Head: text(s.head), From: hexKey(key), Name: s.names[key],
			Actions: []string{"remove " + s.nameOf(key)}, Why: "it signed two different frames with one sequence number"})
	}
}

func (s *step) provenKey(m dag.Member) string {
	return s.key("q/" + hexKey(keyOf(m)) + "/" + text(addedBy(m)))
}

func marshalProven(m dag.Member, shared bool) []byte {
	var w buffer
	w.bytes([]byte(m))
	if shared {
		w.u8(1)
	} else {
		w.u8(0)
	}
	return w.b
}

// keep holds the block of a frame that can be opened again while its epoch is
// here: one with a handshake key, or our own.
func (g *Group) keep(c cid.Cid, m *meta, block []byte) {
	if e := g.epochs[idOf(m.Links.Parent)]; e != nil && g.reopens(m) {
		e.kept[c] = block
	}
}

func (g *Group) reopens(m *meta) bool {
	return (m.Status == opened || m.Status == unopenable) && (m.Type != typeApplication || m.Author == g.self)
}

var errEvidence = errors.New("group: evidence was taken")

// evidence opens a frame of a retained epoch again, as far as its signature.
func (s *step) evidence(c cid.Cid) (v mls.Evidence, ok bool) {
	m := s.frames[c]
	if m == nil {
		return v, false
	}
	e := s.epochs[idOf(m.Links.Parent)]
	if e == nil || e.kept[c] == nil {
		return v, false
	}
	a, err := s.parse(e.kept[c], "")
	if err != nil {
		return v, false
	}
	msg, err := mls.ParsePrivateMessage(a.frame.Message)
	if err != nil {
		return v, false
	}
	_, err = e.mls.Open(msg, mls.OpenOptions{Env: mlsEnv(s.env), Check: func(o *mls.Opened) error {
		v = o.Evidence()
		return errEvidence
	}})
	return v, errors.Is(err, errEvidence)
}

// proof is a proof on its way: where it is sent, and when.
type proof struct {
	data appData
	in   dag.ID // empty: on the head
	at   time.Time
}

// prove makes a proof of two frames, if this device can still open them. What
// a text says must not reach members who were not in its epoch, so two texts
// of different epochs prove nothing to those who did not see both.
func (s *step) prove(a, b cid.Cid) *proof {
	x, y := s.frames[a], s.frames[b]
	v, ok := s.evidence(a)
	w, also := s.evidence(b)
	if !ok || !also {
		return nil
	}
	p := &proof{data: appData{Kind: appProof, Body: equivocation{Member: x.Author, Of: [2]mls.Evidence{v, w}}.marshal()}}
	if x.Kind == appText || y.Kind == appText {
		if x.Links.Parent != y.Links.Parent {
			return nil
		}
		p.in = idOf(x.Links.Parent)
	}
	p.at = s.env.Now.Add(time.Duration(s.proofRank(x.Author)) * s.cfg.MergeDelay)
	return p
}

// proofRank: one member publishes, the others when it does not.
func (s *step) proofRank(m dag.Member) int {
	e := s.epochs[s.head]
	if e == nil || m == s.self {
		return 0
	}
	var leaves []uint32
	for o := range e.leaves.all() {
		if _, liar := s.proven[o]; !liar {
			leaves = append(leaves, leafOf(o))
		}
	}
	return max(plan.Rank([]byte(m), leaves, uint32(e.mls.Self())), 0)
}

// publishProofs sends the proofs that have become due.
func (s *step) publishProofs() error {
	for _, m := range sortedMembers(s.due.proofs) {
		if p := s.due.proofs[m]; !s.env.Now.Before(p.at) {
			delete(s.due.proofs, m)
			if err := s.publishProof(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *step) publishProof(p *proof) error {
	e := s.epochs[s.head]
	if p.in != "" {
		e = s.epochs[p.in]
	}
	if e == nil || e.old || !e.leaves.has(s.self) {
		return nil
	}
	if _, err := io.ReadFull(s.env.Rand, p.data.ID[:]); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	_, err := s.sendIn(e, p.data)
	return err
}

// mine finds a frame that is ours by its signature and that this device never
// sent: another sends as us, from a copy of our store. The sender's own device
// alone can read both of two application frames on one key, so it publishes
// the proof, if both have spoken; then it sends nothing more.
func (s *step) mine(c cid.Cid, author dag.Member) error {
	if author != s.self || s.state == copied {
		return nil
	}
	switch s.state {
	case member, leaving, stranded:
		s.state, s.dirty = copied, true
	}
	if _, known := s.proven[s.self]; !known {
		s.proven[s.self] = false
		s.put(s.provenKey(s.self), marshalProven(s.self, false), Public)
	}
	s.graph.Equivocated(s.self, "")
	s.emit(Event{Kind: KindEquivocation, CID: c.String(), From: hexKey(keyOf(s.self)), Name: s.id.Name, Mine: true,
		Why: "another device sends as this one, from a copy of its store; this one sends nothing more: have it removed, wipe one of the two, and join again"})
	if rival, ok := s.ownBeside(c); ok && !s.proven[s.self] {
		if p := s.prove(rival, c); p != nil {
			return s.publishProof(p)
		}
	}
	return nil
}

// ownBeside finds the frame of this device that has the sequence number of
// another's in its name.
func (s *step) ownBeside(c cid.Cid) (cid.Cid, bool) {
	for _, o := range sorted(s.frames) {
		if m := s.frames[o]; o != c && m.Author == s.self && m.Status == opened && m.Links.Seq == s.frames[c].Links.Seq {
			return o, true
		}
	}
	return cid.Undef, false
}

func sortedMembers[V any](set map[dag.Member]V) []dag.Member {
	out := make([]dag.Member, 0, len(set))
	for m := range set {
		out = append(out, m)
	}
	slices.Sort(out)
	return out
}
