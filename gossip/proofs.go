package gossip

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/dmlsd/dmls/frame"
)

// Before two hosts speak of topics, each shows the other that it knows them:
//
//	/dmls/hello/1: one message of any number of proofs (frame.Proof), 32 bytes
//	each, sorted, from the host that opens the stream; one of those that fit a
//	topic of both, from the other.
//
// Only then does gossipsub open its stream, which tells all topics, and only
// subscriptions to proved topics count. A stranger learns the host's peer id,
// its addresses, and about how many topics it has.
const (
	helloProtocol = "/dmls/hello/1"
	meshProtocol  = "/dmls/mesh/1" // gossipsub 1.2, among those who said hello
)

// Bounds of a hello.
const (
	maxProofs  = 4096
	proofBlock = 16              // proofs are padded to a multiple of it
	helloTime  = 5 * time.Second // for both messages
	joinTime   = 2 * time.Second // for the hellos to connected peers before a topic is subscribed to
)

var errStranger = errors.New("gossip: the peer has proved no topic of ours")

// proofs knows who proved which topic.
type proofs struct {
	t *Transport

	mu     sync.Mutex
	keys   map[string]frame.PeerKey      // of joined topics
	proved map[peer.ID]map[string]bool   // topics, by connected peer
	held   map[peer.ID][]*pb.RPC_SubOpts // told before their proof came
	met    event.Emitter
}

func newProofs(t *Transport) *proofs {
	return &proofs{
		t: t, keys: make(map[string]frame.PeerKey),
		proved: make(map[peer.ID]map[string]bool), held: make(map[peer.ID][]*pb.RPC_SubOpts),
	}
}

// open begins to answer hellos.
func (p *proofs) open() (err error) {
	if p.met, err = p.t.host.EventBus().Emitter(new(event.EvtPeerProtocolsUpdated)); err != nil {
		return fmt.Errorf("gossip: hello: %w", err)
	}
	p.t.host.SetStreamHandler(helloProtocol, p.serve)
	return nil
}

func (p *proofs) own(topic string, key frame.PeerKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[topic] = key
}

func (p *proofs) disown(topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys, topic)
	for _, topics := range p.proved {
		delete(topics, topic)
	}
}

// has reports whether the peer has proved the topic.
func (p *proofs) has(id peer.ID, topic string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proved[id][topic]
}

// any reports whether the peer has proved some topic.
func (p *proofs) any(id peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.proved[id]) > 0
}

func (p *proofs) forget(id peer.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.proved, id)
	delete(p.held, id)
}

// hold keeps a subscription until its proof comes.
func (p *proofs) hold(id peer.ID, sub *pb.RPC_SubOpts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held[id]) < maxForeign {
		p.held[id] = append(p.held[id], sub)
	}
}

// release returns held subscriptions whose proof has come.
func (p *proofs) release(id peer.ID) (subs []*pb.RPC_SubOpts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rest []*pb.RPC_SubOpts
	for _, sub := range p.held[id] {
		if p.proved[id][sub.GetTopicid()] {
			subs = append(subs, sub)
		} else {
			rest = append(rest, sub)
		}
	}
	if p.held[id] = rest; rest == nil {
		delete(p.held, id)
	}
	return subs
}

// mine makes the proofs for a peer: of one topic, or of all with "".
func (p *proofs) mine(id peer.ID, topic string) (list []frame.Proof) {
	p.mu.Lock()
	defer p.mu.Unlock()
	self, other := p.t.Self(), id.String()
	for name, key := range p.keys {
		if (topic == "" || topic == name) && len(list) < maxProofs {
			list = append(list, key.Prove(self, other))
		}
	}
	return list
}

// learn notes the topics that a peer's proofs fit and returns our own proofs
// of these.
func (p *proofs) learn(id peer.ID, theirs []frame.Proof) (answer []frame.Proof) {
	answer, news := p.compare(id, theirs)
	if len(news) > 0 {
		p.t.later(func() { p.introduce(id) })
		p.t.relayed.proved(id, news)
	}
	return answer
}

func (p *proofs) compare(id peer.ID, theirs []frame.Proof) (answer []frame.Proof, news []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	self, other := p.t.Self(), id.String()
	for topic, key := range p.keys {
		if !slices.ContainsFunc(theirs, key.Prove(other, self).Equal) {
			continue
		}
		answer = append(answer, key.Prove(self, other))
		if p.proved[id] == nil {
			p.proved[id] = make(map[string]bool)
		}
		if !p.proved[id][topic] {
			news = append(news, topic)
		}
		p.proved[id][topic] = true
	}
	return answer, news
}

