package group

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/mls"
)

// The joiner's side.

// hearNotice acts on notices by more than a third of the members of the own base
// (design, section 5.5), by most of the others of the own head or, until the base
// is sure to stay, by the inviter alone.
func (s *step) hearNotice(n notice) error {
	if n.Gone && n.Joiner != s.self {
		return nil
	}
	if s.state != member && s.state != stranded && s.state != leaving && !s.ejected {
		return nil
	}
	if e := s.epochs[idOf(n.Head)]; e != nil && !e.old {
		return s.hearHere(e, n)
	}
	members := s.addressees(n)
	if members == nil || s.diverged && s.oursStays(s.epochs[s.head]) == stays {
		return nil
	}
	by := keyOf(n.Signer)
	known := slices.ContainsFunc(members, func(m dag.Member) bool { return by == keyOf(m) })
	if !known || s.own(n.Signer) || s.outdated(n.Signer, n.At) || !s.signedBy(n.Signer, labelNotice, n.content(s.gid), n.Signature) {
		return nil
	}
	s.count(n)
	invited := by == s.inviter && n.Joiner == s.self && s.onlyInviterKnows()
	if !invited && 3*s.saying(n.Gone, slices.Values(members)) <= len(members) && !s.headSays(n) {
		return nil
	}
	if s.state == leaving {
		s.leftBehind(n)
		return nil
	}
	if n.Gone {
		s.believeGone(n)
		return nil
	}
	s.noticed, s.present, s.told, s.dirty = s.settled, n.Present, true, true
	s.strand(n.Head, by, "the branch on which this device was added lost; it asks to be added again")
	if back, err := s.goBack(by); back || err != nil {
		return err
	}
	return s.makeOffer(n.Head, n.Present)
}

// headSays reports whether most of the other voters of our own head told us so: of
// the members of the base, many may be gone.
func (g *Group) headSays(n notice) bool {
	e := g.epochs[g.head]
	if e == nil || n.Joiner != g.self {
		return false
	}
	return 2*g.saying(n.Gone, g.voters(e.id)) > g.otherVoters(e.id) // own words are not heard
}

// onlyInviterKnows: until the others have spoken on the base by which this device was
// added, nobody but the inviter may be able to tell it that it lost. The inviter's own
// silence does not count.
func (g *Group) onlyInviterKnows() bool {
	return g.firstBase() && slices.ContainsFunc(g.graph.Voters(g.root), func(v dag.Voter) bool {
		return keyOf(v.Member) != g.inviter && v.Member != g.self && !g.stoodBelow(v.Member, g.root)
	})
}

// leftBehind ends a leave: the branch on which this device was added lost, and
// the head does not have it.
func (s *step) leftBehind(n notice) {
	if n.Present != "" {
		return
	}
	s.state, s.dirty = left, true
	s.emit(Event{Kind: KindLeft, Head: n.Head.String(), From: hexKey(keyOf(n.Signer)), Name: s.names[keyOf(n.Signer)],
		Why: "the branch on which this device was added lost, and the other does not have it"})
}

// addressees returns the members among whom a notice counts: those of our base
// or, until the base that a Welcome brought us to is sure to stay, those of the
// one before. A Welcome by an ex-member must not put us out of their reach.
func (g *Group) addressees(n notice) []dag.Member {
	switch {
	case n.Joiner == g.self:
		var out []dag.Member
		for r := range g.base.all() {
			out = append(out, r.Member)
		}
		return out
	case g.former == nil || n.Joiner != g.former.self:
		return nil
	case slices.ContainsFunc(g.rejoins, func(j *rejoin) bool { return j.offer.Head == n.Head }):
		return nil // by somebody who has not heard yet that we came
	}
	return g.former.members
}

// former is the incarnation with which this device was stranded, and the
// members of its base.
type former struct {
	self    dag.Member
	members []dag.Member
}

func (f *former) marshal() []byte {
	var w buffer
	w.bytes([]byte(f.self))
	w.u32(uint32(len(f.members)))
	for _, m := range f.members {
		w.bytes([]byte(m))
	}
	return w.b
}

func parseFormer(b []byte) (*former, error) {
	r := cursor{b: b}
	f := &former{}
	var err error
	if f.self, err = parseIncarnation(r.bytes()); err != nil {
		return nil, fmt.Errorf("%w: former: %w", ErrRecords, err)
	}
	for n := r.u32(); n > 0 && r.err == nil; n-- {
		m, err := parseIncarnation(r.bytes())
		if err != nil {
			return nil, fmt.Errorf("%w: former: %w", ErrRecords, err)
		}
		f.members = append(f.members, m)
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: former: %w", ErrRecords, err)
	}
	return f, nil
}

