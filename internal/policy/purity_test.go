package policy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pure lists the packages, with all below them, that see the world only
// through what is handed in.
var pure = []string{"pprf", "mls", "dag", "frame", "group"}

// clocks are the functions of package time that look at or wait for the world.
// Types and arithmetic are free.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Sleep"}

// moduleRoot walks up to go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	d, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
		up := filepath.Dir(d)
		if up == d {
			t.Fatal("no go.mod above the test")
		}
		d = up
	}
}

func TestPurity(t *testing.T) {
	root := moduleRoot(t)
	for _, p := range pure {
		err := filepath.WalkDir(filepath.Join(root, p), func(d string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return err
			}
			if e.Name() == "testdata" {
				return filepath.SkipDir
			}
			return checkDir(t, d)
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func checkDir(t *testing.T, d string) error {
	names, err := filepath.Glob(filepath.Join(d, "*.go"))
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	for _, b := range impurities(fset, files) {
		t.Error(b)
	}
	return nil
}

// purity walks one package.
type purity struct {
	fset  *token.FileSet
	funcs map[string]bool // functions declared in the package
	vars  map[string]bool // variables declared in the package
	found []string
}

func impurities(fset *token.FileSet, files []*ast.File) []string {
	w := &purity{fset: fset, funcs: map[string]bool{}, vars: map[string]bool{}}
	for _, f := range files {
		w.collect(f)
	}
	for _, f := range files {
		w.file(f)
	}
	slices.Sort(w.found)
	return w.found
}

func (w *purity) report(at ast.Node, format string, args ...any) {
	w.found = append(w.found, fmt.Sprintf("%v: %s", w.fset.Position(at.Pos()), fmt.Sprintf(format, args...)))
}

func (w *purity) collect(f *ast.File) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				w.funcs[d.Name.Name] = true
			}
		case *ast.GenDecl:
			if d.Tok != token.VAR {
				continue
			}
			for _, s := range d.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					w.vars[n.Name] = true
				}
			}
		}
	}
}

func (w *purity) file(f *ast.File) {
	clock := importedAs(f, "time")
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			w.report(n, "goroutine")
		case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
			w.report(n, "channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				w.report(n, "channel")
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && clock != "" && x.Name == clock && slices.Contains(clocks, n.Sel.Name) {
				w.report(n, "clock: time.%s", n.Sel.Name)
			}
		}
		return true
	})
	if clock == "." {
		w.report(f, "package time imported with a dot hides its clock")
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.Name == "init" {
				w.report(d, "init")
			}
			w.assignments(d)
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				for _, s := range d.Specs {
					w.packageVar(s.(*ast.ValueSpec))
				}
			}
			ast.Inspect(d, func(n ast.Node) bool {
				f, ok := n.(*ast.FuncLit)
				if ok {
					w.assignments(f)
				}
				return !ok
			})
		}
	}
}

// importedAs gives the name under which a file knows a package, or "".
func importedAs(f *ast.File, want string) string {
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != want {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return want
	}
	return ""
}

// packageVar permits interface assertions, errors and tables.
func (w *purity) packageVar(s *ast.ValueSpec) {
	if len(s.Names) == 1 && s.Names[0].Name == "_" && s.Type != nil {
		return
	}
	if len(s.Values) != len(s.Names) {
		w.report(s, "package variable %s without a value of its own", s.Names[0].Name)
		return
	}
	for i, v := range s.Values {
		if !isError(v) && !w.isTable(v) {
			w.report(s, "package variable %s is neither error nor table", s.Names[i].Name)
		}
	}
}

func isError(v ast.Expr) bool {
	call, ok := v.(*ast.CallExpr)
	return ok && (isSelector(call.Fun, "errors", "New") || isSelector(call.Fun, "fmt", "Errorf"))
}

func isSelector(e ast.Expr, x, sel string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	id, ok := s.X.(*ast.Ident)
	return ok && id.Name == x && s.Sel.Name == sel
}

// isTable says whether v is a composite literal, or bytes spelled as a string,
// in which nothing is computed: no call except conversions. A row may hold a
// function literal: at package level there is nothing that it could capture, so
// it is a function without a name. Its body obeys the other rules.
func (w *purity) isTable(v ast.Expr) bool {
	switch x := v.(type) {
	case *ast.CompositeLit:
	case *ast.CallExpr:
		if _, ok := x.Fun.(*ast.ArrayType); !ok {
			return false
		}
	default:
		return false
	}
	ok := true
	ast.Inspect(v, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr:
			switch f := n.Fun.(type) {
			case *ast.Ident: // a conversion to a type of the package, or a builtin
				ok = ok && !w.funcs[f.Name]
			case *ast.ArrayType, *ast.ParenExpr:
			default:
				ok = ok && isError(n)
			}
		}
		return ok
	})
	return ok
}

