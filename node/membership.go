package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dmlsd/dmls/group"
)

// create founds a group.
func (r *round) create(in Create) Outcome {
	if in.Policy == 0 {
		in.Policy = group.PolicyAdmins
	}
	g, out, err := r.engine.create(r.env, in.Name, in.Policy)
	if err != nil {
		return Outcome{Err: err}
	}
	gid := g.ID()
	r.begin(gid, g, out, keptLog{})
	return Outcome{Group: gid, Sent: out.Sent}
}

// begin takes up a group that the store does not know yet, but for the log of an
// earlier stay.
func (r *round) begin(gid string, g engine, out group.Output, log keptLog) {
	run := r.adopt(gid, g)
	run.log = log
	run.published = true // nothing is in the outbox that was not published
	r.fresh[gid] = true
	r.batch = append(r.batch, GroupRecord(gid))
	r.after(func() { _ = r.c.Network.Join(run.topic, g.PeerKey()) })
	r.gather(gid, run, out, "")
}

// GroupRecord tells a [Driver] that the store holds a group. It is for groups
// that were founded or joined beside a driver.
func GroupRecord(gid string) group.Op {
	return group.Op{Key: keyGroups + gid, Value: []byte{recordVersion}, Class: group.Public}
}

func (r *round) invite(in Invite) Outcome {
	g, err := r.running(in.Group)
	if err != nil {
		return Outcome{Group: in.Group, Err: err}
	}
	if s := g.engine.State(); s != stateMember {
		return Outcome{Group: in.Group, Err: fmt.Errorf("%w (this device is %s)", group.ErrNotMember, s)}
	}
	t, op, err := r.tickets.invite(r.env, in.Group, r.c.Timing.TicketLife, r.c.Network.Addrs())
	if err != nil {
		return Outcome{Group: in.Group, Err: err}
	}
	r.batch = append(r.batch, op)
	return Outcome{Group: in.Group, Ticket: t}
}

const stateMember = "member"

// join begins to use a ticket, or goes on with it.
func (r *round) join(in Join) Outcome {
	id := in.Ticket.ID()
	if a := r.joins.byID[id]; a != nil {
		a.peer, a.due = in.Peer, r.env.Now
		r.after(r.sendJoins)
		return Outcome{}
	}
	if r.tickets.byID[id] != nil {
		return Outcome{Err: ErrTicketOwn}
	}
	rec, err := loadJoinRecord(r.ctx, r.c.Store, in.Ticket)
	switch {
	case err != nil:
		return Outcome{Err: err}
	case rec != nil && r.groups[rec.group] != nil:
		return Outcome{Group: rec.group}
	case in.Ticket.Expired(r.env.Now):
		return Outcome{Err: ErrTicketExpired}
	case rec == nil || len(rec.ref) == 0:
		if rec, err = r.newKeyPackage(in.Ticket); err != nil {
			return Outcome{Err: err}
		}
	}
	r.joins.begin(r.env.Now, in.Ticket, in.Peer, rec.ref, rec.public)
	r.begun = append(r.begun, in.Ticket)
	r.after(r.sendJoins)
	return Outcome{}
}

// newKeyPackage makes the KeyPackage for a ticket. It is stored before it
// leaves, so that the Welcome can be opened after a restart and a repeated
// request is recognised.
func (r *round) newKeyPackage(t Ticket) (*joinRecord, error) {
	kp, err := r.engine.keyPackage(r.env)
	if err != nil {
		return nil, err
	}
	rec := &joinRecord{ref: kp.ref, public: kp.public, expires: t.Expires}
	r.joins.stored[t.ID()] = rec
	r.batch = append(r.batch,
		group.Op{Key: keyPackageKey(kp.ref), Value: kp.secret, Class: group.Secret},
		group.Op{Key: joinKey(t), Value: rec.marshal(), Class: group.Public})
	return rec, nil
}

func (r *round) sendJoins() { r.joins.tick(r.env.Now, r.c.Network.Send) }

// message takes a message from a peer.
func (r *round) message(in Message) ([]group.Result, error) {
	if in.Protocol == ProtocolSync {
		return r.syncMessage(in)
	}
	return nil, r.otherMessage(in)
}

func (r *round) otherMessage(in Message) error {
	switch in.Protocol {
	case ProtocolSignal:
		topic, payload, err := parseSignal(in.Body)
		if err != nil {
			return err
		}
		g := r.topics[topic]
		if g == nil || g.broken != nil {
			return fmt.Errorf("%w: topic of a signal", ErrNotFound)
		}
		_, err = r.step(g.engine.ID(), g, group.Hear{Payload: payload, From: in.Peer}, in.Peer)
		return err
	case ProtocolJoin:
		m, err := parseJoinMessage(in.Body)
		switch {
		case err != nil:
			return err
		case m.kind == joinRequest:
			return r.joinRequest(in.Peer, m)
		default:
			return r.joinReply(in.Peer, m)
		}
	}
	return fmt.Errorf("%w: protocol %q", ErrMalformed, in.Protocol)
}

