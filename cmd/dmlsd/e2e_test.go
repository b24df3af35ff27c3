package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Four daemons chat, are cut in two, commit on both sides, are killed and
// started again while apart, and agree when they meet.
func TestDaemonsForkAndHeal(t *testing.T) {
	var all []*machine
	for _, name := range []string{"ada", "ben", "cleo", "dan"} {
		m := newMachine(t, name)
		m.start(all...)
		all = append(all, m)
	}
	ada, ben, cleo, dan := all[0], all[1], all[2], all[3]
	gid := ada.must("group", "create", "harbour")
	for _, m := range all[1:] {
		if got := m.must("join", ada.must("invite", "harbour"), "--timeout", "30s"); got != gid {
			t.Fatalf("%s joined %q, not %q", m.name, got, gid)
		}
	}
	eventually(t, time.Minute, "one head", converged(gid, all))

	said := map[string]string{} // id -> text
	say := func(m *machine, text string) {
		t.Helper()
		id := m.must("send", gid[:8], text)
		if len(id) != 32 {
			t.Fatalf("%q is no message id", id)
		}
		said[id] = text
	}
	for i, m := range all {
		say(m, fmt.Sprintf("hello %d from %s", i, m.name))
	}
	eventually(t, time.Minute, "all messages", heard(gid, all, said))

	one, two := []*machine{ada, ben}, []*machine{cleo, dan}
	gate := func(verb string) {
		for _, a := range one {
			for _, b := range two {
				a.must("debug", verb, b.peer)
				b.must("debug", verb, a.peer)
			}
		}
	}
	gate("block")
	before := ada.show(gid)
	ada.must("group", "update", gid)
	cleo.must("group", "update", gid)
	say(ada, "island one goes on")
	say(cleo, "island two goes on")
	same := func(m, n *machine) func() string {
		return func() string {
			if a, b := m.show(gid), n.show(gid); a.Head != b.Head || a.Epoch == before.Epoch {
				return fmt.Sprintf("%s is at e%d, %s at e%d", m.name, a.Epoch, n.name, b.Epoch)
			}
			return ""
		}
	}
	eventually(t, time.Minute, "one head on island one", same(ada, ben))
	eventually(t, time.Minute, "one head on island two", same(cleo, dan))
	if ada.show(gid).Head == cleo.show(gid).Head {
		t.Fatal("the islands did not fork")
	}

	// What was acknowledged or shown survives a kill; no gate opens by it, for
	// the other side refuses too.
	say(ben, "acknowledged, then killed")
	shown, benHead := ben.tail(gid), ben.show(gid).Head
	ben.kill()
	dan.kill()
	ben.start(ada)
	dan.start(cleo)
	if after := ben.tail(gid); len(after) < len(shown) {
		t.Errorf("ben showed %d messages before the kill and %d after", len(shown), len(after))
	}
	if g := ben.show(gid); g.Head != benHead {
		t.Errorf("ben stood at %s before the kill and at %s after", benHead, g.Head)
	}
	say(ben, "back again")
	say(dan, "back as well")
	dan.must("group", "update", gid)
	ben.must("group", "update", gid)

	gate("unblock")
	healed := time.Now()
	eventually(t, time.Minute, "one head after healing", converged(gid, all))
	t.Logf("one head %.1f s after healing", time.Since(healed).Seconds())
	eventually(t, time.Minute, "all messages after healing", heard(gid, all, said))
	say(dan, "one group again")
	eventually(t, time.Minute, "the last message", heard(gid, all, said))
	eventually(t, time.Minute, "one head at the end", converged(gid, all))
	if dag := ada.must("group", "dag", gid); !strings.Contains(dag, "○") {
		t.Errorf("the DAG shows no losing branch:\n%s", dag)
	}
	for _, m := range all {
		m.stop()
	}
}

