package node

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
)

// question answers Tips or Want at once, as far as the peer's budget goes.
func (s *syncMachine) question(now time.Time, peer string, m *syncMessage) {
	r := s.replica(m.topic)
	if r == nil {
		return
	}
	p := s.topic(m.topic).peers[peer]
	switch m.kind {
	case syncTips:
		if s.budget(now, peer).ready(now) {
			s.serveTips(now, m.topic, peer, p, m, r)
		} else if p != nil {
			p.pending, p.pendingAt = m, now // the latest one counts, so this is bounded
		}
	case syncWant:
		s.serveWant(now, m, peer, r)
	}
}

// answer says whether blocks from a peer are to be stepped: only if we have
// asked it, even if long ago, for on a slow line a timeout is no reason to
// throw away what arrives at last. What became of them is reported to took.
func (s *syncMachine) answer(now time.Time, peer string, m *syncMessage) bool {
	var p *syncPeer
	if t := s.topics[m.topic]; t != nil {
		p = t.peers[peer]
	}
	if p == nil || p.heard.IsZero() || now.Sub(p.heard) > answerLife {
		return false
	}
	p.lost = 0
	if m.answers == syncTips {
		p.asked = time.Time{}
		// A question planned for the timeout of the one that is answered now.
		if !p.due.IsZero() {
			p.due = now
		}
	}
	return true
}

// serveTips sends what the peer lacks, one piece at a time, and asks back if
// it has what we lack. A peer of the group is served before the news of its
// joining arrive (p is nil then); with them peerJoin asks anyway.
func (s *syncMachine) serveTips(now time.Time, topic, peer string, p *syncPeer, m *syncMessage, r replica) {
	var ids []cid.Cid
	own := r.Tips()
	if len(m.lacking) > 0 || !slices.Equal(m.cids, own) { // which they are nearly always
		ids = r.Missing(m.has(), m.lacking, missBatch)
	}
	more, unseen := len(ids) == missBatch, lacked(r, m.cids, own)
	if more && len(unseen) > 0 {
		ids = s.newest(r, m)
	}
	out := syncMessage{kind: syncBlocks, topic: topic, answers: syncTips, more: more}
	s.fill(&out, ids, r)
	s.sendBlocks(now, peer, &out)
	if p != nil && len(unseen) > 0 {
		s.askBack(now, topic, peer, p, unseen, r)
	}
}

// askBack asks a peer whose tips are not all here: at once, but if it was asked
// lately only after a while in which gossip may bring them. While frames flow
// something always is under way to one of two, and they would ask each other
// without end.
func (s *syncMachine) askBack(now time.Time, topic, peer string, p *syncPeer, unseen []cid.Cid, r replica) {
	if !p.asked.IsZero() || now.Sub(p.heard) < s.timing.Settle {
		p.unseen, p.again = unseen, earlier(p.again, now.Add(s.timing.Spread))
		return
	}
	p.due, p.asked, p.heard = time.Time{}, now, now
	s.sendTips(now, topic, peer, r)
}

// lacked returns the tips of a peer that are not here. What this device names
// itself and does not hold is the base at which both of them came.
func lacked(r replica, tips, own []cid.Cid) []cid.Cid {
	return slices.DeleteFunc(slices.Clone(tips), func(c cid.Cid) bool { return r.Has(c) || slices.Contains(own, c) })
}

// has returns what a peer says it has, with all in its past.
func (m *syncMessage) has() []cid.Cid { return slices.Concat(m.cids, m.landmarks) }

// newest is the end of what a peer seems to lack whose tips are not all known
// here. Such a peer has gone on elsewhere, and nobody can tell how much of the
// past it has: after a long one the first piece would hold nothing new to it,
// and as long as neither learns of the other's tips, no later one either. With
// the last frames it learns ours; what lies between is then asked for in order.
func (s *syncMachine) newest(r replica, m *syncMessage) []cid.Cid {
	ids := r.Missing(m.has(), m.lacking, math.MaxInt)
	from, size := len(ids), 0
	for from > 0 && len(ids)-from < missBatch {
		if b, err := r.Block(ids[from-1]); err == nil {
			if size += len(b); size > s.timing.Piece && from < len(ids) {
				break
			}
		}
		from--
	}
	return ids[from:]
}

func (s *syncMachine) serveWant(now time.Time, m *syncMessage, peer string, r replica) {
	if !s.budget(now, peer).ready(now) {
		return // asked again after its timeout, here or elsewhere
	}
	out := syncMessage{kind: syncBlocks, topic: m.topic, answers: syncWant}
	s.fill(&out, m.cids, r)
	if len(out.blocks) > 0 {
		s.sendBlocks(now, peer, &out)
	}
	if t := s.topics[m.topic]; t != nil && t.peers[peer] != nil {
		for _, c := range m.cids {
			if !r.Has(c) {
				s.relay(now, t, peer, c)
			}
		}
	}
}

// fill puts blocks into a message until the next one would make it too large.
func (s *syncMachine) fill(m *syncMessage, ids []cid.Cid, r replica) {
	size := 0
	for _, c := range ids {
		b, err := r.Block(c)
		if err != nil {
			continue // pruned: the receiver will find it elsewhere, or not at all
		}
		if size > 0 && size+len(b) > s.timing.Piece {
			m.more = true
			return
		}
		size += len(b)
		m.blocks = append(m.blocks, b)
	}
}

func (s *syncMachine) sendBlocks(now time.Time, peer string, m *syncMessage) {
	b := m.marshal()
	s.budget(now, peer).spend(len(b))
	s.send(m.topic, peer, b)
}

// budget bounds what one peer can make us send: a bucket of bytes and one of
// answers. Both may go below zero by one answer, which then has to be waited
// for.
type budget struct {
	timing  *Timing
	last    time.Time
	bytes   float64
	answers float64
}

func (s *syncMachine) budget(now time.Time, peer string) *budget {
	b := s.budgets[peer]
	if b == nil {
		b = &budget{timing: &s.timing, last: now, bytes: float64(s.timing.PeerBurst), answers: float64(s.timing.PeerRequests)}
		s.budgets[peer] = b
	}
	return b
}

func (b *budget) ready(now time.Time) bool {
	if d := now.Sub(b.last).Seconds(); d > 0 {
		b.bytes = min(b.bytes+d*float64(b.timing.PeerRate), float64(b.timing.PeerBurst))
		b.answers = min(b.answers+d*float64(b.timing.PeerRequests), float64(b.timing.PeerRequests))
		b.last = now
	}
	return b.bytes > 0 && b.answers >= 1
}

func (b *budget) spend(n int) {
	b.bytes -= float64(n)
	b.answers--
}

// at says when the budget will be ready.
func (b *budget) at() time.Time {
	wait := max(-b.bytes/float64(b.timing.PeerRate), (1-b.answers)/float64(b.timing.PeerRequests), 0)
	return b.last.Add(time.Duration(wait*float64(time.Second)) + time.Millisecond)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func sortedCIDs[V any](m map[cid.Cid]V) []cid.Cid {
	keys := make([]cid.Cid, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b cid.Cid) int { return strings.Compare(a.KeyString(), b.KeyString()) })
	return keys
}
