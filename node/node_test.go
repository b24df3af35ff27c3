package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dmlsd/dmls/group"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openFake(t *testing.T, e *ether, name string, s *memStore) *Node {
	t.Helper()
	engines := fakeEngines(name)
	n, err := Open(context.Background(), Config{Name: name, Store: s, Transport: e.transport(name), engines: &engines})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func short5(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// texts reads messages from a log until it has seen n.
func texts(t *testing.T, n *Node, gid string, count int) (list []string) {
	t.Helper()
	for e, err := range n.Events(short5(t), gid, 0, true) {
		if err != nil {
			t.Fatalf("after %d messages: %v", len(list), err)
		}
		if e.Kind == group.KindMessage {
			if list = append(list, e.Text); len(list) == count {
				break
			}
		}
	}
	return list
}

func TestNodes(t *testing.T) {
	e, ctx := newEther(), short5(t)
	as, bs := newMemStore(), newMemStore()
	a, b := openFake(t, e, "a", as), openFake(t, e, "b", bs)
	gid, err := a.CreateGroup(ctx, "ops")
	if err != nil {
		t.Fatal(err)
	}
	line, err := a.Invite(ctx, gid)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Join(ctx, line); err != nil || got != gid {
		t.Fatalf("join: %q, %v", got, err)
	}
	if got, err := b.Join(ctx, line); err != nil || got != gid {
		t.Fatalf("second use by the same device: %q, %v", got, err)
	}
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint("m", i))
		if id, err := a.Send(ctx, gid, want[i]); err != nil || len(id) != 32 {
			t.Fatal(id, err)
		}
	}
	if got := texts(t, b, gid, 50); !slices.Equal(got, want) {
		t.Errorf("b read %v", got)
	}
	if err := b.Block("a"); err != nil {
		t.Fatal(err)
	}
	if p := b.Peers(); len(p) != 1 || !p[0].Blocked || p[0].Direction != "" {
		t.Errorf("peers of b while a is blocked: %+v", p)
	}
	if _, err := a.Send(ctx, gid, "unheard"); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	bs2 := newMemStore()
	bs2.records = bs.records
	b = openFake(t, e, "b", bs2)
	if err := b.Unblock("a"); err != nil { // it was blocked still
		t.Fatal(err)
	}
	if got := texts(t, b, gid, 51); got[50] != "unheard" {
		t.Errorf("after the restart b read %v", got)
	}
	if p := a.Peers(); len(p) != 1 || p[0].Peer != "b" || !slices.Equal(p[0].Groups, []string{gid}) {
		t.Errorf("peers of a: %+v", p)
	}
	if i := a.Info(); i.Groups != 1 || i.Peers != 1 || i.Name != "a" || i.ID != a.ID() || len(i.ID) != 64 {
		t.Errorf("info %+v", i)
	}
}

func TestLookups(t *testing.T) {
	n, ctx := openFake(t, newEther(), "a", newMemStore()), short5(t)
	one, _ := n.CreateGroup(ctx, "same")
	two, _ := n.CreateGroup(ctx, "same")
	for ref, want := range map[string]struct {
		gid string
		err error
	}{one: {one, nil}, two[:10]: {two, nil}, "same": {"", ErrAmbiguous}, "none": {"", ErrNotFound}, "": {"", ErrNotFound}} {
		if gid, err := n.Group(ref); gid != want.gid || !errors.Is(err, want.err) {
			t.Errorf("Group(%q) = %q, %v", ref, gid, err)
		}
	}
	if _, err := n.Group("same"); !strings.Contains(err.Error(), one[:12]) || !strings.Contains(err.Error(), two[:12]) {
		t.Errorf("what to choose from is not said: %v", err)
	}
	for ref, want := range map[string]error{"bob": nil, "aacc": nil, "aa": ErrAmbiguous, "dave": ErrNotFound} {
		if _, err := n.Remove(ctx, one, ref); !errors.Is(err, want) {
			t.Errorf("Remove(%q): %v", ref, err)
		}
	}
	if _, err := n.CreateGroup(ctx, "a\nb"); !errors.Is(err, ErrName) {
		t.Errorf("name with a line break: %v", err)
	}
	if _, err := n.Send(ctx, one, ""); !errors.Is(err, group.ErrTextSize) {
		t.Errorf("empty text: %v", err)
	}
	if _, err := n.Send(ctx, "00", "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown group: %v", err)
	}
	if _, err := n.View(one); err != nil {
		t.Error(err)
	}
	if l, err := n.Log(one); err != nil || len(l) == 0 {
		t.Error(l, err)
	}
}

