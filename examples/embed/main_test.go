package main

import (
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.TempDir(), &out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"bob joined", "bob reads: alice: who brings the bread?", "alice reads: bob: I do."} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("output lacks %q:\n%s", line, out.String())
		}
	}
}
