package plan

import "slices"

// remove: open while its target is on the head, whatever a merge claims, and
// stronger than a concurrent add of the same key.
func (v *view) remove(p *Plan, c *Commit, w Who) {
	now, ok := v.Members[w.Key]
	if !ok || hasKey(c.Added, w.Key) || v.readdedBelow(c, w.Key) || !v.carries(c, removes(w.Key)) {
		return
	}
	if now.Incarnation != w.Incarnation && (v.knows(now.AddedBy, c.ID) || v.goneOnChain(c, w)) {
		return
	}
	op := Op{Verb: Remove, Who: now, Author: c.Author, At: c.ID}
	if _, ok := v.Members[c.Author]; ok && v.may(c.Author) {
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

// carries reports whether a commit did something of its own accord, or for somebody
// who is on the head with the right to it. A merge carries over what others did:
// done again in its author's name, an ejected member would take others along after
// all. Who does not know all that it supersedes leaves that to those who do, its
// author among them (decision 0107).
func (v *view) carries(c *Commit, did func(*Commit) bool) bool {
	w := &provenance{view: v, did: did, before: map[string]bool{}, whole: true}
	w.walk(c)
	return len(w.firsts) == 0 && w.whole || slices.ContainsFunc(w.firsts, func(d *Commit) bool {
		_, present := v.Members[d.Author]
		return present && v.may(d.Author)
	})
}

// Carries reports whether a commit that removes a key does so for somebody who is on
// the head with the right to it, as far as is known.
func (h History) Carries(c *Commit, key string) bool {
	v := view{History: h}
	return v.carries(c, removes(key))
}

// provenance finds the commits on the branches that a merge supersedes where
// something was done first.
type provenance struct {
	*view
	did    func(*Commit) bool
	before map[string]bool // what walk said of merges
	firsts []*Commit
	whole  bool // all of these branches are known
}

// walk reports whether somebody did it before the merge.
func (w *provenance) walk(c *Commit) bool {
	before, known := w.before[c.ID]
	if known || len(c.Supersedes) == 0 {
		return before
	}
	above := map[string]bool{c.Parent: true}
	for d := w.Commits[c.Parent]; d != nil; d = w.Commits[d.Parent] {
		above[d.Parent] = true
	}
	for _, tip := range c.Supersedes {
		for at := tip; at != "" && !above[at]; {
			d := w.Commits[at]
			if d == nil {
				w.whole = false
				break
			}
			if at = d.Parent; !w.did(d) {
				continue
			}
			if before = true; !w.walk(d) && !slices.Contains(w.firsts, d) {
				w.firsts = append(w.firsts, d)
			}
		}
	}
	w.before[c.ID] = before
	return before
}
