package group

import (
	"fmt"

	"github.com/dmlsd/dmls/dag"
)

// Kept is an epoch whose secrets are retained: what for, and what they would
// open to a thief of the device. It holds no secret.
type Kept struct {
	CID     string `json:"cid"` // of the commit that created it
	Epoch   uint64 `json:"epoch"`
	Since   int64  `json:"since"` // Unix milliseconds
	Secrets int    `json:"secrets"`
	Bytes   int    `json:"bytes"`
	Nodes   int    `json:"pprf_nodes"` // of its punctured tree
	Commits int    `json:"commits"`    // on it that were opened, and cannot be derived again
	Why     string `json:"why"`
	Opens   string `json:"opens"` // what a thief could open with it
}

func (g *Group) kept(e *epoch) Kept {
	k := Kept{CID: text(e.id), Epoch: e.mls.Number(), Since: e.born.UnixMilli(), Nodes: e.mls.PPRFNodes(), Commits: len(g.graph.Children(e.id))}
	k.Secrets, k.Bytes = e.mls.Held()
	k.Why, k.Opens = g.whyKept(e)
	return k
}

// Texts of Kept.Opens. Ratchets are used up as messages are opened, and a
// puncture takes the way to a commit that was opened.
const (
	opensHead = "what is sent in it from now on, and the epochs that follow until this device refreshes its keys"
	opensOld  = "messages sent in it that did not arrive here yet, and commits on it that nobody has seen"
)

func (g *Group) whyKept(e *epoch) (why, opens string) {
	switch base := g.graph.Base(); {
	case g.state == removed || g.state == left:
		return "this device is no member any more; what it has goes after MaxAge", opensOld
	case e.old:
		return "this device was here before it was added again; that branch is not sure to stay", opensOld
	case e.id == g.head:
		return "in use", opensHead
	case !g.graph.IsAncestor(e.id, g.head):
		return fmt.Sprintf("a losing branch; the fork after %s is not final: %s", short(g.graph.Common(e.id, g.head)), g.waitsFor(base)), opensOld
	}
	return g.waitsFor(e.id), opensOld
}

// waitsFor says who must confirm before an epoch above the head can go.
func (g *Group) waitsFor(id dag.ID) string {
	behind, unsure := g.silent(id)
	switch final := g.graph.Final(); {
	case id != final && g.graph.IsAncestor(id, final):
		return "a later epoch is final, but frames that others refer to have not arrived"
	case len(behind) > 0:
		return "not heard below it yet: " + listed(behind)
	case len(unsure) > 0:
		return "not confirmed below it yet by " + listed(unsure)
	}
	return "who was removed below it could still outvote the others, or say that they could not open the way down"
}

// silent lists, by name, the voters of the head who were not heard below an
// epoch, and those who were but have not confirmed one below it. This device
// knows of itself what it owes.
func (g *Group) silent(id dag.ID) (behind, unsure []string) {
	var away, open []dag.Member
	for _, v := range g.graph.Voters(g.head) {
		at, _, _, ok := g.graph.Standing(v.Member)
		c := g.graph.Confirmed(v.Member)
		switch {
		case v.Member != g.self && (!ok || at == id || !g.graph.IsAncestor(id, at)):
			away = append(away, v.Member)
		case c == "" || c == id || !g.graph.IsAncestor(id, c):
			open = append(open, v.Member)
		}
	}
	return g.someNames(away), g.someNames(open)
}

// someNames is a list that people can take in.
func (g *Group) someNames(members []dag.Member) (names []string) {
	const most = 5
	for i, m := range members {
		if i == most {
			return append(names, fmt.Sprintf("and %d more", len(members)-most))
		}
		names = append(names, g.nameOf(keyOf(m)))
	}
	return names
}

// whoStays names those for whose sake an epoch was kept until a cap was
// reached.
func (g *Group) whoStays() string {
	behind, unsure := g.silent(g.graph.Base())
	switch {
	case len(behind) > 0:
		return listed(behind) + " stayed silent"
	case len(unsure) > 0:
		return listed(unsure) + " confirmed nothing later"
	}
	return "it could not become final"
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
