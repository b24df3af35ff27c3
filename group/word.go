package group

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/dmlsd/dmls/dag"
)

// stamp is how far a device was when it signed a signal. Signals stand in no DAG,
// and whoever holds the gossip secret may play them again; what a device has sent
// or said since tells that one is old (decision 0104).
//
//	struct { uint64 next; uint64 cursor; } Stamp
type stamp struct {
	Next   uint64 // seq of the next frame of the incarnation that is meant
	Cursor uint64 // of the last event on the device
}

func (g *Group) stamp() stamp { return stamp{Next: g.next, Cursor: g.cursor} }

func (m stamp) before(o stamp) bool {
	return m.Next < o.Next || m.Next == o.Next && m.Cursor < o.Cursor
}

func (m stamp) write(w *buffer) {
	w.u64(m.Next)
	w.u64(m.Cursor)
}

func (r *cursor) stamp() stamp { return stamp{Next: r.u64(), Cursor: r.u64()} }

// word is the last that a member said of where the head is: that there is another
// one for this device, or that it is gone.
type word struct {
	by   dag.Member
	at   stamp
	gone bool
}

func (w word) marshal() []byte {
	var b buffer
	b.bytes([]byte(w.by))
	w.at.write(&b)
	b.flag(w.gone)
	return b.b
}

func parseWord(b []byte) (word, error) {
	r := cursor{b: b}
	by, err := parseIncarnation(r.bytes())
	w := word{by: by, at: r.stamp(), gone: r.flag()}
	if done := r.done(); err == nil {
		err = done
	}
	if err != nil {
		return word{}, fmt.Errorf("%w: word: %w", ErrRecords, err)
	}
	return w, nil
}

func (s *step) wordKey(key string) string { return s.key("word/" + hexKey(key)) }

// count notes what a member says.
func (s *step) count(n notice) {
	key := keyOf(n.Signer)
	s.said[key] = word{by: n.Signer, at: n.At, gone: n.Gone}
	s.put(s.wordKey(key), s.said[key].marshal(), Public)
}

// says reports whether the last word of a member is that we are gone, or the other,
// and it has sent nothing here since.
func (g *Group) says(key string, gone bool) bool {
	w, ok := g.said[key]
	return ok && w.gone == gone && !g.outdated(w.by, w.at)
}

// saying counts the members who say so.
func (g *Group) saying(gone bool, among iter.Seq[dag.Member]) int {
	n := 0
	for m := range among {
		if g.says(keyOf(m), gone) {
			n++
		}
	}
	return n
}

// voters are the members of an epoch that have a vote, by leaf: the others need not
// say where they are (decision 0106), so they do not count among those who do.
func (g *Group) voters(id dag.ID) iter.Seq[dag.Member] {
	return func(yield func(dag.Member) bool) {
		for _, v := range g.graph.Voters(id) {
			if !yield(v.Member) {
				return
			}
		}
	}
}

func (g *Group) otherVoters(id dag.ID) (n int) {
	for m := range g.voters(id) {
		if m != g.self {
			n++
		}
	}
	return n
}

// forgetWords forgets what was said of another head than the present one.
func (s *step) forgetWords() {
	for _, key := range slices.Sorted(maps.Keys(s.said)) {
		s.del(s.wordKey(key), Public)
	}
	clear(s.said)
}

// outdated reports whether a member has said something else since, or has sent a
// frame where this device is.
func (g *Group) outdated(by dag.Member, at stamp) bool {
	if w, ok := g.said[keyOf(by)]; ok && w.by == by && at.before(w.at) {
		return true
	}
	if r := g.base.get(leafOf(by)); r.Member == by && at.Next < r.Next {
		return true
	}
	where, _, seq, ok := g.graph.Standing(by)
	e := g.epochs[where]
	return ok && e != nil && !e.old && at.Next <= seq
}
