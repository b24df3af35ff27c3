package group

import (
	"slices"

	"github.com/dmlsd/dmls/dag"
)

// outvoted reports whether the branch of a commit that removes us is the one that
// the others chose: the votes at the fork, with those of members of our head who
// went on where we cannot read counted where the links of their frames lead.
// Halves that remove each other so stay two groups. These links are unproven:
// see deserted.
func (g *Group) outvoted(c *commit) bool {
	at := g.graph.Common(c.ID, g.head)
	f, ok := g.graph.ForkAt(at)
	if !ok {
		return false
	}
	for i := range f.Branches {
		f.Branches[i].Votes = slices.Clone(f.Branches[i].Votes)
	}
	for _, v := range g.graph.Voters(at) {
		to := g.wentTo(v.Member, at)
		if to == "" || !g.epochs[g.head].leaves.has(v.Member) {
			continue
		}
		for _, b := range f.Branches {
			if slices.Contains(b.Voters, v.Member) {
				b.Votes[v.Rank]--
			}
			if b.Child == to {
				b.Votes[v.Rank]++
			}
		}
	}
	return g.graph.Best(f.Branches) == g.toward(at, c.ID)
}

// wentTo returns the child of an epoch below which the last frame of a member
// stands, if it is one that this device cannot read; "" if it is not, or if a
// commit on the way is not here.
func (g *Group) wentTo(m dag.Member, at dag.ID) dag.ID {
	last := g.frames[g.ends[memberChain(m)]]
	if last == nil || last.Status != unread || last.Said != m || g.graph.IsEquivocator(m) {
		return ""
	}
	if _, _, seq, ok := g.graph.Standing(m); ok && seq >= last.Links.Seq {
		return ""
	}
	id := idOf(last.Links.Parent)
	for !g.graph.Has(id) {
		above := g.frames[cidOf(id)]
		if above == nil || above.Type != typeCommit {
			return ""
		}
		id = idOf(above.Links.Parent)
	}
	return g.toward(at, id)
}
