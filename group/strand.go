package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group/internal/plan"
	"github.com/dmlsd/dmls/mls"
)

// The members' side.

// planNotices keeps one timer for every incarnation that only a losing branch
// has: the inviter speaks at once, the others when no offer has come after a while.
func (s *step) planNotices() {
	open := map[string]bool{}
	for _, a := range s.plans().Strays {
		key := a.Who.Incarnation
		open[key] = true
		if _, ok := s.due.since[key]; !ok {
			s.due.since[key] = s.env.Now
		}
		if _, ok := s.due.notice[key]; ok {
			continue
		}
		wait := 2 * s.cfg.NoticeEvery
		switch {
		case s.epochs[s.head].leaves.find(a.Who.Key) != "":
			wait = s.cfg.ReaddDelay // a rival re-add: until its votes are in, the choice may flip
		case a.Author == keyOf(s.self):
			wait = 0
		}
		s.due.notice[key] = s.env.Now.Add(wait)
	}
	for key := range s.due.notice {
		if !open[key] {
			delete(s.due.notice, key)
			delete(s.due.told, key)
			delete(s.due.since, key)
		}
	}
}

// notices tells stranded joiners which branch won, again and again with
// growing pauses, until they offer a KeyPackage for this head.
func (s *step) notices() error {
	for _, a := range s.plans().Strays {
		key := a.Who.Incarnation
		at, ok := s.due.notice[key]
		if !ok || s.env.Now.Before(at) {
			continue
		}
		s.due.told[key] = min(s.due.told[key]+1, 5)
		s.due.notice[key] = s.env.Now.Add(s.cfg.NoticeEvery << (s.due.told[key] - 1))
		// An offer is an answer only while it can still be taken: one that a rival
		// used has its key on the head already.
		if o := s.offers[a.Who.Key]; o != nil && s.bound(o) && s.epochs[s.head].leaves.find(a.Who.Key) == "" {
			continue
		}
		n := notice{Joiner: dag.Member(a.Who.Incarnation), Head: cidOf(s.head), Signer: s.id.ID()}
		sig, err := s.signed(labelNotice, n.content(s.gid))
		if err != nil {
			return err
		}
		n.Signature = sig
		s.signal("", n.marshal())
	}
	return nil
}

// hearOffer keeps the KeyPackage of a stranded joiner whose add is open. An
// offer that was answered is answered again: the Welcome may have been lost.
func (s *step) hearOffer(o *offer) {
	key := keyOf(o.Joiner)
	if s.state != member || mls.VerifyWithLabel(suite, []byte(key), labelOffer, o.content(s.gid), o.Signature) != nil {
		return
	}
	kp, err := mls.ParseKeyPackage(o.KeyPackage)
	if err != nil || !sameKey(kp.LeafNode.SignatureKey, key) || kp.Verify(s.env.Now) != nil {
		return
	}
	if o.ref = kp.Ref(); s.due.refused[string(o.ref)] {
		return
	}
	if b, ok := s.answered[string(o.ref)]; ok {
		s.signal(o.from, marshalWelcome(o.ref, b.bundle))
		return
	}
	if old := s.offers[key]; old != nil && bytes.Equal(old.ref, o.ref) {
		old.from = o.from
		return
	}
	open := slices.ContainsFunc(s.plans().Adds, func(a plan.Op) bool { return a.Who.Key == key })
	if !open || !s.bound(o) {
		return
	}
	s.offers[key] = o
	s.put(s.offerKey(key), o.marshal(), Public)
}

func (s *step) offerKey(key string) string { return s.key("offer/" + hexKey(key)) }

// bound reports whether the offer is good for the present head.
func (g *Group) bound(o *offer) bool { return g.graph.IsAncestor(idOf(o.Head), g.head) }