// Whatever comes from outside gets an error of one line, and the daemon lives.
func TestWrongInputs(t *testing.T) {
	ada, ben := newMachine(t, "ada"), newMachine(t, "ben")
	ada.fails(3, "daemon not running", "", "status")
	for flag, words := range map[string]string{
		"--relay=x":                       "not a dialable address",
		"--peer=/ip4/127.0.0.1/tcp/1":     "give addresses with a peer id",
		"--listen=x":                      "see the addresses given with --listen",
		"--listen=/ip4/203.0.113.9/tcp/0": "listen on an address of this machine",
	} {
		ada.fails(2, words, "", "run", "--no-mdns", flag)
	}
	ada.start()
	ben.start(ada)

	ada.fails(6, "another daemon runs on", "", "run", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0")
	ada.fails(4, "no such group", "", "send", "nowhere", "hello")
	gid := ada.must("group", "create", "harbour")
	ada.fails(2, "too long", strings.Repeat("x", 100_000), "send", "harbour", "-")
	ada.fails(2, "too long", strings.Repeat("x", maxText+10), "send", "harbour")
	ada.fails(4, "no such", "", "group", "remove", "harbour", "zoe")
	ben.fails(2, "not a dmls ticket", "", "join", "please")
	ticket := ada.must("invite", "harbour")
	ben.fails(2, "damaged", "", "join", ticket[:len(ticket)-3])
	ada.fails(2, "of this device", "", "join", ticket)

	ben.must("join", ticket, "--timeout", "30s")
	cleo := newMachine(t, "cleo")
	cleo.start(ada)
	cleo.fails(5, "ask for a new", "", "join", ticket, "--timeout", "30s")
	other := ada.must("invite", "harbour")
	ada.kill()
	cleo.fails(7, "join again", "", "join", other, "--timeout", "2s")
	ada.start()
	if g := ada.show("harbour"); g.Group != gid || len(g.Members) != 2 {
		t.Errorf("after all that: %+v", g)
	}
	cleo.must("join", other, "--timeout", "30s")

	// A store that was tampered with is refused, and said to be.
	ada.stop()
	damage(t, ada.home)
	ada.fails(8, "dmlsd: error: cannot start", "", "run", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0")
}

// damage overwrites the middle of every file of a home but its mark.
func damage(t *testing.T, home string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "dmlsd.json" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		used := len(b) // badger's files end in zeros
		for used > 0 && b[used-1] == 0 {
			used--
		}
		for i := used / 3; i < used*2/3; i++ {
			b[i] ^= 0x5a
		}
		n++
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) || n == 0 {
		t.Fatalf("%d files damaged: %v", n, err)
	}
}

// What scripts read has the promised fields, also for a group of one.
func TestFieldsOfShow(t *testing.T) {
	ada := newMachine(t, "ada")
	ada.start()
	ada.must("group", "create", "harbour")
	out := ada.must("group", "show", "harbour", "--json")
	for _, field := range []string{"group", "name", "head", "epoch", "members", "leaf", "id", "forks_open", "retained_epochs"} {
		if !strings.Contains(out, `"`+field+`":`) {
			t.Errorf("no field %q in %s", field, out)
		}
	}
	id := ada.must("send", "harbour", "to myself")
	if texts := ada.tail("harbour"); len(texts) != 1 || texts[id] != "to myself" {
		t.Errorf("tail shows %v", texts)
	}
	ada.kill()
	ada.start()
	if texts := ada.tail("harbour"); len(texts) != 1 || texts[id] != "to myself" {
		t.Errorf("tail shows %v after a kill", texts)
	}
}

// Who is removed, told so and invited again keeps its log: nothing that tail
// showed is gone, cursors go on, and a tail that runs all the while goes on too.
func TestInvitedAgain(t *testing.T) {
	ada, ben := newMachine(t, "ada"), newMachine(t, "ben")
	ada.start()
	ben.start(ada)
	gid := ada.must("group", "create", "harbour")
	ben.must("join", ada.must("invite", gid), "--timeout", "60s")
	said := map[string]string{ada.must("send", gid, "before"): "before"}
	eventually(t, time.Minute, "ben reads", heard(gid, []*machine{ben}, said))
	old := ben.show(gid).Cursor

	follow, out := dmlsd("--home", ben.home, "tail", gid, "--json"), &syncBuffer{}
	follow.Stdout = out
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = follow.Process.Kill()
		_ = follow.Wait()
	}()
	ada.must("group", "remove", gid, "ben")
	eventually(t, time.Minute, "ben knows", func() string {
		if g := ben.show(gid); g.State != "removed" {
			return g.State
		}
		return ""
	})
	ben.fails(5, "not a member", "", "send", gid, "still here?")
	ben.must("join", ada.must("invite", gid), "--timeout", "60s")
	eventually(t, time.Minute, "one head", converged(gid, []*machine{ada, ben}))
	said[ada.must("send", gid, "after")] = "after"
	eventually(t, time.Minute, "ben reads both", heard(gid, []*machine{ben}, said))
	eventually(t, time.Minute, "the tail goes on", func() string {
		if s := out.String(); !strings.Contains(s, `"before"`) || !strings.Contains(s, `"after"`) {
			return s
		}
		return ""
	})
	if g := ben.show(gid); g.Cursor <= old {
		t.Errorf("cursor %d after %d", g.Cursor, old)
	}
	ben.kill()
	ben.start(ada)
	eventually(t, time.Minute, "both after a kill", heard(gid, []*machine{ben}, said))
	if rest := ben.must("tail", gid, "--no-follow", "--after", fmt.Sprint(old)); !strings.Contains(rest, "after") || strings.Contains(rest, "before") {
		t.Errorf("after cursor %d: %s", old, rest)
	}

	// What its owner removes stays away, and the cursor of before is good.
	ben.must("group", "compact", gid, "--through", fmt.Sprint(old))
	for range 2 {
		if rest := ben.must("tail", gid, "--no-follow", "--after", "1"); !strings.Contains(rest, "after") || strings.Contains(rest, "before") {
			t.Errorf("after cursor 1 of a compacted log: %s", rest)
		}
		if all := ben.must("tail", gid, "--no-follow", "--after", "1", "--events"); !strings.Contains(all, fmt.Sprintf("%-5d", old)) || !strings.Contains(all, "log compacted: 1 messages") {
			t.Errorf("no word of what was removed: %s", all)
		}
		ben.kill()
		ben.start(ada)
	}
}

// A block survives kill -9, and the daemon says so.
func TestBlockedAfterKill(t *testing.T) {
	ada, ben := newMachine(t, "ada"), newMachine(t, "ben")
	ada.start()
	ben.start(ada)
	connected := func(want string) func() string {
		return func() string {
			if out := ada.must("peers"); strings.Contains(out, "blocked") != (want == "blocked") || strings.Contains(out, "127.0.0.1") != (want == "connected") {
				return out
			}
			return ""
		}
	}
	eventually(t, time.Minute, "connected", connected("connected"))
	ada.must("debug", "block", ben.peer)
	ada.kill()
	ada.start()
	time.Sleep(2 * time.Second) // ben tries all the while
	if why := connected("blocked")(); why != "" {
		t.Errorf("after a kill: %s", why)
	}
	if !strings.Contains(ada.talk.String(), "blocked since an earlier run") {
		t.Errorf("the daemon says nothing of it: %s", ada.talk)
	}
	if out := ada.must("status"); !strings.Contains(out, "1 peers are blocked") {
		t.Errorf("status says nothing of it: %s", out)
	}
	ada.must("debug", "unblock", ben.peer)
	eventually(t, time.Minute, "connected again", connected("connected"))
}
