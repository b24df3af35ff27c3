package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
)

// Groups returns the status of every group, sorted by id. After Close it
// returns nil.
func (n *Node) Groups() []group.Status {
	var all []group.Status
	err := n.look(func(d *Driver) {
		for _, gid := range d.Groups() {
			if s, err := d.Status(gid); err == nil {
				all = append(all, s)
			}
		}
	})
	if err != nil {
		return nil
	}
	return all
}

// Group finds a group by id, unique prefix of the id, or name.
func (n *Node) Group(ref string) (gid string, err error) {
	if ref == "" {
		return "", fmt.Errorf("%w: no group given", ErrNotFound)
	}
	var found []string
	err = n.look(func(d *Driver) {
		for _, id := range d.Groups() {
			if id == ref || d.groups[id].engine.Name() == ref || strings.HasPrefix(id, ref) {
				found = append(found, id)
			}
		}
	})
	switch {
	case err != nil:
		return "", err
	case slices.Contains(found, ref):
		return ref, nil
	}
	return one("group", ref, found)
}

func one(what, ref string, found []string) (string, error) {
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %s %.80q", ErrNotFound, what, ref)
	case 1:
		return found[0], nil
	}
	const shown = 3
	var ids []string
	for _, id := range found[:min(shown, len(found))] {
		ids = append(ids, id[:min(12, len(id))])
	}
	if len(found) > shown {
		ids = append(ids, fmt.Sprintf("and %d more", len(found)-shown))
	}
	return "", fmt.Errorf("%w: %s %.80q (%s)", ErrAmbiguous, what, ref, strings.Join(ids, ", "))
}

// CreateGroup founds a group with this device as its only member and its first
// admin.
func (n *Node) CreateGroup(ctx context.Context, name string) (gid string, err error) {
	return n.CreateGroupWith(ctx, name, group.PolicyAdmins)
}

// CreateGroupWith founds a group under a policy, which never changes.
func (n *Node) CreateGroupWith(ctx context.Context, name string, p group.Policy) (gid string, err error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	o, err := n.call(ctx, Create{Name: name, Policy: p})
	if err != nil {
		return "", err
	}
	return o.Group, nil
}

// Invite makes a ticket for one joiner, a line of text. Whoever has it can
// join while this node runs, until it is used or expires.
func (n *Node) Invite(ctx context.Context, gid string) (ticket string, err error) {
	o, err := n.call(ctx, Invite{Group: gid})
	if err != nil {
		return "", err
	}
	return o.Ticket.Line(), nil
}

// redial is the pause between two attempts to reach an inviter.
const redial = 3 * time.Second

// Join uses a ticket and waits until this device is a member, the inviter
// refuses, or ctx ends. A repetition with the same ticket goes on where the
// last attempt stopped.
func (n *Node) Join(ctx context.Context, ticket string) (gid string, err error) {
	t, err := ParseTicket(ticket)
	if err != nil {
		return "", err
	}
	end, giveUp := n.hub.awaitJoin(t)
	defer func() {
		if !giveUp() {
			_, _ = n.call(context.WithoutCancel(ctx), StopJoin{Ticket: t})
		}
	}()
	unreachable := error(nil)
	for {
		gid, err := n.askToJoin(ctx, t)
		switch {
		case gid != "":
			return gid, nil
		case err != nil && !isDialError(err):
			return "", err
		}
		unreachable = err
		pause := time.NewTimer(redial)
		select {
		case e := <-end:
			pause.Stop()
			return e.gid, e.err
		case <-ctx.Done():
			pause.Stop()
			if unreachable != nil {
				return "", fmt.Errorf("%w (%w)", unreachable, ctx.Err())
			}
			return "", fmt.Errorf("node: waiting for the inviter: %w", ctx.Err())
		case <-n.closed:
			pause.Stop()
			return "", ErrClosed
		case <-pause.C:
		}
	}
}