// readdable: an add of a losing branch is done again when the fork is final or
// was open for ReaddDelay; before, the choice may flip and strand the joiner
// a second time.
func (s *step) readdable(a plan.Op, o *offer) bool {
	if _, done := s.answered[string(o.ref)]; done || !s.bound(o) {
		return false
	}
	if !s.graph.Has(dag.ID(a.At)) {
		return true // the losing branch was erased: the fork is final
	}
	since, ok := s.due.since[a.Who.Incarnation]
	return ok && s.env.Now.Sub(since) >= s.cfg.ReaddDelay
}

func (s *step) dropOffer(o *offer) {
	key := keyOf(o.Joiner)
	if s.offers[key] == o {
		delete(s.offers, key)
		s.del(s.offerKey(key), Public)
	}
}

// answerOffer sends the Welcome to the joiner and keeps it: it may get lost, or
// be needed when a rival re-add that the joiner entered by loses in turn.
func (s *step) answerOffer(o *offer, at dag.ID, bundle []byte) {
	a := answer{at: at, bundle: bundle}
	s.answered[string(o.ref)] = a
	s.put(s.answerKey(o.ref), a.marshal(), Secret)
	s.dropOffer(o)
	s.signal(o.from, marshalWelcome(o.ref, bundle))
}

// answer is a Welcome that answered an offer, with the commit that it is for.
type answer struct {
	at     dag.ID
	bundle []byte
}

func (a answer) marshal() []byte {
	var w buffer
	w.bytes([]byte(a.at))
	w.bytes(a.bundle)
	return w.b
}

func parseAnswer(b []byte) (answer, error) {
	r := cursor{b: b}
	a := answer{at: dag.ID(r.bytes()), bundle: r.bytes()}
	if err := r.done(); err != nil {
		return answer{}, fmt.Errorf("%w: answer: %w", ErrRecords, err)
	}
	return a, nil
}

// dropAnswers erases the Welcomes whose commits are final, for then the joiner
// has confirmed, or were dropped.
func (s *step) dropAnswers() {
	for _, ref := range slices.Sorted(maps.Keys(s.answered)) {
		if at := s.answered[ref].at; !s.graph.Has(at) || at == s.graph.Base() {
			delete(s.answered, ref)
			s.del(s.answerKey([]byte(ref)), Secret)
		}
	}
}

func (s *step) answerKey(ref []byte) string { return s.key("answer/" + hexKey(string(ref))) }

// The joiner's side.

// hearNotice acts on a notice by the inviter, or by more than a third of the
// members of the own base (design, section 5.5).
func (s *step) hearNotice(n notice) error {
	if n.Joiner != s.self || s.state != member && s.state != stranded || s.epochs[idOf(n.Head)] != nil {
		return nil
	}
	if mls.VerifyWithLabel(suite, n.Signer, labelNotice, n.content(s.gid), n.Signature) != nil {
		return nil
	}
	known := slices.ContainsFunc(s.base, func(r tableRow) bool { return sameKey(n.Signer, keyOf(r.Member)) })
	if !known || string(n.Signer) == keyOf(s.self) {
		return nil
	}
	if s.notified == nil {
		s.notified = map[string]bool{}
	}
	s.notified[string(n.Signer)] = true
	if string(n.Signer) != s.inviter && 3*len(s.notified) <= len(s.base) {
		return nil
	}
	s.noticed = s.settled
	if s.state != stranded {
		s.state, s.dirty = stranded, true
		key := string(n.Signer)
		s.emit(Event{Kind: KindStranded, Head: n.Head.String(), From: hexKey(key), Name: s.names[key],
			Why: "the branch on which this device was added lost; it asks to be added again"})
	}
	return s.makeOffer(n)
}

// backHere: a member that told us of another head sends on ours again, so the
// choice went back to the branch that we are on.
func (s *step) backHere(author dag.Member) {
	if s.state != stranded || author == s.self || len(s.notified) > 0 && !s.notified[keyOf(author)] || s.settled <= s.noticed {
		return
	}
	s.state, s.notified, s.dirty = member, nil, true
	s.emit(Event{Kind: KindRejoined, Epoch: s.graph.Number(s.head), Head: text(s.head), From: hexKey(keyOf(author)),
		Name: s.names[keyOf(author)], Why: "the choice went back to the branch of this device"})
}

