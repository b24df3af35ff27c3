package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/group"
)

// round is one Do of a Driver: what its inputs make of the groups in memory is
// gathered, committed, and then acted on.
type round struct {
	*Driver
	env      group.Env
	outcomes []Outcome
	batch    []group.Op
	acts     []func()         // after the commit, in order
	touched  map[string]bool  // groups stepped: memory is ahead of the disk
	fresh    map[string]bool  // groups that the store does not know yet
	replaced []*running       // earlier stays in groups joined again
	begun    []Ticket         // attempts to join that it does not know yet
	broken   map[string]error // groups whose engine gave up
}

// ignored is a block that gossip was told to ignore because it did not open
// then.
type ignored struct {
	cid  cid.Cid
	till time.Time
}

// Bounds of what is published again once it opens. Gossip forgets a block
// that it has seen after two minutes, and sync carries it in any case.
const (
	maxIgnored  = 1024
	ignoredLife = 2 * time.Minute
)

func (r *round) run(inputs []Input) []Outcome {
	r.outcomes = make([]Outcome, len(inputs))
	ctx := r.ctx
	for i, in := range inputs {
		if err := r.ctx.Err(); err != nil { // what was stepped counts, the rest has time no more
			ctx = context.WithoutCancel(r.ctx)
			r.outcomes[i] = Outcome{Err: fmt.Errorf("node: %w", err)}
			continue
		}
		r.outcomes[i] = r.input(in)
	}
	if len(r.batch) > 0 {
		err := r.c.Store.Commit(ctx, r.batch)
		r.wipeBatch()
		if err != nil {
			return r.rollback(fmt.Errorf("node: store: %w", err))
		}
	}
	for _, act := range r.acts {
		act()
	}
	for _, gid := range sortedKeys(r.touched) {
		r.publishOpened(gid)
	}
	for _, gid := range sortedKeys(r.broken) {
		r.reload(gid)
	}
	return r.outcomes
}

// wipeBatch forgets the secrets in the batch, which are copies.
func (r *round) wipeBatch() {
	for _, op := range r.batch {
		if op.Class == group.Secret {
			clear(op.Value)
		}
	}
}

// rollback makes memory what the store says. Nothing has left the device.
func (r *round) rollback(err error) []Outcome {
	for i := range r.outcomes {
		if r.outcomes[i].Err == nil {
			r.outcomes[i] = Outcome{Err: err, Group: r.outcomes[i].Group}
		}
	}
	for _, gid := range sortedKeys(r.touched) {
		if g := r.groups[gid]; r.fresh[gid] {
			delete(r.topics, g.topic)
			delete(r.groups, gid)
		} else {
			r.reload(gid)
		}
	}
	for _, g := range r.replaced {
		r.groups[g.engine.ID()], r.topics[g.topic] = g, g
	}
	for _, t := range r.begun {
		delete(r.joins.byID, t.ID())
	}
	// Tickets were marked as used in memory. If they cannot be read, the old
	// ones stay: a ticket too few is a nuisance, one used twice is not.
	if t, err := loadTickets(context.WithoutCancel(r.ctx), r.c.Store); err == nil {
		r.tickets = t
	}
	// One that cannot be read is kept longer, until the next start.
	_ = r.joins.load(context.WithoutCancel(r.ctx), r.c.Store)
	return r.outcomes
}

// reload drops a group from memory and loads it from the store. If that fails
// the group refuses work and a Tick tries again.
func (r *round) reload(gid string) {
	g := r.groups[gid]
	if g == nil {
		return
	}
	e, log, err := r.load(context.WithoutCancel(r.ctx), gid)
	if err != nil {
		g.broken, g.wake = err, r.env.Now.Add(reloadPause)
		return
	}
	g.engine, g.broken, g.wake, g.log = e, nil, r.env.Now, log
}

const reloadPause = time.Second

// input takes one input. What it returns is final unless the commit fails.
func (r *round) input(in Input) Outcome {
	switch in := in.(type) {
	case Step:
		return r.stepOf(in)
	case Deliver:
		return r.deliver(in)
	case Message:
		results, err := r.message(in)
		return Outcome{Err: err, Results: results}
	case PeerJoin:
		r.after(func() { r.peerJoin(in) })
	case PeerLeave:
		r.after(func() { r.sync.peerLeave(r.env.Now, in.Topic, in.Peer) })
	case Announce:
		c, err := parseCID(in.CID)
		if err != nil {
			return Outcome{Err: err}
		}
		r.after(func() {
			r.sync.announced(r.env.Now, in.Topic, in.Peer, c)
			r.sync.tick(r.env.Now)
		})
	case Create:
		return r.create(in)
	case Invite:
		return r.invite(in)
	case Join:
		return r.join(in)
	case StopJoin:
		delete(r.joins.byID, in.Ticket.ID())
	case Forget:
		return Outcome{Group: in.Group, Err: r.forget(in.Group)}
	case Tick:
		return Outcome{Err: r.tick()}
	default:
		return Outcome{Err: fmt.Errorf("node: unknown input %T", in)}
	}
	return Outcome{}
}

func (r *round) after(act func()) { r.acts = append(r.acts, act) }

