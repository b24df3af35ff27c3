package sim

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of docs/attacks.md names tests and sieges that exist, and every
// case of the list has a row.
func TestAttacksPage(t *testing.T) {
	page, err := os.ReadFile("../docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`|`(attack-[a-z-]+)`")
	rows := 0
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || strings.HasPrefix(line, "| case") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| #") {
			continue
		}
		found := name.FindAllStringSubmatch(line, -1)
		if len(found) == 0 {
			t.Errorf("no test in: %s", line)
		}
		if regexp.MustCompile(`^\| \d+ \|`).MatchString(line) {
			rows++
		}
		for _, m := range found {
			if m[3] != "" {
				if f, err := Named(m[3]); err != nil || f == nil {
					t.Errorf("no siege %q: %v", m[3], err)
				}
				continue
			}
			if !hasTest(t, "../"+m[1], m[2]) {
				t.Errorf("no test %s.%s", m[1], m[2])
			}
		}
	}
	if rows != 33 {
		t.Errorf("%d cases, want 33", rows)
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(dir + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("\nfunc "+name+"(")) {
			return true
		}
	}
	return false
}