// assignments reports writes to package variables: a table that changes is
// state. A name that the function declares itself is its own variable.
func (w *purity) assignments(d ast.Node) {
	local := map[string]bool{}
	declare := func(names ...*ast.Ident) {
		for _, n := range names {
			local[n.Name] = true
		}
	}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			declare(n.Names...)
		case *ast.ValueSpec:
			declare(n.Names...)
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				if id, ok := l.(*ast.Ident); ok && n.Tok == token.DEFINE {
					declare(id)
				}
			}
		case *ast.RangeStmt:
			for _, l := range []ast.Expr{n.Key, n.Value} {
				if id, ok := l.(*ast.Ident); ok && n.Tok == token.DEFINE {
					declare(id)
				}
			}
		}
		return true
	})
	written := func(target ast.Expr) {
		if id := base(target); id != nil && id.Name != "_" && w.vars[id.Name] && !local[id.Name] {
			w.report(target, "package variable %s is written", id.Name)
		}
	}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, l := range n.Lhs {
				written(l)
			}
		case *ast.IncDecStmt:
			written(n.X)
		}
		return true
	})
}

// base is the variable that an assignment to e changes.
func base(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// The rules bite: each piece of source breaks the one named, and the last
// pieces break none.
func TestPurityBites(t *testing.T) {
	for source, want := range map[string]string{
		`func f() { go f() }`:    "goroutine",
		`func f(c chan int) {}`:  "channel",
		`func f() { select {} }`: "channel",
		`import "context"; func f(c context.Context) { <-c.Done() }`: "channel",
		`import "time"; func f() { _ = time.Now() }`:                 "time.Now",
		`import x "time"; func f() { x.Sleep(1) }`:                   "time.Sleep",
		`import "time"; var later = time.After`:                      "time.After",
		`import . "time"`:                                            "dot",
		`func init() {}`:                                             "init",
		`var x int`:                                                  "without a value",
		`var x, y = f()`:                                             "without a value",
		`var x = 3`:                                                  "neither error nor table",
		`var x = &struct{}{}`:                                        "neither error nor table",
		`var x = make(map[string]int)`:                               "neither error nor table",
		`var x = func() {}`:                                          "neither error nor table",
		`var x = []int{f()}; func f() int { return 1 }`:              "neither error nor table",
		`var x = []any{func() int { return 1 }()}`:                   "neither error nor table",
		`var x, y = []any{func() { y[0] = 2 }}, []int{1}`:            "y is written",
		`import "time"; var x = []any{func() { time.Now() }}`:        "time.Now",
		`import "os"; var x = []any{os.Getenv("X")}`:                 "neither error nor table",
		`var x = []int{1}; func f() { x[0] = 2 }`:                    "x is written",
		`var x = []int{1}; func f() { x = nil }`:                     "x is written",
		`var x = [1]int{1}; func f() { x[0]++ }`:                     "x is written",
		`import "errors"; var ErrX = errors.New("p: x")`:             "",
		`import "fmt"; var ErrY = fmt.Errorf("p: y")`:                "",
		`type T uint8; var x = [...]T{1, T(2)}`:                      "",
		`var x = map[string][]byte{"a": []byte("b")}`:                "",
		`var x = []byte("label")`:                                    "",
		`var x = []func(int) int{func(i int) int { i++; return f(i) }}; func f(i int) int { return i }`: "",
		`import "io"; type T int; var _ io.Reader = (*T)(nil)`:                                          "",
		`var x = []int{1}; func f(x []int) { x[0] = 2 }`:                                                "",
		`var x = []int{1}; func f() { x := []int{}; x[0] = 2 }`:                                         "",
		`import "time"; func f(t time.Time) time.Duration { return time.Unix(0, 0).Sub(t) }`:            "",
		`type t struct{}; func (t) init() {}`:                                                           "",
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "p.go", "package p; "+source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		got := impurities(fset, []*ast.File{f})
		if want == "" && len(got) > 0 {
			t.Errorf("%s: %q", source, got)
		}
		if want != "" && !slices.ContainsFunc(got, func(b string) bool { return strings.Contains(b, want) }) {
			t.Errorf("%s: got %q, want %q", source, got, want)
		}
	}
}
