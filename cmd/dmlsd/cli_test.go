package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
	"github.com/dmlsd/dmls/node"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// still is a device whose state never changes, for the goldens. Its names and
// texts come from peers that mean harm.
type still struct{}

const (
	stillGroup = "00112233445566778899aabbccddeeff"
	stillAda   = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	stillBen   = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	evilName   = "Ben\x1b[31m\u202e\nx"
)

func (still) Close() error { return nil }
func (still) Identity() api.Identity {
	return api.Identity{ID: stillAda, Name: "Ada", Peer: "12D3KooWAda", Addrs: []string{"/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWAda"}}
}
func (still) Peers() []api.Peer {
	return []api.Peer{
		{Peer: "12D3KooWBen", Addrs: []string{"/ip4/127.0.0.1/tcp/4002"}, Direction: "inbound", Groups: []string{stillGroup}},
		{Peer: "12D3KooWCleo", Blocked: true},
	}
}
func (still) Resolve(ref string) (string, error) {
	if ref == "friends" || ref != "" && strings.HasPrefix(stillGroup, ref) {
		return stillGroup, nil
	}
	return "", fmt.Errorf("%w: group %q", node.ErrNotFound, ref)
}
func (s still) Groups() []api.Group { g, _ := s.Group(stillGroup); return []api.Group{g} }
func (still) Group(string) (api.Group, error) {
	return api.Group{
		Group: stillGroup, Name: "friends", Policy: "admins", Head: "bafkreihead4567", Epoch: 3, State: "member", ForksOpen: 1, RetainedEpochs: 2,
		Members: []api.Member{{Leaf: 0, ID: stillAda, Name: "Ada", Self: true, Admin: true, Stands: "bafkreihead4567"}, {Leaf: 1, ID: stillBen, Name: evilName}},
		Kept: []group.Kept{
			{CID: "bafkreihead4567", Epoch: 3, Since: 1_700_000_100_000, Secrets: 30, Bytes: 960, Nodes: 1, Why: "in use", Opens: "what comes"},
			{CID: "bafkreifinal456", Epoch: 2, Since: 1_700_000_000_000, Secrets: 10, Bytes: 320, Nodes: 255, Commits: 1, Why: "not heard below it yet: " + evilName, Opens: "what is late"},
		},
		Final: "bafkreifinal456", SecretsRetained: 40, SecretBytes: 1280, Blocks: 9, Cursor: 4, Authenticator: strings.Repeat("0f", 32),
	}, nil
}
func (still) DAG(string) (api.DAG, error) {
	return api.DAG{
		Vertices: []dagview.Vertex{
			{CID: "bafkreiroot0000", AuthorName: "Ada", OnHead: true, Final: true},
			{CID: "bafkreione11111", Parent: "bafkreiroot0000", Epoch: 1, AuthorName: "Ada", Actions: []string{"add " + evilName}, OnHead: true, Head: true},
			{CID: "bafkreitwo22222", Parent: "bafkreiroot0000", Epoch: 1, AuthorName: evilName, Actions: []string{"update"}},
		},
		Forks: []dagview.Fork{{At: "bafkreiroot0000", Why: "2 votes against 1", Branches: []dagview.Branch{
			{Child: "bafkreione11111", Chosen: true, Author: "Ada", Commits: 1, Votes: 2, Admins: 1, Voters: []string{"Ada", "Cleo"}},
			{Child: "bafkreitwo22222", Author: evilName, Commits: 1, Votes: 1, Voters: []string{evilName}},
		}}},
		Ask: []dagview.Ask{
			{Action: "remove " + evilName, Verb: "remove", Member: stillBen, By: "Dan", CID: "bafkreitwo22222", Why: "its author is no admin any more"},
			{Action: "add Eve", Verb: "add", Member: stillBen, By: "Dan", CID: "bafkreitwo22222", Why: "its author is no member any more"},
		},
	}, nil
}
func (still) Log(string) ([]api.LogEntry, error) {
	return []api.LogEntry{
		{CID: "bafkreione11111", Kind: "commit", Name: "Ada", From: stillAda, Actions: []string{"add Ben"}, Parent: "bafkreiroot0000"},
		{CID: "bafkreicmp11111", Kind: "complaint", Name: "Ada", From: stillAda, Epoch: 0, Parent: "bafkreiroot0000", Seq: 1, About: "bafkreitwo22222"},
		{CID: "bafkreiprf11111", Kind: "proof", Name: "Ada", From: stillAda, Epoch: 0, Parent: "bafkreiroot0000", Seq: 2, About: stillBen},
		{CID: "bafkreimsg11111", Kind: "message", Name: evilName, From: stillBen, Epoch: 1, Parent: "bafkreione11111", Text: "hi\x07 there"},
	}, nil
}
func (still) Events(ctx context.Context, gid string, after uint64, follow bool) iter.Seq2[group.Event, error] {
	log := []group.Event{
		{Cursor: 1, Kind: group.KindJoined, Group: gid, CID: "bafkreione11111", Head: "bafkreione11111", Epoch: 1},
		{Cursor: 2, Kind: group.KindMessage, Group: gid, ID: strings.Repeat("1", 32), From: stillAda, Name: "Ada", Text: "hello", Mine: true, Head: "bafkreiroot0000"},
		{Cursor: 3, Kind: group.KindForkOpened, Group: gid, Fork: "bafkreiroot0000", Winner: "bafkreione11111", Losers: []string{"bafkreitwo22222"}, Why: "2 votes against 1"},
		{Cursor: 4, Kind: group.KindMessage, Group: gid, ID: strings.Repeat("2", 32), From: stillBen, Name: evilName, Text: "a\x1b]0;evil\x07\nb", Epoch: 1, Head: "bafkreione11111"},
	}
	return func(yield func(group.Event, error) bool) {
		for _, ev := range log {
			if ev.Cursor > after && !yield(ev, nil) {
				return
			}
		}
		if follow {
			<-ctx.Done()
		}
	}
}
func (still) Create(context.Context, string, group.Policy) (string, error) { return stillGroup, nil }
func (still) Invite(context.Context, string) (string, error)               { return "dmls1abcdef", nil }
func (still) Join(ctx context.Context, ticket string) (string, error) {
	switch ticket {
	case "dmls1good":
		return stillGroup, nil
	case "dmls1slow":
		<-ctx.Done()
		return "", ctx.Err()
	case "dmls1used":
		return "", &node.Refusal{Code: node.RefusedUsed, Words: "used\nup"}
	}
	return "", node.ErrTicketForeign
}
func (still) Send(_ context.Context, gid, text string) (api.Sent, error) {
	if text == "" || len(text) > 64<<10 {
		return api.Sent{}, group.ErrTextSize
	}
	return api.Sent{ID: strings.Repeat("3", 32), Group: gid}, nil
}
func (still) Remove(_ context.Context, _, m string) error {
	if m == "Zoe" {
		return fmt.Errorf("%w: member %q", node.ErrNotFound, m)
	}
	return nil
}
func (still) Promote(_ context.Context, _, m string) error {
	if m == "Ada" {
		return group.ErrSameRole
	}
	return nil
}
func (still) Demote(_ context.Context, _, m string) error {
	if m == "Ada" {
		return group.ErrLastAdmin
	}
	return fmt.Errorf("%w: only admins promote and demote", group.ErrForbidden)
}
func (still) Keys(context.Context) (api.StoreKeys, error) {
	return api.StoreKeys{Sealing: "none", Generation: 7, Pending: 3, Erased: 40, EraseInterval: 1}, nil
}
func (still) RotateRoot(context.Context) error     { return nil }
func (still) Update(context.Context, string) error { return nil }
func (still) Leave(context.Context, string) error  { return nil }
func (still) Forget(context.Context, string) error { return nil }
func (still) Compact(_ context.Context, _ string, c node.Cut) (node.Compacted, error) {
	if c.Through == 4 && c.Before.IsZero() {
		return node.Compacted{Events: 4, Messages: 2, Cursor: 4}, nil
	}
	return node.Compacted{}, nil
}
func (still) Block(string) error   { return nil }
func (still) Unblock(string) error { return nil }

