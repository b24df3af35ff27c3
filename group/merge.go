package group

import (
	"maps"
	"slices"
	"time"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group/internal/plan"
	"github.com/dmlsd/dmls/mls"
)

// job is the shared work that one commit on the head can do now.
type job struct {
	removes    []uint32
	promote    []string // keys
	demote     []string
	leaves     [][]byte // references of cached self-Removes
	adds       []*offer
	update     bool // nothing but the own update
	supersedes []dag.ID
	id         []byte   // what the ranking hashes
	candidates []uint32 // leaves that may do it
	behind     int      // how many are asked before them
}

// nextJob derives the job from the plan. Updates are done by their owners, one
// after the other, when nothing else is left.
func (s *step) nextJob(e *epoch) *job {
	p := s.plans()
	reserved, gone := s.reservedWork(p, e)
	common := s.commonWork(p, e, gone)
	switch {
	case reserved != nil:
		return s.splitByRight(p, e, reserved, common, gone)
	case common != nil:
		common.supersede(p)
		common.candidates = staying(e, gone, func(string) bool { return true })
		return common
	}
	return ownUpdates(p, e)
}

// reservedWork is the part of the plan that needs the right to remove, with those
// who are to go. In an open group one commit removes a part of them only.
func (s *step) reservedWork(p *plan.Plan, e *epoch) (*job, map[uint32]bool) {
	j, gone := &job{}, map[uint32]bool{}
	w := buffer{b: []byte(e.id)}
	most := len(p.Removes)
	if e.info.Policy == PolicyOpen {
		most = min(most, maxRemovals(e.leaves.len()))
	}
	for _, r := range p.Removes[:most] {
		leaf := leafOf(dag.Member(r.Who.Incarnation))
		gone[leaf] = true
		w.u32(leaf)
		if leaf != uint32(e.mls.Self()) {
			j.removes = append(j.removes, leaf)
		}
	}
	for _, r := range p.Roles {
		w.bytes([]byte(string(r.Verb) + r.Who.Key))
		if r.Verb == plan.Promote {
			j.promote = append(j.promote, r.Who.Key)
		} else {
			j.demote = append(j.demote, r.Who.Key)
		}
	}
	if most+len(p.Roles) == 0 {
		return nil, gone
	}
	j.id = w.b
	return j, gone
}

