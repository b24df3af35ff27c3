package group

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// message is an opened text that waits for those it follows. Its key is used
// up, so it is durable from the same batch on.
type message struct {
	CID   string
	Since int64 // Unix milliseconds
	Event Event
	cid   cid.Cid
}

// arrived takes an opened text. A message that was sent again under its old id
// is delivered once.
func (s *step) arrived(a arrival, author dag.Member, d appData) {
	key := keyOf(author)
	id := key + string(d.ID[:])
	if _, ok := s.messages[id]; ok {
		return
	}
	s.messages[id] = struct{}{}
	m := &message{CID: a.cid.String(), Since: s.env.Now.UnixMilli(), cid: a.cid, Event: Event{
		Kind: KindMessage, Epoch: a.header.Epoch, Head: a.header.Links.Parent.String(), CID: a.cid.String(),
		ID: hex.EncodeToString(d.ID[:]), From: hexKey(key), Name: s.names[key], Text: string(d.Body), Mine: author == s.self,
	}}
	if author == s.self || s.inOrder(m) {
		s.emit(m.Event)
		return
	}
	s.pending = append(s.pending, m)
	s.put(s.waitKey(m), mustJSON(m), History)
}

func (s *step) waitKey(m *message) string { return s.key("w/" + m.CID) }

// inOrder reports whether everything that the sender had seen, and what their
// senders had seen, has been delivered here. Links gate the order of delivery
// only, and up to a timeout: a frame that never comes holds nobody back.
func (s *step) inOrder(m *message) bool {
	if s.env.Now.Sub(time.UnixMilli(m.Since)) >= s.cfg.DeliverWait {
		s.frames[m.cid].whole = true
		return true
	}
	return s.whole(m.cid)
}

// asksFor reports whether c is missing and may still come. What was linked to
// only above the base never will, and holds nobody back.
func (g *Group) asksFor(c cid.Cid) bool {
	epoch, hole := g.holes[c]
	return hole && epoch >= g.floor
}

// whole walks the past of a frame down to frames that are known to be whole.
// It ends at the first that is missing or waits.
func (s *step) whole(first cid.Cid) bool {
	waits := map[cid.Cid]bool{}
	for _, p := range s.pending {
		waits[p.cid] = p.cid != first
	}
	seen := map[cid.Cid]bool{first: true}
	walk := []cid.Cid{first}
	for i := 0; i < len(walk); i++ {
		m := s.frames[walk[i]]
		if m == nil || m.whole {
			continue
		}
		past := m.past()
		if m.Status == unread && m.Epoch >= s.floor && s.entered && s.env.Now.Before(s.due.rivals) {
			return false // a Welcome that opens it may come yet
		}
		if m.Status != opened { // what its sender had seen nobody here knows, but what it sent before it
			past = []cid.Cid{m.Links.Prev}
		}
		for _, c := range past {
			_, missing := s.unreadHoles[c]
			if waits[c] || s.asksFor(c) || missing && m.Status != opened && m.Epoch >= s.floor {
				return false
			}
			if !seen[c] {
				seen[c] = true
				walk = append(walk, c)
			}
		}
	}
	for _, c := range walk {
		if m := s.frames[c]; m != nil {
			m.whole = true
		}
	}
	return true
}

// delivered notes a message of the event log, so that it is not delivered again.
func (g *Group) delivered(ev Event) {
	from, bad := hex.DecodeString(ev.From)
	id, worse := hex.DecodeString(ev.ID)
	if ev.Kind == KindMessage && bad == nil && worse == nil {
		g.messages[string(from)+string(id)] = struct{}{}
	}
}

// deliver emits what has become due, in causal order.
func (s *step) deliver() {
	for again := true; again; {
		again = false
		for i, m := range s.pending {
			if s.inOrder(m) {
				s.pending = slices.Delete(s.pending, i, i+1)
				s.emit(m.Event)
				s.del(s.waitKey(m), History)
				again = true
				break
			}
		}
	}
}

func parsePending(b []byte) (*message, error) {
	m := &message{}
	err := json.Unmarshal(b, m)
	if err == nil {
		m.cid, err = cid.Decode(m.CID)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: waiting message: %w", ErrRecords, err)
	}
	return m, nil
}
