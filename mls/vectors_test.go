package mls

import (
	"encoding/json"
	"testing"
)

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

// suiteCount runs the cases of the suites that we have and tells how many.
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
	t.Logf("%s: %d cases ran, %d skipped (cipher suite not in the table)", name, c.ran, c.skipped)
}
