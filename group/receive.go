package group

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/mls"
)

// arrival is a block on its way through Step: sealed, opened, parsed.
type arrival struct {
	cid    cid.Cid
	block  []byte
	from   string
	frame  *frame.Frame
	header frame.Header
}

// receive takes blocks in, then those that had waited for them, iteratively.
// The number of results equals the number of blocks.
func (s *step) receive(in Receive) error {
	for _, b := range in.Blocks {
		r, err := s.take(b, in.From)
		if err != nil {
			return err
		}
		s.out.Results = append(s.out.Results, r)
		if err := s.wakeParked(); err != nil {
			return err
		}
	}
	return nil
}

// wakeParked steps frames whose wait has ended. Each frame leaves the parking
// lot for good or waits for something that is not settled, so the loop ends.
func (s *step) wakeParked() error {
	for len(s.ready) > 0 {
		c := s.ready[0]
		s.ready = s.ready[1:]
		p, ok := s.waiting[c]
		if !ok {
			continue
		}
		a, err := s.parse(p.block, p.from)
		if err != nil {
			return fmt.Errorf("%w: a parked frame does not parse: %w", ErrInternal, err)
		}
		r, err := s.try(a)
		if err != nil {
			return err
		}
		if r.Verdict != Buffered {
			s.unpark(c)
		}
	}
	return nil
}

// take is the door: what is known already, what does not open, what does not
// parse.
func (s *step) take(block []byte, from string) (Result, error) {
	c := frame.CIDOf(block)
	if s.Has(c) {
		return Result{CID: c, Verdict: Duplicate}, nil
	}
	if why, ok := s.rejected[c]; ok && (errors.Is(why, errNoFrame) || len(s.waiters[c]) == 0) {
		return Result{CID: c, Verdict: Rejected, Reason: why}, nil
	}
	if p, ok := s.waiting[c]; ok {
		return Result{CID: c, Verdict: Buffered, Missing: p.missing}, nil
	}
	a, err := s.parse(block, from)
	if err != nil {
		return s.reject(c, err), nil
	}
	return s.try(a)
}

func (s *step) parse(block []byte, from string) (arrival, error) {
	plain, c, err := s.gossip.Open(block)
	if err != nil {
		return arrival{}, fmt.Errorf("%w: %w: %w", ErrMalformed, errNoFrame, err)
	}
	f, err := frame.Parse(plain)
	if err != nil {
		return arrival{}, fmt.Errorf("%w: %w: %w", ErrMalformed, errNoFrame, err)
	}
	a := arrival{cid: c, block: block, from: from, frame: f, header: f.Header()}
	s.shareNames(&a.header.Links)
	if !bytes.Equal(a.header.GroupID, s.gid) {
		return arrival{}, fmt.Errorf("%w: %w", ErrWrongGroup, errNoFrame)
	}
	return a, nil
}

// try opens a frame if its parent is open and its predecessor settled, settles
// it unread if this device can never open it, and parks it otherwise.
func (s *step) try(a arrival) (Result, error) {
	l := a.header.Links
	for _, c := range []cid.Cid{l.Parent, l.Prev} {
		if why, ok := s.rejected[c]; ok && errors.Is(why, errNoFrame) {
			// To everybody in the group the block is none, so nobody ever settles it.
			return s.reject(a.cid, fmt.Errorf("%w: it follows what is no frame: %w", ErrLinks, why)), nil
		}
	}
	e := s.epochs[idOf(l.Parent)]
	if e == nil {
		if s.neverOpens(a.header) {
			return s.settleUnread(a, unread, Stale, ErrErased), nil
		}
		return s.park(a, l.Parent), nil
	}
	if a.header.Epoch != e.mls.Number() || !bytes.Equal(a.frame.DMLSEpoch, e.mls.ID()) {
		return s.refuse(a, ErrWrongEpoch), nil
	}
	if s.predecessor(e, l.Prev) == nil && (e.old || idOf(l.Prev) != s.root) {
		return s.park(a, l.Prev), nil
	}
	if _, missing := s.nth(e, a.header.ContentType, l); missing.Defined() {
		return s.park(a, missing), nil
	}
	return s.openFrame(a, e)
}

