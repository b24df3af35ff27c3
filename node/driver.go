package node

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// DriverConfig is what a [Driver] stands on. Timing and Keep may be zero.
type DriverConfig struct {
	Identity group.Identity
	Group    group.Config
	Store    Store
	Network  Network
	Sink     Sink
	Timing   Timing // zero: DefaultTiming
	Keep     Keep
}

// Driver is one device: its groups, the sync machine and the machine of
// tickets and joins. It has no goroutine and no clock and is not safe for
// concurrent use.
type Driver struct {
	c       DriverConfig
	engine  engines
	groups  map[string]*running // by id
	topics  map[string]*running
	sync    *syncMachine
	tickets *tickets
	joins   *joins
	ctx     context.Context // of the Do under way
}

// running is one group in memory.
type running struct {
	engine    engine
	topic     string
	wake      time.Time
	ignored   []ignored // blocks ignored at the door; published once they open
	published bool      // the outbox was published again since the start
	broken    error     // memory and disk differ: reload before use
	log       keptLog
}

// NewDriver loads the device's groups and tickets from the store. Nothing
// leaves the device before [Driver.Start].
func NewDriver(ctx context.Context, c DriverConfig) (*Driver, error) {
	return newDriver(ctx, c, groupEngines(c.Group, c.Identity))
}

