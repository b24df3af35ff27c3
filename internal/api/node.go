package api

import (
	"context"
	"iter"
	"strings"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/dagview"
	"github.com/dmlsd/dmls/node"
)

// Node makes a Backend of a *node.Node, which stays usable beside it.
type Node struct{ *node.Node }

var _ Backend = Node{}

// FromNode wraps n.
func FromNode(n *node.Node) Node { return Node{n} }

// Identity implements Backend.
func (n Node) Identity() Identity {
	return Identity{ID: n.Node.ID(), Name: n.Node.Name(), Peer: n.Node.PeerID(), Addrs: n.Node.Addrs()}
}

// Peers implements Backend.
func (n Node) Peers() []Peer {
	list := []Peer{}
	for _, p := range n.Node.Peers() {
		list = append(list, Peer{Peer: p.Peer, Addrs: p.Addrs, Direction: p.Direction, Groups: p.Groups, Blocked: p.Blocked})
	}
	return list
}

// Resolve implements Backend.
func (n Node) Resolve(ref string) (string, error) { return n.Node.Group(ref) }

// Groups implements Backend.
func (n Node) Groups() []Group {
	list := []Group{}
	for _, s := range n.Node.Groups() {
		list = append(list, groupOf(s))
	}
	return list
}

// Group implements Backend.
func (n Node) Group(gid string) (Group, error) {
	s, err := n.Node.Status(gid)
	return groupOf(s), err
}

func groupOf(s group.Status) Group {
	g := Group{
		Group: s.Group, Name: s.Name, Policy: s.Policy, Head: s.Head, Epoch: s.Epoch, State: s.State, Members: []Member{},
		ForksOpen: s.ForksOpen, RetainedEpochs: s.RetainedEpochs, Final: s.Final,
		SecretsRetained: s.Retained, SecretBytes: s.RetainedBytes, OldestRetained: s.OldestRetained, Parked: s.Parked, Blocks: s.Blocks,
		Cursor: s.Cursor, Authenticator: s.Authenticator, Kept: s.Kept,
	}
	for _, m := range s.Members {
		g.Members = append(g.Members, Member{Leaf: m.Leaf, ID: m.ID, Name: m.Name, Self: m.Self, Admin: m.Admin, Stands: m.Stands})
	}
	return g
}

// DAG implements Backend.
func (n Node) DAG(gid string) (DAG, error) {
	v, err := n.Node.View(gid)
	if err != nil {
		return DAG{}, err
	}
	return GraphOf(v), nil
}

// GraphOf makes a drawing's input of the engine's view.
func GraphOf(v group.View) DAG {
	g := DAG{Vertices: []dagview.Vertex{}}
	for _, x := range v.Vertices {
		g.Vertices = append(g.Vertices, dagview.Vertex{
			CID: x.CID, Parent: x.Parent, Epoch: x.Epoch, Author: x.Author, AuthorName: x.AuthorName,
			Actions: x.Actions, Supersedes: x.Supersedes, OnHead: x.OnHead, Head: x.Head,
			Final: x.Final, Base: x.Base, Erased: x.Erased,
		})
	}
	for _, f := range v.Forks {
		fork := dagview.Fork{At: f.At, Why: f.Why}
		for _, b := range f.Branches {
			fork.Branches = append(fork.Branches, dagview.Branch{Child: b.Child, Chosen: b.Chosen, Author: b.Author, Commits: b.Commits,
				Votes: b.Admins + b.Others, Admins: b.Admins, Voters: b.Voters})
		}
		g.Forks = append(g.Forks, fork)
	}
	for _, x := range v.Ask {
		g.Ask = append(g.Ask, dagview.Ask{Action: x.Action, Verb: x.Verb, Member: x.Member, By: x.By, CID: x.CID, Why: x.Why})
	}
	return g
}

// Log implements Backend. The engine keeps no texts; they are in the event log.
func (n Node) Log(gid string) ([]LogEntry, error) {
	log, err := n.Node.Log(gid)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for ev, err := range n.Node.Events(context.Background(), gid, 0, false) {
		if err != nil {
			return nil, err
		}
		if ev.Kind == group.KindMessage {
			texts[ev.CID] = ev.Text
		}
	}
	list := make([]LogEntry, 0, len(log))
	for _, e := range log {
		list = append(list, LogEntry{
			CID: e.CID, Kind: e.Kind, From: e.From, Name: e.Name, Epoch: e.Epoch, Parent: e.Parent, Seq: e.Seq,
			Actions: e.Actions, About: e.About, Text: texts[e.CID],
		})
	}
	return list, nil
}

// Events implements Backend.
func (n Node) Events(ctx context.Context, gid string, after uint64, follow bool) iter.Seq2[group.Event, error] {
	return n.Node.Events(ctx, gid, after, follow)
}

// Create implements Backend.
func (n Node) Create(ctx context.Context, name string, p group.Policy) (string, error) {
	return n.Node.CreateGroupWith(ctx, name, p)
}

// Join implements Backend. A transport does not dial itself, so this device's
// own ticket would wait for an answer in vain.
func (n Node) Join(ctx context.Context, ticket string) (string, error) {
	t, err := node.ParseTicket(ticket)
	if err != nil {
		return "", err
	}
	for _, addr := range t.Addrs {
		if strings.HasSuffix(addr, "/p2p/"+n.PeerID()) {
			return "", node.ErrTicketOwn
		}
	}
	return n.Node.Join(ctx, ticket)
}

// Send implements Backend.
func (n Node) Send(ctx context.Context, gid, text string) (Sent, error) {
	id, err := n.Node.Send(ctx, gid, text)
	return Sent{ID: id, Group: gid}, err
}

// Remove implements Backend.
func (n Node) Remove(ctx context.Context, gid, member string) error {
	_, err := n.Node.Remove(ctx, gid, member)
	return err
}

// Promote implements Backend.
func (n Node) Promote(ctx context.Context, gid, member string) error {
	_, err := n.Node.Promote(ctx, gid, member)
	return err
}

// Demote implements Backend.
func (n Node) Demote(ctx context.Context, gid, member string) error {
	_, err := n.Node.Demote(ctx, gid, member)
	return err
}

// Update implements Backend.
func (n Node) Update(ctx context.Context, gid string) error {
	_, err := n.Node.Update(ctx, gid)
	return err
}
