package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/dagview"
	"github.com/dmlsd/dmls/node"
)

// fake is a device with one group whose event log grows by Send.
type fake struct {
	mu      sync.Mutex
	events  []group.Event
	more    chan struct{}
	blocked map[string]bool
	members []string
}

const gid = "00112233445566778899aabbccddeeff"

func newFake() *fake {
	return &fake{more: make(chan struct{}), blocked: map[string]bool{}, members: []string{"ada", "ben"}}
}

func (f *fake) Identity() Identity {
	return Identity{ID: "aa", Name: "ada", Peer: "12D3", Addrs: []string{"/ip4/127.0.0.1/tcp/1"}}
}
func (f *fake) Peers() []Peer {
	return []Peer{{Peer: "p1"}, {Peer: "p2", Blocked: true}}
}
func (f *fake) Resolve(ref string) (string, error) {
	if ref != "" && (strings.HasPrefix(gid, ref) || ref == "a/b ü") {
		return gid, nil
	}
	return "", fmt.Errorf("%w: group %q", node.ErrNotFound, ref)
}
func (f *fake) Groups() []Group { g, _ := f.Group(gid); return []Group{g} }
func (f *fake) Group(gid string) (Group, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := Group{Group: gid, Name: "a/b ü", Epoch: 3, Members: []Member{}, Cursor: uint64(len(f.events))}
	for i, m := range f.members {
		g.Members = append(g.Members, Member{Leaf: uint32(i), Name: m})
	}
	return g, nil
}
func (f *fake) DAG(string) (DAG, error) {
	return DAG{Vertices: []dagview.Vertex{{CID: "x", Head: true}}}, nil
}
func (f *fake) Log(string) ([]LogEntry, error) { return []LogEntry{{CID: "x", Kind: "message"}}, nil }
func (f *fake) Create(_ context.Context, name string, _ group.Policy) (string, error) {
	if name == "" {
		return "", node.ErrName
	}
	return gid, nil
}
func (f *fake) Invite(context.Context, string) (string, error) { return "dmls1xyz", nil }
func (f *fake) Join(ctx context.Context, ticket string) (string, error) {
	switch ticket {
	case "good":
		return gid, nil
	case "slow":
		<-ctx.Done()
		return "", ctx.Err()
	}
	return "", node.ErrTicketForeign
}
func (f *fake) Send(_ context.Context, gid, text string) (Sent, error) {
	if text == "" || len(text) > 64<<10 {
		return Sent{}, group.ErrTextSize
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := uint64(len(f.events) + 1)
	id := fmt.Sprintf("%032x", n)
	f.events = append(f.events, group.Event{Cursor: n, Kind: group.KindMessage, Group: gid, ID: id, Text: text})
	close(f.more)
	f.more = make(chan struct{})
	return Sent{ID: id, Group: gid}, nil
}
func (f *fake) Remove(_ context.Context, _, m string) error {
	if m != "ben" {
		return fmt.Errorf("%w: member %q", node.ErrNotFound, m)
	}
	return nil
}
func (f *fake) Promote(_ context.Context, _, m string) error {
	switch m {
	case "ben":
		return nil
	case "ada":
		return group.ErrSameRole
	}
	return fmt.Errorf("%w: only admins promote and demote", group.ErrForbidden)
}
func (f *fake) Demote(_ context.Context, _, m string) error {
	if m == "ada" {
		return group.ErrLastAdmin
	}
	return nil
}
func (f *fake) Update(context.Context, string) error { return group.ErrStranded }
func (f *fake) Leave(context.Context, string) error  { return nil }
func (f *fake) Forget(context.Context, string) error { return nil }
func (f *fake) Compact(_ context.Context, _ string, c node.Cut) (node.Compacted, error) {
	if c == (node.Cut{}) {
		return node.Compacted{}, node.ErrKeep
	}
	n := int(c.Through)
	if !c.Before.IsZero() {
		n = int(time.Since(c.Before).Seconds())
	}
	return node.Compacted{Events: n, Messages: 1, Cursor: c.Through}, nil
}
func (f *fake) Block(p string) error   { f.blocked[p] = true; return nil }
func (f *fake) Unblock(p string) error { delete(f.blocked, p); return nil }
func (f *fake) Events(ctx context.Context, _ string, after uint64, follow bool) iter.Seq2[group.Event, error] {
	return func(yield func(group.Event, error) bool) {
		for {
			f.mu.Lock()
			events, more := f.events, f.more
			f.mu.Unlock()
			for ; after < uint64(len(events)); after++ {
				if !yield(events[after], nil) {
					return
				}
			}
			if !follow {
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				yield(group.Event{}, ctx.Err())
				return
			}
		}
	}
}

// start serves a fake on the socket of a home and returns a client.
func start(t *testing.T, home string) (*fake, *Client, *Server) {
	t.Helper()
	f := newFake()
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(f, Version{Version: "test"})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := Dial(home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return f, c, s
}

func code(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestCalls(t *testing.T) {
	f, c, _ := start(t, t.TempDir())
	ctx := context.Background()
	st, err := c.Status(ctx)
	if err != nil || st.Peers != 1 || len(st.Groups) != 1 || st.Name != "ada" || st.PID != os.Getpid() {
		t.Fatalf("status %+v, %v", st, err)
	}
	g, err := c.Group(ctx, "a/b ü") // a name that has to be escaped
	if err != nil || g.Group != gid || len(g.Members) != 2 {
		t.Fatalf("group %+v, %v", g, err)
	}
	if d, err := c.Create(ctx, "x", ""); err != nil || d.Group != gid {
		t.Fatalf("create %+v, %v", d, err)
	}
	if d, err := c.Join(ctx, "good"); err != nil || d.Name != "a/b ü" {
		t.Fatalf("join %+v, %v", d, err)
	}
	if v, err := c.DAG(ctx, "0011"); err != nil || len(v.Vertices) != 1 {
		t.Fatalf("dag %+v, %v", v, err)
	}
	if v, err := c.Log(ctx, "0011"); err != nil || len(v) != 1 {
		t.Fatalf("log %+v, %v", v, err)
	}
	if v, err := c.Version(ctx); err != nil || v.Version != "test" {
		t.Fatalf("version %+v, %v", v, err)
	}
	if err := errors.Join(c.Block(ctx, "p9"), c.Leave(ctx, "0011"), c.Forget(ctx, "0011"), c.Remove(ctx, "0011", "ben"), c.Promote(ctx, "0011", "ben"), c.Demote(ctx, "0011", "ben")); err != nil {
		t.Fatal(err)
	}
	if !f.blocked["p9"] {
		t.Error("the peer was not blocked")
	}
	if err := c.Unblock(ctx, "p9"); err != nil || f.blocked["p9"] {
		t.Errorf("still blocked, %v", err)
	}
}

func TestErrorsHaveClassAndAdvice(t *testing.T) {
	_, c, _ := start(t, t.TempDir())
	ctx := context.Background()
	_, unknown := c.Group(ctx, "ffff")
	_, ticket := c.Join(ctx, "bad")
	_, empty := c.Send(ctx, "0011", "")
	_, long := c.Send(ctx, "0011", strings.Repeat("x", 70_000))
	_, huge := c.Send(ctx, "0011", strings.Repeat("x", maxRequest+1))
	_, name := c.Create(ctx, "", "open")
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, slow := c.Join(short, "slow")
	for _, tc := range []struct {
		name string
		err  error
		code Code
		exit int
	}{
		{"unknown group", unknown, NotFound, 4}, {"wrong ticket", ticket, Usage, 2}, {"empty text", empty, TooLarge, 2},
		{"long text", long, TooLarge, 2}, {"huge body", huge, TooLarge, 2}, {"no name", name, Usage, 2},
		{"unknown policy", second(c.Create(ctx, "x", "anarchy")), Usage, 2}, {"admin already", c.Promote(ctx, "0011", "ada"), Conflict, 6},
		{"no admin", c.Promote(ctx, "0011", "cleo"), Denied, 5}, {"last admin", c.Demote(ctx, "0011", "ada"), Conflict, 6},
		{"unknown member", c.Remove(ctx, "0011", "zoe"), NotFound, 4}, {"stranded", c.Update(ctx, "0011"), Conflict, 6},
		{"timeout", slow, Timeout, 7}, {"empty reference", second(c.Group(ctx, "")), NotFound, 4}, {"dots", second(c.DAG(ctx, "..")), NotFound, 4},
		{"binary text", second(c.Send(ctx, "0011", "\xff")), Usage, 2}, {"binary name", second(c.Create(ctx, "\xff", "")), Usage, 2},
	} {
		var e *Error
		if !errors.As(tc.err, &e) || e.Code != tc.code || e.Code.Exit() != tc.exit {
			t.Errorf("%s: %v (%q), want class %q and exit code %d", tc.name, tc.err, code(tc.err), tc.code, tc.exit)
			continue
		}
		if e.What == "" || e.Why == "" || e.Fix == "" || strings.Contains(e.Error(), "\n") || strings.Contains(e.Why, "node: ") {
			t.Errorf("%s: %q does not say what, why and what to do on one line", tc.name, e)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestBadRequests(t *testing.T) {
	s := NewServer(newFake(), Version{})
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/livez", "", 200}, {"GET", "/readyz", "", 200},
		{"GET", "/v2/nothing", "", 404}, {"PUT", "/v1/groups", "", 404},
		{"POST", "/v1/groups/0011/messages", "{\"text\":\"\xff\"}", 400},
		{"POST", "/v1/groups", "{", 400}, {"POST", "/v1/groups", `{"nome":"x"}`, 400}, {"POST", "/v1/groups", `{"name":1}`, 400},
		{"POST", "/v1/groups/0011/messages", `{"text":"` + strings.Repeat("x", maxRequest) + `"}`, 413},
		{"GET", "/v1/groups/0011/events?after=-1", "", 400}, {"GET", "/v1/groups/ffff/events", "", 404},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body)))
		if w.Code != tc.status {
			t.Errorf("%s %s: status %d, want %d: %s", tc.method, tc.path, w.Code, tc.status, w.Body)
		}
		var e Error
		if tc.status >= 400 && (json.Unmarshal(w.Body.Bytes(), &e) != nil || e.What == "" || e.Why == "" || e.Fix == "") {
			t.Errorf("%s %s: %q is no full Error", tc.method, tc.path, w.Body)
		}
	}
}

func TestEventsGoOnAtTheCursor(t *testing.T) {
	_, c, _ := start(t, t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i := range 5 {
		if _, err := c.Send(ctx, "0011", fmt.Sprintf("m%d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for ev, err := range c.Events(ctx, "0011", 2, false) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ev.Text)
	}
	if strings.Join(got, " ") != "m3 m4 m5" {
		t.Fatalf("after cursor 2 came %v", got)
	}
	got = nil
	for ev, err := range c.Events(ctx, "0011", 4, true) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ev.Text)
		if len(got) == 1 {
			go func() { _, _ = c.Send(ctx, "0011", "live") }()
			continue
		}
		break
	}
	if strings.Join(got, " ") != "m5 live" {
		t.Fatalf("followed %v", got)
	}
}

func TestShutdownEndsStreams(t *testing.T) {
	home := t.TempDir()
	l, err := Listen(home)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(newFake(), Version{})
	go func() { _ = s.Serve(l) }()
	c, err := Dial(home)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() {
		for _, err := range c.Events(context.Background(), "0011", 0, true) {
			ended <- err
		}
	}()
	go func() { _, err := c.Join(context.Background(), "slow"); ended <- err }()
	time.Sleep(100 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	begin := time.Now()
	if err := s.Shutdown(ctx); err != nil || time.Since(begin) > 2*time.Second {
		t.Fatalf("shutdown took %v: %v", time.Since(begin), err)
	}
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("a waiting call ended without an error")
		}
	}
	if _, err := os.Lstat(filepath.Join(home, socketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSocket(t *testing.T) {
	home := t.TempDir()
	c, err := Dial(home)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Identity(context.Background()); code(err) != NotFound || !strings.Contains(err.Error(), "dmlsd init") {
		t.Errorf("a home that is none: %v", err)
	}
	if err := MarkInitialised(home, Identity{ID: "aa", Name: "ada"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Identity(context.Background()); code(err) != NotRunning || !strings.Contains(err.Error(), "daemon not running") {
		t.Errorf("no daemon: %v", err)
	}

	// A killed daemon leaves its socket.
	path := filepath.Join(home, socketName)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := Listen(home)
	if err != nil {
		t.Fatalf("a stale socket stands in the way: %v", err)
	}
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", fi.Mode(), err)
	}
	if _, err := Listen(home); !errors.Is(err, ErrLive) {
		t.Errorf("a live socket was taken: %v", err)
	}
	_ = l.Close()

	// What is no socket is not removed.
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(home); err == nil {
		t.Error("a file was replaced by a socket")
	}
}

func TestSocketOfLongPath(t *testing.T) {
	home := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	_, c, _ := start(t, home)
	if _, err := c.Identity(context.Background()); err != nil {
		t.Fatal(err)
	}
	path, err := SocketPath(home)
	if err != nil || len(path) > maxSocketPath {
		t.Fatalf("path %q, %v", path, err)
	}
	fi, err := os.Stat(filepath.Dir(path))
	if err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("directory mode %v, %v, want 0700", fi.Mode(), err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := c.Identity(context.Background()); code(err) != Denied {
		t.Errorf("a socket where others can put theirs: %v", err)
	}
	t.Cleanup(func() { // runs before start's own
		if _, err := Listen(home); !errors.Is(err, ErrLive) {
			t.Errorf("a live socket was taken: %v", err)
		}
	})
}

// A client of another version may send anything; the answer is JSON.
func FuzzRequest(f *testing.F) {
	f.Add("/v1/groups", `{"name":"x"}`)
	f.Add("/v1/groups/0011/messages", `{"text":"x"}`)
	f.Add("/v1/join", `{"ticket":"good"}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		r, err := http.NewRequest("POST", "http://x/"+strings.TrimPrefix(path, "/"), strings.NewReader(body))
		if err != nil || strings.Contains(body, "slow") {
			t.Skip("not a request, or one that the fake keeps waiting")
		}
		w := httptest.NewRecorder()
		NewServer(newFake(), Version{}).ServeHTTP(w, r)
		b, _ := io.ReadAll(w.Body)
		if w.Code != http.StatusTemporaryRedirect && w.Code != http.StatusMovedPermanently && !json.Valid(b) {
			t.Fatalf("status %d, body %q", w.Code, b)
		}
	})
}
