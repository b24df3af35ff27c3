package plan

import "slices"

// The list of admins is the one field of a group's context that changes, and
// each key in it is merged by itself: what the head's chain decided on a key
// since the fork holds, and an event tells what was dropped; the rest of a
// losing branch is done again (design, section 5.5).

// role: open while the head has it otherwise. Who is gone from the head has no
// role to be given back.
func (v *view) role(p *Plan, c *Commit, w Who, verb Verb) {
	did := func(d *Commit) bool {
		return verb == Promote && hasKey(d.Promoted, w.Key) || verb == Demote && hasKey(d.Demoted, w.Key)
	}
	whose := v.carries(c, did)
	if v.spokenBelow(c, w.Key) || whose == passed {
		return
	}
	op := Op{Verb: verb, Who: w, Author: c.Author, At: c.ID}
	now, there := v.Members[w.Key]
	if !there {
		if verb == Promote {
			p.Waiting = append(p.Waiting, op) // it may be a joiner who is about to return
		}
		return
	}
	op.Who = now
	switch known, decided := v.decided(c, w.Key); {
	case v.Admins[w.Key] == (verb == Promote), known:
	case decided:
		p.Dropped = append(p.Dropped, op)
	case whose == carried && v.entitled(c.Author):
		p.Roles = append(p.Roles, op)
	default:
		p.Approval = append(p.Approval, op)
	}
}

// spokenBelow reports whether the losing branch itself later said something
// else of the key.
func (v *view) spokenBelow(c *Commit, key string) bool {
	return slices.ContainsFunc(v.losing, func(d *Commit) bool {
		return d != c && speaksOf(d, key) && v.above(c.ID, d.ID)
	})
}

// decided reports whether the head's chain said something of the key since the
// fork, and whether whoever said it knew of c.
func (v *view) decided(c *Commit, key string) (known, decided bool) {
	v.since(v.fork(c), func(d *Commit) bool {
		if decided = speaksOf(d, key); decided {
			known = v.knows(d.ID, c.ID)
		}
		return !decided
	})
	return known, decided
}

// speaksOf reports whether a commit decides on the role of a key. A removal
// ends it; a re-add in one commit keeps it.
func speaksOf(d *Commit, key string) bool {
	goes := (hasKey(d.Removed, key) || hasKey(d.Left, key)) && !hasKey(d.Added, key)
	return goes || hasKey(d.Promoted, key) || hasKey(d.Demoted, key)
}

// keepAnAdmin leaves to a person what would leave the group without an admin:
// demotions that admins gave each other on different branches.
func (v *view) keepAnAdmin(p *Plan) {
	if v.Admins == nil {
		return
	}
	stay := map[string]bool{}
	for k := range v.Admins {
		if !hasOp(p.Removes, Remove, k) && !hasOp(p.Roles, Demote, k) {
			stay[k] = true
		}
	}
	for _, o := range p.Roles {
		if o.Verb == Promote {
			stay[o.Who.Key] = true
		}
	}
	for i := len(p.Roles) - 1; i >= 0 && len(stay) == 0; i-- {
		if o := p.Roles[i]; o.Verb == Demote {
			p.Roles = slices.Delete(p.Roles, i, i+1)
			p.Approval = append(p.Approval, o)
			stay[o.Who.Key] = true
		}
	}
}
