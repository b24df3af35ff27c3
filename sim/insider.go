package sim

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
	"github.com/dmlsd/dmls/node"
)

// insider is a device in bad hands: a thief of it who writes as well. It hears
// and reaches everybody, also across partitions; it has everything that the
// device had, the key that signs too, and no engine that would hold it back.
type insider struct {
	r      *run
	d      *device
	thief  *thief
	rand   io.Reader
	topic  string
	next   uint64 // seq and prev of the next frame; an adversary may set them
	prev   cid.Cid
	rolled bool // the key that a commit is sealed with stays, for a sibling
	tries  int  // commits to choose the greatest confirmation tag from; 0: 1
	swift  bool // what it sends arrives before all else

	self   incarnation
	signer mls.Signer
	own    map[string]*mls.Epoch // of a puppet, which no thief has
	staged *mls.StagedCommit     // the last that it made

	answered int // blocks that it gave to those who asked
}

// seize takes a device over: its engine is dead from now on.
func (r *run) seize(d *device) *insider {
	l, err := r.steal(d)
	if err != nil {
		r.fail(err)
		return nil
	}
	t, err := r.newThief(false, l)
	if err != nil {
		r.fail(err)
		return nil
	}
	in := &insider{r: r, d: d, thief: t, rand: stream(r.Seed, "insider "+d.name), topic: t.gossip.Topic(),
		self: incarnation(d.incarnation()), signer: d.id.Signer}
	var st struct {
		Next uint64
		Prev string
	}
	if err := json.Unmarshal(l.records[group.Prefix(l.gid)+"state"].Value, &st); err != nil {
		r.fail(fmt.Errorf("sim: %s: %w", d.name, err))
		return nil
	}
	in.next = st.Next
	if in.prev, err = cid.Decode(st.Prev); err != nil {
		r.fail(fmt.Errorf("sim: %s: %w", d.name, err))
		return nil
	}
	r.history.line(r.now, d.name, "is in bad hands")
	d.driver, d.inbox, d.fuse, d.dead = nil, nil, 0, false
	d.life++
	d.insider = in
	return in
}

// listen takes in what was sent since.
func (in *insider) listen() {
	in.thief.listen(in.r.world)
	if err := in.thief.fault; err != nil {
		in.r.fail(err)
	}
}

// epoch is the best that it has of an epoch; nil if nothing.
func (in *insider) epoch(at string) *mls.Epoch {
	if in.own != nil {
		return in.own[at]
	}
	for _, state := range []string{"", "fresh"} {
		if e := in.thief.epochs[view{0, at, state}]; e != nil {
			return e
		}
	}
	return nil
}

// epochs lists what it has keys of, the oldest first.
func (in *insider) epochs() []string {
	out := sortedKeys(in.thief.spoils.epochs)
	slices.SortStableFunc(out, func(a, b string) int { return int(int64(in.epoch(a).Number()) - int64(in.epoch(b).Number())) })
	return out
}

// honest lists the devices that are in nobody's hands, their engines running.
func (in *insider) honest() []*device {
	var out []*device
	for _, d := range in.r.devices {
		if d.attack == nil && d.driver != nil && d.joined {
			out = append(out, d)
		}
	}
	return out
}

// head is the honest members' head that it can write in; the first of them by
// number decides. Empty: none.
func (in *insider) head() string {
	in.listen()
	for _, d := range in.honest() {
		if st, ok := d.status(); ok && st.State == "member" && in.epoch(st.Head) != nil {
			return st.Head
		}
	}
	return ""
}

// links are those of an honest frame in an epoch.
func (in *insider) links(at string, e *mls.Epoch, t mls.ContentType) frame.Links {
	c, err := cid.Decode(at)
	if err != nil {
		in.r.fail(fmt.Errorf("sim: %w", err))
	}
	return frame.Links{Leaf: in.self.leaf(), Joined: in.self.joined(), Seq: in.next, Prev: in.prev, Parent: c, Generation: e.NextGeneration(t)}
}

func (in *insider) env() mls.Env { return mls.Env{Now: in.r.now, Rand: in.rand} }

// commit makes a commit in an epoch and its child, and moves the own chain on.
// bend, if set, changes the links.
func (in *insider) commit(at string, req mls.CommitRequest, bend func(*frame.Links)) (b frame.Block, child string) {
	e := in.epoch(at)
	l := in.links(at, e, mls.ContentTypeCommit)
	if bend != nil {
		bend(&l)
	}
	req.AuthenticatedData = l.Marshal()
	var staged *mls.StagedCommit
	for range max(1, in.tries) {
		c, err := e.Commit(req, in.signer, in.env())
		if err != nil {
			in.r.fail(fmt.Errorf("sim: %s: %w", in.d.name, err))
			return frame.Block{}, ""
		}
		if staged == nil || bytes.Compare(c.ConfirmationTag, staged.ConfirmationTag) > 0 {
			staged = c
		}
	}
	b = in.seal(staged.Message, e)
	if !in.rolled {
		if err := e.Apply(staged.Delta); err != nil {
			in.r.fail(fmt.Errorf("sim: %s: %w", in.d.name, err))
		}
	}
	child = b.CID.String()
	in.enter(child, staged.Child)
	in.next, in.prev, in.staged = l.Seq+1, b.CID, staged
	return b, child
}

// enter keeps an epoch that it made.
func (in *insider) enter(at string, e *mls.Epoch) {
	if in.own != nil {
		in.own[at] = e
		return
	}
	in.thief.derived(view{0, at, "fresh"}, e)
}

