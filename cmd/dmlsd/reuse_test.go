package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	dmls "github.com/dmlsd/dmls"
	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/store"
)

// killsEnv is how often TestPeerSeesNoReuse kills the sender.
const killsEnv = "DMLSD_TEST_KILLS"

// pair starts two daemons in one group.
func pair(t *testing.T) (ada, ben *machine, gid string) {
	t.Helper()
	ada, ben = newMachine(t, "ada"), newMachine(t, "ben")
	ada.start()
	ben.start(ada)
	gid = ada.must("group", "create", "harbour")
	if got := ben.must("join", ada.must("invite", "harbour"), "--timeout", "30s"); got != gid {
		t.Fatalf("ben joined %q, not %q", got, gid)
	}
	eventually(t, time.Minute, "one head", converged(gid, []*machine{ada, ben}))
	return ada, ben, gid
}

// TestPeerSeesNoReuse kills a daemon again and again while it sends. What it
// acknowledged reaches the other one, once, and among all frames that this one
// holds no two share a sequence number or a ratchet's generation.
func TestPeerSeesNoReuse(t *testing.T) {
	kills := 4
	if v := os.Getenv(killsEnv); v != "" {
		var err error
		if kills, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	ada, ben, gid := pair(t)
	said, cut := map[string]string{}, 0
	for k := range kills {
		done := time.After(time.Duration(20+rand.IntN(400)) * time.Millisecond)
		victim := ada.cmd.Process
		go func() {
			<-done
			_ = victim.Kill()
		}()
		for i := 0; ; i++ {
			text := fmt.Sprintf("%d.%d", k, i)
			code, id, _ := ada.run("", "send", gid, text)
			if code != 0 {
				break // what became of this one nobody knows
			}
			said[strings.TrimSpace(id)] = text
		}
		cut++
		<-ada.exit
		ada.start(ben)
	}
	eventually(t, 2*time.Minute, "all messages", heard(gid, []*machine{ada, ben}, said))
	for _, m := range []*machine{ada, ben} {
		if g := m.show(gid); g.State != "member" {
			t.Errorf("%s is %s", m.name, g.State)
		}
	}
	ben.kill()
	frames, twice := spent(t, ben.home, gid)
	for _, what := range twice {
		t.Error(what)
	}
	if frames < len(said) {
		t.Fatalf("%d frames for %d messages; the test says nothing", frames, len(said))
	}
	t.Logf("%d kills, %d acknowledged messages, %d frames at the peer", cut, len(said), frames)
}

// spent reads all frames of a group in a closed home, and tells which of them
// share what no two may share.
func spent(t *testing.T, home, gid string) (frames int, twice []string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: dmls.StoreDir(home)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	secret, err := s.Get(t.Context(), "g/"+gid+"/gossip")
	if err != nil {
		t.Fatal(err)
	}
	gossip := frame.NewGossip(secret, 0)
	seen := map[string]string{}
	for op, err := range s.Load(context.Background(), "g/"+gid+"/b/") {
		if err != nil {
			t.Fatal(err)
		}
		raw, c, err := gossip.Open(op.Value)
		if err != nil {
			t.Fatal(err)
		}
		f, err := frame.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		frames++
		h := f.Header()
		l := h.Links
		for _, key := range []string{
			fmt.Sprintf("sequence number %d of leaf %d, joined %s", l.Seq, l.Leaf, l.Joined),
			fmt.Sprintf("generation %d of leaf %d, application %v, in %s", l.Generation, l.Leaf, h.ContentType == 1, l.Parent),
		} {
			if other, ok := seen[key]; ok {
				twice = append(twice, fmt.Sprintf("%s: %s and %s", key, other, c))
			}
			seen[key] = c.String()
		}
	}
	return frames, twice
}

// TestCopiedStore starts a device and a copy of it. Once both have sent, both
// learn of the other and send no more; the other member is told who equivocated.
func TestCopiedStore(t *testing.T) {
	ada, ben, gid := pair(t)
	ben.must("send", gid, "before the copy")
	ben.stop()
	double := &machine{t: t, name: "ben's copy", home: ben.home + "-copy", talk: &syncBuffer{}}
	if err := os.CopyFS(double.home, os.DirFS(ben.home)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(double.home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if double.cmd != nil {
			double.kill()
		}
	})
	// One after the other, so that both have one peer id without disturbing each other.
	ben.start(ada)
	id := ben.must("send", gid, "the original speaks")
	eventually(t, time.Minute, "ada hears the original", heard(gid, []*machine{ada}, map[string]string{id: "the original speaks"}))
	ben.stop()
	ada.stop() // else the copy would hear of it before it speaks
	double.start()
	double.must("send", gid, "the copy speaks")
	ada.start()
	copied := func(m *machine) func() string {
		return func() string {
			if g := m.show(gid); g.State != "copied" {
				return m.name + " is " + g.State
			}
			return ""
		}
	}
	eventually(t, time.Minute, "the copy finds out", copied(double))
	silent := func(m *machine) {
		t.Helper()
		if code, _, talk := m.run("", "send", gid, "and more"); code == 0 || !strings.Contains(talk, "copy of its store") {
			t.Errorf("%s goes on: %d, %s", m.name, code, talk)
		}
	}
	silent(double)
	double.stop()
	ben.start(ada)
	eventually(t, time.Minute, "the original finds out", copied(ben))
	silent(ben)
	_, twice := spent(t, func() string { ada.kill(); return ada.home }(), gid)
	if len(twice) == 0 {
		t.Error("the test does not see two frames with one number, so TestPeerSeesNoReuse says nothing")
	}
}