func TestEventsEnd(t *testing.T) {
	n, ctx := openFake(t, newEther(), "a", newMemStore()), short5(t)
	gid, _ := n.CreateGroup(ctx, "ops")
	for i := range 5 {
		_, _ = n.Send(ctx, gid, fmt.Sprint(i))
	}
	read := func(ctx context.Context, after uint64, follow bool) (cursors []uint64, last error) {
		for e, err := range n.Events(ctx, gid, after, follow) {
			if err != nil {
				return cursors, err
			}
			cursors = append(cursors, e.Cursor)
		}
		return cursors, nil
	}
	if got, err := read(ctx, 3, false); !slices.Equal(got, []uint64{4, 5, 6}) || err != nil {
		t.Errorf("after 3: %v, %v", got, err)
	}
	if got, err := read(ctx, 6, false); got != nil || err != nil {
		t.Errorf("after the last: %v, %v", got, err)
	}
	if got, err := read(ctx, 7, true); got != nil || !errors.Is(err, ErrLogAnew) {
		t.Errorf("after 7 of 6: %v, %v", got, err)
	}
	brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if got, err := read(brief, 0, true); len(got) != 6 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("until the deadline: %v, %v", got, err)
	}
	ends := make(chan error, 2)
	for range 2 {
		go func() { _, err := read(ctx, 0, true); ends <- err }()
	}
	time.Sleep(20 * time.Millisecond)
	if err := n.Forget(ctx, gid); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ends; !errors.Is(err, ErrNotFound) {
			t.Errorf("after Forget: %v", err)
		}
	}
}

// Whoever follows a log goes on when the device joins the group again.
func TestJoiningAgainGoesOn(t *testing.T) {
	e, ctx := newEther(), short5(t)
	a, b := openFake(t, e, "a", newMemStore()), openFake(t, e, "b", newMemStore())
	gid, err := a.CreateGroup(ctx, "ops")
	if err != nil {
		t.Fatal(err)
	}
	join := func() {
		t.Helper()
		line, err := a.Invite(ctx, gid)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Join(ctx, line); err != nil {
			t.Fatal(err)
		}
	}
	join()
	heard := make(chan group.Event)
	go func() {
		defer close(heard)
		for ev, err := range b.Events(ctx, gid, 0, true) {
			if err != nil {
				return
			}
			heard <- ev
		}
	}()
	wait := func(kind group.Kind) {
		t.Helper()
		for ev := range heard {
			if ev.Kind == kind {
				return
			}
		}
		t.Fatalf("no %s", kind)
	}
	wait(group.KindJoined)
	if err := b.Leave(ctx, gid); err != nil {
		t.Fatal(err)
	}
	wait(group.KindLeft)
	join()
	wait(group.KindJoined)
	var cursors []uint64
	for ev, err := range b.Events(ctx, gid, 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		cursors = append(cursors, ev.Cursor)
	}
	for i, c := range cursors {
		if c != uint64(i+1) {
			t.Fatalf("cursors %v", cursors)
		}
	}
	go func() {
		for range heard {
		}
	}()
}

