package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// memStore is a Store in memory. It can be told to fail.
type memStore struct {
	mu      sync.Mutex
	records map[string]group.Op
	commits int
	fail    error
	closed  bool
}

func newMemStore() *memStore { return &memStore{records: map[string]group.Op{}} }

func (s *memStore) Commit(ctx context.Context, ops []group.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.commits++
	for _, op := range ops {
		if op.Class == 0 {
			return fmt.Errorf("record %s has no class", op.Key)
		}
		if op.Value == nil {
			delete(s.records, op.Key)
			continue
		}
		s.records[op.Key] = group.Op{Key: op.Key, Value: bytes.Clone(op.Value), Class: op.Class}
	}
	return nil
}

func (s *memStore) Load(_ context.Context, prefix string) iter.Seq2[group.Op, error] {
	s.mu.Lock()
	var ops []group.Op
	for _, k := range sortedKeys(s.records) {
		if len(k) >= len(prefix) && k[:len(prefix)] == prefix {
			ops = append(ops, s.records[k])
		}
	}
	s.mu.Unlock()
	return func(yield func(group.Op, error) bool) {
		for _, op := range ops {
			if !yield(op, nil) {
				return
			}
		}
	}
}

func (s *memStore) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("read after close")
	}
	op, ok := s.records[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(op.Value), nil
}

func (s *memStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// setFail makes every further Commit fail, or succeed again with nil.
func (s *memStore) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *memStore) count(prefix string) (n int) {
	for range s.Load(context.Background(), prefix) {
		n++
	}
	return n
}

// block is what fakeGroup exchanges: a node of a graph with text.
type block struct {
	From    string
	Seq     int
	Parents []string
	Text    string
	Add     string // public part of a KeyPackage
}

// fakeGroup has the surface of group.Group without its cryptography: frames in
// a graph, parking, an event log.
type fakeGroup struct {
	gid, name, self string
	frames          map[cid.Cid]block
	order           []cid.Cid
	parked          map[cid.Cid][]byte
	unsent          map[cid.Cid]bool
	cursor          uint64
	state           string
	steps           int
}

func newFake(gid, name, self string) *fakeGroup {
	return &fakeGroup{gid: gid, name: name, self: self, state: "member",
		frames: map[cid.Cid]block{}, parked: map[cid.Cid][]byte{}, unsent: map[cid.Cid]bool{}}
}

func (g *fakeGroup) ID() string    { return g.gid }
func (g *fakeGroup) Name() string  { return g.name }
func (g *fakeGroup) Topic() string { return "topic-" + g.gid }

// PeerKey is derived from the name of the group, which only members know.
func (g *fakeGroup) PeerKey() frame.PeerKey {
	secret := sha256.Sum256([]byte(g.gid))
	return frame.NewGossip(secret[:], 0).PeerKey()
}
func (g *fakeGroup) State() string { return g.state }
func (g *fakeGroup) Standing() group.Standing {
	return group.Standing{State: g.state, Parked: len(g.parked)}
}
func (g *fakeGroup) Status() group.Status {
	return group.Status{Group: g.gid, Name: g.name, State: g.state, Cursor: g.cursor, Blocks: len(g.frames),
		Members: []group.Member{{Leaf: 3, ID: "aabb", Name: "bob"}, {Leaf: 4, ID: "aacc", Name: "carol"}}}
}
func (g *fakeGroup) View() group.View { return group.View{Group: g.gid} }
func (g *fakeGroup) Log() []group.LogEntry {
	var l []group.LogEntry
	for _, c := range g.order {
		l = append(l, group.LogEntry{CID: c.String()})
	}
	return l
}

func (g *fakeGroup) Tips() []cid.Cid {
	tips := map[cid.Cid]bool{}
	for c := range g.frames {
		tips[c] = true
	}
	for _, b := range g.frames {
		for _, p := range b.Parents {
			delete(tips, cid.MustParse(p))
		}
	}
	return sortedCIDs(tips)
}

func (g *fakeGroup) Has(c cid.Cid) bool { _, ok := g.frames[c]; return ok }

