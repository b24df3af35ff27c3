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

// joinRecord is what is stored of the use of a ticket:
//
//	struct {
//	  uint8 version = 1;
//	  opaque key_package_ref<V>;  // empty once joined
//	  opaque key_package<V>;      // public part, empty once joined
//	  opaque group<V>;            // id, hex; empty until joined
//	} JoinRecord;
type joinRecord struct {
	ref, public []byte
	group       string
}

func (j *joinRecord) marshal() []byte {
	var w writer
	w.u8(recordVersion)
	w.bytes(j.ref)
	w.bytes(j.public)
	w.bytes([]byte(j.group))
	return w.b
}

func parseJoinRecord(b []byte) (*joinRecord, error) {
	r := reader{b: b}
	if v := r.u8(); v != recordVersion {
		r.fail("record version %d", v)
	}
	j := &joinRecord{ref: bytes.Clone(r.bytes(maxAddr)), public: bytes.Clone(r.bytes(maxKeyPackage))}
	j.group = string(r.bytes(maxAddr))
	return j, r.done()
}

func joinKey(t Ticket) string { return keyJoins + t.ID() }

func keyPackageKey(ref []byte) string { return keyKeyPackages + hex.EncodeToString(ref) }

func newJoins(t Timing) *joins { return &joins{timing: t, byID: map[string]*attempt{}} }

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
	return at
}

// erase deletes the init key in the batch of the join: it is used once
// (RFC 9420 section 10).
func (a *attempt) erase() []group.Op {
	return []group.Op{{Key: keyPackageKey(a.ref), Class: group.Secret}}
}

// finished records that the ticket led into the group.
func (a *attempt) finished(gid string) group.Op {
	done := joinRecord{group: gid}
	return group.Op{Key: joinKey(a.ticket), Value: done.marshal(), Class: group.Public}
}
