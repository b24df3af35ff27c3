package node

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/dmlsd/dmls/group"
)

// tickets is the inviter's side of joining: the tickets that this device gave
// out, and what they were used for.
type tickets struct {
	byID map[string]*invitation
}

// invitation is a ticket that was given out:
//
//	struct {
//	  uint8 version = 1;
//	  uint64 expires;      // Unix seconds
//	  opaque secret[16];
//	  opaque group<V>;     // id, hex
//	  opaque used_by<V>;   // KeyPackageRef, empty while unused
//	} Invitation;
type invitation struct {
	ticket Ticket // without addresses
	group  string
	usedBy []byte
}

func (t *tickets) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d tickets", len(t.byID)) }

func (i *invitation) Format(f fmt.State, r rune) { i.ticket.Format(f, r) }

// graceTime is how long a Welcome is kept after its ticket has expired, for a
// joiner that was away when it came.
const graceTime = 24 * time.Hour

func (i *invitation) marshal() []byte {
	var w writer
	w.u8(recordVersion)
	w.u64(uint64(i.ticket.Expires.Unix()))
	w.raw(i.ticket.Secret[:])
	w.bytes([]byte(i.group))
	w.bytes(i.usedBy)
	return w.b
}

func parseInvitation(b []byte) (*invitation, error) {
	r := reader{b: b}
	if v := r.u8(); v != recordVersion {
		r.fail("record version %d", v)
	}
	i := &invitation{}
	i.ticket.Expires = time.Unix(int64(r.u64()), 0).UTC()
	copy(i.ticket.Secret[:], r.raw(len(i.ticket.Secret)))
	i.group = string(r.bytes(maxAddr))
	i.usedBy = bytes.Clone(r.bytes(maxAddr))
	return i, r.done()
}

func (i *invitation) op() group.Op {
	return group.Op{Key: keyTickets + i.ticket.ID(), Value: i.marshal(), Class: group.Secret}
}

func loadTickets(ctx context.Context, s Store) (*tickets, error) {
	t := &tickets{byID: map[string]*invitation{}}
	err := loadAll(ctx, s, keyTickets, func(name string, value []byte) error {
		i, err := parseInvitation(value)
		if err != nil {
			return err
		}
		t.byID[name] = i
		return nil
	})
	return t, err
}

// invite makes a ticket and the record that it must be accepted by.
func (t *tickets) invite(env group.Env, gid string, life time.Duration, addrs []string) (Ticket, group.Op, error) {
	ticket := Ticket{Expires: env.Now.Add(life).Truncate(time.Second).UTC(), Hint: groupHint(gid)}
	for _, a := range addrs {
		if len(a) <= maxAddr && len(ticket.Addrs) < maxTicketAddrs {
			ticket.Addrs = append(ticket.Addrs, a)
		}
	}
	if len(ticket.Addrs) == 0 {
		return Ticket{}, group.Op{}, ErrNoAddress
	}
	if _, err := io.ReadFull(env.Rand, ticket.Secret[:]); err != nil {
		return Ticket{}, group.Op{}, fmt.Errorf("node: ticket: %w", err)
	}
	i := &invitation{ticket: ticket, group: gid}
	i.ticket.Addrs = nil
	t.byID[ticket.ID()] = i
	return ticket, i.op(), nil
}

// check judges a request, of which ref is the KeyPackageRef. The invitation is
// returned if it may be used now or was used with the same KeyPackage before.
func (t *tickets) check(now time.Time, m *joinMessage, ref []byte) (*invitation, *Refusal) {
	i := t.byID[m.ticket]
	if i == nil {
		return nil, &Refusal{RefusedUnknown, "this device has given out no such ticket, or it expired long ago"}
	}
	// Who does not know the secret learns nothing but that the ticket exists.
	if !hmac.Equal(m.proof, i.ticket.proof(m.keyPackage)) {
		return nil, &Refusal{RefusedProof, "the proof does not fit the ticket"}
	}
	switch {
	case len(i.usedBy) > 0 && !bytes.Equal(i.usedBy, ref):
		return nil, &Refusal{RefusedUsed, "the ticket was used already; a ticket is for one device"}
	case len(i.usedBy) == 0 && i.ticket.Expired(now):
		return nil, &Refusal{RefusedExpired, "the ticket has expired"}
	}
	return i, nil
}

// use marks the invitation as used and returns the records of that.
func (i *invitation) use(ref, bundle []byte) []group.Op {
	i.usedBy = bytes.Clone(ref)
	return []group.Op{i.op(), {Key: welcomeKey(ref), Value: bundle, Class: group.Secret}}
}

// expire drops tickets that have expired and Welcomes that nobody fetched.
func (t *tickets) expire(now time.Time) []group.Op {
	var ops []group.Op
	for _, id := range sortedKeys(t.byID) {
		i := t.byID[id]
		if now.Before(i.ticket.Expires.Add(graceTime)) {
			continue
		}
		ops = append(ops, t.drop(id)...)
	}
	return ops
}

func (t *tickets) drop(id string) []group.Op {
	i := t.byID[id]
	ops := []group.Op{{Key: keyTickets + id, Class: group.Secret}}
	if len(i.usedBy) > 0 {
		ops = append(ops, group.Op{Key: welcomeKey(i.usedBy), Class: group.Secret})
	}
	clear(i.ticket.Secret[:])
	delete(t.byID, id)
	return ops
}

// forget drops the tickets of a group.
func (t *tickets) forget(gid string) []group.Op {
	var ops []group.Op
	for _, id := range sortedKeys(t.byID) {
		if t.byID[id].group == gid {
			ops = append(ops, t.drop(id)...)
		}
	}
	return ops
}

func (t *tickets) wake() time.Time {
	var at time.Time
	for _, i := range t.byID {
		at = earlier(at, i.ticket.Expires.Add(graceTime))
	}
	return at
}

func welcomeKey(ref []byte) string { return keyWelcomes + hex.EncodeToString(ref) }
