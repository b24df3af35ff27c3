package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dmlsd/dmls"

// rules is imports.txt, parsed. Packages are named by directory.
type rules struct {
	ours, theirs map[string][]string // package: what it may import
	only         map[string][]string // prefix of a module: the packages that may
	far          []ban
	no           []ban
}

type ban struct{ packages, targets []string }

func parseRules(text string) (*rules, error) {
	r := &rules{ours: map[string][]string{}, theirs: map[string][]string{}, only: map[string][]string{}}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var parts [][]string
		for _, p := range strings.Split(line, ":") {
			parts = append(parts, strings.Fields(p))
		}
		head := parts[0]
		switch {
		case len(parts) == 2 && len(head) == 2 && head[0] == "only":
			r.only[head[1]] = parts[1]
		case len(parts) == 2 && len(head) > 1 && head[0] == "far":
			r.far = append(r.far, ban{head[1:], parts[1]})
		case len(parts) == 2 && len(head) > 1 && head[0] == "no":
			r.no = append(r.no, ban{head[1:], parts[1]})
		case len(parts) == 3 && len(head) == 1:
			r.ours[head[0]], r.theirs[head[0]] = parts[1], parts[2]
		default:
			return nil, fmt.Errorf("line %d: %q", i+1, line)
		}
	}
	return r, nil
}

// graph is what go list says: who imports what.
type graph map[string]*pkg

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// load lists all packages of the module and whatever they reach. Packages that
// do not compile at the moment are listed too.
func load(t *testing.T) graph {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	cmd.Dir = moduleRoot(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	g := graph{}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		p := new(pkg)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g[p.ImportPath] = p
	}
}

// dir is the directory of one of our packages below the module's root.
func dir(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func importPath(dir string) string { return path.Join(module, dir) }

// lineFor finds the line that covers a package: its own or that of the nearest
// directory above.
func (r *rules) lineFor(dir string) (string, bool) {
	if _, ok := r.ours[dir]; ok {
		return dir, true
	}
	for d := path.Dir(dir); d != "."; d = path.Dir(d) {
		if _, ok := r.ours[d]; ok {
			return d, true
		}
	}
	return "", false
}

// under says whether p is one of names or below one of them. A name with a
// slash at its end covers only what is below it.
func under(p string, names []string) bool {
	for _, n := range names {
		if p == n || n != "." && strings.HasPrefix(p, strings.TrimSuffix(n, "/")+"/") {
			return true
		}
	}
	return false
}

// check returns one line for each breach.
func (r *rules) check(g graph) []string {
	var breaches []string
	breach := func(why string, chain ...string) {
		breaches = append(breaches, strings.Join(chain, " -> ")+": "+why)
	}
	for p, info := range g {
		d, ours := dir(p)
		if !ours {
			continue
		}
		line, ok := r.lineFor(d)
		if !ok {
			breach("no line in imports.txt", p)
			continue
		}
		for _, to := range info.Imports {
			if why := r.direct(d, line, to, g); why != "" {
				breach(why, p, to)
			}
		}
		for _, b := range r.far {
			if !under(d, b.packages) {
				continue
			}
			if chain := g.chain(p, b.targets); chain != nil {
				breach("must stay out of reach", chain...)
			}
		}
	}
	slices.Sort(breaches)
	return breaches
}

// direct says why package d, covered by line, may not import to.
func (r *rules) direct(d, line, to string, g graph) string {
	if target, ours := dir(to); ours {
		allowed := append([]string{line}, r.ours[line]...)
		if slices.Contains(allowed, "*") || under(target, allowed) {
			return ""
		}
		return fmt.Sprintf("%s may import of ours only: %s", line, strings.Join(r.ours[line], " "))
	}
	if info := g[to]; to == "C" || info != nil && info.Standard {
		for _, b := range r.no {
			if under(d, b.packages) && under(to, b.targets) {
				return "forbidden in a pure package"
			}
		}
		if to == "C" {
			return "no cgo"
		}
		return ""
	}
	for prefix, where := range r.only {
		// "." means the root package alone, so under() does not fit it.
		if strings.HasPrefix(to+"/", prefix) && !under(d, where) {
			return fmt.Sprintf("%s belongs to %s only", prefix, strings.Join(where, ", "))
		}
	}
	if allowed := r.theirs[line]; !slices.Contains(allowed, "*") && !under(to, allowed) {
		return fmt.Sprintf("%s may import of others only: %s", line, strings.Join(allowed, " "))
	}
	return ""
}

// chain finds the shortest way from a package to one of the targets.
func (g graph) chain(from string, targets []string) []string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at != from && under(at, targets) {
			var chain []string
			for ; at != ""; at = before[at] {
				chain = append(chain, at)
			}
			slices.Reverse(chain)
			return chain
		}
		if g[at] == nil || g[at].Standard {
			continue
		}
		for _, to := range g[at].Imports {
			if _, seen := before[to]; !seen {
				before[to] = at
				queue = append(queue, to)
			}
		}
	}
	return nil
}

