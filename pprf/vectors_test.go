package pprf_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/pprf"
)

var update = flag.Bool("update", false, "rewrite testdata/pprf.json")

const vectorFile = "testdata/pprf.json"

// vector is one test vector; testdata/README.md explains the fields.
type vector struct {
	KDF   string   `json:"kdf"`
	Bits  int      `json:"bits"`
	Root  string   `json:"root"`
	Steps []step   `json:"steps"`
	Fresh []single `json:"fresh"`
}

type step struct {
	Input  string   `json:"input"`
	Output string   `json:"output"`
	Nodes  []string `json:"nodes"`
}

type single struct {
	Input  string `json:"input"`
	Output string `json:"output"`
}

// vectorInputs are chosen for their paths: ends of the tree, neighbours that
// share all but the last step, and points without a pattern.
func vectorInputs() []vector {
	const kdf = "HKDF-SHA256"
	point := func(s string) single { return single{Input: s} }
	at := func(s string) step { return step{Input: s} }
	return []vector{
		{KDF: kdf, Bits: 8, Root: strings.Repeat("00", 32),
			Steps: []step{at("00"), at("01"), at("ff"), at("a5"), at("80")},
			Fresh: []single{point("02"), point("7f"), point("a4")}},
		{KDF: kdf, Bits: 16, Root: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			Steps: []step{at("f0d4"), at("f0d5"), at("0001"), at("8000")},
			Fresh: []single{point("0000"), point("f0d6"), point("ffff")}},
		{KDF: kdf, Bits: 256, Root: "e0e1e2e3e4e5e6e7e8e9eaebecedeeefd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
			Steps: []step{
				at("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
				at("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a09"),
			},
			Fresh: []single{point(strings.Repeat("00", 32)), point(strings.Repeat("ff", 32))}},
	}
}

// fill computes the vectors with the package itself.
func fill(t *testing.T, vectors []vector) {
	for i := range vectors {
		v := &vectors[i]
		tree := pprf.New(sha256KDF{}, unhex(t, v.Root), v.Bits)
		for j := range v.Steps {
			out, p, err := tree.Eval(unhex(t, v.Steps[j].Input))
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.Apply(&p); err != nil {
				t.Fatal(err)
			}
			v.Steps[j].Output = hex.EncodeToString(out)
			v.Steps[j].Nodes = heldBy(tree)
		}
		for j := range v.Fresh {
			out, _, err := tree.Eval(unhex(t, v.Fresh[j].Input))
			if err != nil {
				t.Fatal(err)
			}
			v.Fresh[j].Output = hex.EncodeToString(out)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vectors hold for the oracle, which knows nothing of trees with holes,
// and for the package, which replays them.
func TestVectors(t *testing.T) {
	if *update {
		vectors := vectorInputs()
		fill(t, vectors)
		b, err := json.MarshalIndent(vectors, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range vectors {
		root := unhex(t, v.Root)
		o := oracle{root, v.Bits}
		tree := pprf.New(sha256KDF{}, root, v.Bits)
		var punctured [][]byte
		for _, s := range v.Steps {
			input := unhex(t, s.Input)
			punctured = append(punctured, input)
			if got := hex.EncodeToString(o.eval(input)); got != s.Output {
				t.Errorf("%d bits, %s: oracle gives %s", v.Bits, s.Input, got)
			}
			if !slices.Equal(o.held(punctured), s.Nodes) {
				t.Errorf("%d bits, after %s: oracle holds other nodes", v.Bits, s.Input)
			}
			out, p, err := tree.Eval(input)
			if err != nil || hex.EncodeToString(out) != s.Output {
				t.Errorf("%d bits, %s: %x, %v", v.Bits, s.Input, out, err)
			}
			if err := tree.Apply(&p); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(heldBy(tree), s.Nodes) {
				t.Errorf("%d bits, after %s: other nodes held", v.Bits, s.Input)
			}
			if _, _, err := tree.Eval(input); !errors.Is(err, pprf.ErrPunctured) {
				t.Errorf("%d bits, %s again: %v", v.Bits, s.Input, err)
			}
		}
		for _, s := range v.Fresh {
			want := unhex(t, s.Output)
			out, _, err := tree.Eval(unhex(t, s.Input))
			if err != nil || !bytes.Equal(out, want) || !bytes.Equal(o.eval(unhex(t, s.Input)), want) {
				t.Errorf("%d bits, fresh %s: %x, %v", v.Bits, s.Input, out, err)
			}
		}
	}
}
