package dag

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/internal/overlay"
)

// mutant is one change to the source.
type mutant struct{ name, file, was, is string }

// mutants are wrong rules of fork choice. The independent reference must tell every
// one of them from the rule.
var mutants = []mutant{
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

// ofFinality are wrong rules of section 5.6, and of complaints (5.3). Histories of
// partial views and the paper tests of both must kill them.
var ofFinality = []mutant{
	{"one round is enough", "final.go", "g.deepest((*sender).confirmed)", "g.deepest((*sender).stands)"},
	{"whoever left and came back confirms as before", "final.go", "n.holds(s.conf) && !s.everLeft(n)", "n.holds(s.conf)"},
	{"frames that only settled do not count as leaving", "sender.go", "		place = f.at // only settled; nil: outside the base\n", "		return\n"},
	{"the votes above need not carry", "final.go", "failed == nil && g.carried(n)", "failed == nil"},
	{"only the parent's votes must carry", "final.go", "a != nil; child, a = a, a.parent", "a != nil && child == n; child, a = a, a.parent"},
	{"a tie carries", "final.go", "decisive >= 0 && lead[decisive] > 0", "(decisive < 0 || lead[decisive] > 0)"},
	{"all ranks carry alike", "final.go", "lead[v.Rank]", "lead[0]"},
	{"complaints to come do not matter", "final.go", "3*could <= len(all.voters) && decisive", "decisive"},
	{"an epoch that removes somebody is like its parent", "final.go", "if seen = all; len(child.Removed) > 0 {", "if seen = all; false {"},
	{"equivocators must confirm", "final.go", "		case s.proved:\n", ""},
	{"equivocators carry", "final.go", "s != nil && !s.proved && s.stands(n)", "s != nil && s.stands(n)"},
	{"who left with what was forgotten never left", "final.go", "	if outside != nil {", "	if outside != nil && false {"},
	{"a third voids", "void.go", "void := 3*len(g.Complainers(n.ID)) > len", "void := 3*len(g.Complainers(n.ID)) >= len"},
	{"half void", "void.go", "void := 3*len(g.Complainers(n.ID))", "void := 2*len(g.Complainers(n.ID))"},
	{"who is removed may complain", "void.go", " && !slices.Contains(n.Removed, m)", ""},
	{"who stood below may complain", "void.go", "(s == nil || !s.stood(n)) && ", ""},
	{"equivocators may complain", "void.go", " || s.provedIn(n.parent)", ""},
	{"complaints count that were made elsewhere", "void.go", "f.about == n.ID && f.at == n.parent", "f.about == n.ID"},
	{"who has no vote voids", "void.go", "void := 3*len(g.Complainers(n.ID))", "void := 3*len(g.CannotOpen(n.ID))"},
	{"what is void is followed", "fork.go", "		if c.void {", "		if false {"},
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

// TestMutants builds each of them and runs the tests, one of which must fail.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the package many times: run without -short")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go tool at hand")
	}
	for _, of := range []struct {
		mutants []mutant
		tests   string
	}{
		{mutants, "TestOrder|TestElectorate|TestJoinersAgree"},
		{ofFinality, "TestFinality.*|TestTwoRounds|TestSettledLeaves|TestReturnDoesNotFinalise|TestEquivocator|TestVoteless|TestComplaints|TestForgottenLeave|TestOrder"},
	} {
		for _, m := range of.mutants {
			t.Run(m.name, func(t *testing.T) {
				if out, killed := m.run(t, goTool, of.tests); !killed {
					t.Errorf("no test kills it:\n%s", out)
				}
			})
		}
	}
}

// run lays the changed file over the package, as an overlay of the build.
func (m mutant) run(t *testing.T, goTool, tests string) (out string, killed bool) {
	t.Helper()
	changed := strings.ReplaceAll(overlay.Source(t, m.file, m.was, 2), m.was, m.is)
	if m.file == "rule.go" {
		changed += mutantHelpers
	}
	test := exec.Command(goTool, "test", "-short", "-count=1", "-failfast", "-vet=off", "-overlay", overlay.Of(t, m.file, changed),
		"-run", "^("+tests+")$", ".")
	b, err := test.CombinedOutput()
	switch {
	case bytes.Contains(b, []byte("[build failed]")):
		t.Fatalf("the mutant does not build:\n%s", b)
	case err == nil:
		return string(b), false
	}
	return string(b), bytes.Contains(b, []byte("--- FAIL")) || bytes.Contains(b, []byte("panic:"))
}
