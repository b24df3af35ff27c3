package api

import (
	"context"
	"iter"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node"
)

// Backend is what a server serves. A gid is a group's id in full; Resolve
// makes one of what a user typed.
type Backend interface {
	Identity() Identity
	Peers() []Peer
	Resolve(ref string) (gid string, err error)
	Groups() []Group
	Group(gid string) (Group, error)
	DAG(gid string) (DAG, error)
	Log(gid string) ([]LogEntry, error)
	Events(ctx context.Context, gid string, after uint64, follow bool) iter.Seq2[group.Event, error]

	Create(ctx context.Context, name string, p group.Policy) (gid string, err error)
	Invite(ctx context.Context, gid string) (ticket string, err error)
	Join(ctx context.Context, ticket string) (gid string, err error)
	Send(ctx context.Context, gid, text string) (Sent, error)
	Remove(ctx context.Context, gid, member string) error
	Promote(ctx context.Context, gid, member string) error
	Demote(ctx context.Context, gid, member string) error
	Update(ctx context.Context, gid string) error
	Leave(ctx context.Context, gid string) error
	Forget(ctx context.Context, gid string) error
	Compact(ctx context.Context, gid string, c node.Cut) (node.Compacted, error)

	Block(peer string) error
	Unblock(peer string) error
}