// introduce lets gossipsub open its stream to a peer that it may have given up
// before the proof came, perhaps just now: so twice.
func (p *proofs) introduce(id peer.ID) {
	for range 2 {
		_ = p.met.Emit(event.EvtPeerProtocolsUpdated{Peer: id, Added: []protocol.ID{meshProtocol}}) // fails only when the host closes
		pause(p.t.ctx, time.Second)
	}
}

// say shows a peer our proofs, of one topic or of all with "", and takes its own.
func (p *proofs) say(ctx context.Context, id peer.ID, topic string) error {
	list := p.mine(id, topic)
	if len(list) == 0 {
		return errStranger
	}
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, helloProtocol), helloTime)
	defer cancel()
	stream, err := p.t.host.NewStream(network.WithNoDial(ctx, helloProtocol), id, helloProtocol)
	if err != nil {
		return fmt.Errorf("gossip: hello: %w", err)
	}
	theirs, err := exchange(stream, func() error { return sendProofs(stream, padded(list)) })
	if err != nil {
		_ = stream.Reset() // the first error counts
		return fmt.Errorf("gossip: hello: %w", err)
	}
	_ = stream.Close() // both messages are through
	p.learn(id, theirs)
	if !p.any(id) {
		return errStranger
	}
	return nil
}

func (p *proofs) serve(stream network.Stream) {
	id := stream.Conn().RemotePeer()
	if err := stream.Scope().SetService(service); err != nil {
		p.t.inbox.refuse(stream, helloProtocol, err)
		return
	}
	theirs, err := exchange(stream, nil)
	if err == nil {
		err = sendProofs(stream, p.learn(id, theirs))
	}
	if err != nil {
		p.t.inbox.refuse(stream, helloProtocol, err)
		return
	}
	_ = stream.Close() // both messages are through
}

// exchange says what first says, if anything, and reads the peer's proofs.
func exchange(stream network.Stream, first func() error) ([]frame.Proof, error) {
	if err := stream.SetDeadline(time.Now().Add(helloTime)); err != nil {
		return nil, err
	}
	if first != nil {
		if err := first(); err != nil {
			return nil, err
		}
	}
	b, err := readMessage(bufio.NewReader(stream), maxProofs*frame.ProofLen, func(int) error { return nil })
	if err != nil {
		return nil, err
	}
	return parseProofs(b)
}

func parseProofs(b []byte) ([]frame.Proof, error) {
	if len(b)%frame.ProofLen != 0 {
		return nil, fmt.Errorf("gossip: hello of %d bytes", len(b))
	}
	list := make([]frame.Proof, 0, len(b)/frame.ProofLen)
	for proof := range slices.Chunk(b, frame.ProofLen) {
		list = append(list, frame.Proof(proof))
	}
	return list, nil
}

func sendProofs(stream network.Stream, list []frame.Proof) error {
	return writeMessage(stream, marshalProofs(list), func() error { return nil })
}

// marshalProofs sorts, so that the order tells nothing.
func marshalProofs(list []frame.Proof) (b []byte) {
	slices.SortFunc(list, func(a, b frame.Proof) int { return bytes.Compare(a[:], b[:]) })
	for _, proof := range list {
		b = append(b, proof[:]...)
	}
	return b
}

// padded hides how many topics there are.
func padded(list []frame.Proof) []frame.Proof {
	for len(list)%proofBlock != 0 {
		var dummy frame.Proof
		_, _ = rand.Read(dummy[:]) // never fails
		list = append(list, dummy)
	}
	return list
}

// sayAll proves a topic to all connected peers and waits for them, but not for
// long.
func (p *proofs) sayAll(ctx context.Context, topic string) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	var all sync.WaitGroup
	for _, id := range p.t.host.Network().Peers() {
		all.Go(func() {
			if err := p.say(ctx, id, topic); err != nil {
				p.t.log.Debug("no hello", "peer", id, "err", err)
			}
		})
	}
	all.Wait()
}

// acquaintances is the host as gossipsub sees it: no stream in or out but with
// peers that said hello.
type acquaintances struct {
	host.Host
	t *Transport
}

// NewStream says hello first. Every stream begins with one, since the other
// side may have forgotten us.
func (a acquaintances) NewStream(ctx context.Context, id peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	if err := a.t.proofs.say(ctx, id, ""); err != nil && !a.t.proofs.any(id) {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return a.Host.NewStream(ctx, id, protocols...)
}

// SetStreamHandler lets h have the streams of acquaintances.
func (a acquaintances) SetStreamHandler(name protocol.ID, h network.StreamHandler) {
	a.Host.SetStreamHandler(name, func(s network.Stream) {
		if !a.t.proofs.any(s.Conn().RemotePeer()) {
			a.t.inbox.refuse(s, string(name), errStranger)
			return
		}
		h(s)
	})
}
