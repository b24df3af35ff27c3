package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dmlsd/dmls/internal/faulty"
)

// failOnSignal makes the disk of a test's daemon fail when it gets SIGUSR1.
const failOnSignal = "DMLSD_TEST_FAIL_ON_SIGNAL"

func init() {
	if os.Getenv(failOnSignal) == "" {
		return
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	go func() {
		<-c
		fmt.Fprintln(os.Stderr, "the disk fails:", faulty.Fail(faulty.Syncs...))
	}()
}

// TestDiskFails: a daemon whose disk no longer syncs acknowledges nothing and
// ends; the next one has every message that was acknowledged, once.
func TestDiskFails(t *testing.T) {
	t.Setenv(failOnSignal, "1")
	m := newMachine(t, "Ada")
	m.start()
	m.must("group", "create", "ops")
	for i := range 5 {
		m.must("send", "ops", fmt.Sprint("before ", i))
	}
	if err := m.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the disk fails", func() string {
		if strings.Contains(m.talk.String(), "the disk fails") {
			return ""
		}
		return "it says " + m.talk.String()
	})
	if !strings.Contains(m.talk.String(), "the disk fails: <nil>") {
		t.Skip(m.talk.String())
	}
	if code, out, talk := m.run("", "send", "ops", "after"); code == 0 {
		t.Fatalf("a message was acknowledged on a disk that fails: %s%s", out, talk)
	}
	select {
	case err := <-m.exit:
		if err == nil || !strings.Contains(m.talk.String(), "the daemon stops") {
			t.Errorf("it ends with %v: %s", err, m.talk)
		}
		m.cmd = nil
	case <-time.After(drainTime + 5*time.Second):
		t.Fatalf("the daemon goes on: %s", m.talk)
	}
	m.start()
	var texts []string
	for _, text := range m.tail("ops") {
		texts = append(texts, text)
	}
	for i := range 5 {
		if n := strings.Count(strings.Join(texts, "|")+"|", fmt.Sprintf("before %d|", i)); n != 1 {
			t.Errorf("message %d is there %d times", i, n)
		}
	}
	m.must("send", "ops", "again")
}
