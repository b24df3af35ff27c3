package sim

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
	"github.com/dmlsd/dmls/node"
)

// device is one simulated device: a driver over a disk, or a disk alone while
// it is down.
type device struct {
	name   string
	number int
	world  *world
	id     group.Identity
	rand   io.Reader // for its cryptography
	store  *Store
	driver *node.Driver // nil while down
	life   int          // number of its present life

	near    []*device // neighbours, in the order of numbers
	island  int
	topics  map[string]bool
	relays  bool          // blocks are handed on
	seen    []uint64      // then, a bit for each that gossip had, by number
	skew    time.Duration // of its clock
	attack  attack        // nil: honest
	insider *insider      // in whose hands it is, once it was seized
	hook    hooks
	got     int           // bytes
	inbox   []node.Input  // arrived, not stepped yet
	wakeAt  time.Time     // tick scheduled
	fuse    int           // acts on the network until it dies amid them; 0: none
	dead    bool          // it has died in the Do under way
	down    time.Duration // how long it is down when it dies next; zero: drawn

	founding *mls.KeyPackageBundle // while the group is founded at once
	ticket   *node.Ticket          // in use, while it joins
	host     *device               // who invited it; nil for the creator
	joined   bool
	asked    *answer           // what status says; nil: it is to be asked
	opened   []group.LogEntry  // what logged says; likewise
	shown    []telling         // what its user was told
	wrong    []string          // verdicts that no honest frame deserves, and broken invariants
	commits  map[string]string // its records of commits, by CID, also those it dropped
	most     []int             // that its engine held of what limits bounds
	disk     string            // how its disk differed from its memory once; empty: never
}

// telling is an event that a user was told, and when by the world's clock.
type telling struct {
	group.Event
	at time.Time
}

func newDevice(w *world, number int) (*device, error) {
	name := fmt.Sprintf("n%02d", number)
	r := stream(w.Seed, "device "+name)
	seed := make([]byte, 32)
	if _, err := io.ReadFull(r, seed); err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	signer, err := mls.NewEd25519Signer(seed)
	if err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	d := &device{
		name: name, number: number, world: w, rand: r, id: group.Identity{Name: name, Signer: signer},
		store: newStore(w.shelf), topics: map[string]bool{}, commits: map[string]string{},
	}
	d.store.witness = d.witness
	return d, nil
}

func (d *device) key() string { return hex.EncodeToString(d.id.ID()) }

func (d *device) env() group.Env {
	return group.Env{Now: d.world.now.Add(d.skew), Rand: d.rand, Once: d.world.once}
}

// boot starts a life of the device on its disk.
func (d *device) boot() error {
	d.life++
	d.world.noteLife(d, true)
	driver, err := node.NewDriver(context.Background(), node.DriverConfig{
		Identity: d.id, Group: d.world.engine, Store: d.store, Network: &port{d}, Sink: (*sink)(d), Timing: d.world.timing(), Keep: node.Keep{Events: -1},
	})
	if err != nil {
		return fmt.Errorf("sim: %s: %w", d.name, err)
	}
	d.driver, d.asked, d.opened = driver, nil, nil
	if err := driver.Start(d.env()); err != nil {
		return fmt.Errorf("sim: %s: %w", d.name, err)
	}
	d.joined = d.joined || len(driver.Groups()) > 0 // it died between its disk and its user
	if d.ticket != nil && !d.joined {
		d.do(node.Join{Ticket: *d.ticket, Peer: d.host.name}) // the user asks again
	}
	d.schedule()
	return nil
}

// timing has the sync machine repeat itself sooner than on a real network,
// since a run is a few virtual minutes.
func (w *world) timing() node.Timing {
	t := node.DefaultTiming()
	t.Interval, t.Timeout = 4*time.Second, 2*time.Second
	set((*Span)(&t.Interval), w.Network.Sync)
	set(&t.Fanout, w.Network.Fanout)
	return t
}

// busy is the most that a device takes before it looks at what has arrived.
// What arrives meanwhile is stepped together, in one batch.
const busy = 3 * time.Millisecond