// A peer that was blocked stays so over a restart, until it is allowed again.
func TestBlockSurvivesRestarts(t *testing.T) {
	e := newEther()
	store := newMemStore()
	again := func() *Node {
		next := newMemStore()
		next.records = store.records
		store = next
		return openFake(t, e, "a", store)
	}
	n := again()
	for _, peer := range []string{"b", "c"} {
		if err := n.Block(peer); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Unblock("b"); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = again()
	if p := n.Peers(); len(p) != 1 || p[0].Peer != "c" || !p[0].Blocked {
		t.Errorf("peers after a restart: %+v", p)
	}
	if err := errors.Join(n.Unblock("c"), n.Close()); err != nil {
		t.Fatal(err)
	}
	if p := again().Peers(); len(p) != 0 {
		t.Errorf("peers after the next: %+v", p)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"Ada": true, "Zoë 🚢": true, "👨\u200d👩\u200d👧": true, "می\u200cخواهم": true, strings.Repeat("x", MaxName): true,
		"": false, " ": false, " a": false, "a ": false, "\u200d": false, "a\u202eb": false, "a\u200bb": false, "a\x1bb": false,
		"a\nb": false, "a\u2028b": false, "\xff": false, strings.Repeat("x", MaxName+1): false,
	} {
		err := CheckName(name)
		if ok != (err == nil) || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
	if err := CheckName(strings.Repeat("x", 100_000)); len(err.Error()) > 300 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestClose(t *testing.T) {
	s := newMemStore()
	n, ctx := openFake(t, newEther(), "a", s), short5(t)
	gid, _ := n.CreateGroup(ctx, "ops")
	var wg sync.WaitGroup
	var acked sync.Map
	for i := range 64 {
		wg.Go(func() {
			for j := 0; ; j++ {
				text := fmt.Sprint(i, "-", j)
				if _, err := n.Send(ctx, gid, text); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				acked.Store(text, true)
			}
		})
	}
	following := make(chan error, 1)
	go func() {
		for _, err := range n.Events(context.Background(), gid, 0, true) {
			if err != nil {
				following <- err
			}
		}
	}()
	time.Sleep(20 * time.Millisecond)
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := <-following; !errors.Is(err, ErrClosed) {
		t.Errorf("a follower ended with %v", err)
	}
	for op := range s.Load(ctx, group.EventPrefix(gid)) {
		e, err := group.DecodeEvent(op.Value)
		if err != nil {
			t.Fatal(err)
		}
		acked.Delete(e.Text)
	}
	acked.Range(func(text, _ any) bool { t.Errorf("acknowledged and lost: %s", text); return true })
	if n.Groups() != nil || n.Check(ctx, "topic-"+gid, "x", []byte("{}")) != Ignore {
		t.Error("a closed node works")
	}
	if _, err := n.Join(ctx, Ticket{Expires: time.Now().Add(time.Hour), Addrs: []string{"/memory/x"}}.Line()); err == nil {
		t.Error("a closed node joins")
	}
}

func TestJoinEndsWithContext(t *testing.T) {
	e := newEther()
	n := openFake(t, e, "a", newMemStore())
	nobody := Ticket{Expires: time.Now().Add(time.Hour).Truncate(time.Second), Addrs: []string{"/memory/x"}}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := n.Join(ctx, nobody.Line()); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody there: %v", err)
	}
	own, err := n.CreateGroup(short5(t), "ops")
	if err != nil {
		t.Fatal(err)
	}
	line, _ := n.Invite(short5(t), own)
	if _, err := n.Join(short5(t), line); !errors.Is(err, ErrTicketOwn) {
		t.Errorf("own ticket: %v", err)
	}
	b := openFake(t, e, "b", newMemStore())
	if _, err := b.Join(short5(t), "dmls1xx"); !errors.Is(err, ErrTicketDamaged) {
		t.Errorf("damaged: %v", err)
	}
	old := Ticket{Expires: time.Now().Add(-time.Hour).Truncate(time.Second), Addrs: []string{"/memory/a"}}
	if _, err := b.Join(short5(t), old.Line()); !errors.Is(err, ErrTicketExpired) {
		t.Errorf("expired: %v", err)
	}
	wrong := Ticket{Expires: time.Now().Add(time.Hour).Truncate(time.Second), Addrs: []string{"/memory/a"}}
	if _, err := b.Join(short5(t), wrong.Line()); !errors.Is(err, ErrTicketUnknown) {
		t.Errorf("unknown: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	s, e := newMemStore(), newEther()
	if _, err := Open(context.Background(), Config{Store: s, Transport: e.transport("a")}); !errors.Is(err, ErrNoIdentity) {
		t.Fatalf("without name: %v", err)
	}
	s = newMemStore()
	id := openFake(t, e, "a", s).ID()
	if got, name, err := Init(context.Background(), s, "", nil); err != nil || got != id || name != "a" {
		t.Errorf("Init read %q %q %v", got, name, err)
	}
	if op := s.records[keyIdentity]; op.Class != group.Secret {
		t.Errorf("identity has class %d", op.Class)
	}
	s.records[keyIdentity] = group.Op{Key: keyIdentity, Value: []byte("x")}
	if _, err := Open(context.Background(), Config{Store: s, Transport: e.transport("b")}); !errors.Is(err, ErrIdentity) {
		t.Errorf("damaged identity: %v", err)
	}
}

func TestFullMailboxIgnores(t *testing.T) {
	m := newMailbox()
	for i := range maxArrivals {
		if !m.arrive(task{in: Deliver{Block: []byte("x")}}) {
			t.Fatalf("full after %d", i)
		}
	}
	if m.arrive(task{in: Deliver{Block: []byte("x")}}) {
		t.Error("more arrivals than the bound")
	}
	if !m.arrive(task{in: PeerJoin{"t", "p"}}) || !m.call(task{ctx: context.Background(), in: Tick{}}) {
		t.Error("news of peers and calls must not be dropped")
	}
	if queued, dropped := m.load(); queued != maxArrivals+2 || dropped != 1 {
		t.Errorf("queued %d, dropped %d", queued, dropped)
	}
	for {
		if tasks, _ := m.take(MaxInputs); len(tasks) == 0 {
			break
		}
	}
	if m.arrivals != 0 || m.bytes != 0 {
		t.Errorf("%d arrivals of %d bytes counted in an empty box", m.arrivals, m.bytes)
	}
}

// What was queued when Close began is done, not dropped.
func TestCloseDrains(t *testing.T) {
	n, ctx := openFake(t, newEther(), "a", newMemStore()), short5(t)
	gid, _ := n.CreateGroup(ctx, "ops")
	busy, release := make(chan struct{}), make(chan struct{})
	go func() { _ = n.look(func(*Driver) { close(busy); <-release }) }()
	<-busy
	const sends = MaxInputs + 10
	results := make(chan error, sends)
	for i := range sends {
		go func() { _, err := n.Send(ctx, gid, fmt.Sprint(i)); results <- err }()
	}
	for queued := 0; queued < sends; queued, _ = n.box.load() {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error, 1)
	go func() { closed <- n.Close() }()
	<-n.closed
	close(release)
	for range sends {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// slowEngine takes its time for each step and wants a tick every 10 ms.
type slowEngine struct {
	engine
	step func(in group.Input)
	due  time.Time
}

func (e *slowEngine) Step(env group.Env, in group.Input) (group.Output, error) {
	e.step(in)
	out, err := e.engine.Step(env, in)
	if !env.Now.Before(e.due) {
		e.due = env.Now.Add(10 * time.Millisecond)
	}
	out.Wake = e.due
	return out, err
}

func openSlow(t *testing.T, e *ether, step func(in group.Input)) *Node {
	t.Helper()
	engines := fakeEngines("a")
	create := engines.create
	engines.create = func(env group.Env, name string, p group.Policy) (engine, group.Output, error) {
		g, out, err := create(env, name, p)
		return &slowEngine{engine: g, step: step}, out, err
	}
	n, err := Open(context.Background(), Config{Name: "a", Store: newMemStore(), Transport: e.transport("a"), engines: &engines})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// Close ends in time though work for a minute is queued. What was stepped until
// then is acknowledged and stored, the rest is refused.
func TestCloseUnderLoad(t *testing.T) {
	n := openSlow(t, newEther(), func(group.Input) { time.Sleep(50 * time.Millisecond) })
	ctx := t.Context()
	gid, err := n.CreateGroup(ctx, "ops")
	if err != nil {
		t.Fatal(err)
	}
	const queued = 1200
	ends := make(chan error, queued)
	for range queued {
		go func() { _, err := n.Send(ctx, gid, "x"); ends <- err }()
	}
	for queue, _ := n.box.load(); queue < 2*MaxInputs; queue, _ = n.box.load() {
		time.Sleep(time.Millisecond)
	}
	begin := time.Now()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > closeWait+500*time.Millisecond {
		t.Errorf("Close took %v", d)
	}
	done := 0
	for range queued {
		if <-ends == nil {
			done++
		}
	}
	if stored := n.store.(*memStore).count(group.EventPrefix(gid)) - 1; done < 20 || stored != done {
		t.Errorf("%d messages were acknowledged, %d are stored", done, stored)
	}
}

// A device that is never idle ticks.
func TestTicksUnderLoad(t *testing.T) {
	ticks := 0
	n := openSlow(t, newEther(), func(in group.Input) {
		if _, ok := in.(group.Tick); ok {
			ticks++
		}
		time.Sleep(time.Millisecond)
	})
	gid, err := n.CreateGroup(t.Context(), "ops")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for ctx.Err() == nil {
				_, _ = n.Send(ctx, gid, "x")
			}
		})
	}
	senders.Wait()
	if err := n.Close(); err != nil || ticks < 10 {
		t.Errorf("%d ticks in half a second, %v", ticks, err)
	}
}

// A node gives the engine all of its cores: joining a large group is work for
// more than one.
func TestNodeHasCores(t *testing.T) {
	n := &Node{c: Config{Now: time.Now}}
	parallel, sum := n.env().Parallel, new(atomic.Int64)
	if parallel == nil {
		t.Fatal("the engine runs on one core")
	}
	if parallel(100, func(i int) { sum.Add(int64(i)) }); sum.Load() != 4950 {
		t.Errorf("0 to 99 make %d", sum.Load())
	}
}
