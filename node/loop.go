package node

import (
	"context"
	"fmt"
	"time"

	"github.com/dmlsd/dmls/group"
)

// loop is the only goroutine that touches the Driver.
func (n *Node) loop() {
	defer close(n.loopDone)
	timer := time.NewTimer(0)
	defer timer.Stop()
	addresses := time.NewTicker(addressPause)
	defer addresses.Stop()
	var ticked time.Time
	for {
		select {
		case <-addresses.C:
			if err := n.rememberAddresses(n.life); err != nil {
				n.c.Logger.Warn("addresses not stored", "err", err)
			}
		case <-n.box.ready:
			tasks, open := n.box.take(MaxInputs)
			n.perform(tasks)
			if !open {
				return
			}
		case <-timer.C:
			n.do([]Input{Tick{}})
			ticked = time.Now()
		}
		n.setTimer(timer, ticked)
	}
}

// addressPause is how old remembered addresses are after a crash, at most.
const addressPause = 5 * time.Second

// Bounds of the pause between two ticks: short ones would spin when work stays
// due, and a clock that was set back must not stop the node for good.
const (
	minPause = 5 * time.Millisecond
	maxPause = 30 * time.Second
)

// setTimer sets the time of the next tick. The pause counts from the last one
// and not from the last input, or a device that is never idle would never tick.
func (n *Node) setTimer(timer *time.Timer, ticked time.Time) {
	pause := maxPause
	if at := n.driver.Wake(); !at.IsZero() {
		pause = min(max(at.Sub(n.c.Now()), minPause-time.Since(ticked)), maxPause)
	}
	timer.Reset(pause)
}

// perform does tasks in their order: inputs that stand together in one round
// of the Driver, looks between them.
func (n *Node) perform(tasks []task) {
	for len(tasks) > 0 {
		k := 0
		for k < len(tasks) && tasks[k].look == nil {
			k++
		}
		n.performInputs(tasks[:k])
		if k < len(tasks) {
			tasks[k].look(n.driver)
			tasks[k].reply <- Outcome{}
			k++
		}
		tasks = tasks[k:]
	}
}

func (n *Node) performInputs(tasks []task) {
	inputs := make([]Input, 0, len(tasks))
	waiting := make([]chan Outcome, 0, len(tasks))
	for _, t := range tasks {
		// A caller who has gone does not want it any more. What is begun is
		// finished, whoever goes.
		if t.ctx != nil && t.ctx.Err() != nil {
			continue
		}
		inputs, waiting = append(inputs, t.in), append(waiting, t.reply)
	}
	if len(inputs) == 0 {
		return
	}
	for i, o := range n.do(inputs) {
		if waiting[i] != nil {
			waiting[i] <- o
		}
	}
}

func (n *Node) do(inputs []Input) []Outcome {
	outcomes := n.driver.Do(n.life, n.env(), inputs...)
	for i, o := range outcomes {
		if o.Err != nil {
			n.c.Logger.Debug("input failed", "input", fmt.Sprintf("%T", inputs[i]), "group", o.Group, "err", o.Err)
		}
	}
	return outcomes
}

// call hands an input to the loop and waits for its outcome.
func (n *Node) call(ctx context.Context, in Input) (Outcome, error) {
	o, err := n.wait(ctx, task{ctx: ctx, in: in})
	if err == nil {
		err = o.Err
	}
	return o, err
}

// look runs f between two rounds of the Driver and waits for its end. f must
// not keep the Driver.
func (n *Node) look(f func(*Driver)) error {
	ctx := context.Background()
	_, err := n.wait(ctx, task{ctx: ctx, look: f})
	return err
}

func (n *Node) wait(ctx context.Context, t task) (Outcome, error) {
	t.reply = make(chan Outcome, 1)
	if err := ctx.Err(); err != nil {
		return Outcome{}, fmt.Errorf("node: %w", err)
	}
	if !n.box.call(t) {
		return Outcome{}, ErrClosed
	}
	select {
	case o := <-t.reply:
		return o, nil
	case <-ctx.Done():
		return Outcome{}, fmt.Errorf("node: %w", ctx.Err())
	case <-n.loopDone:
	}
	select { // the loop's last work may have been this
	case o := <-t.reply:
		return o, nil
	default:
		return Outcome{}, ErrClosed
	}
}

// verdictWait is how long gossip waits for the engine's word on a block.
const verdictWait = time.Second

// Check is the door: it implements [Handler].
func (n *Node) Check(ctx context.Context, topic, from string, block []byte) int {
	reply := make(chan Outcome, 1)
	in := Deliver{Topic: topic, From: from, Block: append([]byte(nil), block...)}
	if !n.box.arrive(task{in: in, reply: reply}) {
		return Ignore
	}
	patience := time.NewTimer(verdictWait)
	defer patience.Stop()
	select {
	case o := <-reply:
		return verdict(o)
	case <-patience.C:
	case <-ctx.Done():
	case <-n.loopDone:
	}
	return Ignore
}

// verdict translates the engine's word for gossip. Only what is wrong for
// every honest node blames the peer: one that is late, early or on another
// branch looks exactly like one behind a partition.
func verdict(o Outcome) int {
	if o.Err != nil || len(o.Results) != 1 {
		return Ignore
	}
	switch o.Results[0].Verdict {
	case group.Applied, group.Forked, group.Duplicate, group.Unopenable:
		return Accept
	case group.Rejected:
		return Reject
	}
	return Ignore
}

// Message implements [Handler].
func (n *Node) Message(peer, protocol string, message []byte) {
	n.box.arrive(task{in: Message{Peer: peer, Protocol: protocol, Body: message}})
}

// PeerJoin implements [Handler].
func (n *Node) PeerJoin(topic, peer string) { n.box.arrive(task{in: PeerJoin{topic, peer}}) }

// PeerLeave implements [Handler].
func (n *Node) PeerLeave(topic, peer string) { n.box.arrive(task{in: PeerLeave{topic, peer}}) }

// Announce implements [Handler].
func (n *Node) Announce(topic, peer string, cid []byte) {
	n.box.arrive(task{in: Announce{topic, peer, append([]byte(nil), cid...)}})
}
