package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/dmlsd/dmls/group"
)

// joins is the joiner's side: the tickets that this device uses now.
type joins struct {
	timing Timing
	byID   map[string]*attempt
	stored map[string]*joinRecord
}

// attempt is one ticket in use.
type attempt struct {
	ticket  Ticket
	peer    string
	ref     []byte
	request []byte
	due     time.Time
	pause   time.Duration
}

func (j *joins) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d joins", len(j.byID)) }

func (a *attempt) Format(f fmt.State, r rune) { a.ticket.Format(f, r) }

// joinRecord is what is stored of the use of a ticket:
//
//	struct {
//	  uint8 version = 2;
//	  opaque key_package_ref<V>;  // empty once joined
//	  opaque key_package<V>;      // public part, empty once joined
//	  opaque group<V>;            // id, hex; empty until joined
//	  uint64 expires;             // of the ticket, Unix seconds; not in version 1
//	} JoinRecord;
type joinRecord struct {
	ref, public []byte
	group       string
	expires     time.Time // zero: not known
}

const joinRecordVersion = 2

func (j *joinRecord) marshal() []byte {
	var w writer
	w.u8(joinRecordVersion)
	w.bytes(j.ref)
	w.bytes(j.public)
	w.bytes([]byte(j.group))
	w.u64(uint64(j.expires.Unix()))
	return w.b
}

func parseJoinRecord(b []byte) (*joinRecord, error) {
	r := reader{b: b}
	v := r.u8()
	if v < 1 || v > joinRecordVersion {
		r.fail("record version %d", v)
	}
	j := &joinRecord{ref: bytes.Clone(r.bytes(maxAddr)), public: bytes.Clone(r.bytes(maxKeyPackage))}
	j.group = string(r.bytes(maxAddr))
	if v > 1 {
		j.expires = time.Unix(int64(r.u64()), 0).UTC()
	}
	return j, r.done()
}

func joinKey(t Ticket) string { return keyJoins + t.ID() }

func keyPackageKey(ref []byte) string { return keyKeyPackages + hex.EncodeToString(ref) }

func loadJoins(ctx context.Context, s Store, t Timing) (*joins, error) {
	j := &joins{timing: t, byID: map[string]*attempt{}, stored: map[string]*joinRecord{}}
	return j, j.load(ctx, s)
}

// load reads which tickets were used.
func (j *joins) load(ctx context.Context, s Store) error {
	clear(j.stored)
	return loadAll(ctx, s, keyJoins, func(name string, value []byte) error {
		r, err := parseJoinRecord(value)
		j.stored[name] = r
		return err
	})
}

// expire drops what is kept of tickets that can no longer be used, above all
// KeyPackages that nobody answered. Attempts that still wait are in given.
func (j *joins) expire(now time.Time) (ops []group.Op, given []Ticket) {
	for _, id := range sortedKeys(j.stored) {
		r := j.stored[id]
		if r.expires.IsZero() {
			r.expires = now // a record of version 1 has the grace time
		}
		if now.Before(r.expires.Add(graceTime)) {
			continue
		}
		ops = append(ops, group.Op{Key: keyJoins + id, Class: group.Public})
		if len(r.ref) > 0 {
			ops = append(ops, group.Op{Key: keyPackageKey(r.ref), Class: group.Secret})
		}
		if a := j.byID[id]; a != nil {
			given = append(given, a.ticket)
		}
		delete(j.stored, id)
		delete(j.byID, id)
	}
	return ops, given
}

func loadJoinRecord(ctx context.Context, s Store, t Ticket) (*joinRecord, error) {
	b, err := get(ctx, s, joinKey(t))
	if err != nil || b == nil {
		return nil, err
	}
	j, err := parseJoinRecord(b)
	if err != nil {
		return nil, fmt.Errorf("node: record %s: %w", joinKey(t), err)
	}
	return j, nil
}

// joinedWith returns the group that this device joined with the ticket, if
// it did and still has it.
func joinedWith(ctx context.Context, s Store, t Ticket) (gid string, err error) {
	j, err := loadJoinRecord(ctx, s, t)
	if err != nil || j == nil || j.group == "" {
		return "", err
	}
	if b, err := get(ctx, s, keyGroups+j.group); err != nil || b == nil {
		return "", err
	}
	return j.group, nil
}

// begin registers an attempt; its request is due at once.
func (j *joins) begin(now time.Time, t Ticket, peer string, ref, public []byte) {
	m := joinMessage{kind: joinRequest, ticket: t.ID(), proof: t.proof(public), keyPackage: public}
	j.byID[t.ID()] = &attempt{ticket: t, peer: peer, ref: ref, request: m.marshal(), due: now, pause: j.timing.JoinRetry}
}

// tick sends the requests that are due.
func (j *joins) tick(now time.Time, send func(peer, protocol string, message []byte) error) {
	for _, id := range sortedKeys(j.byID) {
		a := j.byID[id]
		if a.due.After(now) {
			continue
		}
		// Lost or refused by the transport, it is sent again.
		_ = send(a.peer, ProtocolJoin, a.request)
		a.due = now.Add(a.pause)
		a.pause = min(2*a.pause, j.timing.JoinRetryMax)
	}
}

func (j *joins) wake() time.Time {
	var at time.Time
	for _, a := range j.byID {
		at = earlier(at, a.due)
	}
	for _, r := range j.stored {
		if !r.expires.IsZero() {
			at = earlier(at, r.expires.Add(graceTime))
		}
	}
	return at
}

// erase deletes the init key in the batch of the join: it is used once
// (RFC 9420 section 10).
func (a *attempt) erase() []group.Op {
	return []group.Op{{Key: keyPackageKey(a.ref), Class: group.Secret}}
}

// finished records that the ticket led into the group.
func (a *attempt) finished(gid string) group.Op {
	done := joinRecord{group: gid, expires: a.ticket.Expires}
	return group.Op{Key: joinKey(a.ticket), Value: done.marshal(), Class: group.Public}
}
