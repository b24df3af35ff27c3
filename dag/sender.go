package dag

import (
	"cmp"
	"slices"
)

// frame is what a member sent, as far as places matter.
type frame struct {
	seq      uint64
	id       ID    // empty for a frame that only settled
	at       *node // epoch it was sent in; nil if that is above or beside the base
	stand    *node // where it stands; nil for a mute frame and one that only settled
	confirms *node // at or above its own epoch, else nil
	mute     bool
	vertex   bool // a commit
	says     ID   // confirms as it was sent
	about    ID   // of a complaint: the child that did not open
}

func compareFrames(a, b frame) int {
	return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.id, b.id))
}

// sender is one member's frames and what follows from them for section 5.6.
type sender struct {
	frames []frame // by seq, then id

	// Folded over frames in that order:
	pos  *node  // deepest epoch that holds the last stand and all that only settled after it
	conf *node  // deepest epoch confirmed and not left since
	left []span // every epoch that held a stand and did not hold a later frame

	proved bool    // some equivocation is known
	proofs []*node // deepest epochs that hold both frames of a proof, or its proof frame

	walk  int  // the last one that marked it
	asked bool // some answer of section 5.6 came to depend on it
}

// span is the way from top down to bottom, both included. A nil top means
// that it begins at the base.
type span struct{ top, bottom *node }

func (s span) has(n *node) bool {
	return n.holds(s.bottom) && (s.top == nil || s.top.holds(n))
}

// add puts f in its place. It reports whether f is the last of the member's
// frames, and a frame with the same seq and another id, if there is one.
func (s *sender) add(f frame) (last bool, rivals []frame) {
	i, _ := slices.BinarySearchFunc(s.frames, f, compareFrames)
	last = i == len(s.frames)
	s.frames = slices.Insert(s.frames, i, f)
	if last {
		s.fold(f)
	} else {
		s.refold()
	}
	if f.id == "" {
		return last, nil
	}
	for j := i - 1; j >= 0 && s.frames[j].seq == f.seq; j-- {
		rivals = append(rivals, s.frames[j])
	}
	for j := i + 1; j < len(s.frames) && s.frames[j].seq == f.seq; j++ {
		rivals = append(rivals, s.frames[j])
	}
	return last, slices.DeleteFunc(rivals, func(r frame) bool { return r.id == "" })
}

func (s *sender) refold() {
	s.pos, s.conf, s.left = nil, nil, nil
	for _, f := range s.frames {
		s.fold(f)
	}
}

// fold takes up the next frame. Of the epochs that ever held a stand, those
// not left yet are all on the chain of pos.
func (s *sender) fold(f frame) {
	if f.mute {
		return
	}
	place := f.stand
	if place == nil {
		place = f.at // only settled; nil: outside the base
	}
	meet := common(s.pos, place)
	if s.pos != nil && meet != s.pos {
		s.leave(span{top: meet.towardOrNil(s.pos), bottom: s.pos})
	}
	s.conf = common(s.conf, place)
	if f.stand == nil {
		s.pos = meet
		return
	}
	s.pos = f.stand
	s.conf = deeper(s.conf, f.confirms)
}

func (n *node) towardOrNil(b *node) *node {
	if n == nil {
		return nil
	}
	return n.toward(b)
}

func (s *sender) leave(sp span) {
	for _, o := range s.left {
		if o.has(sp.bottom) && (o.top == nil || sp.top != nil && o.top.holds(sp.top)) {
			return
		}
	}
	s.left = append(s.left, sp)
}

// everLeft reports whether some frame stood at or below n and a later one
// outside.
func (s *sender) everLeft(n *node) bool {
	return slices.ContainsFunc(s.left, func(sp span) bool { return sp.has(n) })
}

// stood reports whether some frame ever stood at or below n.
func (s *sender) stood(n *node) bool { return n.holds(s.pos) || s.everLeft(n) }

// prove notes an equivocation that everybody at or above in can see; nil: only
// above the base.
func (s *sender) prove(in *node) {
	s.proved = true
	if in == nil || s.provedIn(in) {
		return
	}
	s.proofs = slices.DeleteFunc(s.proofs, func(p *node) bool { return p.holds(in) })
	s.proofs = append(s.proofs, in)
}

// provedIn reports whether frames in n or below prove the equivocation.
func (s *sender) provedIn(n *node) bool {
	return slices.ContainsFunc(s.proofs, n.holds)
}

// vote returns the latest stand among the frames sent in n or below, nil if
// there is none.
func (s *sender) vote(n *node) *node {
	for _, f := range slices.Backward(s.frames) {
		if f.stand != nil && n.holds(f.at) {
			return f.stand
		}
	}
	return nil
}

// Standing returns where the member's latest frame stands, what it confirms
// as it says itself, and its seq. It is false if no frame of the member
// stands at or below the base.
func (g *Graph) Standing(m Member) (at, confirms ID, seq uint64, ok bool) {
	s := g.senders[m]
	if s == nil {
		return "", "", 0, false
	}
	if f := s.latest(); f != nil {
		return f.stand.ID, f.says, f.seq, true
	}
	return "", "", 0, false
}

// latest returns the last frame that stands somewhere, nil if there is none.
func (s *sender) latest() *frame {
	for i := len(s.frames) - 1; i >= 0; i-- {
		if f := &s.frames[i]; f.stand != nil {
			return f
		}
	}
	return nil
}

// Unanimous reports whether the latest frame of every voter of the epoch stands
// there.
func (g *Graph) Unanimous(id ID) bool {
	n := g.nodes[id]
	if n == nil {
		return false
	}
	all := g.electorate(n)
	for i := range all.voters {
		if s := g.speaker(all, i); s == nil || s.latest() == nil || s.latest().stand != n {
			return false
		}
	}
	return true
}

// Confirmed returns the deepest epoch that the member confirmed and has not
// left since, empty if there is none.
func (g *Graph) Confirmed(m Member) ID {
	if s := g.senders[m]; s != nil && s.conf != nil {
		return s.conf.ID
	}
	return ""
}

// IsEquivocator reports whether a proof against the member is known.
func (g *Graph) IsEquivocator(m Member) bool {
	s := g.senders[m]
	return s != nil && s.proved
}

// Proofs returns the deepest epochs that hold both frames of an equivocation of
// the member, or a proof frame, in byte order.
func (g *Graph) Proofs(m Member) []ID {
	s := g.senders[m]
	if s == nil {
		return nil
	}
	out := ids(s.proofs)
	slices.Sort(out)
	return out
}
