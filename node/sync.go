package node

import (
	"maps"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
)

// replica is what the sync machine asks of a group. Its answers are about durable state:
// it is asked after the commit of a round.
type replica interface {
	Tips() []cid.Cid    // tips of the held frames, sorted
	Has(c cid.Cid) bool // held?
	// Landmarks lists frames that are held, at growing distances from the last.
	Landmarks() []cid.Cid
	// Missing lists what is held and not in the past of tips, or is lacking there
	// all the same, in topological order.
	Missing(tips, lacking []cid.Cid, limit int) []cid.Cid
	Wants() []cid.Cid // what parked frames wait for
	Block(c cid.Cid) ([]byte, error)
}

// syncMachine is the machine of /dmls/sync/1: it makes any two peers of a topic hold
// the same frames. Gossip is only a hint; what it drops, the machine finds out by
// comparing tips and fetches in topological order.
//
// It has no goroutine and no clock. It sends through a function, which may
// lose messages; lost ones are repeated by tick. It is not safe for
// concurrent use.
type syncMachine struct {
	timing  Timing
	send    func(topic, peer string, message []byte)
	replica func(topic string) replica // nil for an unknown topic
	topics  map[string]*syncTopic
	budgets map[string]*budget // by peer, over all topics
}

type syncTopic struct {
	peers map[string]*syncPeer
	wants map[cid.Cid]*wanted
	round time.Time // next periodic round
	next  string    // the peer after which that round begins

	relayed map[cid.Cid]relayed // blocks that others asked for
}

// relayed tells when a block was last asked for on behalf of others, and when
// they last asked.
type relayed struct{ at, asked time.Time }

// syncPeer is what is under way with one peer of a topic.
type syncPeer struct {
	asked   time.Time    // when our unanswered Tips left; zero: none
	heard   time.Time    // when we last asked: answers are welcome for a while
	unseen  []cid.Cid    // tips of its that were not here
	again   time.Time    // when to ask for them if they are not here even then
	due     time.Time    // when to send Tips; zero: not planned
	lost    int          // Tips without answer in a row
	pending *syncMessage // its latest Tips, which we could not afford to answer yet

	pendingAt time.Time // when pending came
}

// wanted is a block asked for by name.
type wanted struct {
	due   time.Time
	from  string // who showed that it exists
	tries int
	relay string // the peer that asked for it, if this device does not need it
}

// Times and counts that hardly need tuning.
const (
	answerLife = 2 * time.Minute // a late answer is taken this long
	maxLost    = 5               // the pause after a loss doubles this often
	maxWants   = 4096            // of one topic
	wantTries  = 12              // for a block that no parked frame waits for
	maxRelayed = 256             // blocks of one topic that are asked for on behalf of others
	relayPause = time.Minute     // before one of them is asked for by name again
	relayLife  = 5 * time.Minute // in which tips name it, as whoever has it may be reached later
	budgetLife = time.Minute
	missBatch  = 512 // frames looked at for one piece
)

// newSync makes a machine. replica finds the group of a topic, or nil.
func newSync(t Timing, send func(topic, peer string, message []byte), replica func(topic string) replica) *syncMachine {
	return &syncMachine{
		timing: t, send: send, replica: replica,
		topics: map[string]*syncTopic{}, budgets: map[string]*budget{},
	}
}

func (s *syncMachine) topic(name string) *syncTopic {
	t := s.topics[name]
	if t == nil {
		t = &syncTopic{peers: map[string]*syncPeer{}, wants: map[cid.Cid]*wanted{}, relayed: map[cid.Cid]relayed{}}
		s.topics[name] = t
	}
	return t
}

// peerJoin compares tips with a peer that takes part in the topic now.
func (s *syncMachine) peerJoin(now time.Time, topic, peer string) {
	t := s.topic(topic)
	if t.round.IsZero() {
		t.round = now.Add(s.timing.Interval)
	}
	if t.peers[peer] == nil {
		t.peers[peer] = &syncPeer{}
	}
	p := t.peers[peer]
	p.due, p.asked, p.lost = now, time.Time{}, 0
}

// peerLeave forgets what was under way with the peer. Blocks asked of it are
// asked of others.
func (s *syncMachine) peerLeave(now time.Time, topic, peer string) {
	t := s.topics[topic]
	if t == nil {
		return
	}
	delete(t.peers, peer)
	for _, w := range t.wants {
		if w.from == peer {
			w.from, w.due = "", now
		}
	}
}

