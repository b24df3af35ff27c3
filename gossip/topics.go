package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/dmlsd/dmls/frame"
)

// queueLength holds a burst of blocks to one peer, and of one peer. With
// gossipsub's default of 32, three quarters of 2,000 blocks sent at once are
// lost without an error.
const queueLength = 4096

// checkTimeout bounds Handler.Check, which itself waits for about a second.
const checkTimeout = 2 * time.Second

// newPubSub starts gossipsub. Peer scoring stays off: in a partition honest
// peers look like attackers, and a score outlives the partition.
func (t *Transport) newPubSub() (*pubsub.PubSub, error) {
	params := pubsub.DefaultGossipSubParams()
	if t.config.Heartbeat != 0 {
		params.HeartbeatInterval = t.config.Heartbeat
	}
	quiet := slog.New(errorsOnly{t.log.Handler()})
	ps, err := pubsub.NewGossipSub(t.ctx, acquaintances{t.host, t},
		pubsub.WithGossipSubProtocols([]protocol.ID{meshProtocol}, features),
		pubsub.WithGossipSubParams(params),
		pubsub.WithPeerFilter(t.proofs.has),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerOutboundQueueSize(queueLength),
		pubsub.WithValidateQueueSize(queueLength),
		pubsub.WithValidateThrottle(2*queueLength),
		pubsub.WithMaxMessageSize(2*MaxGossip),
		pubsub.WithSubscriptionFilter(&t.door.topics),
		pubsub.WithAppSpecificRpcInspector(func(id peer.ID, rpc *pubsub.RPC) error {
			t.hellos.received(id)
			rpc.Subscriptions = append(t.proofs.release(id), rpc.Subscriptions...)
			return nil
		}),
		pubsub.WithRawTracer(&tracer{counts: &t.counts, hellos: t.hellos, door: t.door}),
		pubsub.WithLogger(quiet),
		pubsub.WithRPCLogger(quiet),
	)
	if err != nil {
		return nil, fmt.Errorf("gossip: gossipsub: %w", err)
	}
	return ps, nil
}

// features are those of gossipsub 1.2 but for peer exchange, which would hand
// addresses of members to whoever asks.
func features(f pubsub.GossipSubFeature, _ protocol.ID) bool {
	return f == pubsub.GossipSubFeatureMesh || f == pubsub.GossipSubFeatureIdontwant
}

// messageID is the CID of the data: without authors and sequence numbers only
// the content can tell messages apart.
func messageID(m *pb.Message) string {
	id, err := blockCID(m.GetData())
	if err != nil {
		return string(m.GetData()) // sha2-256 is always there
	}
	return id.KeyString()
}

// subscription is a joined topic.
type subscription struct {
	topic  *pubsub.Topic
	leave  pubsub.RelayCancelFunc
	events *pubsub.TopicEventHandler
	cancel context.CancelFunc
	done   chan struct{} // closed when no more peer events come
}

// Join subscribes to topic, among those who prove that they have key too.
// Joining twice is no error.
func (t *Transport) Join(topic string, key frame.PeerKey) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	if _, ok := t.topics[topic]; ok {
		return nil
	}
	if len(topic) == 0 || len(topic) > maxTopic {
		return fmt.Errorf("%w: a topic has 1 to %d bytes", ErrTopic, maxTopic)
	}
	t.proofs.own(topic, key)
	sub, err := t.enroll(topic)
	if err != nil {
		t.proofs.disown(topic)
		return fmt.Errorf("gossip: join: %w", err)
	}
	t.topics[topic] = sub
	t.spawn(func() { t.follow(topic, sub) })
	return nil
}

// enroll makes the door, then the topic. Nobody is told yet.
func (t *Transport) enroll(topic string) (sub *subscription, err error) {
	validator := func(ctx context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		return t.validate(ctx, topic, from, m)
	}
	err = t.pubsub.RegisterTopicValidator(topic, validator,
		pubsub.WithValidatorTimeout(checkTimeout), pubsub.WithValidatorConcurrency(queueLength))
	if err != nil {
		return nil, err
	}
	sub = &subscription{done: make(chan struct{})}
	defer func() {
		if err != nil {
			_ = t.pubsub.UnregisterTopicValidator(topic) // the first error counts
		}
	}()
	t.door.topics.own(topic, true)
	if sub.topic, err = t.pubsub.Join(topic); err != nil {
		return nil, err
	}
	if sub.events, err = sub.topic.EventHandler(); err != nil {
		return nil, err
	}
	return sub, nil
}

