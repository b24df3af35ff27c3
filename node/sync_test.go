package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// rig is one sync machine over a fakeGroup whose sends are recorded.
type rig struct {
	t     *testing.T
	now   time.Time
	g     *fakeGroup
	data  map[cid.Cid][]byte
	m     *syncMachine
	sent  map[string][]*syncMessage
	bytes int
	base  []cid.Cid // where the device came in
}

func (r *rig) Tips() []cid.Cid      { return append(r.g.Tips(), r.base...) }
func (r *rig) Has(c cid.Cid) bool   { return r.g.Has(c) }
func (r *rig) Landmarks() []cid.Cid { return r.g.Landmarks() }
func (r *rig) Missing(tips, lacking []cid.Cid, n int) []cid.Cid {
	return r.g.Missing(tips, lacking, n)
}
func (r *rig) Wants() []cid.Cid { return r.g.Wants() }
func (r *rig) Block(c cid.Cid) ([]byte, error) {
	if b := r.data[c]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("no block %s", c)
}

func newRig(t *testing.T, frames, size int) *rig {
	r := &rig{t: t, now: time.Unix(1_700_000_000, 0), g: newFake("00", "", "me"), data: map[cid.Cid][]byte{}, sent: map[string][]*syncMessage{}}
	for i := range frames {
		var out group.Output
		r.g.say(group.Env{}, &out, block{Text: fmt.Sprint(strings.Repeat("0", size), i)})
		r.data[out.Publish[0].CID] = out.Publish[0].Data
	}
	r.m = newSync(DefaultTiming(), func(_, peer string, b []byte) {
		r.bytes += len(b)
		m, err := parseSyncMessage(b)
		if err != nil {
			t.Fatalf("sent what does not parse: %v", err)
		}
		r.sent[peer] = append(r.sent[peer], m)
	}, func(topic string) replica {
		if topic == "t" {
			return r
		}
		return nil
	})
	return r
}

// drain returns what was sent to a peer since the last time.
func (r *rig) drain(peer string) []*syncMessage {
	out := r.sent[peer]
	delete(r.sent, peer)
	return out
}

func (r *rig) pass(d time.Duration) {
	for end := r.now.Add(d); ; r.m.tick(r.now) {
		at := r.m.wake()
		if at.IsZero() || at.After(end) {
			r.now = end
			return
		}
		if at.After(r.now) {
			r.now = at
		} else {
			r.now = r.now.Add(time.Millisecond)
		}
	}
}

// A peer that asks again and again gets no more than its budget.
func TestAmplification(t *testing.T) {
	r := newRig(t, 400, 4000)
	r.m.peerJoin(r.now, "t", "greedy")
	r.m.tick(r.now)
	tips := &syncMessage{kind: syncTips, topic: "t"}
	timing := DefaultTiming()
	for range 10_000 {
		r.m.question(r.now, "greedy", tips)
	}
	if limit := timing.PeerBurst + 2*timing.Piece; r.bytes > limit {
		t.Errorf("%d bytes at once, limit %d", r.bytes, limit)
	}
	r.bytes = 0
	for range 10 {
		for range 1000 {
			r.m.question(r.now, "greedy", tips)
		}
		r.pass(time.Second)
	}
	if limit := 11 * timing.PeerRate; r.bytes > limit || r.bytes < limit/4 {
		t.Errorf("%d bytes in 10 s, limit %d", r.bytes, limit)
	}
	// Others are served all the same, and leaving does not refill the bucket.
	r.m.question(r.now, "other", tips)
	if len(r.drain("other")) != 1 {
		t.Error("a second peer is not served")
	}
	r.drain("greedy")
	r.m.peerLeave(r.now, "t", "greedy")
	r.m.peerJoin(r.now, "t", "greedy")
	for range 100 {
		r.m.question(r.now, "greedy", tips)
	}
	if n := len(r.drain("greedy")); n > 10 {
		t.Errorf("%d answers after joining again", n)
	}
}

func TestPiecesAreBounded(t *testing.T) {
	r := newRig(t, 40, 200<<10)
	r.m.question(r.now, "p", &syncMessage{kind: syncTips, topic: "t"})
	m := r.drain("p")[0]
	if n := len(m.blocks); n != 5 || !m.more {
		t.Errorf("%d blocks of 200 KiB in a piece of 1 MiB, more %v", n, m.more)
	}
	big := newRig(t, 2, 3<<20)
	big.m.question(big.now, "p", &syncMessage{kind: syncTips, topic: "t"})
	if m := big.drain("p")[0]; len(m.blocks) != 1 || !m.more {
		t.Errorf("%d blocks larger than a piece, more %v", len(m.blocks), m.more)
	}
}