// leave forgets a topic.
func (s *syncMachine) leave(topic string) { delete(s.topics, topic) }

// published lets the next round come soon.
func (s *syncMachine) published(now time.Time, topic string) {
	if t, at := s.topic(topic), now.Add(s.timing.Settle); t.round.IsZero() || t.round.After(at) {
		t.round = at
	}
}

// want asks for blocks that frames from a peer wait for: first all that the
// peer has and we lack, in order, and what still lacks then by name.
func (s *syncMachine) want(now time.Time, topic, from string, ids []cid.Cid) {
	t := s.topic(topic)
	news := false
	for _, c := range ids {
		if w := t.wants[c]; w == nil && len(t.wants) < maxWants || w != nil && w.relay != "" {
			t.wants[c] = &wanted{due: now.Add(s.timing.WantDelay), from: from}
			news = true
		}
	}
	if p := t.peers[from]; p != nil && news {
		p.due = earlier(p.due, now)
	}
}

// announced asks a peer for a block that it said it has.
func (s *syncMachine) announced(now time.Time, topic, from string, c cid.Cid) {
	r := s.replica(topic)
	if r == nil || r.Has(c) {
		return
	}
	t := s.topic(topic)
	if t.wants[c] == nil && len(t.wants) < maxWants {
		t.wants[c] = &wanted{due: now, from: from}
	}
}

// took tells what became of blocks that came by sync from a peer: whether any
// of them was news. News are told to the other peers soon; a piece without
// news is not followed by a question for more, which could go on for ever.
func (s *syncMachine) took(now time.Time, topic, from string, news, more bool) {
	t := s.topics[topic]
	if t == nil {
		return
	}
	if p := t.peers[from]; p != nil && news && more {
		p.due = now
	}
	if !news {
		return
	}
	for name, p := range t.peers {
		if name != from {
			p.due = earlier(p.due, now.Add(s.timing.Spread))
		}
	}
}

// tick sends what is due.
func (s *syncMachine) tick(now time.Time) {
	for _, name := range sortedKeys(s.topics) {
		t, r := s.topics[name], s.replica(name)
		if r == nil {
			delete(s.topics, name)
			continue
		}
		s.planRound(now, t)
		for _, peer := range sortedKeys(t.peers) {
			s.tickPeer(now, name, peer, t.peers[peer], r)
		}
		s.sendWants(now, name, t, r)
	}
	for peer, b := range s.budgets {
		if now.Sub(b.last) > budgetLife {
			delete(s.budgets, peer) // full again, so nothing is gained by a new one
		}
	}
}

// planRound lets some peers be asked though nothing seems to be missing.
func (s *syncMachine) planRound(now time.Time, t *syncTopic) {
	if t.round.IsZero() || t.round.After(now) {
		return
	}
	t.round = now.Add(s.timing.Interval)
	peers := sortedKeys(t.peers)
	if len(peers) == 0 {
		return
	}
	start, _ := slices.BinarySearch(peers, t.next+"\x00")
	for i := range min(s.timing.Fanout, len(peers)) {
		name := peers[(start+i)%len(peers)]
		t.peers[name].due = earlier(t.peers[name].due, now)
		t.next = name
	}
}

func (s *syncMachine) tickPeer(now time.Time, topic, peer string, p *syncPeer, r replica) {
	if !p.asked.IsZero() && !p.asked.Add(s.timing.Timeout).After(now) {
		p.asked = time.Time{}
		p.lost = min(p.lost+1, maxLost)
		p.due = earlier(p.due, now.Add(s.timing.Timeout<<(p.lost-1)-s.timing.Timeout))
	}
	if p.pending != nil && s.budget(now, peer).ready(now) {
		m := p.pending
		p.pending = nil
		s.serveTips(now, topic, peer, p, m, r)
	}
	if !p.again.IsZero() && !p.again.After(now) {
		if len(lacked(r, p.unseen, nil)) > 0 {
			p.due = earlier(p.due, now)
		}
		p.unseen, p.again = nil, time.Time{}
	}
	if p.due.IsZero() || p.due.After(now) || !p.asked.IsZero() {
		return
	}
	p.due, p.asked, p.heard = time.Time{}, now, now
	s.sendTips(now, topic, peer, r)
}