// shell runs command lines against one home.
type shell struct {
	t    *testing.T
	home string
	in   string
}

func (s shell) run(args ...string) (code int, out, talk string) {
	s.t.Helper()
	var o, e bytes.Buffer
	a := &app{in: strings.NewReader(s.in), out: &o, talk: &e, open: func(context.Context, deviceConfig) (device, error) { return still{}, nil }}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	code = a.execute(ctx, append([]string{"--home", s.home}, args...))
	return code, o.String(), e.String()
}

// daemon runs "run" in the background until the test ends.
func daemon(t *testing.T) shell {
	t.Helper()
	s := shell{t: t, home: filepath.Join(t.TempDir(), "home")}
	if code, _, talk := s.run("init", "--name", "Ada"); code != 0 {
		t.Fatal(talk)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := &syncBuffer{}
	done := make(chan int, 1)
	a := &app{out: out, talk: out, open: func(context.Context, deviceConfig) (device, error) { return still{}, nil }}
	go func() { done <- a.execute(ctx, []string{"--home", s.home, "run"}) }()
	t.Cleanup(func() {
		begin := time.Now()
		cancel()
		if code := <-done; code != 0 || !strings.Contains(out.String(), "stopped") || time.Since(begin) > drainTime {
			t.Errorf("the daemon stopped with %d after %v: %s", code, time.Since(begin), out.String())
		}
	})
	for begin := time.Now(); !strings.Contains(out.String(), "ready"); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 5*time.Second {
			t.Fatal(out.String())
		}
	}
	return s
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// The transcript of every verb against a device that stands still.
func TestGolden(t *testing.T) {
	t.Setenv("TZ", "UTC")
	time.Local = time.UTC
	s := daemon(t)
	var b strings.Builder
	for _, line := range []string{
		"id", "id --json", "peers", "peers --json", "group create friends", "group list", "group list --json",
		"group show friends", "group show friends --json", "group members 0011", "group members 0011 --json", "group dag friends", "group dag friends --json",
		"group forks friends", "group forks friends --json", "group log friends", "group log friends --json",
		"keys status", "keys status --json", "keys rotate-root", "backup", "wipe",
		"group create friends --policy open", "group create friends --policy anarchy", "group remove friends Ben", "group promote friends Ben", "group promote friends Ada",
		"group demote friends Ben", "group demote friends Ada", "group update friends", "group leave friends", "group forget friends",
		"invite friends", "invite friends --json", "join dmls1good", "send friends hello", "send friends hello --json", "send friends -",
		"tail friends --no-follow", "tail friends --no-follow --json", "tail friends --no-follow --after 2", "tail friends --no-follow --events", "tail friends --no-follow --events --json",
		"group compact friends --through 4", "group compact friends --older-than 720h --json", "group compact friends",
		"debug block 12D3KooWBen", "debug unblock 12D3KooWBen",
		"group show nobody", "group remove friends Zoe", "join hello", "join dmls1used", "join dmls1slow --timeout 50ms", "send friends", "tail friends --after x", "group shaw", "fly", "group show", "bench --members 1000", "bench --members 100 --json", "bench --members 9",
	} {
		if line == "send friends -" {
			s.in = "from a pipe\n"
		} else {
			s.in = ""
		}
		code, out, talk := s.run(strings.Fields(line)...)
		fmt.Fprintf(&b, "$ dmlsd %s\n", line)
		for _, l := range strings.SplitAfter(out, "\n") {
			if l != "" {
				b.WriteString("  " + l)
			}
		}
		for _, l := range strings.SplitAfter(talk, "\n") {
			if l != "" {
				b.WriteString("! " + l)
			}
		}
		if code != 0 {
			fmt.Fprintf(&b, "= %d\n", code)
		}
		if strings.ContainsAny(out+talk, "\x1b\x07\u202e") && !strings.Contains(line, "--json") {
			t.Errorf("%s: a peer's control characters reach the terminal: %q", line, out+talk)
		}
		if code != 0 && (!strings.HasPrefix(talk, "dmlsd: error: ") || strings.Count(talk, "\n") != 1 || out != "") {
			t.Errorf("%s: no error of one line: %q, output %q", line, talk, out)
		}
		if code == 0 && strings.Contains(line, "--json") {
			for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
				if !json.Valid([]byte(l)) {
					t.Errorf("%s: %q is no JSON", line, l)
				}
			}
		}
	}
	path := filepath.Join("testdata", "cli.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the transcript differs (rewrite with -update):\n%s", diff(string(want), b.String()))
	}
}