func (g *fakeGroup) Landmarks() []cid.Cid {
	var out []cid.Cid
	for back := 2; back <= len(g.order); back *= 2 {
		out = append(out, g.order[len(g.order)-back])
	}
	return out
}

func (g *fakeGroup) Missing(tips, lacking []cid.Cid, limit int) []cid.Cid {
	known := map[cid.Cid]bool{}
	stack := slices.Clone(tips)
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		b, ok := g.frames[c]
		if !ok || known[c] || slices.Contains(lacking, c) {
			continue
		}
		known[c] = true
		for _, p := range b.Parents {
			stack = append(stack, cid.MustParse(p))
		}
	}
	var out []cid.Cid
	for _, c := range g.order {
		if !known[c] && len(out) < limit {
			out = append(out, c)
		}
	}
	return out
}

func (g *fakeGroup) missing(b block) (ids []cid.Cid) {
	for _, p := range b.Parents {
		if c := cid.MustParse(p); !g.Has(c) {
			ids = append(ids, c)
		}
	}
	return ids
}

func (g *fakeGroup) Wants() []cid.Cid {
	want := map[cid.Cid]bool{}
	for _, raw := range g.parked {
		var b block
		_ = json.Unmarshal(raw, &b)
		for _, c := range g.missing(b) {
			if g.parked[c] == nil {
				want[c] = true
			}
		}
	}
	return sortedCIDs(want)
}

func (g *fakeGroup) Records() []group.Op { return nil }
func (g *fakeGroup) Held() group.Held    { return group.Held{} }
func (g *fakeGroup) Lasting() []string   { return nil }
func (g *fakeGroup) Unsent() []cid.Cid   { return sortedCIDs(g.unsent) }

// Step panics on texts that ask for it, and fails on others.
func (g *fakeGroup) Step(env group.Env, in group.Input) (group.Output, error) {
	g.steps++
	var out group.Output
	switch in := in.(type) {
	case group.Send:
		switch string(in.Text) {
		case "":
			return out, group.ErrTextSize
		case "break":
			return out, group.ErrInternal
		}
		g.say(env, &out, block{Text: string(in.Text)})
		copy(out.Sent.Message[:], sha(in.Text))
	case group.Change:
		if g.state != "member" {
			return out, group.ErrNotMember
		}
		b := block{}
		if len(in.Add) > 0 {
			if bytes.HasPrefix(in.Add[0], []byte("bad")) {
				return out, group.ErrAlready
			}
			b.Add = string(in.Add[0])
		}
		g.say(env, &out, b)
		if b.Add != "" {
			out.Welcomes = []group.Welcome{{KeyPackageRef: sha(in.Add[0]), Bundle: []byte(g.gid + "|" + g.name)}}
		}
	case group.Receive:
		for _, raw := range in.Blocks {
			out.Results = append(out.Results, g.receive(env, &out, raw))
		}
	case group.Hear:
		g.event(env, &out, group.Event{Kind: "heard", Text: string(in.Payload), From: in.From})
	case group.Leave:
		g.state = "left"
		g.event(env, &out, group.Event{Kind: group.KindLeft})
	}
	out.Want = g.Wants()
	return out, nil
}

func (g *fakeGroup) say(env group.Env, out *group.Output, b block) {
	b.From, b.Seq = g.self, len(g.frames)
	for _, c := range g.Tips() {
		b.Parents = append(b.Parents, c.String())
	}
	raw, _ := json.Marshal(b)
	c := frame.CIDOf(raw)
	out.Sent.CID = c
	g.unsent[c] = true
	out.Publish = append(out.Publish, frame.Block{CID: c, Data: raw})
	g.take(env, out, c, raw, b)
}

func (g *fakeGroup) receive(env group.Env, out *group.Output, raw []byte) group.Result {
	c := frame.CIDOf(raw)
	var b block
	if json.Unmarshal(raw, &b) != nil {
		return group.Result{CID: c, Verdict: group.Rejected, Reason: group.ErrMalformed}
	}
	switch missing := g.missing(b); {
	case g.Has(c):
		return group.Result{CID: c, Verdict: group.Duplicate}
	case len(missing) > 0:
		g.parked[c] = raw
		return group.Result{CID: c, Verdict: group.Buffered, Missing: missing}
	}
	g.take(env, out, c, raw, b)
	for again := true; again; {
		again = false
		for _, p := range sortedCIDs(g.parked) {
			raw, b := g.parked[p], block{}
			_ = json.Unmarshal(raw, &b)
			if len(g.missing(b)) == 0 {
				delete(g.parked, p)
				g.take(env, out, p, raw, b)
				again = true
			}
		}
	}
	return group.Result{CID: c, Verdict: group.Applied}
}