// sendTips says what is held, and what is wanted, here or by others: a peer that
// has it sends it with the past that we lack.
func (s *syncMachine) sendTips(now time.Time, topic, peer string, r replica) {
	t := s.topics[topic]
	maps.DeleteFunc(t.relayed, func(c cid.Cid, o relayed) bool { return r.Has(c) || now.Sub(o.asked) >= relayLife })
	tips, lacking := r.Tips(), r.Wants()
	for _, c := range slices.Concat(sortedCIDs(t.wants), sortedCIDs(t.relayed)) {
		if len(lacking) < maxWant && !r.Has(c) && !slices.Contains(lacking, c) {
			lacking = append(lacking, c)
		}
	}
	m := syncMessage{
		kind: syncTips, topic: topic, cids: tips[:min(len(tips), maxTips)], landmarks: r.Landmarks(),
		lacking: lacking[:min(len(lacking), maxWant)],
	}
	s.send(topic, peer, m.marshal())
}

// sendWants asks for blocks by name, each of another peer than the last time.
func (s *syncMachine) sendWants(now time.Time, topic string, t *syncTopic, r replica) {
	if len(t.wants) == 0 {
		return
	}
	waiting := map[cid.Cid]bool{}
	for _, c := range r.Wants() {
		waiting[c] = true
	}
	peers := sortedKeys(t.peers)
	asks := map[string][]cid.Cid{}
	for _, c := range sortedCIDs(t.wants) {
		w := t.wants[c]
		switch {
		case r.Has(c) || !waiting[c] && w.tries >= w.most(len(peers)):
			delete(t.wants, c)
			continue
		case w.due.After(now) || len(peers) == 0:
			continue
		}
		peer := choosePeer(peers, w)
		if peer == w.relay {
			w.tries++
			peer = choosePeer(peers, w)
		}
		if len(asks[peer]) == maxWant {
			continue // next time
		}
		asks[peer] = append(asks[peer], c)
		w.tries++
		w.due = now.Add(s.timing.Timeout << min(w.tries/len(peers), maxLost))
	}
	for _, peer := range sortedKeys(asks) {
		t.peers[peer].heard = now
		m := syncMessage{kind: syncWant, topic: topic, cids: asks[peer]}
		s.send(topic, peer, m.marshal())
	}
}

// relay asks the other peers for a block that a peer asked for and that is not
// here: not every device is connected with one that has it. Each is asked once
// in a while only, so that two who lack it do not send each other round; what
// tips name is passed on by nobody.
func (s *syncMachine) relay(now time.Time, t *syncTopic, from string, c cid.Cid) {
	was, known := t.relayed[c]
	if len(t.peers) < 2 || !known && len(t.relayed) >= maxRelayed {
		return
	}
	if known && now.Sub(was.at) < relayPause || t.wants[c] != nil || len(t.wants) >= maxWants {
		t.relayed[c] = relayed{was.at, now}
		return
	}
	t.relayed[c] = relayed{now, now}
	t.wants[c] = &wanted{due: now.Add(s.timing.WantDelay), relay: from}
	for name, p := range t.peers {
		if name != from {
			p.due = earlier(p.due, now)
		}
	}
}

// most is how often a block is asked for that this device does not wait for.
func (w *wanted) most(peers int) int {
	if w.relay != "" {
		return 2 * peers // one message may get lost
	}
	return wantTries
}

// choosePeer begins with the peer that should have the block.
func choosePeer(peers []string, w *wanted) string {
	i, found := slices.BinarySearch(peers, w.from)
	if !found {
		i = 0
	}
	return peers[(i+w.tries)%len(peers)]
}

// wake says when the next tick is useful; zero: never.
func (s *syncMachine) wake() time.Time {
	var at time.Time
	for _, t := range s.topics {
		if len(t.peers) == 0 {
			continue
		}
		at = earlier(at, t.round)
		for peer, p := range t.peers {
			if p.asked.IsZero() {
				at = earlier(at, p.due)
			} else {
				at = earlier(at, p.asked.Add(s.timing.Timeout))
			}
			at = earlier(at, p.again)
			if p.pending != nil {
				at = earlier(at, s.budget(p.pendingAt, peer).at())
			}
		}
		for _, w := range t.wants {
			at = earlier(at, w.due)
		}
	}
	return at
}