// ackKind is that of an empty frame (package group).
const ackKind uint8 = 2

// ack sends an empty frame, which stands in an epoch, to all.
func (in *insider) ack(at string) {
	e := in.epoch(at)
	l := in.links(at, e, mls.ContentTypeApplication)
	data := binary.BigEndian.AppendUint32(append(in.bytes(16), ackKind), 0)
	msg, delta, err := e.Protect(data, l.Marshal(), in.signer, in.env())
	if err == nil {
		err = e.Apply(delta)
	}
	if err != nil {
		in.r.fail(fmt.Errorf("sim: %s: %w", in.d.name, err))
		return
	}
	b := in.seal(msg, e)
	in.next, in.prev = l.Seq+1, b.CID
	in.send(b)
}

func (in *insider) seal(message []byte, e *mls.Epoch) frame.Block {
	f, err := frame.New(message, e.ID())
	if err != nil {
		in.r.fail(fmt.Errorf("sim: %s: %w", in.d.name, err))
		return frame.Block{}
	}
	return in.thief.gossip.Seal(f.Marshal())
}

// send hands a block to devices; to all honest ones if none are named.
func (in *insider) send(b frame.Block, to ...*device) {
	if b.Data == nil || in.r.err != nil {
		return
	}
	in.r.tap(b.Data, in.d, true)
	if len(to) == 0 {
		to = in.honest()
	}
	in.r.assaults++
	in.r.history.line(in.r.now, in.d.name, fmt.Sprintf("sends %s to %d", tail(b.CID.String()), len(to)))
	for _, o := range to {
		in.carry(o, node.Deliver{Topic: in.topic, From: in.d.name, Block: b.Data})
	}
}

// carry brings an input to a device, whatever separates the two.
func (in *insider) carry(o *device, what node.Input) {
	life, way := o.life, time.Duration(0)
	if !in.swift {
		way = in.r.latency()
	}
	in.r.after(way, func() {
		if o.life == life && o.driver != nil {
			o.take(what)
		}
	})
}

// signal hands a signed object outside the frames to a device.
func (in *insider) signal(o *device, payload []byte) {
	body := binary.BigEndian.AppendUint32(nil, uint32(len(in.topic)))
	in.play(o, append(append(body, in.topic...), in.thief.gossip.SealSignal(payload)...))
}

// play hands over the body of a signal, its own or another's.
func (in *insider) play(o *device, body []byte) {
	in.r.assaults++
	in.carry(o, node.Message{Peer: in.d.name, Protocol: node.ProtocolSignal, Body: body})
}

// bytes draws some.
func (in *insider) bytes(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(in.rand, b); err != nil {
		in.r.fail(err)
	}
	return b
}

// parentOf finds where a commit was sent; empty if it was not heard.
func (in *insider) parentOf(c string) string {
	for _, at := range sortedKeys(in.thief.frames) {
		if slices.ContainsFunc(in.thief.frames[at], func(f sealed) bool { return f.cid == c }) {
			return at
		}
	}
	return ""
}

// above is the head's parent or, where it has no keys of that, the head.
func (in *insider) above() string {
	head := in.head()
	if at := in.parentOf(head); in.epoch(at) != nil {
		return at
	}
	return head
}

// beside is the latest epoch that it has keys of which is neither above another nor
// its child; empty: none.
func (in *insider) beside(of string) string {
	above := map[string]bool{}
	for at := of; at != ""; at = in.parentOf(at) {
		above[at] = true
	}
	for _, at := range slices.Backward(in.epochs()) {
		if !above[at] && in.parentOf(at) != of {
			return at
		}
	}
	return ""
}

// junk is a frame of a later epoch that nobody has ever heard of, made with
// the gossip key alone.
func (in *insider) junk(size int) frame.Block {
	e := in.epoch(in.epochs()[0])
	l := frame.Links{Seq: 1 << 20, Prev: frame.CIDOf(in.bytes(32)), Parent: frame.CIDOf(in.bytes(32))}
	m := []byte{0, 1, 0, 2}
	m = quicVector(m, e.GroupID())
	m = binary.BigEndian.AppendUint64(m, e.Number()+1000)
	m = append(m, frame.Application)
	m = quicVector(m, l.Marshal())
	m = quicVector(m, in.bytes(28))
	m = quicVector(m, in.bytes(size))
	return in.seal(m, e)
}

// quicVector appends a vector as RFC 9420, section 2.1.2, encodes it.
func quicVector(to, v []byte) []byte {
	if len(v) < 64 {
		return append(append(to, byte(len(v))), v...)
	}
	return append(binary.BigEndian.AppendUint16(to, uint16(len(v))|0x4000), v...)
}

// incarnation is the stay of a device in the group, as its disk has it.
func (d *device) incarnation() []byte {
	var st struct{ Self []byte }
	if err := json.Unmarshal(d.store.read(group.Prefix(d.world.gid)+"state"), &st); err != nil {
		d.world.fail(fmt.Errorf("sim: %s: %w", d.name, err))
	}
	return st.Self
}

// every lets an adversary act again and again until its time is over.
func (in *insider) every(a Adversary, f func(round int)) {
	pause := Span(a.With["every"] * 1e9)
	for round := range int(a.With["rounds"]) {
		at := a.From + Span(round)*pause
		if a.Until > 0 && at >= a.Until {
			return
		}
		in.r.at(in.r.moment(at), func() {
			if in.r.err == nil {
				f(round)
			}
		})
	}
}