// take lets an input arrive from the network.
func (d *device) take(in node.Input) {
	if d.insider != nil {
		d.insider.hears(in)
		return
	}
	if b, ok := in.(node.Deliver); ok && d.hasSeen(b.Block) {
		return
	}
	waiting := len(d.inbox) > 0
	if d.hook.in != nil {
		d.inbox = append(d.inbox, d.hook.in(in)...)
	} else {
		d.inbox = append(d.inbox, in)
	}
	if waiting || len(d.inbox) == 0 {
		return
	}
	life := d.life
	d.world.after(time.Duration(d.world.net.Int64N(int64(busy))), func() {
		if d.life == life {
			d.do()
		}
	})
}

// do steps what has arrived and the inputs of the device's user, whose
// outcomes it returns: none if the device is down or dies in the act.
func (d *device) do(in ...node.Input) []node.Outcome {
	all := append(d.inbox, in...)
	d.inbox = nil
	if d.driver == nil || len(all) == 0 {
		return nil
	}
	d.asked, d.opened = nil, nil
	out := d.driver.Do(context.Background(), d.env(), all...)
	d.asked, d.opened = nil, nil
	if d.dead || d.store.closed {
		d.world.crash(d, "amid its work")
		return nil
	}
	d.weigh()
	for i, o := range out {
		d.observe(o)
		d.relay(all[i], o)
	}
	d.schedule()
	return out[len(out)-len(in):]
}

// observe notes verdicts that say that somebody did wrong, which nobody does
// here, and broken invariants.
func (d *device) observe(o node.Outcome) {
	note := func(what string) {
		d.wrong = append(d.wrong, what)
		d.world.history.line(d.world.now, d.name, what)
	}
	if errors.Is(o.Err, group.ErrInternal) {
		note(o.Err.Error())
	}
	for _, r := range o.Results {
		switch r.Verdict {
		case group.Rejected, group.Unopenable, group.Spent:
			if b, sent := d.world.captured[r.CID.String()]; len(d.world.Adversaries) > 0 && (b.forged || !sent || r.Verdict == group.Unopenable) {
				continue // that is what adversaries are refused for
			}
			note(fmt.Sprintf("refused frame %s: %v", tail(r.CID.String()), r.Reason))
		}
	}
}

// schedule sets the device's next tick.
func (d *device) schedule() {
	if d.driver == nil {
		return
	}
	at := d.driver.Wake()
	if at.IsZero() {
		return
	}
	if at = at.Add(-d.skew); at.Equal(d.wakeAt) {
		return
	}
	if at.Before(d.world.now) {
		at = d.world.now
	}
	d.wakeAt = at
	life := d.life
	d.world.at(at, func() {
		if d.life == life && d.wakeAt.Equal(at) {
			d.wakeAt = time.Time{}
			d.do(node.Tick{})
		}
	})
}

// step is the device's user asking the group for something. It reports
// whether that was done and acknowledged.
func (d *device) step(in group.Input) bool {
	out := d.do(node.Step{Group: d.world.gid, In: in})
	return len(out) == 1 && out[0].Err == nil
}

// state is member, stranded and so on; empty while the device is down.
func (d *device) state() string { return d.stands().State }

// stands is the part of the status that is asked often.
func (d *device) stands() (s group.Standing) {
	if d.driver != nil {
		s, _ = d.driver.Standing(d.world.gid) // empty if it is not in the group
	}
	return s
}

// status is what the driver says of the group, asked once between two steps.
func (d *device) status() (group.Status, bool) {
	if d.driver == nil {
		return group.Status{}, false
	}
	if d.asked == nil {
		st, err := d.driver.Status(d.world.gid)
		st.Members = d.world.sameMembers(st.Members)
		d.asked = &answer{st, err == nil}
	}
	return d.asked.Status, d.asked.ok
}

// answer is what status said, but for what only the device itself says of the
// members.
type answer struct {
	group.Status
	ok bool
}

