package gossip

import (
	"context"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

// What one peer, and all together, may have waiting in Handler.Check.
const (
	peerWaiting = queueLength   // blocks
	peerBytes   = 32 << 20      // bytes
	allBytes    = 4 * peerBytes // bytes
	maxTopic    = 128           // bytes of a topic's name
	maxForeign  = 256           // topics of a peer that we have not joined but remember
)

// validate is the door of a topic: size, kind, quota, then the handler.
func (t *Transport) validate(ctx context.Context, topic string, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if from == t.host.ID() {
		return pubsub.ValidationAccept // our own Publish
	}
	if !t.proofs.has(from, topic) {
		return pubsub.ValidationIgnore
	}
	data := m.GetData()
	if len(data) == 0 || len(data) > MaxGossip {
		return pubsub.ValidationReject
	}
	h, exit, ok := t.enter()
	if !ok {
		return pubsub.ValidationIgnore
	}
	defer exit()
	if isAnnouncement(data) {
		id, err := parseAnnouncement(data)
		if err != nil {
			return pubsub.ValidationReject
		}
		h.Announce(topic, from.String(), id.Bytes())
		// Not forwarded: the next peers would ask us for a block that we do
		// not hold yet.
		return pubsub.ValidationIgnore
	}
	if !t.door.admit(from, len(data)) {
		t.counts.overQuota.Add(1)
		return pubsub.ValidationIgnore
	}
	defer t.door.release(from, len(data))
	switch h.Check(ctx, topic, from.String(), data) {
	case Accept:
		return pubsub.ValidationAccept
	case Reject:
		return pubsub.ValidationReject
	default:
		return pubsub.ValidationIgnore
	}
}

// door counts what waits for a verdict, so that one peer cannot fill the house.
type door struct {
	topics topicFilter

	mu      sync.Mutex
	waiting map[peer.ID]*load
	bytes   int
}

type load struct{ blocks, bytes int }

func newDoor(p *proofs) *door {
	d := &door{waiting: make(map[peer.ID]*load)}
	d.topics.proofs = p
	d.topics.joined = make(map[string]bool)
	d.topics.foreign = make(map[peer.ID]map[string]bool)
	return d
}

func (d *door) admit(id peer.ID, size int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.waiting[id]
	if l == nil {
		l = new(load)
	}
	if l.blocks >= peerWaiting || l.bytes+size > peerBytes || d.bytes+size > allBytes {
		return false
	}
	d.waiting[id] = l
	l.blocks++
	l.bytes += size
	d.bytes += size
	return true
}

func (d *door) release(id peer.ID, size int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.waiting[id]
	l.blocks--
	l.bytes -= size
	d.bytes -= size
	if l.blocks == 0 {
		delete(d.waiting, id)
	}
}

// topicFilter decides which subscriptions of others gossipsub remembers: those
// to our topics once they are proved, a bounded number of others beside. They
// cannot all be dropped: a peer tells its topics once, and we may join one of
// them later.
type topicFilter struct {
	proofs *proofs

	mu      sync.Mutex
	joined  map[string]bool
	foreign map[peer.ID]map[string]bool
}

var _ pubsub.SubscriptionFilter = (*topicFilter)(nil)

func (f *topicFilter) own(topic string, joined bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if joined {
		f.joined[topic] = true
	} else {
		delete(f.joined, topic)
	}
}

// CanSubscribe allows only topics that Join was called for.
func (f *topicFilter) CanSubscribe(topic string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.joined[topic]
}

// FilterIncomingSubscriptions drops what is over the quota of a peer.
func (f *topicFilter) FilterIncomingSubscriptions(from peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var kept []*pb.RPC_SubOpts
	for _, sub := range subs {
		topic := sub.GetTopicid()
		switch {
		case len(topic) == 0 || len(topic) > maxTopic:
			continue
		case f.joined[topic] && !f.proofs.has(from, topic):
			f.proofs.hold(from, sub)
			continue
		case !sub.GetSubscribe():
			delete(f.foreign[from], topic)
		case !f.joined[topic] && !f.foreign[from][topic]:
			if len(f.foreign[from]) >= maxForeign {
				continue
			}
			if f.foreign[from] == nil {
				f.foreign[from] = make(map[string]bool)
			}
			f.foreign[from][topic] = true
		}
		kept = append(kept, sub)
	}
	return kept, nil
}

func (f *topicFilter) forget(id peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.foreign, id)
}
