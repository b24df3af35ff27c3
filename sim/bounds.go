package sim

import (
	"fmt"
	"slices"
)

// maxRetained is how many epochs a member retains in a quiet group: the head,
// and its parent while the last confirming frame is on its way.
const maxRetained = 2

// checkBounds: after a quiet time only what is needed is retained. Where the
// reference says that nothing below a member's base can become final, since
// those who are gone could still outvote or tie the others, or complain, were
// their removals undone (design, section 5.6), that member confirms nothing, so
// that only the caps bound what anybody retains. So it is where an adversary is a
// member, who need not confirm anything, or a joiner whose Welcome has not come.
func checkBounds(e *evidence, a agreement) []string {
	held := slices.ContainsFunc(e.witnesses, func(w witness) bool { return a.members[w.id] && w.held != "" })
	if !e.settled || held || slices.ContainsFunc(sortedKeys(e.bad), func(id string) bool { return a.members[id] }) {
		return nil
	}
	var out []string
	for _, w := range e.witnesses {
		waits := w.st.Parked > 0 && !w.besieged
		if a.members[w.id] && (waits || w.st.RetainedEpochs > maxRetained || w.st.ForksOpen > 0) {
			out = append(out, fmt.Sprintf("%s: %s", w.name, w.standing))
		}
	}
	return out
}

// holdUps says why nothing can become final, by device, of those that retain more
// than a quiet group needs.
func (w *world) holdUps(known referee) map[string]string {
	out, here := map[string]string{}, map[string]bool{}
	for _, d := range w.members() {
		here[d.key()] = true
	}
	for _, d := range w.members() {
		if st, ok := d.status(); !ok || st.RetainedEpochs <= maxRetained && st.ForksOpen == 0 {
			continue
		}
		g, ok := w.glimpse(d)
		if !ok {
			continue
		}
		out[d.name] = known.reference(g).heldUp(g.base, g.head)
		for _, m := range g.members {
			if !here[m.ID] {
				out[d.name] = m.Name + " has not come yet"
			}
		}
	}
	return out
}

// heldUp says why the head could not become final if all its voters confirmed
// it: at some epoch above it they do not outvote all others together, rank by
// rank, or too many of the others could still void the way down.
func (r *reference) heldUp(base, head string) string {
	here := map[incarnation]bool{}
	voters, _ := r.voters(head)
	for _, v := range voters {
		here[v] = true
	}
	for child := head; child != base; child = r.parent[child] {
		at, ok := r.parent[child]
		if !ok {
			return "the way up from " + tail(child) + " is not known"
		}
		voters, admins := r.voters(at)
		var more [2]int // admins, others: those here, less those who are not
		complain := 0
		for _, v := range voters {
			rank := 1
			if admins[v] {
				rank = 0
			}
			if here[v] {
				more[rank]++
				continue
			}
			more[rank]--
			if r.couldComplain(v, child) {
				complain++
			}
		}
		if more[0] < 0 || more[0] == 0 && more[1] <= 0 {
			return fmt.Sprintf("whoever is gone since %s outvotes the others, by %d admins and %d others", tail(at), -more[0], -more[1])
		}
		if 3*complain > len(voters) {
			return fmt.Sprintf("%d of %d could still complain about %s", complain, len(voters), tail(child))
		}
	}
	return ""
}

// couldComplain reports whether a commit keeps somebody who never stood at it or
// below.
func (r *reference) couldComplain(m incarnation, child string) bool {
	c := r.commits[child]
	for _, gone := range slices.Concat(c.Removed, c.Left) {
		if incarnation(gone) == m {
			return false
		}
	}
	return !slices.ContainsFunc(r.frames, func(f spoken) bool { return f.by == m && r.under(child, f.stands) })
}