// sameMembers returns one slice for equal ones: a thousand devices name the same
// thousand members.
func (w *world) sameMembers(ms []group.Member) []group.Member {
	for i := range ms {
		ms[i].Self, ms[i].Stands = false, ""
	}
	if !slices.Equal(ms, w.roster) {
		w.roster = ms
	}
	return w.roster
}

// logged lists the frames that the device has opened, in canonical order. It must
// be up.
func (d *device) logged() ([]group.LogEntry, error) {
	if d.opened == nil {
		entries, err := d.driver.Log(d.world.gid)
		if err != nil {
			return nil, err
		}
		if last := d.world.entries; slices.EqualFunc(entries, last, sameEntry) {
			entries = last // kept once
		}
		d.opened, d.world.entries = entries, entries
	}
	return d.opened, nil
}

func sameEntry(a, b group.LogEntry) bool {
	actions := slices.Equal(a.Actions, b.Actions)
	a.Actions, b.Actions = nil, nil
	return actions && a.CID == b.CID && a.Kind == b.Kind && a.From == b.From && a.Name == b.Name && a.Epoch == b.Epoch &&
		a.Parent == b.Parent && a.Seq == b.Seq && a.About == b.About
}

// log is the device's event log as its disk has it.
func (d *device) log() ([]group.Event, error) {
	var out []group.Event
	for op, err := range d.store.Load(context.Background(), group.EventPrefix(d.world.gid)) {
		if err != nil {
			return nil, err
		}
		e, err := group.DecodeEvent(op.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// loaded is what the device would be if it started now on its disk. It must not
// be stepped.
func (d *device) loaded() (*node.Driver, error) {
	return node.NewDriver(context.Background(), node.DriverConfig{
		Identity: d.id, Group: d.world.engine, Store: &Store{disk: d.store.disk}, Network: &port{d}, Sink: (*sink)(d), Timing: d.world.timing(), Keep: node.Keep{Events: -1},
	})
}

// crash ends the device's life. It restarts when it was told to, or some
// seconds later.
func (w *world) crash(d *device, how string) {
	w.history.line(w.now, d.name, "crash "+how)
	d.driver, d.inbox, d.wakeAt, d.fuse, d.dead = nil, nil, time.Time{}, 0, false
	d.life++
	w.deaths++
	w.noteLife(d, false)
	w.vanish(d)
	down := time.Duration(1+w.faults.IntN(4000)) * time.Millisecond
	if d.down > 0 {
		down, d.down = d.down, 0
	}
	w.after(down, func() {
		d.store = d.store.reopen()
		w.history.line(w.now, d.name, "restart")
		if err := d.boot(); err != nil {
			w.fail(err)
		}
	})
}

// sink takes what a driver tells the device's user.
type sink device

func (s *sink) Events(_ string, events []group.Event) {
	if s.dead {
		return
	}
	w := s.world
	for _, e := range events {
		s.shown = append(s.shown, telling{e, w.now})
		w.history.event(w.now, s.name, e)
		if w.meter != nil {
			w.meter.event((*device)(s), e)
		}
		switch {
		case e.Kind == group.KindCommit && e.Mine:
			w.credit(s.number)
		case e.Kind == group.KindReadable: // what was said there is on its way
			w.late = w.now
		case e.Kind == group.KindResent && w.said[e.Text] != nil:
			st, _ := (*device)(s).status()
			w.said[e.Text].again = true
			w.said[e.Text].readBy(st.Members)
		}
	}
}

func (s *sink) Joined(t node.Ticket, gid string, err error) {
	w := s.world
	switch {
	case s.dead:
	case err != nil:
		s.ticket = nil
		w.history.line(w.now, s.name, "could not join: "+err.Error())
	default:
		s.joined = true
		w.history.line(w.now, s.name, "joined "+gid)
	}
}

// credit counts a commit for the device's side of each partition that lasts.
func (w *world) credit(device int) {
	for i := range w.Partitions {
		if p := &w.Partitions[i]; !w.start.IsZero() && !w.now.Before(w.moment(p.At)) && w.now.Before(w.moment(p.Until)) {
			w.commits[side{i, p.island(device)}]++
		}
	}
}