// neverOpens reports whether the readable links show that this device cannot
// open the frame: its epoch lies above or beside our base or was erased. An
// epoch of a smaller number than the base cannot be the base or below it; one
// of a larger number is beside it if its creating commit was settled and did
// not become an epoch here. The answer follows from held blocks, never from
// the order in which they came.
func (g *Group) neverOpens(h frame.Header) bool {
	if h.Epoch < g.floor {
		return true
	}
	p, ok := g.frames[h.Links.Parent]
	return ok && (p.Status != seeded || p.Type != typeCommit)
}

func (s *step) settleUnread(a arrival, st status, v Verdict, why error) Result {
	h := a.header
	m := &meta{Status: st, Type: h.ContentType, Epoch: h.Epoch, Links: h.Links, Said: s.presume(h.Links)}
	s.settle(a.cid, m, a.block)
	s.noteGapBefore(h.Links)
	if m.Said != "" {
		s.graph.Settled(m.Said, h.Links.Seq, idOf(h.Links.Parent))
		s.watchHalves(m.Said)
	}
	if h.ContentType == typeCommit || h.Epoch >= s.floor {
		s.askRivals()
	}
	return Result{CID: a.cid, Verdict: v, Reason: why}
}

// presume names the sender of an unread frame by the chain that it continues.
// It may be a lie by a member; believing it only delays what is final here.
func (g *Group) presume(l frame.Links) dag.Member {
	p, ok := g.frames[l.Prev]
	switch {
	case !ok || p.Links.Seq+1 != l.Seq || !sameChain(p.Links, l):
		return ""
	case p.Author != "":
		return p.Author
	case p.Said != "":
		return p.Said
	}
	return g.byLinks(l)
}

// byLinks names a sender as the links do: anybody with the gossip secret may lie.
func (g *Group) byLinks(l frame.Links) dag.Member {
	for _, id := range []dag.ID{g.head, g.graph.Base()} {
		if e := g.epochs[id]; e != nil {
			if m := e.leaves.get(l.Leaf); m != "" && addedBy(m) == idOf(l.Joined) {
				return m
			}
		}
	}
	return ""
}

// openFrame opens the frame staged, so that a refusal leaves nothing behind,
// and takes it up.
func (s *step) openFrame(a arrival, e *epoch) (Result, error) {
	msg, err := mls.ParsePrivateMessage(a.frame.Message)
	if err != nil {
		return s.refuse(a, fmt.Errorf("%w: %w", ErrMalformed, err)), nil
	}
	var author dag.Member // proven, once it is set
	o, err := e.mls.Open(msg, mls.OpenOptions{
		Env:    mlsEnv(s.env),
		Sender: func(leaf mls.LeafIndex, n uint32) error { return s.checkSender(a.header, e, uint32(leaf), n) },
		Check: func(o *mls.Opened) error {
			author = e.leaves.get(uint32(o.Sender))
			return s.check(e, o)
		},
	})
	if err != nil {
		return s.refused(a, e, author, err)
	}
	if o.Commit != nil {
		if err := sameIdentity(e, o); err != nil {
			return s.refuse(a, err), nil
		}
	}
	switch {
	case o.Commit != nil && e.old:
		return s.takeOldCommit(a, e, o)
	case o.Commit != nil:
		return s.takeCommit(a, e, o)
	case o.Proposal != nil:
		return s.takeProposal(a, e, o)
	}
	return s.takeApplication(a, e, o)
}

// refused maps an error of Epoch.Open to a verdict. The epoch is unchanged.
func (s *step) refused(a arrival, e *epoch, author dag.Member, err error) (Result, error) {
	var wait *errDelayed
	switch {
	case errors.As(err, &wait):
		return s.delay(a, wait.until), nil
	case errors.Is(err, mls.ErrUnknownProposal):
		// Whether the self-Remove that it refers to exists cannot be known: it
		// waits for one, for as long as its epoch is here.
		return s.parkIn(a, e.id, s.missingBefore(a.header.Links)...), nil
	case errors.Is(err, errSecondExit):
		return s.settleUnread(a, unread, Stale, err), nil
	case errors.Is(err, mls.ErrUnopenable):
		return s.takeUnopenable(a, e, author, err)
	case errors.Is(err, mls.ErrSpent):
		return s.settleUnread(a, spent, Spent, ErrSpentKey), nil
	case errors.Is(err, ErrRepeated), errors.Is(err, ErrLinks), errors.Is(err, ErrForbidden), errors.Is(err, ErrMalformed):
		return s.refuse(a, err), nil
	}
	return s.refuse(a, fmt.Errorf("%w: %w", ErrForged, err)), nil
}

