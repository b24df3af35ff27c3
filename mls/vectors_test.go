package mls

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// hexBytes is a byte string as the official vectors write it; null is nil.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	d, err := hex.DecodeString(*s)
	*h = d
	return err
}

// vectorDir is the folder of the official vectors.
func vectorDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("MLS_VECTORS"); dir != "" {
		return dir
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.Join(root, "..", "shared", "vectors", "mls")
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the package")
		}
		root = filepath.Dir(root)
	}
}

// vectorFile reads a file of the official vectors, or skips the test.
func vectorFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir(t), name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s not found: set MLS_VECTORS to the folder test-vectors of github.com/mlswg/mls-implementations", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// loadVectors parses a vector file into a list of cases.
func loadVectors[T any](t testing.TB, name string) []T {
	t.Helper()
	var out []T
	if err := json.Unmarshal(vectorFile(t, name), &out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(out) == 0 {
		t.Fatalf("%s holds no case", name)
	}
	return out
}

// suiteCount runs the cases of the suites that we have and tells how many. A
// case of another suite fails the test: RFC 9420 has seven, and so have we.
type suiteCount struct{ ran, skipped int }

// take reports whether the suite's case is to be run.
func (c *suiteCount) take(id CipherSuite) (*suite, bool) {
	s, err := suiteByID(id)
	if err != nil {
		c.skipped++
		return nil, false
	}
	c.ran++
	return s, true
}

func (c *suiteCount) report(t *testing.T, name string) {
	t.Helper()
	if c.ran == 0 {
		t.Errorf("%s: no case ran", name)
	}
	if c.skipped > 0 {
		t.Errorf("%s: %d cases are of a cipher suite that is not in the table", name, c.skipped)
	}
	t.Logf("%s: %d cases ran, 0 skipped", name, c.ran)
}