func (g *fakeGroup) take(env group.Env, out *group.Output, c cid.Cid, raw []byte, b block) {
	g.frames[c] = b
	g.order = append(g.order, c)
	out.Batch = append(out.Batch, group.Op{Key: group.BlockKey(g.gid, c), Value: raw, Class: group.Public})
	e := group.Event{Kind: group.KindMessage, Text: b.Text, From: b.From, CID: c.String()}
	if b.Text == "" {
		e.Kind = group.KindCommit
	}
	g.event(env, out, e)
}

func (g *fakeGroup) event(env group.Env, out *group.Output, e group.Event) {
	g.cursor++
	e.Cursor, e.Group, e.Time = g.cursor, g.gid, env.Now.UnixMilli()
	raw, _ := json.Marshal(e)
	out.Batch = append(out.Batch, group.Op{Key: group.EventKey(g.gid, g.cursor), Value: raw, Class: group.History})
	out.Events = append(out.Events, e)
}

func sha(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// fakeEngines makes fakeGroups for a device of the given name.
func fakeEngines(self string) engines {
	return engines{
		create: func(env group.Env, name string, _ group.Policy) (engine, group.Output, error) {
			id := make([]byte, 8)
			if _, err := env.Rand.Read(id); err != nil {
				return nil, group.Output{}, err
			}
			g := newFake(hex.EncodeToString(id), name, self)
			var out group.Output
			g.say(env, &out, block{})
			return g, out, nil
		},
		join: func(env group.Env, bundle, secret []byte, erase []group.Op, past func(gid string) ([]group.Event, error)) (engine, group.Output, error) {
			gid, name, ok := bytes.Cut(bundle, []byte("|"))
			if !ok || !bytes.HasPrefix(secret, []byte("secret")) {
				return nil, group.Output{}, group.ErrBundle
			}
			g := newFake(string(gid), string(name), self)
			events, err := past(g.gid)
			if err != nil {
				return nil, group.Output{}, err
			}
			for _, ev := range events {
				g.cursor = ev.Cursor
			}
			out := group.Output{Batch: erase}
			g.event(env, &out, group.Event{Kind: group.KindJoined})
			return g, out, nil
		},
		load: func(gid string, records iter.Seq2[group.Op, error]) (engine, error) {
			g := newFake(gid, "loaded", self)
			for op, err := range records {
				if err != nil {
					return nil, err
				}
				var b block
				if rest, ok := bytes.CutPrefix([]byte(op.Key), []byte(group.Prefix(gid)+"b/")); ok {
					if err := json.Unmarshal(op.Value, &b); err != nil {
						return nil, err
					}
					c := cid.MustParse(string(rest))
					g.frames[c] = b
					g.order = append(g.order, c)
					if b.From == self {
						g.unsent[c] = true
					}
				} else if bytes.HasPrefix([]byte(op.Key), []byte(group.EventPrefix(gid))) {
					ev, err := group.DecodeEvent(op.Value)
					if err != nil {
						return nil, err
					}
					g.cursor = ev.Cursor
				}
			}
			slices.SortStableFunc(g.order, func(a, b cid.Cid) int { return g.frames[a].Seq - g.frames[b].Seq })
			return g, nil
		},
		keyPackage: func(env group.Env) (keyPackage, error) {
			id := make([]byte, 8)
			_, err := env.Rand.Read(id)
			public := []byte("kp of " + self + hex.EncodeToString(id))
			return keyPackage{ref: sha(public), public: public, secret: append([]byte("secret"), id...)}, err
		},
		ref: func(public []byte) ([]byte, error) {
			if len(public) == 0 {
				return nil, errors.New("empty KeyPackage")
			}
			return sha(public), nil
		},
	}
}
