package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dmlsd/dmls/internal/api"
)

// asDaemon makes the test binary behave as dmlsd: real processes without a
// second build.
const asDaemon = "DMLSD_TEST_AS_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// dmlsd prepares a process of this program.
func dmlsd(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	return cmd
}

// machine is a home and the daemon that runs on it.
type machine struct {
	t          *testing.T
	name, home string
	addr       string // where it listens, with its peer id
	peer       string
	ready      string   // the line of the daemon
	flags      []string // more of them for run
	cmd        *exec.Cmd
	talk       *syncBuffer
	exit       chan error
}

func newMachine(t *testing.T, name string) *machine {
	m := &machine{t: t, name: name, home: filepath.Join(t.TempDir(), name), talk: &syncBuffer{}}
	m.must("init", "--name", name)
	t.Cleanup(func() {
		if m.cmd != nil {
			m.kill()
		}
		if t.Failed() && m.talk.String() != "" {
			t.Logf("%s said:\n%s", name, m.talk)
		}
	})
	return m
}

// start runs the daemon, again on the same port, and waits until it is ready.
func (m *machine) start(peers ...*machine) {
	m.t.Helper()
	listen := "/ip4/127.0.0.1/tcp/0"
	if m.addr != "" {
		listen, _, _ = strings.Cut(m.addr, "/p2p/")
	}
	args := []string{"--home", m.home, "run", "--no-mdns", "--listen", listen}
	args = append(args, m.flags...)
	for _, p := range peers {
		args = append(args, "--peer", p.addr)
	}
	m.cmd, m.exit = dmlsd(args...), make(chan error, 1)
	m.cmd.Stderr = m.talk
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n')
		line <- s
		m.exit <- m.cmd.Wait()
	}()
	select {
	case s := <-line:
		f := strings.Fields(s)
		if len(f) < 4 || f[0] != "ready" {
			m.t.Fatalf("%s: %q is no ready line: %s", m.name, s, m.talk)
		}
		m.peer, m.ready = f[1], s
		for _, a := range f[2:] {
			if strings.HasPrefix(a, "/ip4/127.0.0.1/tcp/") {
				m.addr = a
			}
		}
		if m.addr == "" {
			m.t.Fatalf("%s: no address in %q", m.name, s)
		}
	case <-time.After(time.Minute):
		m.t.Fatalf("%s is not ready: %s", m.name, m.talk)
	}
}

// kill ends the daemon as a power cut would, stop as its owner would.
func (m *machine) kill() {
	_ = m.cmd.Process.Kill()
	<-m.exit
	m.cmd = nil
}

func (m *machine) stop() {
	m.t.Helper()
	begin := time.Now()
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-m.exit:
		if err != nil {
			m.t.Errorf("%s: SIGTERM ends it with %v: %s", m.name, err, m.talk)
		}
	case <-time.After(drainTime + time.Second):
		m.t.Errorf("%s does not stop within %v", m.name, drainTime)
		_ = m.cmd.Process.Kill()
		<-m.exit
	}
	if d := time.Since(begin); d > drainTime {
		m.t.Errorf("%s took %v to stop", m.name, d)
	}
	m.cmd = nil
}

// run runs a client verb in this process.
func (m *machine) run(in string, args ...string) (code int, out, talk string) {
	m.t.Helper()
	var o, e bytes.Buffer
	a := &app{in: strings.NewReader(in), out: &o, talk: &e, open: openNode}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	code = a.execute(ctx, append([]string{"--home", m.home}, args...))
	return code, o.String(), e.String()
}

func (m *machine) must(args ...string) string {
	m.t.Helper()
	code, out, talk := m.run("", args...)
	if code != 0 {
		m.t.Fatalf("%s: dmlsd %s: exit code %d: %s", m.name, strings.Join(args, " "), code, talk)
	}
	return strings.TrimSpace(out)
}

// fails wants an exit code and words in an error of one line.
func (m *machine) fails(code int, words, in string, args ...string) {
	m.t.Helper()
	got, out, talk := m.run(in, args...)
	if got != code || !strings.Contains(talk, words) || !strings.HasPrefix(talk, "dmlsd: error: ") || strings.Count(talk, "\n") != 1 || out != "" {
		m.t.Errorf("%s: dmlsd %.80s: exit code %d, want %d, and %q in one line of %q; output %q", m.name, strings.Join(args, " "), got, code, words, talk, out)
	}
}

func (m *machine) show(ref string) (g api.Group) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.must("group", "show", ref, "--json")), &g); err != nil {
		m.t.Fatal(err)
	}
	return g
}

// tail returns the texts of the messages in the device's log, by id.
func (m *machine) tail(ref string) map[string]string {
	m.t.Helper()
	texts := map[string]string{}
	out := m.must("tail", ref, "--no-follow", "--json")
	for _, l := range strings.Split(out, "\n") {
		var t tailLine
		if l == "" {
			continue
		}
		if err := json.Unmarshal([]byte(l), &t); err != nil {
			m.t.Fatalf("%q: %v", l, err)
		}
		if t.Cursor == 0 || t.ID == "" || t.From == "" || t.Head == "" {
			m.t.Errorf("%s: %q lacks a field", m.name, l)
		}
		if _, twice := texts[t.ID]; twice {
			m.t.Errorf("%s: message %s is delivered twice", m.name, t.ID)
		}
		texts[t.ID] = t.Text
	}
	return texts
}

// eventually waits until check is silent.
func eventually(t *testing.T, limit time.Duration, what string, check func() string) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		why := check()
		if why == "" {
			return
		}
		if time.Since(begin) > limit {
			t.Fatalf("not within %v: %s: %s", limit, what, why)
		}
	}
}

// converged wants one head, authenticator and list of members on all.
func converged(ref string, all []*machine) func() string {
	return func() string {
		first := all[0].show(ref)
		for _, m := range all {
			g := m.show(ref)
			if g.State != "member" || g.Head != first.Head || g.Authenticator != first.Authenticator || len(g.Members) != len(all) {
				return fmt.Sprintf("%s: e%d %.60s, %d members, %s; %s: e%d %.60s, %d members", m.name, g.Epoch, g.Head, len(g.Members), g.State, all[0].name, first.Epoch, first.Head, len(first.Members))
			}
		}
		return ""
	}
}

// heard wants all messages on all machines.
func heard(ref string, all []*machine, want map[string]string) func() string {
	return func() string {
		for _, m := range all {
			got := m.tail(ref)
			for id, text := range want {
				if got[id] != text {
					return fmt.Sprintf("%s has not got %q", m.name, text)
				}
			}
		}
		return ""
	}
}