// subscribe proves the topic to all connected peers, whose subscriptions count
// from then on, and tells them of ours. The validator delivers, so the topic is
// relayed rather than subscribed to: no second queue that could overflow.
func (t *Transport) subscribe(ctx context.Context, topic string, sub *subscription) (err error) {
	t.proofs.sayAll(ctx, topic)
	// Whoever subscribed before we did and has no proof begins again, with a hello.
	for _, id := range sub.topic.ListPeers() {
		if !t.proofs.has(id, topic) {
			t.log.Debug("topic not proved", "peer", id)
			_ = t.host.Network().ClosePeer(id) // it is gone or it goes
		}
	}
	if sub.leave, err = sub.topic.Relay(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("gossip: subscribe: %w", err)
	}
	return nil
}

// follow reports who comes and goes until the topic is left.
func (t *Transport) follow(topic string, sub *subscription) {
	defer close(sub.done)
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	t.mu.Lock()
	sub.cancel = cancel
	left := t.topics[topic] != sub
	t.mu.Unlock()
	if left {
		return
	}
	if err := t.subscribe(ctx, topic, sub); err != nil {
		t.log.Error("topic is not subscribed to", "err", err)
	}
	select {
	case <-t.started:
	case <-ctx.Done():
		return
	}
	for {
		event, err := sub.events.NextPeerEvent(ctx)
		if err != nil {
			return
		}
		h, exit, ok := t.enter()
		if !ok {
			return
		}
		switch {
		case event.Type == pubsub.PeerJoin && !t.proofs.has(event.Peer, topic): // see subscribe
		case event.Type == pubsub.PeerJoin:
			t.keeper.member(event.Peer)
			t.host.ConnManager().Protect(event.Peer, topic)
			h.PeerJoin(topic, event.Peer.String())
		default:
			t.host.ConnManager().Unprotect(event.Peer, topic)
			h.PeerLeave(topic, event.Peer.String())
		}
		exit()
	}
}

// Leave ends the subscription to topic; leaving one that was not joined is no
// error. PeerLeave is not called for its peers.
func (t *Transport) Leave(topic string) error {
	t.mu.Lock()
	sub := t.topics[topic]
	delete(t.topics, topic)
	if sub == nil || t.closed {
		t.mu.Unlock()
		return nil
	}
	if sub.cancel != nil {
		sub.cancel()
	}
	t.mu.Unlock()
	<-sub.done
	sub.events.Cancel()
	for _, id := range sub.topic.ListPeers() {
		t.host.ConnManager().Unprotect(id, topic)
	}
	if sub.leave != nil {
		sub.leave()
	}
	t.door.topics.own(topic, false)
	t.proofs.disown(topic)
	if err := t.pubsub.UnregisterTopicValidator(topic); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	if err := sub.topic.Close(); err != nil {
		return fmt.Errorf("gossip: leave: %w", err)
	}
	return nil
}

// Publish gossips block to the peers of topic, or announces its CID when it is
// larger than MaxGossip. Nil means only that it was handed to gossipsub. A
// block that Check ignored is forwarded to the mesh when it is published here.
func (t *Transport) Publish(topic string, block []byte) error {
	t.mu.Lock()
	sub, closed := t.topics[topic], t.closed
	t.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case sub == nil:
		return fmt.Errorf("%w: cannot publish", ErrTopic)
	case isAnnouncement(block):
		return ErrReserved
	}
	data := block
	if len(block) > MaxGossip {
		id, err := blockCID(block)
		if err != nil {
			return err
		}
		data = marshalAnnouncement(id)
		t.counts.announced.Add(1)
	} else {
		data = slices.Clone(block) // gossipsub keeps it for its history
	}
	if err := sub.topic.Publish(t.ctx, data); err != nil {
		return fmt.Errorf("gossip: publish: %w", err)
	}
	t.counts.published.Add(1)
	return nil
}

// Peers lists the connected peers of topic, sorted; none if it is not joined.
func (t *Transport) Peers(topic string) []string {
	t.mu.Lock()
	sub := t.topics[topic]
	t.mu.Unlock()
	if sub == nil {
		return nil
	}
	var out []string
	for _, id := range sub.topic.ListPeers() {
		if t.proofs.has(id, topic) {
			out = append(out, id.String())
		}
	}
	for _, id := range t.relayed.in(topic) {
		if name := id.String(); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
