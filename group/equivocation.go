package group

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
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
//
// It reports whether whoever joins later may have the proof: what a text says
// must not reach them.
func (p equivocation) verify(gid []byte) (forAll bool, err error) {
	if bytes.Equal(p.Of[0].Signed, p.Of[1].Signed) {
		return false, fmt.Errorf("%w: a proof by one frame", ErrForged)
	}
	forAll = true
	var seq [2]uint64
	for i, v := range p.Of {
		c, err := v.Verify(suite, []byte(keyOf(p.Member)))
		if err != nil {
			return false, fmt.Errorf("%w: a proof: %w", ErrForged, err)
		}
		l, err := frame.ParseLinks(c.AuthenticatedData)
		if err != nil {
			return false, fmt.Errorf("%w: a proof: %w", ErrForged, err)
		}
		if !bytes.Equal(c.GroupID, gid) || c.Sender.Index != leafOf(p.Member) || l.Leaf != leafOf(p.Member) || idOf(l.Joined) != addedBy(p.Member) {
			return false, fmt.Errorf("%w: a proof about another sender", ErrForged)
		}
		if c.ContentType == mls.ContentTypeApplication {
			d, err := parseAppData(c.Data)
			forAll = forAll && err == nil && d.Kind != appText
		}
		seq[i] = l.Seq
	}
	if seq[0] != seq[1] {
		return false, fmt.Errorf("%w: a proof by frames %d and %d of a chain", ErrForged, seq[0], seq[1])
	}
	return forAll, nil
}

func (s *step) checkProof(d appData) error {
	p, err := parseEquivocation(d.Body)
	if err != nil {
		return err
	}
	_, err = p.verify(s.gid)
	return err
}

// takeProof takes up a proof frame: the member has no vote where it was sent
// and above.
func (s *step) takeProof(a arrival, e *epoch, author dag.Member, d appData) error {
	if err := s.addMute(a, author, ""); err != nil {
		return err
	}
	p, err := parseEquivocation(d.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err) // parseAppData has seen it
	}
	forAll, err := p.verify(s.gid)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err) // checkProof has
	}
	m := p.Member
	s.graph.Equivocated(m, e.id)
	s.noteLiar(a.cid, m)
	l := s.liars[m]
	if !slices.Contains(l.in, e.id) {
		l.in = append(l.in, e.id)
	}
	if forAll && len(l.proof) == 0 {
		l.proof = d.Body
	}
	s.writeLiar(m)
	if !l.owed(m, s.Group) {
		delete(s.due.proofs, m)
	}
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
		s.noteLiar(cidOf(p.of[0]), p.member)
		if _, planned := s.due.proofs[p.member]; planned || len(s.liars[p.member].proof) > 0 {
			continue
		}
		if q := s.prove(cidOf(p.of[0]), cidOf(p.of[1])); q != nil && (q.in == "" || !s.liars[p.member].shared()) {
			s.due.proofs[p.member] = q
		}
	}
	s.pairs = nil
}

// noteLiar keeps that a member equivocated, tells it once, and asks for its
// removal.
func (s *step) noteLiar(c cid.Cid, m dag.Member) {
	if _, known := s.liars[m]; known {
		return
	}
	s.liars[m] = &liar{}
	s.writeLiar(m)
	if m == s.self {
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

// keep holds the block of a frame that can be opened again while its epoch is
// here: one with a handshake key, or our own.
func (g *Group) keep(c cid.Cid, m *meta, block []byte) {
	if e := g.epochs[idOf(m.Links.Parent)]; e != nil && g.reopens(m) {
		e.kept[c] = block
	}
}

func (g *Group) reopens(m *meta) bool {
	return (m.Status == opened || m.Status == unopenable) && (m.Type != typeApplication || g.own(m.Author))
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
	s.noteLiar(c, s.self)
	s.graph.Equivocated(s.self, "")
	s.emit(Event{Kind: KindEquivocation, CID: c.String(), From: hexKey(keyOf(s.self)), Name: s.id.Name, Mine: true,
		Why: "another device sends as this one, from a copy of its store; this one sends nothing more: have it removed, wipe one of the two, and join again"})
	if rival, ok := s.ownBeside(c); ok && !s.liars[s.self].shared() {
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
