package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStoreVerbs takes a sealed home through its life with real processes.
func TestStoreVerbs(t *testing.T) {
	dir := t.TempDir()
	home, pass, key := filepath.Join(dir, "ada"), filepath.Join(dir, "pass"), filepath.Join(dir, "key")
	if err := os.WriteFile(pass, []byte("correct horse\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, contains string, env []string, args ...string) string {
		t.Helper()
		cmd := dmlsd(append([]string{"--home", home}, args...)...)
		cmd.Env = append(cmd.Env, env...)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want || !strings.Contains(string(out), contains) {
			t.Fatalf("dmlsd %s: exit %d (%v), want %d and %q:\n%s", strings.Join(args, " "), code, err, want, contains, out)
		}
		return string(out)
	}
	run(0, "created", nil, "init", "--name", "Ada", "--passphrase-file", pass)
	run(5, "sealed with a passphrase", []string{"DMLSD_PASSPHRASE=wrong"}, "fsck", "--key-file", key)
	run(5, "not the right one", []string{"DMLSD_PASSPHRASE=wrong"}, "run")
	run(0, "sealed with a passphrase", []string{"DMLSD_PASSPHRASE=correct horse"}, "fsck")
	run(0, "sealed with a key file", nil, "keys", "rotate-root", "--passphrase-file", pass, "--seal-key-file", key)
	run(5, "sealed with a key file", nil, "export", "--passphrase-file", pass)
	run(0, "", []string{"DMLSD_KEY_FILE=" + key}, "export")

	m := &machine{t: t, name: "Ada", home: home, talk: &syncBuffer{}}
	t.Setenv("DMLSD_KEY_FILE", key)
	m.start()
	t.Cleanup(func() {
		if m.cmd != nil {
			m.kill()
		}
	})
	m.must("group", "create", "ops")
	m.must("send", "ops", "hello export")
	run(0, "sealed with a key file", nil, "keys", "status")
	run(0, "rotated", nil, "keys", "rotate-root")
	run(6, "stop it first", nil, "keys", "rotate-root", "--seal-none")
	run(6, "in use", nil, "fsck")
	run(6, "in use", nil, "wipe", "--yes")
	if out := run(0, "hello export", nil, "export"); strings.Contains(out, "authenticator\":\"0") {
		t.Error("an export holds an authenticator")
	}
	run(5, "use keys a second time", nil, "backup")
	m.must("send", "ops", "killed after this")
	m.kill()
	run(0, "the store was not closed", nil, "fsck")
	run(0, "hello export", nil, "export")
	run(0, "not sealed", nil, "keys", "rotate-root", "--seal-none")
	if err := os.Truncate(filepath.Join(home, "store", "mark"), 0); err != nil {
		t.Fatal(err)
	}
	run(0, `"format":2`, nil, "fsck", "--json")
	run(2, "cannot be undone", nil, "wipe")
	run(0, "wiped", nil, "wipe", "--yes")
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("the home is still there: %v", err)
	}
	run(4, "no identity", nil, "wipe", "--yes")
}
