package plan

import "slices"

// remove: open while its target is on the head, whatever a merge claims, and
// stronger than a concurrent add of the same key.
func (v *view) remove(p *Plan, c *Commit, w Who) {
	now, ok := v.Members[w.Key]
	if !ok || hasKey(c.Added, w.Key) || v.readdedBelow(c, w.Key) {
		return
	}
	whose := v.carries(c, removes(w.Key))
	if whose == passed {
		return
	}
	if now.Incarnation != w.Incarnation && (v.knows(now.AddedBy, c.ID) || v.goneOnChain(c, w)) {
		return
	}
	op := Op{Verb: Remove, Who: now, Author: c.Author, At: c.ID}
	if whose == carried && v.entitled(c.Author) {
		p.Removes = append(p.Removes, op)
	} else {
		p.Approval = append(p.Approval, op)
	}
}

// readdedBelow reports whether the losing branch itself took the key back.
func (v *view) readdedBelow(c *Commit, key string) bool {
	return slices.ContainsFunc(v.losing, func(d *Commit) bool {
		return d != c && v.above(c.ID, d.ID) && hasKey(d.Added, key)
	})
}

// knows reports whether commit a was made in view of commit b: b is a or above
// it, or on a branch that a merge at or above a took into account.
func (v *view) knows(a, b string) bool {
	seen := map[string]bool{}
	for walk := []string{a}; len(walk) > 0; {
		id := walk[0]
		walk = walk[1:]
		for id != "" && !seen[id] {
			if id == b {
				return true
			}
			seen[id] = true
			c := v.Commits[id]
			if c == nil {
				break
			}
			walk = append(walk, c.Supersedes...)
			id = c.Parent
		}
	}
	return false
}

// goneOnChain reports whether the head's own chain removed that incarnation,
// so that whoever added the key anew knew it. To replace it does not count: that
// needs no right, and a removal must not be lost by it.
func (v *view) goneOnChain(c *Commit, w Who) bool {
	found := false
	v.since(v.fork(c), func(d *Commit) bool {
		for _, r := range append(slices.Clone(d.Removed), d.Left...) {
			found = found || r.Incarnation == w.Incarnation && !hasKey(d.Added, w.Key)
		}
		return !found
	})
	return found
}

func removes(key string) func(*Commit) bool {
	return func(c *Commit) bool { return c.removes(key) }
}

// errand is for whom a commit did something.
type errand uint8

const (
	carried errand = iota // of its own accord, or for somebody who is on the head with the right to it
	passed                // for others: theirs is to be asked about
	obscure               // what it supersedes is not known here
)

// carries tells for whom a commit did something. A merge carries over what others did:
// done again in its author's name, an ejected member would take others along after
// all (decision 0107). Whoever was removed on a branch cannot read how it went on.
func (v *view) carries(c *Commit, did func(*Commit) bool) errand {
	f := firsts{view: v, did: did, found: map[string]origin{}}
	of := f.of(c)
	switch {
	case slices.ContainsFunc(of.commits, func(d *Commit) bool { return v.entitled(d.Author) }):
		return carried
	case len(of.commits) > 0:
		return passed
	case of.gap:
		return obscure
	}
	return carried
}

// entitled reports whether a key is on the head with the right to remove, promote and
// demote.
func (v *view) entitled(key string) bool {
	_, present := v.Members[key]
	return present && v.may(key)
}

// Carries reports whether a commit that removes a key does so for somebody who is on
// the head with the right to it.
func (h History) Carries(c *Commit, key string) bool {
	v := view{History: h}
	return v.carries(c, removes(key)) == carried
}

// origin is where something was done first, as far as that is known.
type origin struct {
	commits []*Commit
	gap     bool // some of what was superseded is not known
}

// firsts looks for it.
type firsts struct {
	*view
	did   func(*Commit) bool
	found map[string]origin // by merge: branches may share one
}

// of looks on the branches that a merge supersedes. For whom an ejected member says
// that it did it is nothing to go by.
func (f *firsts) of(c *Commit) (all origin) {
	if of, ok := f.found[c.ID]; ok || len(c.Supersedes) == 0 {
		return of
	}
	above, seen := map[string]bool{}, map[string]bool{}
	for id := c.Parent; id != "" && !above[id]; {
		above[id] = true
		if d := f.Commits[id]; d != nil {
			id = d.Parent
		}
	}
	for _, id := range c.Supersedes {
		for id != "" && !above[id] && !seen[id] {
			d := f.Commits[id]
			if d == nil {
				all.gap = true
				break
			}
			if seen[id], id = true, d.Parent; f.did(d) {
				all.add(f.behind(d))
			}
		}
	}
	f.found[c.ID] = all
	return all
}

// behind is who stands behind a commit that did it.
func (f *firsts) behind(d *Commit) origin {
	if f.entitled(d.Author) {
		if of := f.of(d); of.gap || len(of.commits) > 0 {
			return of
		}
	}
	return origin{commits: []*Commit{d}}
}

func (o *origin) add(of origin) {
	o.gap = o.gap || of.gap
	for _, d := range of.commits {
		if !slices.Contains(o.commits, d) {
			o.commits = append(o.commits, d)
		}
	}
}
