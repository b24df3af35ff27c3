package group

import (
	"time"

	"github.com/ipfs/go-cid"
)

// Sealed blocks of epochs that are gone here are kept to be served: BlockAge,
// or until there are more than MaxBlocks bytes, the oldest first (design,
// section 5.6). With a block goes everything that is remembered of its frame.
//
// What others still build on stays: tips, the last frame of each chain, the
// commits of retained epochs, own frames that nobody is known to have. If
// something links to a frame that went all the same, it is asked for like any
// other, of those who opened what follows it.
//
// The ids of delivered messages go with their frames. A second copy is sent
// only by an author who for all that time heard of nobody who had the first:
// then a message read twice, after BlockAge, is better than one read by nobody.

// queueBlock counts a held block.
func (g *Group) queueBlock(c cid.Cid, m *meta) {
	g.blocks = append(g.blocks, c)
	g.blockBytes += int(m.Size)
}

// expireBlocks drops what is due. What must stay goes to the end of the queue.
func (s *step) expireBlocks() {
	if s.env.Now.Before(s.expireAt) {
		return
	}
	for range len(s.blocks) {
		c := s.blocks[0]
		m := s.frames[c]
		if m != nil && s.env.Now.Unix()-m.At < int64(s.cfg.BlockAge.Seconds()) && s.blockBytes <= s.cfg.MaxBlocks {
			return
		}
		if s.blocks = s.blocks[1:]; m == nil {
			continue // forgetUnread dropped it
		}
		if s.needed(c, m) {
			s.blocks = append(s.blocks, c)
			continue
		}
		s.dropFrame(c, m)
	}
	s.expireAt = s.env.Now.Add(time.Minute) // all that is left must stay
}

// needed reports whether others may still build on a frame. Where there are too many
// bytes those that were never opened do not count: whoever has the gossip secret can
// make any number of them, each a tip.
func (g *Group) needed(c cid.Cid, m *meta) bool {
	if m.Status == unread && g.blockBytes > g.cfg.MaxBlocks && g.epochs[idOf(m.Links.Parent)] == nil {
		return false
	}
	_, tip := g.held[c]
	_, open := g.open[c]
	_, unsent := g.unsent[c]
	return m.Epoch >= g.floor || tip || open || unsent || g.ends[chainOf(m.Links)] == c || g.graph.Has(idOf(c)) || g.epochs[idOf(m.Links.Parent)] != nil
}

func (s *step) dropFrame(c cid.Cid, m *meta) {
	s.blockBytes -= int(m.Size)
	delete(s.frames, c)
	s.fillGap(chainOf(m.Links), m.Links.Prev) // what led to it is gone
	s.del(BlockKey(s.ID(), c), Public)
	s.del(s.key("f/"+c.String()), Public)
	if m.Author != "" && m.Message != [16]byte{} {
		delete(s.messages, keyOf(m.Author)+string(m.Message[:]))
	}
}
