// Package plan computes merge plans (design, section 5.5): what the losing
// branches of a group did that the head lacks. It is a pure function of the
// history, so that all members who have seen the same commits plan the same.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// Commit is one commit as plans see it. Ids are opaque; members are named by
// signature key and by incarnation.
type Commit struct {
	ID, Parent string
	Number     uint64
	Author     string // key
	Added      []Who
	Removed    []Who
	Left       []Who // removed by their own proposal
	Promoted   []Who // to admin
	Demoted    []Who
	Update     bool // refreshes the author's keys and does nothing else
	Supersedes []string
	Settled    bool // final and without open work: no plan looks at it again
}

// Who is one incarnation of a key.
type Who struct {
	Key         string
	Incarnation string
	AddedBy     string // commit
}

// History is what a member has seen.
type History struct {
	Commits map[string]*Commit
	Head    string
	Members map[string]Who  // of the head, by key
	Admins  map[string]bool // keys of the head's admins; nil in a group of equal rights
	// Spoke holds, by key of the head, the number of the epoch below which the
	// latest frame of the present incarnation stands; none if it never sent one,
	// or its device spoke after it as another incarnation.
	Spoke map[string]uint64
}

// Verb is what an operation does.
type Verb string

// The verbs.
const (
	Add     Verb = "add"
	Remove  Verb = "remove"
	Promote Verb = "promote"
	Demote  Verb = "demote"
)

// Op is an operation of a losing branch that is open on the head.
type Op struct {
	Verb   Verb
	Who    Who
	Author string // key of who did it there
	At     string // the losing commit
}

// Plan is what the head lacks. All lists are sorted by key, verb, commit.
type Plan struct {
	Removes    []Op
	Adds       []Op     // each waits for a fresh KeyPackage of its key
	Roles      []Op     // promotions and demotions
	Updates    []string // keys of members that must refresh their own keys again
	Approval   []Op     // open, but their authors are not on the head, or have no right to them there: for a person to decide
	Dropped    []Op     // of no effect, since the head's chain decided otherwise
	Waiting    []Op     // promotions of joiners who are not back yet
	Strays     []Op     // incarnations that only a losing branch has: to be told where the head is
	Supersedes []string // tips of the losing branches
}

// Empty reports whether nothing is left to do.
func (p *Plan) Empty() bool {
	return len(p.Removes)+len(p.Adds)+len(p.Roles)+len(p.Updates) == 0
}

// removes reports whether the commit took the key out; to replace one of its
// incarnations by another does not.
func (c *Commit) removes(key string) bool { return hasKey(c.Removed, key) && !hasKey(c.Added, key) }

// view adds to a history what every rule asks for.
type view struct {
	History
	chain  map[string]bool // commits at or above the head, down to the oldest fork
	losing []*Commit       // sorted by number, then id
}

// Make computes the plan.
func Make(h History) *Plan {
	v := newView(h)
	p := &Plan{}
	updates := map[string]bool{}
	for _, c := range v.losing {
		for _, w := range c.Removed {
			v.remove(p, c, w)
		}
		for _, w := range c.Added {
			v.add(p, c, w)
		}
		for _, w := range c.Promoted {
			v.role(p, c, w, Promote)
		}
		for _, w := range c.Demoted {
			v.role(p, c, w, Demote)
		}
		if c.Update && v.updateOpen(c) {
			updates[c.Author] = true
		}
	}
	for k := range updates {
		p.Updates = append(p.Updates, k)
	}
	slices.Sort(p.Updates)
	slices.SortFunc(p.Strays, compare)
	p.Removes, p.Adds, p.Roles = unique(p.Removes), unique(p.Adds), unique(p.Roles)
	gone := func(o Op) bool { return hasOp(p.Removes, Remove, o.Who.Key) }
	p.Roles = slices.DeleteFunc(p.Roles, gone) // a remove wins over a concurrent promotion
	p.Dropped = slices.DeleteFunc(unique(p.Dropped), gone)
	p.Waiting = slices.DeleteFunc(unique(p.Waiting), func(o Op) bool { return !hasOp(p.Adds, Add, o.Who.Key) })
	v.keepAnAdmin(p)
	p.Approval = slices.DeleteFunc(unique(p.Approval), func(o Op) bool {
		return hasOp(p.Removes, o.Verb, o.Who.Key) || hasOp(p.Adds, o.Verb, o.Who.Key) || hasOp(p.Roles, o.Verb, o.Who.Key) ||
			(o.Verb == Promote || o.Verb == Demote) && gone(o)
	})
	p.Supersedes = v.tips()
	v.nameSources(p)
	return p
}