func TestUnaskedBlocks(t *testing.T) {
	r := newRig(t, 1, 1)
	m := &syncMessage{kind: syncBlocks, topic: "t", answers: syncTips}
	if r.m.answer(r.now, "stranger", m) {
		t.Error("blocks of a stranger are taken")
	}
	r.m.peerJoin(r.now, "t", "p")
	if r.m.answer(r.now, "p", m) {
		t.Error("blocks that were not asked for are taken")
	}
	r.m.tick(r.now)
	if !r.m.answer(r.now.Add(time.Minute), "p", m) {
		t.Error("a slow answer is thrown away")
	}
	if r.m.answer(r.now.Add(time.Hour), "p", m) {
		t.Error("an answer is taken for ever")
	}
}

// One question is under way with a peer, however much happens.
func TestQuestionsAreNotRepeated(t *testing.T) {
	r := newRig(t, 1, 1)
	r.m.peerJoin(r.now, "t", "p")
	for i := range 50 {
		c := frame.CIDOf([]byte{byte(i)})
		r.m.want(r.now, "t", "p", []cid.Cid{c})
		r.m.question(r.now, "p", &syncMessage{kind: syncTips, topic: "t", cids: []cid.Cid{c}})
		r.m.tick(r.now)
	}
	tips := 0
	for _, m := range r.drain("p") {
		if m.kind == syncTips {
			tips++
		}
	}
	if tips != 1 {
		t.Errorf("%d questions under way", tips)
	}
}

// A block that parked frames wait for is asked of one peer after the other
// until it is there.
func TestWantsGoRound(t *testing.T) {
	r := newRig(t, 1, 1)
	lost := frame.CIDOf([]byte("lost"))
	raw := fmt.Appendf(nil, `{"Parents":[%q],"Text":"child"}`, lost)
	r.g.parked[frame.CIDOf(raw)] = raw
	for _, p := range []string{"a", "b", "c"} {
		r.m.peerJoin(r.now, "t", p)
	}
	r.m.want(r.now, "t", "b", r.g.Wants())
	asked := ""
	for range 4 {
		r.pass(DefaultTiming().Timeout + time.Second)
		for _, p := range []string{"a", "b", "c"} {
			for _, m := range r.drain(p) {
				if m.kind == syncWant && m.cids[0] == lost {
					asked += p
				}
			}
		}
	}
	if len(asked) < 3 || asked[:3] != "bca" {
		t.Errorf("asked %q, want bca first", asked)
	}
	clear(r.g.parked) // it opened, or was given up
	r.pass(10 * time.Minute)
	if len(r.m.topics["t"].wants) != 0 {
		t.Error("a block that nobody waits for is still wanted")
	}
}

// A peer that names our tips and lacks a block in their past gets it, with what
// lies above.
func TestTipsWithHole(t *testing.T) {
	r := newRig(t, 4, 1)
	r.m.peerJoin(r.now, "t", "p")
	r.drain("p")
	lacking := r.g.order[1]
	r.m.question(r.now, "p", &syncMessage{kind: syncTips, topic: "t", cids: r.Tips(), lacking: []cid.Cid{lacking}})
	got := r.drain("p")
	last := got[len(got)-1]
	if last.kind != syncBlocks || !slices.ContainsFunc(last.blocks, func(b []byte) bool { return frame.CIDOf(b) == lacking }) {
		t.Fatalf("answered %+v", last)
	}
}