// askToJoin dials the inviter and sends the request.
func (n *Node) askToJoin(ctx context.Context, t Ticket) (gid string, err error) {
	// A device that joined with this ticket before needs no inviter.
	if gid, err := joinedWith(ctx, n.store, t); err != nil || gid != "" {
		return gid, err
	}
	if t.Expired(n.c.Now()) {
		return "", ErrTicketExpired
	}
	peer, err := n.transport.Connect(ctx, t.Addrs)
	if err != nil {
		return "", &dialError{err}
	}
	if peer == n.transport.Self() {
		return "", ErrTicketOwn
	}
	o, err := n.call(ctx, Join{Ticket: t, Peer: peer})
	return o.Group, err
}

// dialError is a failure to reach the inviter, after which Join tries again.
type dialError struct{ err error }

func (e *dialError) Error() string   { return fmt.Sprintf("%v: %v", ErrUnreachable, e.err) }
func (e *dialError) Unwrap() []error { return []error{ErrUnreachable, e.err} }

func isDialError(err error) bool { _, ok := err.(*dialError); return ok }

// Send sends a message to the group and returns its id in hex. The message is
// durable then and will reach the others whenever they can be reached.
func (n *Node) Send(ctx context.Context, gid, text string) (id string, err error) {
	o, err := n.call(ctx, Step{Group: gid, In: group.Send{Text: []byte(text)}})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(o.Sent.Message[:]), nil
}

// Remove removes a member, given by id, unique prefix of the id, or name, and
// returns the CID of the commit. In a group with admins only they can.
func (n *Node) Remove(ctx context.Context, gid, member string) (cid string, err error) {
	return n.changeMember(ctx, gid, member, func(leaf uint32) group.Change { return group.Change{Remove: []uint32{leaf}} })
}

// Promote makes a member an admin; only an admin can.
func (n *Node) Promote(ctx context.Context, gid, member string) (cid string, err error) {
	return n.changeMember(ctx, gid, member, func(leaf uint32) group.Change { return group.Change{Promote: []uint32{leaf}} })
}

// Demote takes that back; only an admin can, but not from the last one.
func (n *Node) Demote(ctx context.Context, gid, member string) (cid string, err error) {
	return n.changeMember(ctx, gid, member, func(leaf uint32) group.Change { return group.Change{Demote: []uint32{leaf}} })
}

func (n *Node) changeMember(ctx context.Context, gid, member string, c func(leaf uint32) group.Change) (cid string, err error) {
	s, err := n.Status(gid)
	if err != nil {
		return "", err
	}
	leaf, err := findMember(s, member)
	if err != nil {
		return "", err
	}
	return n.change(ctx, gid, c(leaf))
}

func findMember(s group.Status, ref string) (leaf uint32, err error) {
	leaves := map[string]uint32{}
	var found []string
	for _, m := range s.Members {
		if ref != "" && (m.Name == ref || strings.HasPrefix(m.ID, ref)) {
			found = append(found, m.ID)
			leaves[m.ID] = m.Leaf
		}
	}
	id, err := one("member", ref, found)
	return leaves[id], err
}

// Update replaces this device's keys in the group and returns the CID of the
// commit: what a thief knew of them does not open what comes.
func (n *Node) Update(ctx context.Context, gid string) (cid string, err error) {
	return n.change(ctx, gid, group.Change{Update: true})
}

func (n *Node) change(ctx context.Context, gid string, c group.Change) (cid string, err error) {
	o, err := n.call(ctx, Step{Group: gid, In: c})
	if err != nil || !o.Sent.CID.Defined() {
		return "", err
	}
	return o.Sent.CID.String(), nil
}

// Leave asks the others to remove this device. Their commit arrives as an
// event of kind "left".
func (n *Node) Leave(ctx context.Context, gid string) error {
	_, err := n.call(ctx, Step{Group: gid, In: group.Leave{}})
	return err
}

// Forget wipes the group from this device at once and tells nobody.
func (n *Node) Forget(ctx context.Context, gid string) error {
	_, err := n.call(ctx, Forget{Group: gid})
	if err == nil {
		n.hub.forget(gid)
	}
	return err
}

// Status returns what `group show` shows.
func (n *Node) Status(gid string) (s group.Status, err error) {
	err = n.ask(func(d *Driver) (err error) { s, err = d.Status(gid); return })
	return s, err
}