// syncMessage steps blocks now; questions are answered after the commit, from
// what is durable.
func (r *round) syncMessage(in Message) ([]group.Result, error) {
	now := r.env.Now
	m, g, err := r.parseSync(in.Peer, in.Body)
	if err != nil {
		return nil, err
	}
	if m.kind != syncBlocks {
		r.after(func() { r.sync.question(now, in.Peer, m) })
		return nil, nil
	}
	if !r.sync.answer(now, in.Peer, m) {
		return nil, fmt.Errorf("%w: blocks that were not asked for", ErrMalformed)
	}
	var out group.Output
	news := false
	// A frame may be parked for long; it must not hold the whole message.
	for i, b := range m.blocks {
		m.blocks[i] = bytes.Clone(b)
	}
	if len(m.blocks) > 0 {
		if out, err = r.step(g.engine.ID(), g, group.Receive{Blocks: m.blocks, From: in.Peer}, in.Peer); err != nil {
			return nil, err
		}
		for _, res := range out.Results {
			switch res.Verdict {
			case group.Applied, group.Forked, group.Stale, group.Unopenable, group.Spent:
				news = true
			}
		}
	}
	r.after(func() {
		r.sync.took(now, m.topic, in.Peer, news, m.more)
		r.sync.tick(now)
	})
	return out.Results, nil
}

// joinRequest answers a joiner: with the stored Welcome if it was added
// before, else by adding it.
func (r *round) joinRequest(peer string, m *joinMessage) error {
	send := func(message []byte) { _ = r.c.Network.Send(peer, ProtocolJoin, message) }
	ref, err := r.engine.ref(m.keyPackage)
	if err != nil {
		r.after(func() { send(refuse(m.ticket, RefusedKeyPackage, "the KeyPackage is malformed")) })
		return err
	}
	inv, refusal := r.tickets.check(r.env.Now, m, ref)
	if refusal != nil {
		r.after(func() { send(refuse(m.ticket, refusal.Code, refusal.Words)) })
		return nil
	}
	if len(inv.usedBy) == 0 {
		if err := r.add(inv, ref, m.keyPackage); err != nil {
			code := RefusedKeyPackage
			if errors.Is(err, ErrNotFound) || errors.Is(err, group.ErrNotMember) || errors.Is(err, group.ErrLeaving) || errors.Is(err, group.ErrStranded) {
				code = RefusedGroup
			}
			words := strings.TrimPrefix(err.Error(), "group: ")
			r.after(func() { send(refuse(m.ticket, code, words)) })
			return err
		}
	}
	r.after(func() {
		bundle, err := r.c.Store.Get(r.ctx, welcomeKey(ref))
		if err != nil {
			send(refuse(m.ticket, RefusedUsed, "the answer to this ticket is gone; ask for a new one"))
			return
		}
		send(reply(m.ticket, bundle))
	})
	return nil
}

// add commits the Add of a joiner and keeps its Welcome for repetitions.
func (r *round) add(inv *invitation, ref, keyPackage []byte) error {
	g, err := r.running(inv.group)
	if err != nil {
		return err
	}
	out, err := r.step(inv.group, g, group.Change{Add: [][]byte{keyPackage}}, "")
	if err != nil {
		return err
	}
	if len(out.Welcomes) != 1 {
		return fmt.Errorf("%w: an Add gave %d Welcomes", group.ErrInternal, len(out.Welcomes))
	}
	r.batch = append(r.batch, inv.use(ref, out.Welcomes[0].Bundle)...)
	return nil
}

