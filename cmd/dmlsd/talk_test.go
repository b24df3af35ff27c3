package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/node"
)

// Two people talk: lines are sent, each is shown what the other says and not
// what he typed himself.
func TestChat(t *testing.T) {
	ada, ben := newMachine(t, "Ada"), newMachine(t, "Ben")
	ada.start()
	ben.start(ada)
	gid := ada.must("group", "create", "harbour")
	ben.must("join", ada.must("invite", gid))
	ada.must("send", "harbour", "before")
	eventually(t, time.Minute, "Ben hears", func() string {
		if len(ben.tail("harbour")) < 1 {
			return "nothing"
		}
		return ""
	})
	in, out := &syncPipe{}, &syncBuffer{}
	in.r, in.w = io.Pipe()
	done := make(chan int, 1)
	go func() {
		a := &app{in: in.r, out: out, talk: out, open: openNode}
		done <- a.execute(t.Context(), []string{"--home", ben.home, "chat", "harbour"})
	}()
	says := func(words string) {
		t.Helper()
		eventually(t, time.Minute, words, func() string {
			if strings.Contains(out.String(), words) {
				return ""
			}
			return out.String()
		})
	}
	says("Ada: before")
	for _, line := range []string{"hello", "//slash", "/members", "/fly", strings.Repeat("x", 70<<10)} {
		if _, err := io.WriteString(in.w, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	says("* Ada, Ben (this device)")
	says(`no command "/fly"`)
	says("the text is empty or too long")
	eventually(t, time.Minute, "Ada hears", func() string {
		var texts []string
		for _, text := range ada.tail("harbour") {
			texts = append(texts, text)
		}
		if all := strings.Join(texts, " "); !strings.Contains(all, "hello") || !strings.Contains(all, "/slash") {
			return all
		}
		return ""
	})
	ada.must("send", "harbour", "after")
	says("Ada: after")
	if _, err := io.WriteString(in.w, "/quit\n"); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != 0 {
		t.Errorf("chat ends with %d", code)
	}
	if strings.Contains(out.String(), "Ben: hello") {
		t.Errorf("what was typed is shown again:\n%s", out)
	}
	if code, _, talk := ben.run("by pipe\n", "chat", "harbour", "--last", "0"); code != 0 {
		t.Errorf("chat of a pipe: %d %s", code, talk)
	}
	ada.fails(4, "no such group", "", "chat", "nowhere")
	ben.stop()
	ben.fails(3, "daemon not running", "x\n", "chat", "harbour")
}

type syncPipe struct {
	r *io.PipeReader
	w *io.PipeWriter
}

// doctor says what is wrong, and exits accordingly.
func TestDoctor(t *testing.T) {
	m := newMachine(t, "Ada")
	diagnose := func(want int, words ...string) {
		t.Helper()
		code, out, talk := m.run("", "doctor")
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in:\n%s%s", w, out, talk)
			}
		}
		if code != want {
			t.Errorf("exit code %d, want %d:\n%s%s", code, want, out, talk)
		}
		code, out, _ = m.run("", "doctor", "--json")
		var d diagnosis
		if err := json.Unmarshal([]byte(out), &d); err != nil || code != want || len(d.Findings) != d.OK+d.Warnings+d.Faults || (d.Faults > 0) != (want == 1) {
			t.Errorf("%d, %v: %s", code, err, out)
		}
	}
	diagnose(1, "fail  the daemon does not run", "fix: dmlsd run", "ok    no file is open")
	m.start()
	m.must("group", "create", "harbour")
	m.must("debug", "block", "12D3KooWGwNEyLJ8RBqZ3KHKszXNR1riNn37XysEECAX4XbvGjQ9")
	diagnose(0, "ok    daemon up", "warn  the daemon listens on this machine only", "warn  1 peers are blocked", "ok    group harbour")
	loose := filepath.Join(m.home, "dmlsd.json")
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	diagnose(1, "fail  others may read or write 1 files", "fix: chmod 600 "+loose)
	m.home = filepath.Join(t.TempDir(), "none")
	diagnose(1, "holds no device", "dmlsd init --name NAME")
}

// Health and metrics on a port of loopback, which tells nothing else.
func TestMetricsPort(t *testing.T) {
	m := newMachine(t, "Ada")
	m.fails(2, "not an address of loopback", "", "run", "--metrics", "0.0.0.0:0")
	m.fails(2, "not an address of loopback", "", "run", "--metrics", "nonsense")
	m.flags = []string{"--metrics", "127.0.0.1:0"}
	m.start()
	gid := m.must("group", "create", "harbour")
	_, base, _ := strings.Cut(strings.TrimSpace(m.ready), "metrics ")
	base = strings.TrimSuffix(base, "/metrics")
	get := func(path, host string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if code, body := get(path, ""); code != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	code, body := get("/metrics", "localhost:1")
	for _, want := range []string{`dmlsd_groups{state="member"} 1`, "dmlsd_forks_open 0", "dmlsd_retained_epochs 1", `dmlsd_network_total{what="sent"}`, "dmlsd_erasures_pending", "go_goroutines"} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, no %q in:\n%s", code, want, body)
		}
	}
	if strings.Contains(body, gid) || strings.Contains(body, "harbour") || strings.Contains(body, m.peer) {
		t.Error("metrics name a group or a peer")
	}
	for path, host := range map[string]string{"/v1/status": "", "/debug/pprof/heap": "", "/metrics": "evil.example"} {
		if code, _ := get(path, host); code == 200 {
			t.Errorf("%s under %q is answered", path, host)
		}
	}
	if out := m.must("debug", "profile", "goroutine"); !strings.Contains(out, "goroutine profile:") {
		t.Errorf("profile: %.80s", out)
	}
	m.fails(1, "HTTP status 404", "", "debug", "profile", "nonsense")
	m.stop()
}

// The QR code says what the line says, and does not get in its way.
func TestInviteQR(t *testing.T) {
	m := newMachine(t, "Ada")
	m.start()
	gid := m.must("group", "create", "harbour")
	code, out, talk := m.run("", "invite", gid, "--qr")
	if _, err := node.ParseTicket(out); err != nil || code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(talk, "█") {
		t.Errorf("%d %v: %q, code:\n%s", code, err, out, talk)
	}
}