// What a peer asked for in vain is named to the others for a while: who has it
// may come later.
func TestRelayedWantIsNamed(t *testing.T) {
	r := newRig(t, 1, 1)
	for _, p := range []string{"a", "b"} {
		r.m.peerJoin(r.now, "t", p)
	}
	lost := frame.CIDOf([]byte("lost"))
	names := func() bool {
		r.drain("a")
		r.pass(2*DefaultTiming().Timeout + DefaultTiming().Interval)
		return slices.ContainsFunc(r.drain("a"), func(m *syncMessage) bool {
			return m.kind == syncTips && slices.Contains(m.lacking, lost)
		})
	}
	r.m.question(r.now, "b", &syncMessage{kind: syncWant, topic: "t", cids: []cid.Cid{lost}})
	r.pass(2 * relayPause)
	if n := len(r.m.topics["t"].wants); n != 0 {
		t.Fatalf("%d blocks are asked for by name", n)
	}
	for range 3 {
		r.m.answer(r.now, "a", &syncMessage{kind: syncBlocks, topic: "t", answers: syncTips}) // it is there
		if !names() {
			t.Error("a block that was asked for in vain is not named")
		}
	}
	if r.pass(relayLife); names() {
		t.Error("it is named for ever")
	}
}

// A block that a peer asks for and that is not here is asked of the others, a
// few times, and not again at once, however often the peer repeats itself.
func TestRelayedWant(t *testing.T) {
	r := newRig(t, 1, 1)
	for _, p := range []string{"a", "b", "c"} {
		r.m.peerJoin(r.now, "t", p)
	}
	lost := frame.CIDOf([]byte("lost"))
	ask := func() (n int) {
		r.m.question(r.now, "b", &syncMessage{kind: syncWant, topic: "t", cids: []cid.Cid{lost}})
		for range 3 {
			r.pass(DefaultTiming().Timeout + time.Second)
			for _, p := range []string{"a", "b", "c"} {
				for _, m := range r.drain(p) {
					if m.kind == syncWant && p == "b" {
						t.Fatal("the peer is asked for what it asks for")
					} else if m.kind == syncWant {
						n++
					}
				}
			}
		}
		return n
	}
	if n := ask(); n < 2 {
		t.Errorf("asked %d times, want the two others", n)
	}
	r.m.topics["t"].wants = map[cid.Cid]*wanted{} // the tries are over
	if n := ask(); n != 0 {
		t.Errorf("asked %d times again at once", n)
	}
	r.pass(time.Hour)
	if n := len(r.m.topics["t"].wants); n != 0 {
		t.Errorf("%d blocks are wanted for others for ever", n)
	}
	if n := ask(); n < 2 {
		t.Errorf("asked %d times an hour later, want the two others", n)
	}
}

func TestAnnouncedBlock(t *testing.T) {
	r := newRig(t, 1, 1)
	r.m.peerJoin(r.now, "t", "a")
	r.m.peerJoin(r.now, "t", "p")
	c := frame.CIDOf([]byte("large"))
	r.m.announced(r.now, "t", "p", c)
	r.m.tick(r.now)
	got := r.drain("p")
	if last := got[len(got)-1]; last.kind != syncWant || last.cids[0] != c {
		t.Fatalf("sent %+v", last)
	}
	r.pass(time.Hour)
	if len(r.m.topics["t"].wants) != 0 {
		t.Error("a block that does not exist is wanted for ever")
	}
	r.m.announced(r.now, "t", "p", r.g.Tips()[0])
	if len(r.m.topics["t"].wants) != 0 {
		t.Error("a block that is here is wanted")
	}
}

// A peer that never answers is asked less and less often.
func TestSilentPeer(t *testing.T) {
	r := newRig(t, 1, 1)
	r.m.timing.Interval = time.Hour
	r.m.peerJoin(r.now, "t", "p")
	r.m.tick(r.now)
	r.pass(50 * time.Minute)
	if n := len(r.drain("p")); n < 6 || n > 30 {
		t.Errorf("%d questions to a silent peer in 50 minutes", n)
	}
}

// Two peers that are sent frames all the time, each of which one has before the
// other, do not ask each other without end: what gossip brings in time is not
// asked for.
func TestAskBack(t *testing.T) {
	r := newRig(t, 1, 1)
	r.m.peerJoin(r.now, "t", "p")
	r.m.tick(r.now)
	r.m.answer(r.now, "p", &syncMessage{kind: syncBlocks, topic: "t", answers: syncTips})
	r.drain("p")
	questions := func() (n int) {
		for _, m := range r.drain("p") {
			if m.kind == syncTips {
				n++
			}
		}
		return n
	}
	hears := func() cid.Cid {
		c := frame.CIDOf(fmt.Append(nil, "on its way at ", r.now))
		r.m.question(r.now, "p", &syncMessage{kind: syncTips, topic: "t", cids: []cid.Cid{c}})
		return c
	}
	r.pass(2 * r.m.timing.Settle)
	hears()
	if n := questions(); n != 1 {
		t.Fatalf("%d questions at once, want 1", n)
	}
	r.m.answer(r.now, "p", &syncMessage{kind: syncBlocks, topic: "t", answers: syncTips})
	r.g.frames[hears()] = block{}
	r.pass(r.m.timing.Spread)
	if n := questions(); n != 0 {
		t.Errorf("%d questions for what had come by gossip, want none", n)
	}
	hears()
	if n := questions(); n != 0 {
		t.Errorf("%d questions again at once, want none", n)
	}
	r.pass(r.m.timing.Spread)
	if n := questions(); n != 1 {
		t.Errorf("%d questions for what did not come, want 1", n)
	}
}