// missingBefore returns what is missing in the whole past that the links name:
// the sender saw all of it.
func (s *step) missingBefore(l frame.Links) []cid.Cid {
	first := &meta{Links: l}
	seen, missing := map[cid.Cid]bool{}, map[cid.Cid]struct{}{}
	for walk := first.past(); len(walk) > 0; {
		c := walk[len(walk)-1]
		walk = walk[:len(walk)-1]
		if seen[c] {
			continue
		}
		seen[c] = true
		if _, refused := s.rejected[c]; refused {
			continue
		}
		if !s.isSettled(c) {
			missing[c] = struct{}{}
		} else if m := s.frames[c]; m != nil && m.Status == opened {
			walk = append(walk, m.past()...)
		}
	}
	return sorted(missing)
}

// checkSender runs when the frame's sender data was decrypted, before any key
// of a ratchet is derived. It compares what the links say with what settled
// frames' links say, never with what could be opened here, so that all members
// of the epoch come to one answer.
func (s *step) checkSender(h frame.Header, e *epoch, leaf, generation uint32) error {
	l, author := h.Links, e.leaves.get(leaf)
	if author == "" || leaf != l.Leaf || idOf(l.Joined) != addedBy(author) {
		return fmt.Errorf("%w: sender at leaf %d, which links name %d", ErrLinks, leaf, l.Leaf)
	}
	if err := s.checkChain(e, l); err != nil {
		return err
	}
	if n, _ := s.nth(e, h.ContentType, l); generation != n || l.Generation != n {
		return fmt.Errorf("%w: generation %d, signed as %d, the next is %d", ErrLinks, generation, l.Generation, n)
	}
	return nil
}

// check runs when the frame's signature was verified, before its path is
// opened and before any PPRF work: outsiders and repeats cost no more.
func (s *step) check(e *epoch, o *mls.Opened) error {
	switch {
	case o.Commit != nil:
		if _, ok := e.seen[string(o.ContentHash)]; ok && o.Commit.SelfRemoved {
			// This device cannot verify tags of commits that remove it: the other
			// block may have been the wrong one.
			return errSecondExit
		} else if ok {
			return ErrRepeated
		}
		if err := authorize(e, o.Commit.Proposals); err != nil {
			return err
		}
		return s.spend(e.leaves.get(uint32(o.Sender)), e)
	case o.Proposal != nil:
		return authorizeLeave(o)
	}
	d, err := parseAppData(o.Data)
	if err == nil && d.Kind == appProof {
		err = s.checkProof(d)
	}
	return err
}

// checkChain verifies seq and prev against the sender's chain, as links have it.
func (s *step) checkChain(e *epoch, l frame.Links) error {
	if l.Seq == 0 {
		if l.Prev != l.Joined {
			return fmt.Errorf("%w: a first frame must follow the commit that added its sender", ErrLinks)
		}
		return nil
	}
	p := s.predecessor(e, l.Prev)
	switch {
	case p == nil:
		return fmt.Errorf("%w: no frame before seq %d", ErrLinks, l.Seq)
	case !sameChain(p.Links, l):
		return fmt.Errorf("%w: the predecessor is another sender's", ErrLinks)
	case p.Links.Seq+1 != l.Seq:
		return fmt.Errorf("%w: seq %d after %d", ErrLinks, l.Seq, p.Links.Seq)
	}
	return nil
}

// sameChain reports whether two frames name one incarnation as their sender.
func sameChain(a, b frame.Links) bool { return a.Leaf == b.Leaf && a.Joined == b.Joined }
