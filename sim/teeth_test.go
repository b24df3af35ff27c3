package sim

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/internal/overlay"
)

// defences are what a siege is there to try: one change to the engine each takes one
// out, and the siege must show it. (What replayers, backdaters, removers and grinders
// would gain is shown in the tests of packages group and dag, and by rule mutants.)
var defences = []struct{ siege, without, file, was, is string }{
	{"equivocator", "equivocators vote", "dag/fork.go", "	if s.provedIn(e) {\n		f.set(m, nil)\n		return\n	}\n", ""},
	{"path-poisoner", "complaints void nothing", "dag/void.go", "	if void := 3*len", "	if void := 0*len"},
	{"withholder", "votes are not asked", "dag/rule.go", "c := slices.Compare(a.Votes, b.Votes); c != 0", "c := 0 * slices.Compare(a.Votes, b.Votes); c != 0"},
	{"sybil", "members added below a fork vote there", "dag/fork.go", "_, ok := f.rank[m]; return ok", "return true"},
	{"lying-merger", "what a merge claims to have done is done", "group/internal/plan/plan.go",
		"		if !v.chain[id] && !c.Settled {", "		if !v.chain[id] && !c.Settled && !v.claimed(id) {"},
	{"removed-forker", "what an ejected member did is done again", "group/internal/plan/remove.go",
		"if whose == carried && v.entitled(c.Author) {", "if whose == carried && v.may(c.Author) {"},
	{"removed-forker", "what an ejected member did and others merged is done again", "group/internal/plan/remove.go",
		"		return passed\n", "		return carried\n"},
	{"lying-notice", "one word is enough", "group/strand.go", "3*s.saying(n.Gone, slices.Values(members)) <= len(members)", "s.saying(n.Gone, slices.Values(members)) == 0"},
	{"re-encrypter", "a commit counts as often as it is sealed", "group/receive.go", "		} else if ok {\n			return ErrRepeated", "		} else if false {\n			return ErrRepeated"},
	{"minter", "no budgets", "group/park.go", "if next.After(full) {", "if false {"},
	{"flooder", "no quota of a peer", "group/park.go", "len(of.list) >= s.cfg.MaxParkedPeer", "false"},
	{"flooder", "no cap of bytes", "group/park.go", "for s.parkedSize+size > s.cfg.MaxParked {", "for false {"},
	{"removed-voter", "erased before all have confirmed", "dag/final.go", "failed == nil && g.carried(n) {", "failed == nil || n.parent == g.base {"},
}

// claimed is what the change to plans calls.
const claimed = `
func (v *view) claimed(id string) bool {
	for on := range v.chain {
		if d := v.Commits[on]; d != nil && slices.Contains(d.Supersedes, id) {
			return true
		}
	}
	return false
}
`

// TestTeeth takes one defence after the other out of the engine and lets its siege run.
func TestTeeth(t *testing.T) {
	if os.Getenv("DMLS_SIM_TEETH") == "" {
		t.Skip("builds the simulator many times: set DMLS_SIM_TEETH=1, or make sim-teeth")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go tool at hand")
	}
	for _, d := range defences {
		t.Run(d.siege+"/"+d.without, func(t *testing.T) {
			file := filepath.Join("..", filepath.FromSlash(d.file))
			changed := strings.Replace(overlay.Source(t, file, d.was, 1), d.was, d.is, 1)
			if strings.Contains(d.is, "claimed") {
				changed += claimed
			}
			cmd := exec.Command(goTool, "test", "-count=1", "-vet=off", "-overlay", overlay.Of(t, file, changed),
				"-run", "^TestSieges$/^"+siegePrefix+d.siege+"$", ".")
			cmd.Env = append(os.Environ(), "DMLS_SIM_TEETH=", "DMLS_SIM_SIEGE=24")
			out, err := cmd.CombinedOutput()
			if bytes.Contains(out, []byte("[build failed]")) {
				t.Fatalf("does not build:\n%s", out)
			}
			if err == nil || !bytes.Contains(out, []byte("replay: dmlsd sim replay")) {
				t.Errorf("the siege does not notice:\n%s", out)
			}
		})
	}
}
