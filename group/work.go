package group

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/group/internal/plan"
	"github.com/dmlsd/dmls/mls"
)

// sent: any frame confirms, so an ack that was due is done.
func (d *due) sent() { d.ack = time.Time{} }

// tick does what has become due. Each part decides anew from the state, so a
// late or missing tick loses nothing.
func (s *step) tick() error {
	if s.expired() {
		if s.state == leaving {
			s.state, s.dirty = left, true
			s.emit(Event{Kind: KindLeft, Head: text(s.head), Why: "nobody committed the leave"})
		}
		return s.wipe("this device is no member since " + s.goneAt.UTC().Format(time.RFC3339))
	}
	switch s.state {
	case copied:
		return nil
	case removed:
		return s.ackWhenDue()
	case leaving, left:
		return s.repeatLeave()
	case stranded:
		return s.repeatOffer()
	}
	if err := s.awaitWelcome(); err != nil {
		return err
	}
	if err := s.publishProofs(); err != nil {
		return err
	}
	// A commit moves the head; what else is due is looked at on the next tick.
	if done, err := s.sharedWork(); done || err != nil {
		return err
	}
	if done, err := s.unstall(); done || err != nil {
		return err
	}
	if err := s.notices(); err != nil {
		return err
	}
	if err := s.callForHelp(); err != nil {
		return err
	}
	if err := s.shout(); err != nil {
		return err
	}
	if err := s.sendAgain(); err != nil {
		return err
	}
	return s.ackWhenDue()
}

// expired reports whether a device that is no member, or left and was not let
// go, has kept the group for as long as it would for a silent member.
func (s *step) expired() bool {
	return !s.goneAt.IsZero() && len(s.epochs) > 0 && s.env.Now.Sub(s.goneAt) >= s.cfg.MaxAge
}

// repeatLeave publishes the self-Remove on every later head that still holds
// this device.
func (s *step) repeatLeave() error {
	if s.mustLeave() {
		return s.proposeLeave(s.epochs[s.head])
	}
	if s.state == leaving && s.allLeave() {
		s.state, s.dirty = left, true
		s.emit(Event{Kind: KindLeft, Epoch: s.graph.Number(s.head), Head: text(s.head), Why: "every member leaves"})
	}
	return nil
}

// mustLeave reports whether the head holds this device, which left, and does
// not hold its self-Remove.
func (g *Group) mustLeave() bool {
	e := g.epochs[g.head]
	return e != nil && g.graph.Head() == g.head && g.leaveIn != g.head && e.leaves.has(g.self)
}

// allLeave: if everybody leaves, nobody is left to commit it.
func (g *Group) allLeave() bool {
	e := g.epochs[g.head]
	return e != nil && len(e.mls.CachedProposals()) == e.leaves.len()
}

// plans returns what the losing branches did that the head lacks.
func (s *step) plans() *plan.Plan {
	d := &s.due
	if d.plan == nil || d.planFor != s.head || d.planSeen != s.settled {
		d.plan, d.planFor, d.planSeen = s.makePlan(), s.head, s.settled
	}
	return d.plan
}

func (g *Group) makePlan() *plan.Plan {
	e, beside := g.epochs[g.head], g.beside()
	if len(beside) == 0 || e == nil {
		return &plan.Plan{}
	}
	h := g.history(e)
	for key := range named(beside) { // nobody else is looked up
		m := e.find(key)
		if m == "" {
			continue
		}
		h.Members[key] = who(m)
		if at, _, _, spoke := g.graph.Standing(m); spoke && !g.wentOn(m, beside) {
			h.Spoke[key] = g.graph.Number(at)
		}
	}
	return plan.Make(h)
}

// history is what plans rest on, but for members who are no authors of commits.
func (g *Group) history(e *epoch) plan.History {
	h := plan.History{Commits: map[string]*plan.Commit{}, Head: string(g.head), Members: map[string]plan.Who{}, Spoke: map[string]uint64{}}
	for id, c := range g.commits {
		p := c.planned()
		h.Commits[string(id)] = p
		if _, ok := h.Members[p.Author]; ok || p.Author == "" {
			continue
		}
		if m := e.find(p.Author); m != "" {
			h.Members[p.Author] = who(m)
		}
	}
	if e.info.Policy == PolicyAdmins {
		h.Admins = map[string]bool{}
		for _, k := range e.info.Admins {
			h.Admins[k] = true
		}
	}
	return h
}

// named is everybody whom commits name, by key, and their authors.
func named(commits []*commit) map[string]bool {
	out := map[string]bool{}
	for _, c := range commits {
		for _, m := range slices.Concat([]dag.Member{c.Author}, c.Added, c.Removed, c.Left, c.Promoted, c.Demoted) {
			if m != "" {
				out[keyOf(m)] = true
			}
		}
	}
	return out
}

