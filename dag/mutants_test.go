package dag

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutants are wrong rules of fork choice: one change each to the source. The
// independent reference must tell every one of them from the rule.
var mutants = []struct{ name, file, was, is string }{
	{"fewer votes win", "rule.go", "return c > 0, ByVotes", "return c < 0, ByVotes"},
	{"votes are not asked", "rule.go", "c := slices.Compare(a.Votes, b.Votes); c != 0", "c := 0; c != 0"},
	{"all ranks count alike", "rule.go", "slices.Compare(a.Votes, b.Votes)", "mutantSum(a.Votes) - mutantSum(b.Votes)"},
	{"ordinary members first", "rule.go", "slices.Compare(a.Votes, b.Votes)", "slices.Compare(mutantBack(a.Votes), mutantBack(b.Votes))"},
	{"the author of lower rank wins a tie", "rule.go", "return a.AuthorRank < b.AuthorRank", "return a.AuthorRank > b.AuthorRank"},
	{"rank does not break ties", "rule.go", "case a.AuthorRank != b.AuthorRank:", "case false:"},
	{"the higher leaf wins a tie", "rule.go", "return a.AuthorLeaf < b.AuthorLeaf", "return a.AuthorLeaf > b.AuthorLeaf"},
	{"leaves do not break ties", "rule.go", "case a.AuthorLeaf != b.AuthorLeaf:", "case false:"},
	{"the higher id wins among siblings", "rule.go", "	return a.Child < b.Child, ByCID\n}\n", "	return a.Child > b.Child, ByCID\n}\n"},
	{"the author's rank is that of the branch, not of the fork", "fork.go", "g.member(e, c.Author)", "g.member(c, c.Author)"},
	{"voters have one rank", "fork.go", "f.rank[v.Member] = v.Rank", "f.rank[v.Member] = 0"},
	{"equivocators vote", "fork.go", "	if s.provedIn(e) {\n		f.set(m, nil)\n		return\n	}\n", ""},
	{"equivocation anywhere takes the vote everywhere", "sender.go", "return slices.ContainsFunc(s.proofs, n.holds)", "return s.proved"},
	{"the first frame votes, not the last", "sender.go", "range slices.Backward(s.frames) {\n		if f.stand != nil && n.holds(f.at)", "range s.frames {\n		if f.stand != nil && n.holds(f.at)"},
	{"frames sent above the fork vote", "sender.go", "f.stand != nil && n.holds(f.at)", "f.stand != nil && n.holds(f.stand)"},
	{"complaints vote", "graph.go", "	} else {\n		f.stand,", "	}\n	{\n		f.stand,"},
	{"promotions and demotions are not heard of", "roster.go", "			roster[r.Member] = r\n", "			_ = r\n"},
	{"a re-counted fork keeps its old winner", "fork.go", "	f.best = nil\n	if was", "	if was"},
	{"above 128 members admins have no place of their own", "roster.go", "cmp.Compare(min(a.Rank, 1), min(b.Rank, 1)), ", ""},
	{"everybody votes in a large group", "roster.go", "whole: len(members) <= MaxVoters}", "whole: true}"},
}

// mutantHelpers is what mutants may call.
const mutantHelpers = `
func mutantSum(v []int) (n int) {
	for _, x := range v {
		n += x
	}
	return n
}

func mutantBack(v []int) []int {
	v = slices.Clone(v)
	slices.Reverse(v)
	return v
}
`

// TestMutants builds each of them and runs the tests against the reference,
// which must fail.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the package many times: run without -short")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go tool at hand")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if out, killed := runMutant(t, goTool, m.file, m.was, m.is); !killed {
				t.Errorf("no test kills it:\n%s", out)
			}
		})
	}
}

// runMutant lays the changed file over the package, as an overlay of the build.
func runMutant(t *testing.T, goTool, file, was, is string) (out string, killed bool) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte(was)); n < 1 || n > 2 {
		t.Fatalf("%s has %q %d times", file, was, n)
	}
	changed := strings.ReplaceAll(string(source), was, is)
	if file == "rule.go" {
		changed += mutantHelpers
	}
	dir := t.TempDir()
	laid := filepath.Join(dir, file)
	real, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {real: laid}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{laid: []byte(changed), filepath.Join(dir, "overlay.json"): overlay} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	test := exec.Command(goTool, "test", "-short", "-count=1", "-failfast", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"),
		"-run", "^(TestOrder|TestElectorate|TestJoinersAgree)$", ".")
	b, err := test.CombinedOutput()
	switch {
	case bytes.Contains(b, []byte("[build failed]")):
		t.Fatalf("the mutant does not build:\n%s", b)
	case err == nil:
		return string(b), false
	}
	return string(b), bytes.Contains(b, []byte("--- FAIL")) || bytes.Contains(b, []byte("panic:"))
}