func (s *step) strand(head cid.Cid, by, why string) {
	if s.state == stranded {
		return
	}
	s.state, s.dirty = stranded, true
	s.ejected, s.goneAt, s.due.here = false, time.Time{}, nil
	s.emit(Event{Kind: KindStranded, Head: head.String(), From: hexKey(by), Name: s.names[by], Why: why})
}

// backHere: a member that told us of another head sends on ours again, so the
// choice went back to the branch that we are on. Those whom our head removed
// never will; if only they told us, anybody counts.
func (s *step) backHere(author dag.Member, in dag.ID) {
	if author != s.self && s.settled > s.noticed {
		s.stands(author, s.graph.IsAncestor(s.head, in))
	}
}

// hearHere: a member tells a stranded device that it is where it should be. It may
// have been told otherwise by a notice that was older than what it had heard then. A
// device that is there and is missed says so, once for each head: without a vote it
// says nothing else (decision 0106), and a late frame of its may not have opened.
func (s *step) hearHere(e *epoch, n notice) error {
	if n.Joiner != s.self || n.Gone || n.Present != addedBy(s.self) || !e.leaves.has(n.Signer) || n.Signer == s.self ||
		s.outdated(n.Signer, n.At) || !s.signedBy(n.Signer, labelNotice, n.content(s.gid), n.Signature) {
		return nil
	}
	if s.state == member && s.due.missed != s.head && s.graph.IsAncestor(e.id, s.head) {
		s.due.missed = s.head
		return s.sayHere()
	}
	s.stands(n.Signer, true)
	return nil
}

// stands takes back what others said of another head: by the word of one of them,
// or of most of the others of our own head.
func (s *step) stands(author dag.Member, here bool) {
	if s.state != stranded && !s.ejected {
		return
	}
	if !s.says(keyOf(author), false) && s.notifiersHere() && !(here && s.mostAreHere(author)) || slices.ContainsFunc(s.exits, s.putsOut) {
		return
	}
	s.forgetWords()
	s.ejected = false
	s.memberAgain()
	if len(s.rejoins) > 0 { // who holds its offers is asked, and so hears that it does not need them
		s.due.rivals, s.due.offer, s.due.offers = s.env.Now.Add(4*s.cfg.NoticeEvery), s.env.Now, 0
	}
	s.emit(Event{Kind: KindRejoined, Epoch: s.graph.Number(s.head), Head: text(s.head), From: hexKey(keyOf(author)),
		Name: s.names[keyOf(author)], Why: "the choice went back to the branch of this device"})
}

// mostAreHere notes one who is on our head after all, and reports whether most of
// the other voters are: those who told otherwise may be liars.
func (s *step) mostAreHere(author dag.Member) bool {
	e := s.epochs[s.head]
	if e == nil || !e.leaves.has(author) || author == s.self {
		return false
	}
	if s.due.here == nil {
		s.due.here = map[dag.Member]bool{}
	}
	s.due.here[author] = true
	n := 0
	for m := range s.voters(e.id) {
		if s.due.here[m] {
			n++
		}
	}
	return 2*n > s.otherVoters(e.id)
}

// notifiersHere reports whether our head has a member that told us of another.
func (g *Group) notifiersHere() bool {
	e := g.epochs[g.head]
	for key := range g.said {
		if g.says(key, false) && e != nil && e.find(key) != "" {
			return true
		}
	}
	return false
}

// makeOffer answers with a fresh KeyPackage for the head that was named, and
// for the place of the incarnation that has this device's key there, if one
// has. Its private keys are a record of the group until the Welcome comes.
func (s *step) makeOffer(head cid.Cid, present dag.ID) error {
	same := func(j *rejoin) bool { return j.offer.Head == head && j.offer.replaces == present }
	if slices.ContainsFunc(s.rejoins, same) {
		return s.repeatOffer()
	}
	opts := keyPackageOptions(s.env, s.id)
	if present != "" {
		opts.Extensions = []mls.Extension{{Type: extReplaces, Data: marshalReplaces(present)}}
	}
	kp, err := mls.NewKeyPackage(opts, s.id.Signer, mlsEnv(s.env))
	if err != nil {
		return fmt.Errorf("group: %w", err)
	}
	o := &offer{Joiner: s.self, Head: head, KeyPackage: kp.KeyPackage.Marshal(), ref: kp.KeyPackage.Ref(), replaces: present}
	if err := s.signOffer(o); err != nil {
		return err
	}
	private, err := kp.MarshalBinary()
	if err != nil {
		return fmt.Errorf("group: %w", err)
	}
	j := &rejoin{offer: o, keys: kp, private: private}
	s.put(s.rejoinKey(j), j.marshal(), Secret)
	// An older offer may have been committed already, its Welcome under way.
	if s.rejoins = append(s.rejoins, j); len(s.rejoins) > maxOffers {
		s.dropRejoin(s.rejoins[0])
	}
	s.due.offer, s.due.offers = s.env.Now, 0
	return s.repeatOffer()
}

