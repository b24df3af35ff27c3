package mls

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// ruleRow is a row of docs/RULES.md.
type ruleRow struct {
	line         int
	rule         string
	section      string
	files, tests []string
}

var quoted = regexp.MustCompile("`([^`]+)`")

func quotedIn(s string) (out []string) {
	for _, m := range quoted.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	return out
}

// parseRules reads the tables of docs/RULES.md. A line that looks like a row
// and is none fails the test.
func parseRules(t *testing.T, text string) (rows []ruleRow) {
	t.Helper()
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| Rule | ") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			t.Fatalf("docs/RULES.md:%d has %d cells", i+1, len(cells))
		}
		r := ruleRow{i + 1, strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1]), quotedIn(cells[2]), quotedIn(cells[3])}
		if r.rule == "" || r.section == "" || len(r.files) == 0 || len(r.tests) == 0 {
			t.Errorf("docs/RULES.md:%d lacks a rule, section, file or test: %+v", r.line, r)
		}
		rows = append(rows, r)
	}
	return rows
}

// testCases maps the tests of mls and mls/x509cred to the names of their cases: the
// string keys of maps and the names given to t.Run in the same file.
type testCases struct {
	file  map[string]string          // test function: file
	named map[string]map[string]bool // file: names
}

func readTestCases(t *testing.T) testCases {
	t.Helper()
	c := testCases{map[string]string{}, map[string]map[string]bool{}}
	var files []string
	for _, pattern := range []string{"*_test.go", "x509cred/*_test.go"} {
		some, err := filepath.Glob(pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("no tests %s: %v", pattern, err)
		}
		files = append(files, some...)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.named[name] = map[string]bool{}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				c.file[fn.Name.Name] = name
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			var e ast.Expr
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				e = n.Key
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Run" && len(n.Args) == 2 {
					e = n.Args[0]
				}
			}
			if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil {
					c.named[name][s] = true
				}
			}
			return true
		})
	}
	return c
}

// TestRulesDocument: every test and file that docs/RULES.md names exists, and
// every case of the rules tests has a row.
func TestRulesDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "RULES.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, cases := parseRules(t, string(text)), readTestCases(t)
	if len(rows) < 100 {
		t.Fatalf("%d rows", len(rows))
	}
	covered, rules := map[string]bool{}, map[string]int{}
	for _, r := range rows {
		if at := rules[r.rule+r.section]; at != 0 {
			t.Errorf("docs/RULES.md:%d repeats line %d", r.line, at)
		}
		rules[r.rule+r.section] = r.line
		for _, f := range r.files {
			if _, err := os.Stat(f); err != nil {
				t.Errorf("docs/RULES.md:%d: %v", r.line, err)
			}
		}
		for _, name := range r.tests {
			test, sub, has := strings.Cut(name, "/")
			file, ok := cases.file[test]
			if !ok || has && !cases.named[file][sub] {
				t.Errorf("docs/RULES.md:%d: no test %s", r.line, name)
			}
			covered[test], covered[file+"/"+sub] = true, true
		}
	}
	for test, file := range cases.file {
		if strings.HasPrefix(file, "rules_") && file != "rules_doc_test.go" && !covered[test] {
			t.Errorf("docs/RULES.md has no row for %s", test)
		}
	}
	for file, names := range cases.named {
		for name := range names {
			if strings.HasPrefix(file, "rules_") && file != "rules_doc_test.go" && !covered[file+"/"+name] && !leafWayNames[name] {
				t.Errorf("docs/RULES.md has no row for %s in %s", name, file)
			}
		}
	}
	t.Logf("docs/RULES.md: %d rules, %d tests and cases named", len(rows), len(covered))
}

// leafWayNames are the keys of leafWays, which are no cases: every case goes all of them.
var leafWayNames = map[string]bool{"Add": true, "Update": true, "Commit": true, "Welcome": true}