// commonWork is what every member may do: leaves, and adds of joiners who made
// an offer. It notes those who leave among the gone.
func (s *step) commonWork(p *plan.Plan, e *epoch, gone map[uint32]bool) *job {
	j := &job{}
	w := buffer{b: []byte(e.id)}
	for _, ref := range e.mls.CachedProposals() {
		if r, ok := ref.Proposal.(*mls.Remove); ok && !gone[uint32(r.Removed)] && r.Removed != e.mls.Self() {
			j.leaves, gone[uint32(r.Removed)] = append(j.leaves, ref.Ref), true
			w.bytes(ref.Ref)
		}
	}
	for _, a := range p.Adds {
		if o := s.offers[a.Who.Key]; o != nil && o.replaces == "" && s.readdable(a, o) {
			j.adds = append(j.adds, o)
			w.bytes([]byte(a.Who.Key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.offers)) {
		o, old := s.offers[key], e.find(key)
		if old != "" && !gone[leafOf(old)] && old != s.self && s.takesPlace(o, old) {
			j.adds, gone[leafOf(old)] = append(j.adds, o), true
			w.bytes(o.ref)
		}
	}
	if len(j.leaves)+len(j.adds) == 0 {
		return nil
	}
	j.id = w.b
	return j
}

// splitByRight: who has the right to all of it does all of it. The others do
// their part if none of those is there to act. Where all who have the right
// are to go by each other's hand, each may begin with the others: of a mutual
// removal the first one stands.
func (s *step) splitByRight(p *plan.Plan, e *epoch, reserved, common *job, gone map[uint32]bool) *job {
	entitled := staying(e, gone, e.info.mayRemove)
	self := keyOf(s.self)
	if e.info.mayRemove(self) || common == nil {
		if reserved.candidates = entitled; len(entitled) == 0 {
			reserved.candidates = staying(e, nil, e.info.mayRemove)
		}
		if common != nil {
			reserved.leaves, reserved.adds = common.leaves, common.adds
			reserved.id = append(reserved.id, common.id...)
		}
		reserved.supersede(p)
		return reserved
	}
	common.supersede(p)
	common.candidates = staying(e, gone, func(k string) bool { return !e.info.mayRemove(k) })
	common.behind = len(entitled)
	return common
}

func (j *job) supersede(p *plan.Plan) {
	w := buffer{b: j.id}
	for _, t := range p.Supersedes {
		j.supersedes = append(j.supersedes, dag.ID(t))
		w.bytes([]byte(t))
	}
	j.id = w.b
}

// staying returns the leaves of members who are not to go and whose keys pass.
func staying(e *epoch, gone map[uint32]bool, pass func(key string) bool) []uint32 {
	var out []uint32
	for m := range e.leaves.all() {
		if !gone[leafOf(m)] && pass(keyOf(m)) {
			out = append(out, leafOf(m))
		}
	}
	return out
}

func ownUpdates(p *plan.Plan, e *epoch) *job {
	j := &job{update: true, id: append([]byte(e.id), "update"...)}
	for _, key := range p.Updates {
		if m := e.find(key); m != "" {
			j.candidates = append(j.candidates, leafOf(m))
		}
	}
	if len(j.candidates) == 0 {
		return nil
	}
	return j
}

// merge does the job in one commit: removals first, then adds, then roles.
func (s *step) merge(e *epoch, j *job) error {
	r := mls.CommitRequest{References: j.leaves}
	for _, leaf := range j.removes {
		r.Proposals = append(r.Proposals, &mls.Remove{Removed: mls.LeafIndex(leaf)})
	}
	var added []*offer
	var packages []*mls.KeyPackage
	for _, o := range j.adds {
		kp, proposals, err := addable(s.env, e, o.KeyPackage)
		if err != nil {
			s.dropOffer(o) // expired meanwhile: the joiner will offer again
			continue
		}
		r.Proposals = append(r.Proposals, proposals...)
		added, packages = append(added, o), append(packages, kp)
	}
	if len(j.promote)+len(j.demote) > 0 {
		var err error
		if r, err = withContext(e, r, j.promote, j.demote); err != nil {
			return err
		}
	}
	if len(r.Proposals)+len(r.References) == 0 {
		return nil
	}
	own, err := s.commitOnHead(r, j.supersedes)
	if err != nil && len(added) > 0 {
		// A KeyPackage that this group cannot take must not hold up the rest.
		for _, o := range added {
			s.due.refused[string(o.ref)] = true
			s.dropOffer(o)
		}
		return nil
	}
	if err != nil {
		return err
	}
	before := len(s.out.Welcomes)
	if err := s.welcome(own, packages); err != nil {
		return err
	}
	for i, w := range s.out.Welcomes[before:] {
		s.answerOffer(added[i], own.commit.ID, w.Bundle)
	}
	s.out.Welcomes = s.out.Welcomes[:before]
	return nil
}

// planAsk keeps a timer for what of a losing branch is not done again: where
// its author has no say on the head any more, and what the head's own decisions
// overrule. Before the fork is final or has been open for a while the choice
// may flip, and somebody else's branch may settle it.
func (s *step) planAsk() {
	p := s.plans()
	open := map[string]bool{}
	for _, o := range slices.Concat(p.Approval, p.Dropped) {
		key := o.At + mark(o)
		open[key] = true
		if _, ok := s.due.ask[key]; !ok && !s.shown(o) {
			s.due.ask[key] = s.env.Now
			if s.graph.Has(dag.ID(o.At)) {
				s.due.ask[key] = s.env.Now.Add(s.cfg.ReaddDelay)
			}
		}
	}
	maps.DeleteFunc(s.due.ask, func(key string, _ time.Time) bool { return !open[key] })
}

// ask shows it once, when its time has come: it is neither redone unasked nor
// dropped in silence.
func (s *step) ask() {
	p := s.plans()
	for _, o := range p.Approval {
		s.show(o, KindNeedsApproval, "done on a branch that lost; "+s.whyNot(o))
	}
	for _, o := range p.Dropped {
		s.show(o, KindDropped, "done on a branch that lost; the branch that won decided otherwise")
	}
}

func (g *Group) whyNot(o plan.Op) string {
	switch e := g.epochs[g.head]; {
	case e.find(o.Author) == "":
		return "its author is no member any more"
	case !e.info.mayRemove(o.Author):
		return "its author is no admin any more"
	case o.Verb != plan.Demote:
		return "its author may have done it for somebody who is no member any more"
	}
	return "it would leave the group without an admin"
}

// mark is an operation of one commit as its record remembers it.
func mark(o plan.Op) string { return string(o.Verb) + " " + hexKey(o.Who.Key) }

func (s *step) shown(o plan.Op) bool {
	c := s.commits[dag.ID(o.At)]
	return c == nil || slices.Contains(c.Shown, mark(o))
}

func (s *step) show(o plan.Op, k Kind, why string) {
	at, due := s.due.ask[o.At+mark(o)]
	if !due || s.env.Now.Before(at) {
		return
	}
	delete(s.due.ask, o.At+mark(o))
	c := s.commits[dag.ID(o.At)]
	c.Shown = append(c.Shown, mark(o))
	s.writeCommit(c)
	s.emit(Event{Kind: k, CID: text(c.ID), Head: text(s.head), From: hexKey(o.Author), Name: s.names[o.Author],
		Actions: []string{s.words(o)}, Member: hexKey(o.Who.Key), Why: why})
}

func (g *Group) words(o plan.Op) string { return string(o.Verb) + " " + g.nameOf(o.Who.Key) }

// askViews lists what was or will be shown for approval.
func (g *Group) askViews() []AskView {
	if g.epochs[g.head] == nil || g.state != member {
		return nil
	}
	var out []AskView
	for _, o := range g.makePlan().Approval {
		out = append(out, AskView{Action: g.words(o), Verb: string(o.Verb), Member: hexKey(o.Who.Key), By: g.nameOf(o.Author),
			CID: text(dag.ID(o.At)), Why: g.whyNot(o)})
	}
	return out
}

// planView is the plan that a merge on the head found, and what it left of it.
func (s *step) planView(c *commit) (v PlanView) {
	if c.Parent != s.head {
		return v
	}
	p := s.plans()
	did := map[plan.Verb][]dag.Member{plan.Remove: c.Removed, plan.Add: c.Added, plan.Promote: c.Promoted, plan.Demote: c.Demoted}
	for _, o := range slices.Concat(p.Removes, p.Adds, p.Roles) {
		done := slices.ContainsFunc(did[o.Verb], func(m dag.Member) bool { return keyOf(m) == o.Who.Key })
		if done {
			v.Done = append(v.Done, s.words(o))
		} else {
			v.Open = append(v.Open, s.words(o))
		}
	}
	for _, o := range p.Approval {
		v.Ask = append(v.Ask, s.words(o))
	}
	return v
}
