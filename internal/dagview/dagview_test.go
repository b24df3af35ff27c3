package dagview

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite with -update):\n%s\nwant:\n%s", name, got, want)
	}
}

func commit(cid, parent string, epoch uint64, who string, head bool, actions ...string) Vertex {
	pre := ""
	if parent != "" {
		pre = "bafkreiaaaaaaaa"
	}
	return Vertex{CID: "bafkreiaaaaaaaa" + cid, Parent: pre + parent, Epoch: epoch, AuthorName: who, OnHead: head, Actions: actions}
}

// islands is the demo's story: a losing branch of two commits, carried over.
func islands() Graph {
	v := []Vertex{
		commit("00000000", "", 0, "Ada", true),
		commit("11111111", "00000000", 1, "Ada", true, "add Ben"),
		commit("22222222", "11111111", 2, "Ben", true, "add Eve"),
		commit("aaaaaaaa", "22222222", 3, "Eve", false, "add Finn"),
		commit("bbbbbbbb", "aaaaaaaa", 4, "Eve", false, "update"),
		commit("33333333", "22222222", 3, "Ada", true, "remove Dan"),
		commit("44444444", "33333333", 4, "Ben", true, "update"),
		commit("55555555", "44444444", 5, "Cleo", true, "add Finn"),
	}
	v[1].Final, v[1].Erased = true, true
	v[7].Supersedes = []string{"bafkreiaaaaaaaabbbbbbbb"}
	v[7].Head = true
	return Graph{Vertices: v}
}

// knot has three branches, one of them forked again and superseded by two.
func knot() Graph {
	v := []Vertex{
		commit("00000000", "", 0, "a", true),
		commit("10000000", "00000000", 1, "a", true, "update"),
		commit("1b000000", "00000000", 1, "b", false, "update"),
		commit("1c000000", "00000000", 1, "c", false, "update"),
		commit("2b000000", "1b000000", 2, "b", false, "add x"),
		commit("2d000000", "1b000000", 2, "d", false, "add y"),
		commit("3b000000", "2b000000", 3, "b", false, "update"),
		commit("20000000", "10000000", 2, "a", true, "add x", "add y"),
		commit("30000000", "20000000", 3, "a", true, "update"),
		commit("40000000", "30000000", 4, "c", true, "update"),
	}
	pre := "bafkreiaaaaaaaa"
	v[7].Supersedes = []string{pre + "3b000000", pre + "2d000000"}
	v[8].Supersedes = []string{pre + "1c000000", pre + "3b000000"}
	v[9].Head = true
	return Graph{Vertices: v}
}

func TestText(t *testing.T) {
	golden(t, "islands.txt", Text(islands()))
	golden(t, "knot.txt", Text(knot()))
	if got := Text(Graph{}); got != "" {
		t.Errorf("an empty graph gives %q", got)
	}
}

func TestSVG(t *testing.T) {
	golden(t, "islands.svg", SVG(islands()))
	golden(t, "knot.svg", SVG(knot()))
}

// The order of the vertices does not matter, and each is drawn exactly once.
func TestOrderDoesNotMatter(t *testing.T) {
	for _, g := range []Graph{islands(), knot()} {
		want := Text(g)
		r := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			h := Graph{Vertices: append([]Vertex(nil), g.Vertices...)}
			r.Shuffle(len(h.Vertices), func(i, j int) { h.Vertices[i], h.Vertices[j] = h.Vertices[j], h.Vertices[i] })
			if got := Text(h); got != want {
				t.Fatalf("another order, another drawing:\n%s\nwant:\n%s", got, want)
			}
		}
	}
}

// Whatever the links say, even cycles and strangers, each vertex gets a line.
func FuzzText(f *testing.F) {
	f.Add(uint64(1), uint64(7))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b))
		var g Graph
		n := r.IntN(14)
		id := func() string { return fmt.Sprintf("%06d", r.IntN(n+2)) }
		for i := range n {
			v := Vertex{CID: fmt.Sprintf("%06d", i), Parent: id(), Epoch: uint64(r.IntN(4)), OnHead: r.IntN(2) == 0, AuthorName: "x"}
			for range r.IntN(3) {
				v.Supersedes = append(v.Supersedes, id())
			}
			g.Vertices = append(g.Vertices, v)
		}
		text := Text(g)
		for i := range n {
			if !strings.Contains(text, fmt.Sprintf("%06d", i)) {
				t.Fatalf("vertex %d is missing:\n%s", i, text)
			}
		}
		if SVG(g) == "" {
			t.Fatal("no SVG")
		}
	})
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"Ada":                         "Ada",
		"a\x1b[31mred":                "a[31mred",
		"two\nlines":                  "two lines",
		"abc\u202edef\u2066":          "abcdef",
		"zero\u200bwidth\u2028\u0085": "zerowidth",
		"né 日本":                       "né 日本",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}