// beside lists what plans look at: the unsettled commits that are not on the way
// to the head.
func (g *Group) beside() []*commit {
	on := map[dag.ID]bool{g.head: true}
	for id := g.graph.Base(); ; { // what was erased above the base, too
		c := g.commits[id]
		if c == nil || c.Settled {
			break
		}
		on[id], id = true, c.Parent
	}
	var out []*commit
	for id := range g.unsettled {
		if !on[id] && !g.graph.IsAncestor(id, g.head) {
			out = append(out, g.commits[id])
		}
	}
	return out
}

func who(m dag.Member) plan.Who {
	return plan.Who{Key: keyOf(m), Incarnation: string(m), AddedBy: string(addedBy(m))}
}

func whos(ms []dag.Member) []plan.Who {
	var out []plan.Who
	for _, m := range ms {
		out = append(out, who(m))
	}
	return out
}

// planned is the commit as plans see it.
func (c *commit) planned() *plan.Commit {
	if c.forPlans == nil {
		c.forPlans = planCommit(c)
	}
	c.forPlans.Settled = c.Settled
	return c.forPlans
}

func planCommit(c *commit) *plan.Commit {
	p := &plan.Commit{
		ID: string(c.ID), Parent: string(c.Parent), Number: c.Number, Added: whos(c.Added), Removed: whos(c.Removed),
		Left: whos(c.Left), Promoted: whos(c.Promoted), Demoted: whos(c.Demoted), Update: c.update(),
	}
	if c.Author != "" {
		p.Author = keyOf(c.Author)
	}
	for _, id := range c.Supersedes {
		p.Supersedes = append(p.Supersedes, string(id))
	}
	return p
}

// ownUpdateLost reports whether a fork undid a key update of this device.
func (s *step) ownUpdateLost() bool {
	own := keyOf(s.self)
	p := s.plans()
	i := sort.SearchStrings(p.Updates, own)
	return i < len(p.Updates) && p.Updates[i] == own
}

// sharedWork commits the job when the back-off of this member's rank is over.
func (s *step) sharedWork() (done bool, err error) {
	e, err := s.headEpoch()
	if err != nil {
		return false, err
	}
	j := s.nextJob(e)
	if !s.myTurn(j, e) || s.env.Now.Before(s.due.workAt) {
		return false, nil
	}
	s.due.rest()
	if j.update {
		_, err := s.commitOnHead(mls.CommitRequest{}, nil)
		return true, err
	}
	return true, s.merge(e, j)
}

// myTurn keeps the back-off timer for the job in step; false means that there
// is nothing for this member to do.
func (s *step) myTurn(j *job, e *epoch) bool {
	if j == nil {
		s.due.rest()
		return false
	}
	rank := plan.Rank(j.id, j.candidates, uint32(e.mls.Self()))
	if rank < 0 {
		s.due.rest()
		return false
	}
	rank += j.behind
	if string(s.due.work) != string(j.id) {
		s.due.work = j.id
		s.due.workAt = s.env.Now.Add(time.Duration(rank) * s.cfg.MergeDelay)
	}
	return true
}

func texts(ids []dag.ID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, text(id))
	}
	return out
}

// needsAck reports whether the others lack a frame of ours: one that stands on
// the head, or one that confirms what we now find confirmable (design, 5.6). A
// device that was removed owes that of the last epoch that it can read, and
// nothing else: until it has stood there, it may still say that it could not open
// the way down to it (decision 0095). One without a vote says once that it is there
// (decision 0106).
func (s *step) needsAck() bool {
	e := s.epochs[s.head]
	if s.state != member && s.state != removed || e == nil || e.leaves.len() == 1 {
		return false
	}
	at, _, _, ok := s.graph.Standing(s.self)
	if ok && at == s.head && s.graph.Owes(s.self) == "" {
		return false
	}
	return s.graph.Votes(s.self) || s.next == 0
}

// scheduleAck draws the delay once for each need: at once when the head
// removes somebody, else at random, so that the members do not all speak.
func (s *step) scheduleAck() error {
	if !s.needsAck() {
		s.due.ack = time.Time{}
		return nil
	}
	if !s.due.ack.IsZero() {
		return nil
	}
	if c := s.commits[s.head]; c != nil && len(c.Removed)+len(c.Left) > 0 {
		s.due.ack = s.env.Now
		return nil
	}
	voters := min(s.epochs[s.head].leaves.len(), dag.MaxVoters)
	span := max(s.cfg.AckMax, time.Duration(voters)*time.Second/time.Duration(s.cfg.AckRate)) - s.cfg.AckMin
	var b [8]byte
	if _, err := io.ReadFull(s.env.Rand, b[:]); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	delay := time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(span+1))
	s.due.ack = s.env.Now.Add(s.cfg.AckMin + delay)
	return nil
}

func (s *step) ackWhenDue() error {
	if s.due.ack.IsZero() || s.env.Now.Before(s.due.ack) || !s.needsAck() {
		return nil
	}
	return s.sayHere()
}
