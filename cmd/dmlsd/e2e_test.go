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
	eventually(t, 20*time.Second, "one head", converged(gid, all))

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
	eventually(t, 20*time.Second, "all messages", heard(gid, all, said))

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
	eventually(t, 20*time.Second, "one head on island one", same(ada, ben))
	eventually(t, 20*time.Second, "one head on island two", same(cleo, dan))
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
	eventually(t, 20*time.Second, "one head after healing", converged(gid, all))
	t.Logf("one head %.1f s after healing", time.Since(healed).Seconds())
	eventually(t, 20*time.Second, "all messages after healing", heard(gid, all, said))
	say(dan, "one group again")
	eventually(t, 20*time.Second, "the last message", heard(gid, all, said))
	eventually(t, 20*time.Second, "one head at the end", converged(gid, all))
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