// Two who came in at one base, which neither of them holds, have nothing to ask
// each other.
func TestSameBase(t *testing.T) {
	r := newRig(t, 1, 1)
	r.base = []cid.Cid{frame.CIDOf([]byte("what added both"))}
	r.m.peerJoin(r.now, "t", "p")
	r.pass(time.Minute)
	r.drain("p")
	r.m.question(r.now, "p", &syncMessage{kind: syncTips, topic: "t", cids: r.Tips()})
	if sent := r.drain("p"); len(sent) != 1 || sent[0].kind != syncBlocks || len(sent[0].blocks) > 0 {
		t.Errorf("%d messages, want an empty answer", len(sent))
	}
}

// A piece without news ends the exchange, whatever the peer says.
func TestMoreWithoutNews(t *testing.T) {
	r := newRig(t, 1, 1)
	r.m.peerJoin(r.now, "t", "p")
	r.m.tick(r.now)
	r.drain("p")
	r.m.answer(r.now, "p", &syncMessage{kind: syncBlocks, topic: "t", answers: syncTips, more: true})
	r.m.took(r.now, "t", "p", false, true)
	r.m.tick(r.now)
	if n := len(r.drain("p")); n != 0 {
		t.Errorf("%d questions after a piece without news", n)
	}
}

// Peers that went on apart after a long common past learn each other's tips,
// however long it was: the first piece holds the last frames, in order. A peer
// whose tips are known gets what comes after them, the oldest first.
func TestLongPast(t *testing.T) {
	r := newRig(t, 3*missBatch, 40)
	all := r.Missing(nil, nil, 1<<20)
	stranger := frame.CIDOf([]byte("sent elsewhere"))
	for name, c := range map[string]struct {
		tips        []cid.Cid
		first, last int
	}{
		"nothing yet": {nil, 0, missBatch},
		"behind":      {[]cid.Cid{all[99]}, 100, 100 + missBatch},
		"elsewhere":   {[]cid.Cid{stranger}, len(all) - missBatch, len(all)},
	} {
		r.m.question(r.now, name, &syncMessage{kind: syncTips, topic: "t", cids: c.tips})
		sent := r.drain(name)
		if len(sent) == 0 || len(sent[0].blocks) != c.last-c.first || !sent[0].more {
			t.Fatalf("%s: %d messages", name, len(sent))
		}
		for i, b := range sent[0].blocks {
			if frame.CIDOf(b) != all[c.first+i] {
				t.Fatalf("%s: block %d is not frame %d", name, i, c.first+i)
			}
		}
	}
	// By a landmark it is found what a peer has that has gone on elsewhere.
	r.m.question(r.now, "landmark", &syncMessage{
		kind: syncTips, topic: "t", cids: []cid.Cid{stranger}, landmarks: []cid.Cid{stranger, all[len(all)-9]},
	})
	if blocks := r.drain("landmark")[0].blocks; len(blocks) != 8 || frame.CIDOf(blocks[0]) != all[len(all)-8] {
		t.Errorf("%d blocks for a peer that has all but 8", len(blocks))
	}
	// What does not fit into one message is left out at the beginning.
	big := newRig(t, missBatch+50, 4<<10)
	all = big.Missing(nil, nil, 1<<20)
	big.m.question(big.now, "elsewhere", &syncMessage{kind: syncTips, topic: "t", cids: []cid.Cid{stranger}})
	blocks := big.drain("elsewhere")[0].blocks
	if n := len(blocks); n == 0 || n == missBatch || frame.CIDOf(blocks[n-1]) != all[len(all)-1] {
		t.Errorf("%d blocks", n)
	}
}