// may reports whether the key has the right, in the head's state, to remove,
// promote and demote.
func (v *view) may(key string) bool { return v.Admins == nil || v.Admins[key] }

func newView(h History) *view {
	v := &view{History: h, chain: map[string]bool{}}
	for id := h.Head; id != ""; {
		v.chain[id] = true
		c := h.Commits[id]
		if c == nil {
			break
		}
		id = c.Parent
	}
	for id, c := range h.Commits {
		if !v.chain[id] && !c.Settled {
			v.losing = append(v.losing, c)
		}
	}
	slices.SortFunc(v.losing, func(a, b *Commit) int {
		if a.Number != b.Number {
			if a.Number < b.Number {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	return v
}

// above reports whether a is b or an ancestor of b.
func (v *view) above(a, b string) bool {
	for id := b; id != ""; {
		if id == a {
			return true
		}
		c := v.Commits[id]
		if c == nil {
			return false
		}
		id = c.Parent
	}
	return false
}

// fork returns the number of the deepest epoch that c shares with the head.
func (v *view) fork(c *Commit) uint64 {
	for c != nil && !v.chain[c.ID] {
		if v.chain[c.Parent] && v.Commits[c.Parent] == nil {
			return c.Number - 1
		}
		c = v.Commits[c.Parent]
	}
	if c == nil {
		return 0
	}
	return c.Number
}

// since calls f for the commits of the head's chain below an epoch's number,
// youngest first, until f returns false.
func (v *view) since(number uint64, f func(*Commit) bool) {
	for c := v.Commits[v.Head]; c != nil && c.Number > number; c = v.Commits[c.Parent] {
		if !f(c) {
			return
		}
	}
}

// add: open while the key is not on the head and nobody removed it, on either
// side, other than in view of the add's author. A key that is on the head but never
// spoke there, or whose incarnation there the losing branch replaced, may be a
// joiner that followed a rival Welcome: it is a stray.
func (v *view) add(p *Plan, c *Commit, w Who) {
	now, there := v.Members[w.Key]
	if there && (v.here(c, now) || now.Incarnation == w.Incarnation) {
		return
	}
	if v.voided(c, w.Key) {
		return
	}
	op := Op{Verb: Add, Who: w, Author: c.Author, At: c.ID}
	p.Strays = append(p.Strays, op)
	_, ok := v.Members[c.Author]
	switch {
	case there:
	case ok:
		p.Adds = append(p.Adds, op)
	default:
		p.Approval = append(p.Approval, op)
	}
}

// here reports whether the device of an incarnation of the head is there, and
// not where the losing commit c took it. A commit that adds the key in view of
// the one that the head has was an answer to that device: it had left the
// head's branch, and may not have come back.
func (v *view) here(c *Commit, now Who) bool {
	at, spoke := v.Spoke[now.Key]
	if !v.above(now.AddedBy, c.ID) {
		return spoke && !v.knows(c.ID, now.AddedBy)
	}
	replaced := slices.ContainsFunc(c.Removed, func(r Who) bool { return r.Incarnation == now.Incarnation })
	return spoke && (!replaced || at > v.fork(c))
}

// voided reports whether a commit that c did not know of removed the key, or
// its owner left. What an ejected member did takes nobody along.
func (v *view) voided(c *Commit, key string) bool {
	for _, d := range v.losing {
		gone := hasKey(d.Left, key) || d.removes(key) && v.may(d.Author) && v.answers(d.Author, nil) && v.carries(d, removes(key)) == carried
		if gone && !v.knows(c.ID, d.ID) {
			return true
		}
	}
	found := false
	v.since(v.fork(c), func(d *Commit) bool {
		found = (d.removes(key) || hasKey(d.Left, key)) && !v.knows(c.ID, d.ID)
		return !found
	})
	return found
}

// answers reports whether the key is on the head or may come back to it: a
// guest of the losing side whose host is or may.
func (v *view) answers(key string, asked []string) bool {
	if _, ok := v.Members[key]; ok {
		return true
	}
	return !slices.Contains(asked, key) && slices.ContainsFunc(v.losing, func(d *Commit) bool {
		return hasKey(d.Added, key) && v.answers(d.Author, append(asked, key))
	})
}

// updateOpen: the author is on the head and has neither committed nor been
// added there since the fork; either gives it fresh keys.
func (v *view) updateOpen(c *Commit) bool {
	if _, ok := v.Members[c.Author]; !ok {
		return false
	}
	open := true
	v.since(v.fork(c), func(d *Commit) bool {
		open = d.Author != c.Author && !hasKey(d.Added, c.Author)
		return open
	})
	return open
}

// tips returns the ends of the losing branches, settled work included, that no
// commit of the head's chain supersedes.
func (v *view) tips() []string {
	parents, covered, reached := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range v.Commits {
		parents[c.Parent] = true
	}
	for _, c := range v.losing {
		reached[c.ID] = true
	}
	v.since(0, func(d *Commit) bool {
		for _, t := range d.Supersedes {
			covered[t] = true
		}
		return true
	})
	var out []string
	for id := range v.Commits {
		if !parents[id] && !covered[id] && v.below(id, reached) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// nameSources adds the commits whose removals and roles are to be carried over, though
// an earlier merge covered their branches and left that open: whoever does it must not
// seem to do it of its own accord (decision 0107).
func (v *view) nameSources(p *Plan) {
	for _, o := range slices.Concat(p.Removes, p.Roles) {
		if !slices.ContainsFunc(p.Supersedes, func(tip string) bool { return v.above(o.At, tip) }) {
			p.Supersedes = append(p.Supersedes, o.At)
		}
	}
	slices.Sort(p.Supersedes)
}

// below reports whether id is one of a set of commits or a descendant of one.
func (v *view) below(id string, set map[string]bool) bool {
	for c := v.Commits[id]; c != nil && !v.chain[c.ID]; c = v.Commits[c.Parent] {
		if set[c.ID] {
			return true
		}
	}
	return false
}

// unique sorts operations and keeps one of each verb for each key.
func unique(ops []Op) []Op {
	slices.SortFunc(ops, compare)
	return slices.CompactFunc(ops, func(a, b Op) bool { return a.Who.Key == b.Who.Key && a.Verb == b.Verb })
}

func compare(a, b Op) int {
	return cmp.Or(strings.Compare(a.Who.Key, b.Who.Key), strings.Compare(string(a.Verb), string(b.Verb)), strings.Compare(a.At, b.At))
}

func hasOp(ops []Op, verb Verb, key string) bool {
	return slices.ContainsFunc(ops, func(x Op) bool { return x.Verb == verb && x.Who.Key == key })
}

func hasKey(ws []Who, key string) bool {
	return slices.ContainsFunc(ws, func(w Who) bool { return w.Key == key })
}

// Rank orders the candidates of shared work by a hash that nobody can choose
// in advance, and returns the place of self, -1 if it is no candidate.
func Rank(work []byte, candidates []uint32, self uint32) int {
	mine, rank, found := weight(work, self), 0, false
	for _, leaf := range candidates {
		if leaf == self {
			found = true
			continue
		}
		if w := weight(work, leaf); strings.Compare(w, mine) < 0 {
			rank++
		}
	}
	if !found {
		return -1
	}
	return rank
}

func weight(work []byte, leaf uint32) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(slices.Clone(work), leaf))
	return string(sum[:])
}
