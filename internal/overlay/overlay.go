// Package overlay builds with one source file changed, for tests that must fail, or
// hold, in another engine than the one that is there.
package overlay

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Of returns the file for the flag -overlay of the go tool that puts changed in the
// place of a source file.
func Of(t testing.TB, file, changed string) string {
	t.Helper()
	dir := t.TempDir()
	real, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	laid := filepath.Join(dir, filepath.Base(file))
	of, err := json.Marshal(map[string]map[string]string{"Replace": {real: laid}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	for path, content := range map[string][]byte{laid: []byte(changed), name: of} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

// Source reads a source file that must have a piece of text at least once, and at
// most so many times.
func Source(t testing.TB, file, piece string, most int) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), piece); n < 1 || n > most {
		t.Fatalf("%s has %q %d times", file, piece, n)
	}
	return string(b)
}