// View returns the group's DAG for drawing.
func (n *Node) View(gid string) (v group.View, err error) {
	err = n.ask(func(d *Driver) (err error) { v, err = d.View(gid); return })
	return v, err
}

// Log returns the frames opened here in canonical order, which is the same on
// all members once they have converged.
func (n *Node) Log(gid string) (l []group.LogEntry, err error) {
	err = n.ask(func(d *Driver) (err error) { l, err = d.Log(gid); return })
	return l, err
}

func (n *Node) ask(f func(*Driver) error) error {
	var inner error
	if err := n.look(func(d *Driver) { inner = f(d) }); err != nil {
		return err
	}
	return inner
}

// PeerInfo is one peer: connected, blocked, or both while it is being cut.
type PeerInfo struct {
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs,omitempty"`
	Direction string   `json:"direction,omitempty"`
	Groups    []string `json:"groups,omitempty"` // ids of common groups
	Blocked   bool     `json:"blocked,omitempty"`
}

// Peers lists connected and blocked peers, sorted by name.
func (n *Node) Peers() []PeerInfo {
	all := map[string]*PeerInfo{}
	get := func(peer string) *PeerInfo {
		if all[peer] == nil {
			all[peer] = &PeerInfo{Peer: peer}
		}
		return all[peer]
	}
	for _, c := range n.transport.Connections() {
		p := get(c[0])
		p.Addrs, p.Direction = append(p.Addrs, c[1]), c[2]
	}
	n.blocked.Range(func(peer, _ any) bool { get(peer.(string)).Blocked = true; return true })
	for gid, topic := range n.topics() {
		for _, peer := range n.transport.Peers(topic) {
			p := get(peer)
			p.Groups = append(p.Groups, gid)
		}
	}
	list := make([]PeerInfo, 0, len(all))
	for _, p := range all {
		sort.Strings(p.Groups)
		list = append(list, *p)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Peer < list[j].Peer })
	return list
}

func (n *Node) topics() map[string]string {
	topics := map[string]string{}
	_ = n.look(func(d *Driver) {
		for gid, r := range d.groups {
			topics[gid] = r.topic
		}
	})
	return topics
}

// Connect dials a peer at any of its addresses and returns its name.
func (n *Node) Connect(ctx context.Context, addrs ...string) (peer string, err error) {
	return n.transport.Connect(ctx, addrs)
}

// Block cuts the connection to a peer and refuses new ones until Unblock, also
// after a restart.
func (n *Node) Block(peer string) error {
	if err := n.transport.Block(peer); err != nil {
		return err
	}
	n.blocked.Store(peer, struct{}{})
	return n.rememberBlocked()
}

// Unblock allows a peer again.
func (n *Node) Unblock(peer string) error {
	if err := n.transport.Unblock(peer); err != nil {
		return err
	}
	n.blocked.Delete(peer)
	return n.rememberBlocked()
}

// rememberBlocked stores who is blocked, between two rounds of the Driver.
func (n *Node) rememberBlocked() error {
	return n.ask(func(*Driver) error {
		names := map[string]bool{}
		n.blocked.Range(func(peer, _ any) bool { names[peer.(string)] = true; return true })
		op := group.Op{Key: keyBlocked, Value: marshalStrings(short(sortedKeys(names))), Class: group.Public}
		if err := n.store.Commit(n.life, []group.Op{op}); err != nil {
			return fmt.Errorf("node: blocked peers: %w", err)
		}
		return nil
	})
}

// blockAgain blocks whom the last run had blocked.
func (n *Node) blockAgain(ctx context.Context) error {
	b, err := get(ctx, n.store, keyBlocked)
	if err != nil || b == nil {
		return err
	}
	names, err := parseStrings(b)
	if err != nil {
		return fmt.Errorf("node: record %s: %w", keyBlocked, err)
	}
	for _, peer := range names {
		if err := n.transport.Block(peer); err != nil {
			return fmt.Errorf("node: block again: %w", err)
		}
		n.blocked.Store(peer, struct{}{})
	}
	if len(names) > 0 {
		n.c.Logger.Warn("peers are blocked since an earlier run; dmlsd debug unblock PEER allows them again", "peers", len(names))
	}
	return nil
}
