package group

import (
	"fmt"
	"io"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// takeUnopenable settles a commit whose signature is good and whose path does
// not open here. Others may see it whole: an insider can encrypt well to one
// half and garbage to the other. This device says so in the parent, where all
// read it who decide whether the commit is void (design, section 5.3). Its author
// stands in the parent: that much of it everybody knows (decision 0100).
func (s *step) takeUnopenable(a arrival, e *epoch, author dag.Member, why error) (Result, error) {
	h := a.header
	s.settle(a.cid, &meta{Status: unopenable, Type: h.ContentType, Epoch: h.Epoch, Links: h.Links, Author: author}, a.block)
	if err := s.standIn(e, a, author); err != nil {
		return Result{}, err
	}
	if !e.old {
		s.watchHalves(author)
	}
	s.askRivals()
	r := Result{CID: a.cid, Verdict: Unopenable, Reason: why}
	if author == s.self {
		return r, s.mine(a.cid, author)
	}
	s.emit(Event{Kind: KindUnopenable, CID: a.cid.String(), Epoch: a.header.Epoch, Head: text(e.id),
		From: hexKey(keyOf(author)), Name: s.names[keyOf(author)],
		Why: "its signature is good, but its path does not open on this device"})
	if s.state != member || e.old || !e.leaves.has(s.self) {
		return r, nil
	}
	d := appData{Kind: appComplaint, Body: a.cid.Bytes()}
	if _, err := io.ReadFull(s.env.Rand, d.ID[:]); err != nil {
		return Result{}, fmt.Errorf("group: %w", err)
	}
	_, err := s.sendIn(e, d)
	return r, err
}

// takeComplaint takes up that a member cannot open a commit.
func (s *step) takeComplaint(a arrival, e *epoch, author dag.Member, d appData) error {
	about, err := cid.Cast(d.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err) // parseAppData has seen it
	}
	s.due.relook = true
	was := s.graph.Void(idOf(about))
	if err := s.addMute(a, author, idOf(about)); err != nil {
		return err
	}
	if author == s.self || s.graph.Parent(idOf(about)) != e.id {
		return nil
	}
	why := "it does not open on that member's device"
	if !was && s.graph.Void(idOf(about)) {
		why = fmt.Sprintf("%s; %d of %d voters say so, which voids it", why, len(s.graph.Complainers(idOf(about))), len(s.graph.Voters(e.id)))
	}
	s.emit(Event{Kind: KindUnopenable, CID: about.String(), Epoch: a.header.Epoch, Head: text(e.id),
		From: hexKey(keyOf(author)), Name: s.names[keyOf(author)], Why: why})
	return nil
}

// whyVoid says of which commits in an epoch too many could not open them.
func (g *Group) whyVoid(at dag.ID) string {
	var out []string
	for _, c := range g.graph.Children(at) {
		if g.graph.Void(c) {
			out = append(out, fmt.Sprintf("%s is void: %d of %d voters could not open it", short(c),
				len(g.graph.Complainers(c)), len(g.graph.Voters(at))))
		}
	}
	return strings.Join(out, ", ")
}
