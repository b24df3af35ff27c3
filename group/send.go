package group

import (
	"fmt"
	"io"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/mls"
)

// mayAct refuses what a device that is not a member cannot do.
func (g *Group) mayAct() error {
	switch g.state {
	case member:
		return nil
	case leaving:
		return ErrLeaving
	case stranded:
		return ErrStranded
	case copied:
		return ErrCopied
	}
	return ErrNotMember
}

// send protects a text on the head. Sending never waits for a fork to close.
// An own key update that a fork undid is done again first: the head still
// has the keys that it was to replace.
func (s *step) send(in Send) error {
	if err := s.mayAct(); err != nil {
		return err
	}
	if len(in.Text) == 0 || len(in.Text) > s.cfg.MaxText {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTextSize, len(in.Text), s.cfg.MaxText)
	}
	if s.ownUpdateLost() {
		if _, err := s.commitOnHead(mls.CommitRequest{}, nil); err != nil {
			return err
		}
		if err := s.follow(); err != nil {
			return err
		}
	}
	if err := s.sendAgain(); err != nil { // what was said before comes first
		return err
	}
	d := appData{ID: in.ID, Kind: appText, Body: in.Text}
	if d.ID == [16]byte{} {
		if _, err := io.ReadFull(s.env.Rand, d.ID[:]); err != nil {
			return fmt.Errorf("group: %w", err)
		}
	}
	a, err := s.sendApplication(d)
	if err != nil {
		return err
	}
	s.out.Sent = Sent{CID: a.cid, Message: d.ID}
	s.arrived(a, s.self, d)
	return nil
}

// sendApplication protects and publishes application data on the head.
func (s *step) sendApplication(d appData) (arrival, error) {
	e, err := s.headEpoch()
	if err != nil {
		return arrival{}, err
	}
	return s.sendIn(e, d)
}

// sendIn does it in another epoch: what is said of its children must be read
// by all who have a vote there.
func (s *step) sendIn(e *epoch, d appData) (arrival, error) {
	l := s.links(e, mls.ContentTypeApplication)
	msg, delta, err := e.mls.Protect(d.marshal(), l.Marshal(), s.id.Signer, mlsEnv(s.env))
	if err != nil {
		return arrival{}, fmt.Errorf("%w: %w", ErrInternal, err)
	}
	if err := s.apply(e, delta); err != nil {
		return arrival{}, err
	}
	var kept []byte
	if d.Kind == appText {
		kept = d.marshal()
	}
	a, err := s.publish(e, msg, kept)
	if err != nil {
		return arrival{}, err
	}
	if err := s.takeData(a, e, s.self, d); err != nil {
		return arrival{}, err
	}
	s.advance(a)
	return a, nil
}

// leave publishes a self-Remove on the head; alone, there is nobody to tell.
func (s *step) leave() error {
	if err := s.mayAct(); err != nil {
		return err
	}
	e, err := s.headEpoch()
	if err != nil {
		return err
	}
	if own := keyOf(s.self); e.leaves.len() > 1 && e.info.isAdmin(own) && len(e.info.Admins) == 1 {
		return fmt.Errorf("%w: promote somebody first", ErrLastAdmin)
	}
	if e.leaves.len() == 1 {
		s.state, s.goneAt, s.dirty = left, s.env.Now, true
		s.emit(Event{Kind: KindLeft, Epoch: e.mls.Number(), Why: "the last member left"})
		return s.wipe("the last member left")
	}
	s.state, s.goneAt, s.dirty = leaving, s.env.Now, true
	return s.proposeLeave(e)
}

// proposeLeave publishes the self-Remove in e. It is repeated on every later
// head that still holds this device.
func (s *step) proposeLeave(e *epoch) error {
	l := s.links(e, mls.ContentTypeProposal)
	msg, delta, err := e.mls.Propose(&mls.Remove{Removed: e.mls.Self()}, l.Marshal(), s.id.Signer, mlsEnv(s.env))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err)
	}
	if err := s.apply(e, delta); err != nil {
		return err
	}
	a, err := s.publish(e, msg, nil)
	if err != nil {
		return err
	}
	s.leaveIn, s.dirty = e.id, true
	s.settleOpened(a, s.self, nil)
	s.advance(a)
	return s.standAt(a.cid, s.self, a.header)
}

