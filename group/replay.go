package group

import (
	"fmt"
	"maps"

	"github.com/dmlsd/dmls/dag"
)

// baseCommit returns what is known of the commit that created the base.
func (g *Group) baseCommit(id dag.ID, number uint64) *commit {
	if c := g.commits[id]; c != nil {
		return c
	}
	return &commit{ID: id, Number: number, Base: true}
}

// newGraph begins fork choice at a base.
func newGraph(rule dag.Rule, c *commit, info groupInfo, rows []tableRow) *dag.Graph {
	voters := make([]dag.Voter, len(rows))
	for i, r := range rows {
		voters[i] = dag.Voter{Member: r.Member, Rank: info.rank(keyOf(r.Member)), Leaf: leafOf(r.Member)}
	}
	return dag.New(rule, dag.Vertex{ID: c.ID, Author: c.Author, Seq: c.Seq}, c.Number, voters)
}

// replay adds the commits and frames below the base to the graph, parents
// first, in the order in which they settled.
func (g *Group) replay() error {
	for _, c := range g.bySettling() {
		m := g.frames[c]
		g.index(m)
		if m.Said != "" {
			g.graph.Settled(m.Said, m.Links.Seq, idOf(m.Links.Parent))
		}
		if m.Status != opened && m.Status != unopenable {
			continue
		}
		if p := g.epochs[idOf(m.Links.Parent)]; p != nil && m.Type == typeCommit && m.Status == opened {
			p.seen[string(m.Content)] = struct{}{}
		}
		if !g.graph.Has(idOf(m.Links.Parent)) {
			// Sent in an epoch that is gone or was given up: its sender stood
			// outside what is retained, which bears on finality still.
			if idOf(c) != g.graph.Base() && !m.mute() {
				g.graph.Settled(m.Author, m.Links.Seq, "")
			}
			continue
		}
		if v := g.commits[idOf(c)]; v != nil && m.Type == typeCommit {
			if err := g.replayCommit(v, m); err != nil {
				return err
			}
			continue
		}
		if err := g.stand(c, m); err != nil {
			return fmt.Errorf("%w: %w", ErrRecords, err)
		}
	}
	return nil
}

func (g *Group) replayCommit(v *commit, m *meta) error {
	if v.Erased {
		return nil // beside a base that was retired
	}
	if _, err := g.graph.AddVertex(v.vertex()); err != nil {
		return fmt.Errorf("%w: %w", ErrRecords, err)
	}
	p := g.epochs[v.Parent]
	if p == nil {
		return nil
	}
	p.seen[m.Content] = struct{}{}
	if e := g.epochs[v.ID]; e != nil {
		e.leaves = p.leaves.with(v)
	}
	return nil
}

// derive fills what follows from the frames.
func (l *loader) derive() {
	l.relink()
	l.hints = maps.Clone(l.hinted) // some rest on frames that have expired since
	clear(l.hinting)
	for _, c := range l.bySettling() {
		if m := l.frames[c]; m.Status != seeded {
			l.shareNames(&m.Links)
			l.queueBlock(c, m)
			l.order = append(l.order, c)
		}
	}
	(&step{Group: l.Group}).lookSeen()
	for _, m := range l.frames {
		if m.Author != "" && m.Message != [16]byte{} && m.Status == opened {
			l.messages[keyOf(m.Author)+string(m.Message[:])] = struct{}{}
		}
	}
}