// maxOffers bounds the offers of one stranded device, and so its private keys
// that wait for a Welcome.
const maxOffers = 4

func (s *step) rejoinKey(j *rejoin) string { return s.key("rejoin/" + hexKey(string(j.offer.ref))) }

// dropRejoin erases the private keys of an offer.
func (s *step) dropRejoin(j *rejoin) {
	s.rejoins = slices.DeleteFunc(s.rejoins, func(x *rejoin) bool { return x == j })
	s.del(s.rejoinKey(j), Secret)
	j.wipe()
}

// rejoin is a stranded joiner's offer with its private keys.
type rejoin struct {
	offer   *offer
	keys    *mls.KeyPackageBundle
	private []byte // keys as a record
}

func (j *rejoin) marshal() []byte {
	var w buffer
	w.bytes(j.offer.marshal())
	w.bytes(j.private)
	return w.b
}

func (j *rejoin) wipe() {
	j.keys.Wipe()
	clear(j.private)
}

func parseRejoin(b []byte) (*rejoin, error) {
	r := &cursor{b: b}
	o, private := r.bytes(), r.bytes()
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("%w: rejoin: %w", ErrRecords, err)
	}
	or := &cursor{b: o}
	or.u8()
	of, err := parseOffer(or)
	if err != nil {
		return nil, fmt.Errorf("%w: rejoin: %w", ErrRecords, err)
	}
	keys, err := mls.ParseKeyPackageBundle(private)
	if err != nil {
		return nil, fmt.Errorf("%w: rejoin: %w", ErrRecords, err)
	}
	of.ref = keys.KeyPackage.Ref()
	if of.replaces, err = replaces(keys.KeyPackage); err != nil {
		return nil, fmt.Errorf("%w: rejoin: %w", ErrRecords, err)
	}
	return &rejoin{offer: of, keys: keys, private: private}, nil
}

func (s *step) repeatOffer() error {
	if s.state != stranded || s.env.Now.Before(s.due.offer) {
		return nil
	}
	s.pauseOffers(5)
	for _, j := range s.rejoins {
		again := *j.offer // the record stays as it was written
		if err := s.signOffer(&again); err != nil {
			return err
		}
		s.signal("", again.marshal())
	}
	return nil
}

// signOffer signs an offer as it is made now.
func (s *step) signOffer(o *offer) (err error) {
	if o.At.Cursor = s.cursor; o.Joiner == s.self {
		o.At.Next = s.next
	}
	o.Signature, err = s.signed(labelOffer, o.content(s.gid))
	return err
}

// pauseOffers waits for NoticeEvery at first, and twice as long each time after
// the eighth repetition, most times at most: signals of a device that has few
// links pass through many hands, and get lost.
func (s *step) pauseOffers(most int) {
	s.due.offers = min(s.due.offers+1, 8+most)
	s.due.offer = s.env.Now.Add(s.cfg.NoticeEvery << max(s.due.offers-8, 0))
}

// bySettling lists the frames as they settled on this device.
func (g *Group) bySettling() []cid.Cid {
	all := sorted(g.frames)
	slices.SortStableFunc(all, func(a, b cid.Cid) int { return int(int64(g.frames[a].N) - int64(g.frames[b].N)) })
	return all
}

// relink computes the tips anew, in the order in which the frames settled.
func (g *Group) relink() {
	clear(g.held)
	clear(g.open)
	clear(g.holes)
	clear(g.unreadHoles)
	for m := range g.hints {
		delete(g.hints, m)
		g.hinting[m] = struct{}{}
	}
	clear(g.linked)
	clear(g.unreadUpTo)
	clear(g.followed)
	clear(g.ends)
	for _, c := range g.bySettling() {
		if m := g.frames[c]; m.Status != seeded {
			g.link(c, m)
		}
	}
}

// oldEpochs returns the epochs of an incarnation that was given up, sorted.
func (g *Group) oldEpochs() []*epoch {
	var out []*epoch
	for _, e := range g.epochs {
		if e.old {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *epoch) int { return bytes.Compare([]byte(a.id), []byte(b.id)) })
	return out
}