// diff shows the first line that differs.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// Every shell gets its completions, and they know the daemon's groups.
func TestCompletion(t *testing.T) {
	s := daemon(t)
	for _, sh := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, talk := s.run("completion", sh); code != 0 || !strings.Contains(out, "dmlsd") {
			t.Errorf("completion %s: %d %s", sh, code, talk)
		}
	}
	for _, verb := range [][]string{{"send"}, {"chat"}, {"tail"}, {"invite"}, {"group", "show"}, {"group", "members"}} {
		if code, out, _ := s.run(append(append([]string{"__complete"}, verb...), "")...); code != 0 || !strings.HasPrefix(out, "friends\n") {
			t.Errorf("completion of %v: %d %q", verb, code, out)
		}
	}
}

func TestStatus(t *testing.T) {
	s := daemon(t)
	code, out, _ := s.run("status", "--json")
	var st api.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil || code != 0 || st.Name != "Ada" || st.PID != os.Getpid() || len(st.Groups) != 1 || st.Peers != 1 {
		t.Errorf("status %d %v: %s", code, err, out)
	}
	if code, out, _ := s.run("status"); code != 0 || !strings.Contains(out, "! friends has 1 open fork") {
		t.Errorf("status %d: %s", code, out)
	}
	if code, out, _ := s.run("version", "--json"); code != 0 || !strings.Contains(out, release) {
		t.Errorf("version %d: %s", code, out)
	}
}