func (r *round) peerJoin(in PeerJoin) {
	r.sync.peerJoin(r.env.Now, in.Topic, in.Peer)
	r.sync.tick(r.env.Now)
	if g := r.topics[in.Topic]; g != nil && !g.published {
		g.published = true
		r.publishOutbox(g)
	}
}

// publishOutbox hands to gossip what may never have left the device before it
// was started. It is a hint like all of gossip: sync carries what gets lost.
func (r *round) publishOutbox(g *running) {
	for _, c := range g.engine.Unsent() {
		if block, err := r.c.Store.Get(r.ctx, group.BlockKey(g.engine.ID(), c)); err == nil {
			_ = r.c.Network.Publish(g.topic, block)
		}
	}
}

// publishOpened publishes blocks that were ignored at the door and have opened
// since, so that gossip goes on from here.
func (r *round) publishOpened(gid string) {
	g := r.groups[gid]
	if g == nil || g.broken != nil {
		return
	}
	kept := g.ignored[:0]
	for _, b := range g.ignored {
		if !g.engine.Has(b.cid) {
			if b.till.After(r.env.Now) {
				kept = append(kept, b)
			}
			continue
		}
		if block, err := r.c.Store.Get(r.ctx, group.BlockKey(gid, b.cid)); err == nil {
			_ = r.c.Network.Publish(g.topic, block)
		}
	}
	g.ignored = kept
}

func (r *round) stepOf(in Step) Outcome {
	g, err := r.running(in.Group)
	if err != nil {
		return Outcome{Group: in.Group, Err: err}
	}
	out, err := r.step(in.Group, g, in.In, "")
	return Outcome{Group: in.Group, Err: err, Sent: out.Sent, Results: out.Results}
}

// step gives an input to a group and gathers its output. from is the peer that
// is behind the input, if any.
func (r *round) step(gid string, g *running, in group.Input, from string) (group.Output, error) {
	out, err := g.engine.Step(r.env, in)
	if err != nil {
		if errors.Is(err, group.ErrInternal) {
			// What its memory holds now is not to be relied on.
			g.broken = err
			if r.broken == nil {
				r.broken = map[string]error{}
			}
			r.broken[gid] = err
		}
		return group.Output{}, err
	}
	r.gather(gid, g, out, from)
	return out, nil
}

// gather puts the output's batch into the round's and plans the rest of it, in
// the order of its fields.
func (r *round) gather(gid string, g *running, out group.Output, from string) {
	r.touched[gid] = true
	r.batch = append(r.batch, out.Batch...)
	if r.c.Keep.Events > 0 {
		g.log.note(out.Events)
	}
	r.after(func() {
		for _, b := range out.Publish {
			_ = r.c.Network.Publish(g.topic, b.Data)
		}
		if len(out.Publish) > 0 {
			r.sync.published(r.env.Now, g.topic)
		}
		for _, s := range out.Signals {
			r.signal(g.topic, s)
		}
		if len(out.Events) > 0 {
			r.c.Sink.Events(gid, out.Events)
		}
		if len(out.Want) > 0 {
			r.sync.want(r.env.Now, g.topic, from, out.Want)
		}
		g.wake = out.Wake
	})
}

func (r *round) signal(topic string, s group.Signal) {
	peers := []string{s.To}
	if s.To == "" {
		peers = r.c.Network.Peers(topic)
	}
	m := marshalSignal(topic, s.Payload)
	for _, p := range peers {
		_ = r.c.Network.Send(p, ProtocolSignal, m)
	}
}

func (r *round) deliver(in Deliver) Outcome {
	g := r.topics[in.Topic]
	if g == nil {
		return Outcome{Err: fmt.Errorf("%w: topic of a block", ErrNotFound)}
	}
	gid := g.engine.ID()
	if g.broken != nil {
		return Outcome{Group: gid, Err: g.broken}
	}
	out, err := r.step(gid, g, group.Receive{Blocks: [][]byte{in.Block}, From: in.From}, in.From)
	for _, res := range out.Results {
		if res.Verdict == group.Buffered && len(g.ignored) < maxIgnored {
			g.ignored = append(g.ignored, ignored{res.CID, r.env.Now.Add(ignoredLife)})
		}
	}
	return Outcome{Group: gid, Err: err, Results: out.Results}
}

// tick steps the groups that are due and both machines.
func (r *round) tick() error {
	now := r.env.Now
	var errs []error
	for _, gid := range r.Groups() {
		g := r.groups[gid]
		if err := r.compactDue(now, gid, g); err != nil {
			errs = append(errs, err)
		}
		if g.wake.IsZero() || g.wake.After(now) {
			continue
		}
		if g.broken != nil {
			r.reload(gid)
			continue
		}
		g.wake = time.Time{}
		if _, err := r.step(gid, g, group.Tick{}, ""); err != nil {
			errs = append(errs, fmt.Errorf("node: group %s: %w", gid, err)) // which is loaded anew
		}
	}
	r.batch = append(r.batch, r.tickets.expire(now)...)
	expired, given := r.joins.expire(now)
	r.batch = append(r.batch, expired...)
	r.after(func() {
		for _, t := range given {
			r.c.Sink.Joined(t, "", ErrTicketExpired)
		}
		r.joins.tick(now, r.c.Network.Send)
		r.sync.tick(now)
	})
	return errors.Join(errs...)
}
