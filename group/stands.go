package group

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/mls"
)

// standAt tells fork choice where the sender stands now.
func (s *step) standAt(c cid.Cid, author dag.Member, h frame.Header) error {
	s.backHere(author, idOf(h.Links.Parent))
	change, err := s.graph.AddStand(dag.Stand{
		ID: idOf(c), Author: author, Seq: h.Links.Seq, At: idOf(h.Links.Parent), Confirms: linkID(h.Links.Confirms),
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err)
	}
	s.notePair(change)
	return nil
}

// standIn is standAt, or for an epoch that this device can only read what a load
// makes of it: below a commit of the graph that removes us, who speaks votes.
func (s *step) standIn(e *epoch, a arrival, author dag.Member) error {
	switch {
	case !e.old:
		return s.standAt(a.cid, author, a.header)
	case !s.graph.Has(e.id):
		if m := s.frames[a.cid]; !m.mute() {
			s.graph.Settled(author, m.Links.Seq, "")
		}
		return nil
	}
	if err := s.stand(a.cid, s.frames[a.cid]); err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err)
	}
	return nil
}

func linkID(c cid.Cid) dag.ID {
	if !c.Defined() {
		return ""
	}
	return idOf(c)
}

// takeProposal takes up a self-Remove: any member of the epoch may commit it.
func (s *step) takeProposal(a arrival, e *epoch, o *mls.Opened) (Result, error) {
	author := e.leaves.get(uint32(o.Sender))
	if err := s.apply(e, o.Delta); err != nil {
		return Result{}, err
	}
	s.settleOpened(a, author, nil)
	if err := s.standIn(e, a, author); err != nil {
		return Result{}, err
	}
	return Result{CID: a.cid, Verdict: Applied}, s.mine(a.cid, author)
}

func (s *step) takeApplication(a arrival, e *epoch, o *mls.Opened) (Result, error) {
	author := e.leaves.get(uint32(o.Sender))
	data, err := parseAppData(o.Data)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrInternal, err) // check passed it
	}
	if err := s.apply(e, o.Delta); err != nil {
		return Result{}, err
	}
	if err := s.takeData(a, e, author, data); err != nil {
		return Result{}, err
	}
	if data.Kind == appText {
		s.arrived(a, author, data)
	}
	return Result{CID: a.cid, Verdict: Applied}, s.mine(a.cid, author)
}

// takeData settles application data, our own too, and tells fork choice where
// its sender stands, or what it says of others.
func (s *step) takeData(a arrival, e *epoch, author dag.Member, d appData) error {
	h := a.header
	s.settle(a.cid, &meta{Status: opened, Type: h.ContentType, Epoch: h.Epoch, Links: h.Links, Author: author,
		Message: d.messageID(), Kind: d.Kind, About: string(d.about())}, a.block)
	switch {
	case e.old:
		return s.standIn(e, a, author)
	case d.Kind == appProof:
		return s.takeProof(a, e, author, d)
	case d.Kind == appComplaint:
		return s.takeComplaint(a, e, author, d)
	}
	return s.standAt(a.cid, author, a.header)
}

func (s *step) settleOpened(a arrival, author dag.Member, content []byte) {
	h := a.header
	s.settle(a.cid, &meta{Status: opened, Type: h.ContentType, Epoch: h.Epoch, Links: h.Links,
		Author: author, Content: string(content)}, a.block)
}

// sent takes one block out of the outbox.
func (s *step) sent(c cid.Cid) {
	clear(s.unsent[c])
	delete(s.unsent, c)
	delete(s.seen, c)
	delete(s.due.copied, c)
	delete(s.due.copies, c)
	delete(s.due.unheard, c)
	s.del(s.key("u/"+c.String()), History)
}

// apply changes the epoch in memory and puts the same change into the batch.
func (s *step) apply(e *epoch, d mls.Delta) error {
	records := d.Records()
	if err := e.mls.Apply(d); err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err)
	}
	s.writeMLS(s.epochKey(e.id), records)
	return nil
}