// links states where the next frame of this device stands.
func (s *step) links(e *epoch, t mls.ContentType) frame.Links {
	l := frame.Links{Leaf: leafOf(s.self), Joined: cidOf(addedBy(s.self)), Seq: s.next, Prev: s.prev, Parent: cidOf(e.id), Generation: e.mls.NextGeneration(t)}
	if x := s.graph.Confirmable(); x != "" && s.graph.IsAncestor(x, e.id) {
		l.Confirms = cidOf(x)
	}
	l.After = s.after(l.Prev)
	return l
}

// after lists tips of what was opened, without the own predecessor, which the
// frame follows anyway: the latest settled where there are too many.
func (s *step) after(prev cid.Cid) []cid.Cid {
	var tips []cid.Cid
	for _, c := range sorted(s.open) {
		if c != prev && s.frames[c] != nil {
			tips = append(tips, c)
		}
	}
	if len(tips) > frame.MaxAfter {
		slices.SortFunc(tips, func(a, b cid.Cid) int { return int(int64(s.frames[b].N) - int64(s.frames[a].N)) })
		tips = tips[:frame.MaxAfter]
		slices.SortFunc(tips, compareCID)
	}
	return tips
}

// publish seals a message of this device into a block of the output, with its
// outbox record. Of a text that holds the plaintext, until somebody is known
// to have the block: if nobody can open it any more, it is sent again.
func (s *step) publish(e *epoch, message, plain []byte) (arrival, error) {
	f, err := frame.New(message, e.mls.ID())
	if err != nil {
		return arrival{}, fmt.Errorf("%w: %w", ErrInternal, err)
	}
	b := s.gossip.Seal(f.Marshal())
	s.out.Publish = append(s.out.Publish, b)
	s.unsent[b.CID] = plain
	s.put(s.key("u/"+b.CID.String()), append([]byte{}, plain...), History)
	return arrival{cid: b.CID, block: b.Data, frame: f, header: f.Header()}, nil
}

// advance moves the own chain on.
func (s *step) advance(a arrival) {
	s.next, s.prev, s.dirty = a.header.Links.Seq+1, a.cid, true
	s.due.sent()
}

// commitOnHead commits, publishes and adopts the child. It returns the commit
// with what a Welcome needs; the caller wipes it.
func (s *step) commitOnHead(r mls.CommitRequest, supersedes []dag.ID) (*ownCommit, error) {
	e, err := s.headEpoch()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(r.Proposals, isContext) {
		if r, err = withContext(e, r, nil, nil); err != nil {
			return nil, err
		}
	}
	if err := authorize(e, proposalsOf(e, r)); err != nil {
		return nil, err
	}
	l := s.links(e, mls.ContentTypeCommit)
	for _, id := range supersedes {
		l.Supersedes = append(l.Supersedes, cidOf(id))
	}
	slices.SortFunc(l.Supersedes, compareCID)
	if len(l.Supersedes) > frame.MaxSupersedes {
		l.Supersedes = l.Supersedes[:frame.MaxSupersedes]
	}
	r.AuthenticatedData = l.Marshal()
	staged, err := e.mls.Commit(r, s.id.Signer, mlsEnv(s.env))
	if err != nil {
		return nil, fmt.Errorf("group: commit: %w", err)
	}
	a, err := s.publish(e, staged.Message, nil)
	if err != nil {
		return nil, err
	}
	c, err := s.describe(a.cid, l, e, uint32(e.mls.Self()), committed{
		proposals: staged.Proposals, added: staged.Added, tag: staged.ConfirmationTag, number: e.mls.Number() + 1,
	})
	if err != nil {
		return nil, err
	}
	if err := s.apply(e, staged.Delta); err != nil {
		return nil, err
	}
	if err := s.adopt(a.cid, c, e, staged.ContentHash, staged.Child); err != nil {
		return nil, err
	}
	s.settleOpened(a, s.self, staged.ContentHash)
	s.advance(a)
	s.out.Sent = Sent{CID: a.cid}
	return &ownCommit{commit: c, staged: staged}, nil
}

func isContext(p mls.Proposal) bool { return p.Type() == mls.ProposalTypeGroupContextExtensions }

// ownCommit is a commit of this device with its staged secrets for Welcomes.
type ownCommit struct {
	commit *commit
	staged *mls.StagedCommit
}