// A home that is none, one without a daemon, one with two.
func TestHomes(t *testing.T) {
	s := shell{t: t, home: filepath.Join(t.TempDir(), "none")}
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"run", 4, "dmlsd init --name NAME"},
		{"id", 4, "dmlsd init --name NAME"},
		{"init", 2, "--name"},
		{"init --name Ada", 0, ""},
		{"init --name Ada", 6, "it holds an identity already"},
		{"group list", 3, "daemon not running"},
	} {
		code, _, talk := s.run(strings.Fields(tc.args)...)
		if code != tc.code || !strings.Contains(talk, tc.want) {
			t.Errorf("%s: exit code %d, want %d, and %q in %q", tc.args, code, tc.code, tc.want, talk)
		}
	}
	if fi, err := os.Stat(s.home); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("home: %v, %v", fi.Mode(), err)
	}
	two := daemon(t)
	if code, _, talk := two.run("run"); code != 6 || !strings.Contains(talk, "another daemon runs on") {
		t.Errorf("a second daemon: exit code %d, %q", code, talk)
	}
}

// The home comes from the flag, else from the environment.
func TestHomeDir(t *testing.T) {
	t.Setenv("DMLSD_HOME", "")
	t.Setenv("XDG_DATA_HOME", "/data")
	a := &app{}
	check := func(want string) {
		t.Helper()
		if got, err := a.homeDir(); err != nil || got != want {
			t.Errorf("home %q, %v, want %q", got, err, want)
		}
	}
	check("/data/dmlsd")
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "/users/ada")
	check("/users/ada/.local/share/dmlsd")
	t.Setenv("DMLSD_HOME", "/env")
	check("/env")
	a.home = "/flag"
	check("/flag")
}

// --help names every verb and the exit codes.
func TestHelp(t *testing.T) {
	s := shell{t: t, home: t.TempDir()}
	code, out, _ := s.run("--help")
	for _, word := range []string{"init", "run", "id", "status", "peers", "version", "group", "invite", "join", "send", "tail", "debug", "sim", "demo", "completion", "Exit codes:", "daemon not running"} {
		if !strings.Contains(out, word) {
			t.Errorf("--help does not name %q", word)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}