func newDriver(ctx context.Context, c DriverConfig, e engines) (*Driver, error) {
	if c.Timing == (Timing{}) {
		c.Timing = DefaultTiming()
	}
	if err := c.Timing.Validate(); err != nil {
		return nil, err
	}
	if c.Keep.Events == 0 {
		c.Keep.Events = defaultEvents
	}
	if err := c.Keep.Validate(); err != nil {
		return nil, err
	}
	d := &Driver{c: c, engine: e, groups: map[string]*running{}, topics: map[string]*running{}}
	d.sync = newSync(c.Timing, d.sendSync, d.replica)
	for op, err := range c.Store.Load(ctx, keyGroups) {
		if err != nil {
			return nil, fmt.Errorf("node: list of groups: %w", err)
		}
		gid := strings.TrimPrefix(op.Key, keyGroups)
		g, log, err := d.load(ctx, gid)
		if err != nil {
			return nil, err
		}
		d.adopt(gid, g).log = log
	}
	if err := d.loadInvites(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Driver) loadInvites(ctx context.Context) (err error) {
	if d.tickets, err = loadTickets(ctx, d.c.Store); err != nil {
		return err
	}
	d.joins, err = loadJoins(ctx, d.c.Store, d.c.Timing)
	return err
}

func (d *Driver) load(ctx context.Context, gid string) (engine, keptLog, error) {
	var log keptLog
	records := d.c.Store.Load(ctx, group.Prefix(gid))
	if d.c.Keep.Events > 0 {
		records = log.listen(gid, records)
	}
	g, err := d.engine.load(gid, records)
	if err != nil {
		return nil, log, fmt.Errorf("node: group %s: %w", gid, err)
	}
	return g, log, nil
}

func (d *Driver) adopt(gid string, g engine) *running {
	r := &running{engine: g, topic: g.Topic()}
	d.groups[gid], d.topics[r.topic] = r, r
	return r
}

// Start joins the topics of all groups and makes their ticks due. A topic that
// cannot be joined is reported after all others were tried.
func (d *Driver) Start(env group.Env) error {
	var errs []error
	for _, gid := range d.Groups() {
		r := d.groups[gid]
		if err := d.c.Network.Join(r.topic, r.engine.PeerKey()); err != nil {
			errs = append(errs, fmt.Errorf("node: group %s: %w", gid, err))
			continue
		}
		r.wake = env.Now
	}
	return errors.Join(errs...)
}

// Groups lists the ids of the groups, sorted.
func (d *Driver) Groups() []string {
	ids := make([]string, 0, len(d.groups))
	for gid := range d.groups {
		ids = append(ids, gid)
	}
	sort.Strings(ids)
	return ids
}

// Status, View and Log return copies of what the engine says of a group.
func (d *Driver) Status(gid string) (group.Status, error) {
	r, err := d.running(gid)
	if err != nil {
		return group.Status{}, err
	}
	return r.engine.Status(), nil
}

// Standing is what Status says of state, head and parked frames, at a cost that
// does not grow with the members.
func (d *Driver) Standing(gid string) (group.Standing, error) {
	r, err := d.running(gid)
	if err != nil {
		return group.Standing{}, err
	}
	return r.engine.Standing(), nil
}

// View returns the group's DAG for drawing.
func (d *Driver) View(gid string) (group.View, error) {
	r, err := d.running(gid)
	if err != nil {
		return group.View{}, err
	}
	return r.engine.View(), nil
}

// Log returns the frames opened here in canonical order.
func (d *Driver) Log(gid string) ([]group.LogEntry, error) {
	r, err := d.running(gid)
	if err != nil {
		return nil, err
	}
	return r.engine.Log(), nil
}

// Records returns what the engine holds of a group in memory; see
// [group.Group.Records]. They are secrets.
func (d *Driver) Records(gid string) ([]group.Op, error) {
	r, err := d.running(gid)
	if err != nil {
		return nil, err
	}
	return r.engine.Records(), nil
}

// Held counts what the engine keeps of a group in memory; see [group.Group.Held].
func (d *Driver) Held(gid string) (group.Held, error) {
	r, err := d.running(gid)
	if err != nil {
		return group.Held{}, err
	}
	return r.engine.Held(), nil
}

// Lasting lists what a restart must bring back; see [group.Group.Lasting].
func (d *Driver) Lasting(gid string) ([]string, error) {
	r, err := d.running(gid)
	if err != nil {
		return nil, err
	}
	return r.engine.Lasting(), nil
}

func (d *Driver) running(gid string) (*running, error) {
	r := d.groups[gid]
	switch {
	case r == nil:
		return nil, fmt.Errorf("%w: %s", ErrNotFound, gid)
	case r.broken != nil:
		return nil, r.broken
	}
	return r, nil
}

// Wake says when the next [Tick] is useful; zero means not before another
// input.
func (d *Driver) Wake() time.Time {
	t := earlier(d.sync.wake(), d.joins.wake())
	t = earlier(t, d.tickets.wake())
	for _, r := range d.groups {
		t = earlier(t, r.wake)
	}
	return t
}

// earlier returns the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Do steps the inputs, writes what they change in one commit, and then acts on
// their outputs in order. There is one outcome for each input. If the commit
// fails, all of them fail, nothing has left the device, and the groups are
// loaded anew from the store.
func (d *Driver) Do(ctx context.Context, env group.Env, inputs ...Input) []Outcome {
	d.ctx = ctx
	outcomes := make([]Outcome, 0, len(inputs))
	for len(inputs) > 0 {
		n := min(len(inputs), MaxInputs)
		r := &round{Driver: d, env: env, touched: map[string]bool{}, fresh: map[string]bool{}}
		outcomes = append(outcomes, r.run(inputs[:n])...)
		inputs = inputs[n:]
	}
	return outcomes
}

// sendSync sends a message of the sync machine behind a proof that this device
// is of the group: who knows a topic's name alone is neither answered nor heard.
//
//	struct { opaque proof[32]; SyncMessage message; } // frame.Proof, from sender to receiver
func (d *Driver) sendSync(topic, peer string, message []byte) {
	if r := d.topics[topic]; r != nil {
		proof := r.engine.PeerKey().Prove(d.c.Network.Self(), peer)
		_ = d.c.Network.Send(peer, ProtocolSync, append(proof[:], message...)) // what is lost is asked for again
	}
}

// parseSync takes off and checks what sendSync puts in front.
func (d *Driver) parseSync(peer string, body []byte) (*syncMessage, *running, error) {
	if len(body) < frame.ProofLen {
		return nil, nil, fmt.Errorf("%w: sync message of %d bytes", ErrMalformed, len(body))
	}
	m, err := parseSyncMessage(body[frame.ProofLen:])
	if err != nil {
		return nil, nil, err
	}
	g := d.topics[m.topic]
	switch {
	case g == nil || g.broken != nil:
		return nil, nil, fmt.Errorf("%w: topic of a sync message", ErrNotFound)
	case !g.engine.PeerKey().Prove(peer, d.c.Network.Self()).Equal(frame.Proof(body)):
		return nil, nil, fmt.Errorf("%w: the peer does not prove that it is of the group", ErrMalformed)
	}
	return m, g, nil
}

// groupReplica is a group as the sync machine sees it.
type groupReplica struct {
	engine
	driver *Driver
}

// Block reads a block from the store.
func (g groupReplica) Block(c cid.Cid) ([]byte, error) {
	return g.driver.c.Store.Get(g.driver.ctx, group.BlockKey(g.ID(), c))
}

func (d *Driver) replica(topic string) replica {
	if r := d.topics[topic]; r != nil && r.broken == nil {
		return groupReplica{r.engine, d}
	}
	return nil
}