// joinReply takes the inviter's answer.
func (r *round) joinReply(peer string, m *joinMessage) error {
	a := r.joins.byID[m.ticket]
	if a == nil || a.peer != peer {
		return fmt.Errorf("%w: an answer to a ticket that is not in use", ErrMalformed)
	}
	end := func(gid string, err error) {
		r.after(func() {
			delete(r.joins.byID, m.ticket)
			r.c.Sink.Joined(a.ticket, gid, err)
		})
	}
	if m.refusal != 0 {
		// Nobody will ever use this KeyPackage.
		r.batch = append(r.batch,
			group.Op{Key: keyPackageKey(a.ref), Class: group.Secret},
			group.Op{Key: joinKey(a.ticket), Class: group.Public})
		delete(r.joins.stored, m.ticket)
		end("", &Refusal{m.refusal, string(m.body)})
		return nil
	}
	secret, err := get(r.ctx, r.c.Store, keyPackageKey(a.ref))
	if err != nil {
		return err // asked again
	}
	if secret == nil {
		return fmt.Errorf("%w: the KeyPackage of this answer was used already", ErrMalformed)
	}
	defer clear(secret)
	g, out, err := r.engine.join(r.env, m.body, secret, a.erase(), r.past)
	if err != nil {
		err = fmt.Errorf("node: the inviter's answer is not usable: %w", err)
		end("", err)
		return err
	}
	gid := g.ID()
	var log keptLog
	if old := r.groups[gid]; old != nil {
		if err := r.replace(gid, old); err != nil {
			end("", err)
			return err
		}
		log = old.log
	}
	r.batch = append(r.batch, a.finished(gid))
	r.joins.stored[m.ticket] = &joinRecord{group: gid, expires: a.ticket.Expires}
	end(gid, nil)
	r.begin(gid, g, out, log)
	return nil
}

// past reads the event log of an earlier stay in a group: what is stored, and
// what this round is about to store.
func (r *round) past(gid string) (events []group.Event, err error) {
	if r.groups[gid] == nil {
		return nil, nil
	}
	take := func(op group.Op) error {
		ev, err := group.DecodeEvent(op.Value)
		events = append(events, ev)
		return err
	}
	for op, err := range r.c.Store.Load(r.ctx, group.EventPrefix(gid)) {
		if err == nil {
			err = take(op)
		}
		if err != nil {
			return nil, fmt.Errorf("node: group %s: %w", gid, err)
		}
	}
	for _, op := range r.batch {
		if strings.HasPrefix(op.Key, group.EventPrefix(gid)) && op.Value != nil {
			if err := take(op); err != nil {
				return nil, fmt.Errorf("node: group %s: %w", gid, err)
			}
		}
	}
	return events, nil
}

// replace wipes the records of an earlier stay in a group that this device
// joins again. Its event log stays and goes on.
func (r *round) replace(gid string, old *running) error {
	if old.broken == nil {
		switch s := old.engine.State(); s {
		case "left", "removed":
		default:
			return fmt.Errorf("%w (group %s, this device is %s)", group.ErrAlready, gid, s)
		}
	}
	ops, err := r.wipe(gid)
	if err != nil {
		return err
	}
	ops = slices.DeleteFunc(ops, func(op group.Op) bool { return strings.HasPrefix(op.Key, group.EventPrefix(gid)) })
	r.batch = append(r.batch, ops...)
	r.replaced = append(r.replaced, old)
	delete(r.topics, old.topic)
	return nil
}

// wipe returns the ops that delete all records of a group.
func (r *round) wipe(gid string) ([]group.Op, error) {
	var ops []group.Op
	for op, err := range r.c.Store.Load(r.ctx, group.Prefix(gid)) {
		if err != nil {
			return nil, fmt.Errorf("node: group %s: %w", gid, err)
		}
		ops = append(ops, group.Op{Key: op.Key, Class: op.Class})
	}
	return ops, nil
}

// forget wipes a group from this device.
func (r *round) forget(gid string) error {
	g := r.groups[gid]
	if g == nil {
		return fmt.Errorf("%w: %s", ErrNotFound, gid)
	}
	ops, err := r.wipe(gid)
	if err != nil {
		return err
	}
	// What earlier inputs of this round write to the group comes first in the
	// batch, but not all of it is among the records that were read.
	for _, op := range r.batch {
		if strings.HasPrefix(op.Key, group.Prefix(gid)) && op.Value != nil {
			ops = append(ops, group.Op{Key: op.Key, Class: op.Class})
		}
	}
	r.batch = append(r.batch, ops...)
	r.batch = append(r.batch, group.Op{Key: keyGroups + gid, Class: group.Public})
	r.batch = append(r.batch, r.tickets.forget(gid)...)
	r.touched[gid] = true
	g.broken = fmt.Errorf("%w: %s", ErrNotFound, gid) // for later inputs of this round
	r.after(func() {
		delete(r.groups, gid)
		delete(r.topics, g.topic)
		r.sync.leave(g.topic)
		_ = r.c.Network.Leave(g.topic)
	})
	return nil
}

// marshalSignal frames a message of /dmls/signal/1:
//
//	struct { opaque topic<V>; opaque payload[]; } SignalMessage; // payload to the end
func marshalSignal(topic string, payload []byte) []byte {
	var w writer
	w.bytes([]byte(topic))
	w.raw(payload)
	return w.b
}

func parseSignal(b []byte) (topic string, payload []byte, err error) {
	r := reader{b: b}
	topic = string(r.bytes(maxTopic))
	if r.err != nil {
		return "", nil, r.err
	}
	return topic, r.b, nil
}
