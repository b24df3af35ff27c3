package group

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group/internal/plan"
	"github.com/dmlsd/dmls/mls"
)

// liar is what is kept of a member that equivocated. A proof takes its vote
// where the proof was sent and above, and reaches nobody who joined below; so it
// is sent again on heads that somebody joined since, and where the member has
// done it again (decision 0101).
type liar struct {
	proof []byte   // that may reach whoever joins later; empty: none
	in    []dag.ID // retained epochs in which proofs were sent
	told  dag.ID   // all members of this epoch could read one that was sent above the base
}

// shared reports whether others know it by a frame.
func (l *liar) shared() bool { return len(l.in) > 0 || l.told != "" }

// owed reports whether the head needs the proof anew.
func (l *liar) owed(m dag.Member, g *Group) bool {
	e := g.epochs[g.head]
	if len(l.proof) == 0 || e == nil || !e.leaves.has(m) {
		return false
	}
	return !l.reaches(g, g.head) || slices.ContainsFunc(g.graph.Proofs(m), func(id dag.ID) bool { return !l.covers(g, id) })
}

// reaches reports whether all members of an epoch could read a proof: nobody was
// added below it.
func (l *liar) reaches(g *Group, id dag.ID) bool {
	for id != l.told && !slices.Contains(l.in, id) {
		c := g.commits[id]
		if c == nil || c.Base || len(c.Added) > 0 {
			return false
		}
		id = c.Parent
	}
	return true
}

// covers reports whether a proof was sent so low that it takes the votes which
// an equivocation at id takes from whoever saw it, as far as the head's chain
// goes.
func (l *liar) covers(g *Group, id dag.ID) bool {
	fork := g.graph.Common(id, g.head)
	return slices.ContainsFunc(l.in, func(in dag.ID) bool { return g.graph.IsAncestor(fork, in) })
}

// planProofs takes up, by rank, that the head needs proofs anew, and forgets
// what is not needed any more.
func (s *step) planProofs() {
	for _, m := range sortedMembers(s.liars) {
		l := s.liars[m]
		s.shorten(m, l)
		planned := s.due.proofs[m]
		switch owed := l.owed(m, s.Group); {
		case owed && planned == nil && m != s.self:
			s.due.proofs[m] = &proof{data: appData{Kind: appProof, Body: l.proof}, at: s.proofTime(m)}
		case !owed && planned != nil && l.shared():
			delete(s.due.proofs, m)
		}
	}
}

// shorten keeps what is remembered small: of proofs above the base only whether
// they reached everybody at the base, of a member that is gone for good nothing
// but its name.
func (s *step) shorten(m dag.Member, l *liar) {
	base, told, places := s.graph.Base(), l.told, len(l.in)
	if told != base && l.reaches(s.Group, base) {
		l.told = base
	}
	l.in = slices.DeleteFunc(l.in, func(id dag.ID) bool { return !s.graph.Has(id) })
	over := len(l.proof) > 0 && base == s.head && !s.graph.IsMember(base, m)
	if over {
		l.proof = nil
	}
	if over || l.told != told || len(l.in) != places {
		s.writeLiar(m)
	}
}

func (s *step) writeLiar(m dag.Member) {
	s.put(s.memberKey("q/", m), s.liars[m].marshal(m), History)
}

func (l *liar) marshal(m dag.Member) []byte {
	var w buffer
	w.bytes([]byte(m))
	w.bytes(l.proof)
	w.bytes([]byte(l.told))
	for _, id := range l.in {
		w.bytes([]byte(id))
	}
	return w.b
}

func parseLiar(b []byte) (dag.Member, *liar, error) {
	r := cursor{b: b}
	m, err := parseIncarnation(r.bytes())
	if err != nil {
		return "", nil, fmt.Errorf("%w: equivocator: %w", ErrRecords, err)
	}
	l := &liar{proof: r.bytes(), told: dag.ID(r.bytes())}
	for r.err == nil && len(r.b) > 0 {
		l.in = append(l.in, dag.ID(r.bytes()))
	}
	if err := r.done(); err != nil {
		return "", nil, fmt.Errorf("%w: equivocator: %w", ErrRecords, err)
	}
	return m, l, nil
}

// proof is a proof on its way: where it is sent, and when.
type proof struct {
	data appData
	in   dag.ID // empty: on the head
	at   time.Time
}

// prove makes a proof of two frames, if this device can still open them. What
// a text says must not reach members who were not in its epoch: there it is sent.
// Two texts of different epochs prove nothing to those who did not see both.
func (s *step) prove(a, b cid.Cid) *proof {
	x, y := s.frames[a], s.frames[b]
	v, ok := s.evidence(a)
	w, also := s.evidence(b)
	if !ok || !also {
		return nil
	}
	p := &proof{data: appData{Kind: appProof, Body: equivocation{Member: x.Author, Of: [2]mls.Evidence{v, w}}.marshal()}}
	switch {
	case x.Kind != appText && y.Kind != appText:
	case x.Kind == appText && y.Kind == appText && x.Links.Parent != y.Links.Parent:
		return nil
	case x.Kind == appText:
		p.in = idOf(x.Links.Parent)
	default:
		p.in = idOf(y.Links.Parent)
	}
	p.at = s.proofTime(x.Author)
	return p
}

func (s *step) proofTime(m dag.Member) time.Time {
	return s.env.Now.Add(time.Duration(s.proofRank(m)) * s.cfg.MergeDelay)
}

// proofRank: one member publishes, the others when it does not.
func (s *step) proofRank(m dag.Member) int {
	e := s.epochs[s.head]
	if e == nil || m == s.self {
		return 0
	}
	var leaves []uint32
	for o := range e.leaves.all() {
		if _, lies := s.liars[o]; !lies {
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

func sortedMembers[V any](set map[dag.Member]V) []dag.Member {
	out := make([]dag.Member, 0, len(set))
	for m := range set {
		out = append(out, m)
	}
	slices.Sort(out)
	return out
}
