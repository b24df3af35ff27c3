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
// all (decision 0107).
func (v *view) carries(c *Commit, did func(*Commit) bool) bool {
	firsts := v.firsts(c, did, map[string]bool{})
	return len(firsts) == 0 || slices.ContainsFunc(firsts, func(d *Commit) bool {
		_, present := v.Members[d.Author]
		return present && v.may(d.Author)
	})
}

// Carries reports whether a commit that removes a key does so for somebody who is on
// the head with the right to it.
func (h History) Carries(c *Commit, key string) bool {
	v := view{History: h}
	return v.carries(c, removes(key))
}

// firsts are the commits on the branches that a merge supersedes where that was done
// first.
func (v *view) firsts(c *Commit, did func(*Commit) bool, seen map[string]bool) (out []*Commit) {
	if len(c.Supersedes) == 0 {
		return nil
	}
	above := map[string]bool{}
	for d := v.Commits[c.Parent]; d != nil; d = v.Commits[d.Parent] {
		above[d.ID] = true
	}
	for _, tip := range c.Supersedes {
		for d := v.Commits[tip]; d != nil && !above[d.ID] && !seen[d.ID]; d = v.Commits[d.Parent] {
			if seen[d.ID] = true; !did(d) {
				continue
			}
			if of := v.firsts(d, did, seen); len(of) > 0 {
				out = append(out, of...)
			} else {
				out = append(out, d)
			}
		}
	}
	return out
}