func readRules(t *testing.T) *rules {
	t.Helper()
	text, err := os.ReadFile("imports.txt")
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRules(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestImports(t *testing.T) {
	g := load(t)
	if g[importPath("pprf")] == nil || g["fmt"] == nil {
		t.Fatalf("go list knows %d packages, not even pprf", len(g))
	}
	for _, b := range readRules(t).check(g) {
		t.Error(b)
	}
}

// The rules bite: each world below breaks one of them, and the breach names
// the chain.
func TestImportsBite(t *testing.T) {
	r := readRules(t)
	std := func(names ...string) graph {
		g := graph{}
		for _, n := range names {
			g[n] = &pkg{ImportPath: n, Standard: true}
		}
		return g
	}
	for name, c := range map[string]struct {
		edges map[string][]string
		want  string // "" for no breach
	}{
		"down":          {map[string][]string{"group": {module + "/mls", "fmt"}}, ""},
		"own directory": {map[string][]string{"group": {module + "/group/internal/plan"}}, ""},
		"cmd is free":   {map[string][]string{"cmd/dmlsd": {module + "/sim", "github.com/spf13/cobra"}}, ""},
		"up":            {map[string][]string{"mls": {module + "/group"}}, module + "/mls -> " + module + "/group: "},
		"sideways":      {map[string][]string{"dag": {module + "/frame"}}, module + "/dag -> " + module + "/frame: "},
		"store to node": {map[string][]string{"store": {module + "/node"}}, module + "/store -> " + module + "/node: "},
		"below a line":  {map[string][]string{"mls/internal/forge": {module + "/dag"}}, module + "/mls/internal/forge -> " + module + "/dag: "},
		"network":       {map[string][]string{"group": {"net"}}, module + "/group -> net: "},
		"entropy":       {map[string][]string{"mls/x509cred": {"crypto/rand"}}, module + "/mls/x509cred -> crypto/rand: "},
		"third party":   {map[string][]string{"pprf": {"golang.org/x/crypto/hkdf"}}, module + "/pprf -> golang.org/x/crypto/hkdf: "},
		"badger in cmd": {map[string][]string{"cmd/dmlsd": {"github.com/dgraph-io/badger/v4"}}, module + "/cmd/dmlsd -> github.com/dgraph-io/badger/v4: "},
		"libp2p in api": {map[string][]string{"internal/api": {"github.com/libp2p/go-libp2p"}}, module + "/internal/api -> github.com/libp2p/go-libp2p: "},
		"no line":       {map[string][]string{"helpers": nil}, module + "/helpers: no line"},
		"a long way": {map[string][]string{"sim": {module + "/node"}, "node": {module + "/store"},
			"store": {"github.com/dgraph-io/badger/v4"}},
			module + "/sim -> " + module + "/node -> " + module + "/store -> github.com/dgraph-io/badger/v4: "},
		"cgo": {map[string][]string{"store": {"C"}}, module + "/store -> C: no cgo"},
	} {
		g := std("fmt", "net", "crypto/rand")
		for d, imports := range c.edges {
			g[importPath(d)] = &pkg{ImportPath: importPath(d), Imports: imports}
		}
		got := r.check(g)
		if c.want == "" && len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
		if c.want != "" && !slices.ContainsFunc(got, func(b string) bool { return strings.HasPrefix(b, c.want) }) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
