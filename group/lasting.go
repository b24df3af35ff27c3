package group

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// Lasting lists, a line for each thing and sorted, all that a group must have
// again after a restart: what its records hold beside the keys (see Records) and
// what follows from them. It holds no secret, and nothing that was said. Tests
// compare a group with what loads from its records.
//
// Left out is what a restart may lose: timers and back-offs (due), frames that
// wait and what is known of refused ones (they are sent again), budgets of
// commits, what is relayed, what is asked for before the base, until when a rival
// Welcome is waited for (reads), when an offer was heard; and what rests on frames
// that have expired: depths, what they were linked by, the ids of their texts, of
// which a load knows more, by the event log. Nor is there the order in which
// blocks expire.
func (g *Group) Lasting() []string {
	l := &lasting{Group: g}
	l.standing()
	l.keys()
	l.history()
	l.settledFrames()
	l.outbox()
	l.strandedOnes()
	l.votes()
	slices.Sort(l.lines)
	return l.lines
}

type lasting struct {
	*Group
	lines []string
}

func (l *lasting) add(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func digest(parts ...[]byte) string {
	var w buffer
	for _, p := range parts {
		w.bytes(p)
	}
	h := sha256.Sum256(w.b)
	return hex.EncodeToString(h[:8])
}

func digestIDs[T ~string](ids []T) string {
	var parts [][]byte
	for _, id := range ids {
		parts = append(parts, []byte(id))
	}
	return fmt.Sprint(len(ids), " ", digest(parts...))
}

func digestOf[K ~string, V any](set map[K]V) string { return digestIDs(slices.Sorted(maps.Keys(set))) }

func digestCIDs[V any](set map[cid.Cid]V) string {
	var parts []string
	for c := range set {
		parts = append(parts, c.KeyString())
	}
	slices.Sort(parts)
	return digestIDs(parts)
}

// standing is where this device stands.
func (l *lasting) standing() {
	g := l.Group
	l.add("state %v, self %x, next %d after %v, cursor %d, settled %d, generation %d", g.state, string(g.self), g.next, g.prev, g.cursor, g.settled, g.generation)
	l.add("root %s, base %s, rows of %s, head %s, floor %d", text(g.root), text(g.graph.Base()), text(g.baseAt), text(g.head), g.floor)
	gone := int64(0)
	if !g.goneAt.IsZero() {
		gone = g.goneAt.UnixMilli()
	}
	l.add("gone at %d, leaves in %s, inviter %x, policy %v, name %q", gone, text(g.leaveIn), g.inviter, g.info.Policy, g.info.Name)
	l.add("diverged %v, halves %v, ejected %v, told %v of %s, noticed %d, entered %v", g.diverged, g.halves, g.ejected, g.told, text(g.present), g.noticed, g.entered)
	l.add("put out of %s", digestOf(g.expelled))
	for r := range g.base.all() {
		l.add("base %x next %d after %v", string(r.Member), r.Next, r.Prev)
	}
	for key, name := range g.names {
		l.add("name %x %q", key, name)
	}
	for at, mark := range g.forks {
		l.add("fork %s told as %s", text(at), mark)
	}
	for m, liar := range g.liars {
		l.add("equivocator %x, proof of %d bytes, told %s, in %s", string(m), len(liar.proof), text(liar.told), digestIDs(slices.Sorted(slices.Values(liar.in))))
	}
}

// keys are the retained epochs, without the keys.
func (l *lasting) keys() {
	for id, e := range l.epochs {
		l.add("epoch %s %d, old %v, born %d, leaves %s, info %s, seeds %s", text(id), e.mls.Number(), e.old, e.born.UnixMilli(), digest(e.leaves.marshal()), digest(e.info.marshal()), digestCIDs(e.seeds))
		l.add("epoch %s opened commits %s, kept blocks %s", text(id), digestOf(e.seen), digestCIDs(e.kept))
		for r, first := range e.sent {
			l.add("epoch %s, leaf %d added by %v, handshake %v: from frame %d", text(id), r.leaf, r.joined, r.handshake, first)
		}
	}
	l.add("tree nodes %s", digestOf(l.nodes))
	for hash, n := range l.nodes {
		if n > 1 {
			l.add("tree node %x has %d users", hash, n)
		}
	}
}

// history is what is known of commits.
func (l *lasting) history() {
	var exits []dag.ID
	for _, c := range l.exits {
		exits = append(exits, c.ID)
	}
	slices.Sort(exits)
	l.add("exits %s", digestIDs(exits))
	l.add("unsettled %s", digestOf(l.unsettled))
	for id, c := range l.commits {
		who := [][]byte{[]byte(c.Author), []byte(c.Confirms), c.Tag}
		for _, of := range [][]dag.Member{c.Added, c.Removed, c.Left, c.Promoted, c.Demoted, c.Admins} {
			who = append(who, nil)
			for _, m := range of {
				who = append(who, []byte(m))
			}
		}
		l.add("commit %s after %s, %d, seq %d, of %s, buries %s, shown %s, gone %v, erased %v, base %v, welcomed %v, settled %v", text(id), text(c.Parent),
			c.Number, c.Seq, digest(who...), digestIDs(c.Supersedes), digestIDs(slices.Sorted(slices.Values(c.Shown))), c.Gone, c.Erased, c.Base, c.Welcomed, c.Settled)
	}
}

// settledFrames are the frames and what follows from their links.
func (l *lasting) settledFrames() {
	for c, m := range l.frames {
		if m.Status == seeded {
			continue // by the rows of the base
		}
		nth := m.nth
		if l.epochs[idOf(m.Links.Parent)] == nil {
			nth = 0 // counts in retained epochs only
		}
		l.add("frame %x: %d, %s, number %d", c.Hash()[2:10], m.Status, digest(m.marshal()), nth)
	}
	l.add("tips %s, opened %s", digestCIDs(l.held), digestCIDs(l.open))
	l.add("holes %s, by unread %s", digestCIDs(l.holes), digestCIDs(l.unreadHoles))
	l.add("bytes %d", l.blockBytes)
	for k, c := range l.ends {
		l.add("chain %x ends at %v", k.marshal(), c)
	}
	for m, n := range l.unreadUpTo {
		l.add("unread of %x up to %d", string(m), n)
	}
	l.add("hints %s", digestOf(l.hints))
	var order []string
	for _, c := range l.heldInOrder() {
		order = append(order, c.KeyString())
	}
	l.add("order %s", digestIDs(order))
	for _, m := range l.pending {
		l.add("message %s waits since %d", m.CID, m.Since)
	}
}

func (l *lasting) outbox() {
	for c, plain := range l.unsent {
		l.add("unsent %v of %d bytes", c, len(plain))
	}
	l.add("unsent, but somebody has it: %s", digestCIDs(l.seen))
}

// strandedOnes is what is kept for devices on branches that lost, this one among
// them.
func (l *lasting) strandedOnes() {
	for key, o := range l.offers {
		l.add("offer of %x: %s at %v for %s", key, digest(o.ref), o.Head, text(o.replaces))
	}
	for ref, a := range l.answered {
		l.add("answer to %x: %s for %x since %d", ref, text(a.at), string(a.joiner), a.since.Unix())
	}
	for _, j := range l.rejoins {
		l.add("own offer %x at %v for %s", j.offer.ref, j.offer.Head, text(j.offer.replaces))
	}
	for key, w := range l.said {
		l.add("word of %x: %s", key, digest(w.marshal()))
	}
	if l.former != nil {
		l.add("former %s", digest(l.former.marshal()))
	}
	for id, of := range l.seeds {
		l.add("seeds of %s: %s", text(id), digestCIDs(of))
		for c, m := range of {
			l.add("seed of %s: %v by %x, %d", text(id), c, string(m.Author), m.Links.Seq)
		}
	}
	for k, missing := range l.gaps {
		l.add("gaps of %x: %s", k.marshal(), digestCIDs(missing))
	}
}

// votes is what the graph makes of it all.
func (l *lasting) votes() {
	g := l.graph
	l.add("final %s, confirmable %s, graph's head %s, of %s", text(g.Final()), text(g.Confirmable()), text(g.Head()), strings.Join(texts(ids(g)), " "))
	for _, v := range g.Members(g.Base()) {
		l.vote("at the base", v.Member)
	}
	if l.head != "" && g.Has(l.head) {
		for _, v := range g.Members(l.head) {
			l.vote("at the head", v.Member)
		}
	}
	for _, id := range g.Accused() {
		l.add("commit %s is void: %v, by %s", text(id), g.Void(id), digestIDs(g.Complainers(id)))
	}
}

func ids(g *dag.Graph) (out []dag.ID) {
	for _, v := range g.Vertices() {
		out = append(out, v.ID)
	}
	slices.Sort(out)
	return out
}

func (l *lasting) vote(where string, m dag.Member) {
	at, _, seq, ok := l.graph.Standing(m) // what it confirmed above the base is not remembered
	l.add("%s %x stands at %s, seq %d, spoke %v, confirmed %s, equivocates %v in %s", where, string(m), text(at), seq, ok,
		text(l.graph.Confirmed(m)), l.graph.IsEquivocator(m), digestIDs(l.graph.Proofs(m)))
}