// makeOffer answers with a fresh KeyPackage for the head that was named. Its
// private keys are a record of the group until the Welcome comes.
func (s *step) makeOffer(n notice) error {
	if slices.ContainsFunc(s.rejoins, func(j *rejoin) bool { return j.offer.Head == n.Head }) {
		return s.repeatOffer()
	}
	kp, err := NewKeyPackage(s.env, s.id)
	if err != nil {
		return err
	}
	o := &offer{Joiner: s.self, Head: n.Head, KeyPackage: kp.KeyPackage.Marshal(), ref: kp.KeyPackage.Ref()}
	if o.Signature, err = s.signed(labelOffer, o.content(s.gid)); err != nil {
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
	return &rejoin{offer: of, keys: keys, private: private}, nil
}

func (s *step) repeatOffer() error {
	if s.state != stranded || s.env.Now.Before(s.due.offer) {
		return nil
	}
	s.due.offers = min(s.due.offers+1, 6)
	s.due.offer = s.env.Now.Add(s.cfg.NoticeEvery << (s.due.offers - 1))
	for _, j := range s.rejoins {
		s.signal("", j.offer.marshal())
	}
	return nil
}

// hearWelcome enters the branch that won. History, event log and cursor go on;
// epochs of the old incarnation still open messages until the new branch is
// final.
func (s *step) hearWelcome(ref, b []byte) {
	if s.state != stranded {
		return
	}
	with := s.offerFor(ref)
	if with == nil {
		return
	}
	w, err := openBundle(s.env, s.id, b, with.keys)
	if err != nil || !bytes.Equal(w.epoch.GroupID(), s.gid) || s.epochs[idOf(w.base.CID)] != nil {
		return
	}
	// All offers stay until the new base is sure to: a rival commit may have
	// added us by this one or by another of them, and win.
	s.entered, s.notified = true, nil
	s.put(s.key("entered"), []byte{1}, Public)
	for _, id := range slices.Sorted(maps.Keys(s.epochs)) {
		s.epochs[id].old = true
		s.put(s.epochKey(id)+"old", []byte{1}, Public)
	}
	for _, r := range s.base {
		s.del(s.rowKey(leafOf(r.Member)), Public)
	}
	for _, id := range slices.Sorted(maps.Keys(s.unsettled)) {
		s.settleCommit(s.commits[id]) // elders carry over what the old branch did
	}
	s.forks = map[dag.ID]string{}
	s.enter(w)
	s.forgetUnread()
	s.emit(Event{Kind: KindRejoined, Epoch: w.epoch.Number(), Head: text(s.head), CID: text(s.head),
		From: hexKey(w.inviter), Name: s.names[w.inviter]})
}

// offerFor returns the own offer that a Welcome answers.
func (s *step) offerFor(ref []byte) *rejoin {
	for _, j := range s.rejoins {
		if bytes.Equal(ref, j.offer.ref) {
			return j
		}
	}
	return nil
}

// forgetUnread drops frames that could not be opened before the rejoin but
// may be below the new base: they are asked for again.
func (s *step) forgetUnread() {
	for _, c := range sorted(s.frames) {
		m := s.frames[c]
		if m.Status != unread || m.Epoch < s.floor {
			continue
		}
		delete(s.frames, c)
		delete(s.held, c)
		s.del(BlockKey(s.ID(), c), Public)
		s.del(s.key("f/"+c.String()), Public)
		s.refetch = append(s.refetch, c)
	}
	s.relink()
}

// relink computes the tips anew, in the order in which the frames settled.
func (g *Group) relink() {
	clear(g.held)
	clear(g.open)
	clear(g.holes)
	clear(g.linked)
	clear(g.followed)
	all := sorted(g.frames)
	slices.SortFunc(all, func(a, b cid.Cid) int { return int(int64(g.frames[a].N) - int64(g.frames[b].N)) })
	for _, c := range all {
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
