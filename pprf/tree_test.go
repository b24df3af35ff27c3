package pprf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/pprf"
)

func sortNodes(nodes []pprf.Node) {
	sort.Slice(nodes, func(i, j int) bool {
		return bytes.Compare(nodes[i].ID.Prefix[:], nodes[j].ID.Prefix[:]) < 0
	})
}

func testRoot(seed byte) []byte { return bytes.Repeat([]byte{seed}, 32) }

func newTree(seed byte, bits int) (*pprf.Tree, oracle) {
	return pprf.New(sha256KDF{}, testRoot(seed), bits), oracle{testRoot(seed), bits}
}

// Every input of a small tree, in a scrambled order, once and never again.
func TestEveryInputOnce(t *testing.T) {
	tree, o := newTree(1, 8)
	order := rand.New(rand.NewPCG(1, 2)).Perm(256)
	var punctured [][]byte
	for i, x := range order {
		input := []byte{byte(x)}
		use(t, tree, o, input)
		punctured = append(punctured, input)
		if _, _, err := tree.Eval(input); !errors.Is(err, pprf.ErrPunctured) {
			t.Fatalf("second use of %x: %v", input, err)
		}
		if got, want := heldBy(tree), o.held(punctured); !slices.Equal(got, want) {
			t.Fatalf("after %d punctures the tree holds\n%v\nwant\n%v", i+1, got, want)
		}
		tree = restored(t, tree, 8)
	}
	if tree.Len() != 0 || len(tree.Deltas()) != 0 {
		t.Fatalf("%d nodes in %v left", tree.Len(), tree.Deltas())
	}
}

// The state grows by the siblings of the path: 256 nodes first, then fewer.
func TestSize(t *testing.T) {
	tree, o := newTree(2, 256)
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 20 {
		before := tree.Len()
		p := use(t, tree, o, randomInput(random, 32))
		if got, want := tree.Len()-before, 256-int(p.Drop.Depth)-1; got != want {
			t.Fatalf("puncture %d at depth %d: %d more nodes, want %d", i, p.Drop.Depth, got, want)
		}
		if p.To != uint32(i+1) {
			t.Fatalf("puncture %d became delta %d", i, p.To)
		}
	}
	first := len(pprf.MarshalNodes(tree.Delta(1)))
	if first > 10<<10 {
		t.Fatalf("a delta takes %d bytes", first)
	}
	t.Logf("after 20 punctures: %d nodes, first delta's record %d bytes", tree.Len(), first)
}

func randomInput(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// Eval is staged: without Apply nothing changes, however often it is called.
func TestEvalChangesNothing(t *testing.T) {
	tree, o := newTree(3, 16)
	use(t, tree, o, []byte{1, 2})
	before := heldBy(tree)
	for range 3 {
		out, p, err := tree.Eval([]byte{3, 4})
		if err != nil || !bytes.Equal(out, o.eval([]byte{3, 4})) {
			t.Fatal(err)
		}
		p.Wipe()
		clear(out)
	}
	if !slices.Equal(heldBy(tree), before) {
		t.Fatal("the tree changed")
	}
}

// Two evaluations staged side by side: both apply if they dropped different
// nodes, and then get different deltas; else the second is stale.
func TestStagedTogether(t *testing.T) {
	tree, o := newTree(4, 16)
	use(t, tree, o, []byte{0x00, 0x00}) // holds one node of each depth now
	_, right, _ := tree.Eval([]byte{0x80, 0x00})
	_, left, _ := tree.Eval([]byte{0x40, 0x00})
	_, late, _ := tree.Eval([]byte{0xc0, 0x00}) // below the same node as right
	if right.Drop == left.Drop || right.Drop != late.Drop || right.To != left.To {
		t.Fatalf("test is not about what it says: %v %v %v", right.Drop, left.Drop, late.Drop)
	}
	for _, p := range []*pprf.Puncture{&right, &left} {
		if err := tree.Apply(p); err != nil {
			t.Fatal(err)
		}
	}
	if right.To != 2 || left.To != 3 {
		t.Fatalf("deltas %d and %d, want 2 and 3", right.To, left.To)
	}
	before := heldBy(tree)
	for range 2 {
		for _, p := range []*pprf.Puncture{&late, &left, &right} {
			if err := tree.Apply(p); !errors.Is(err, pprf.ErrStale) {
				t.Fatalf("stale puncture at %v: %v", p.Drop, err)
			}
		}
	}
	if !slices.Equal(heldBy(tree), before) {
		t.Fatal("a refused puncture changed the tree")
	}
	want := o.held([][]byte{{0, 0}, {0x80, 0}, {0x40, 0}})
	if !slices.Equal(before, want) {
		t.Fatalf("holds\n%v\nwant\n%v", before, want)
	}
	use(t, tree, o, []byte{0xc0, 0x00}) // evaluated again, it works
}

// A delta whose last node goes disappears; the numbers of a tree in memory and
// of one read from the store stay the same.
func TestEmptyDelta(t *testing.T) {
	tree, o := newTree(5, 8)
	use(t, tree, o, []byte{0})
	if slices.Contains(tree.Deltas(), 0) || tree.Delta(0) != nil {
		t.Fatal("delta 0 is still there")
	}
	p := use(t, tree, o, []byte{1}) // the leaf beside it
	if len(p.Keep) != 0 || len(tree.Deltas()) != 1 {
		t.Fatalf("a leaf's puncture keeps %d nodes, deltas %v", len(p.Keep), tree.Deltas())
	}
	a, b := use(t, restored(t, tree, 8), o, []byte{200}), use(t, tree, o, []byte{200})
	if a.To != b.To || a.From != b.From {
		t.Fatalf("restored tree numbers %d, live one %d", a.To, b.To)
	}
}

func TestWipedPunctureDoesNotReachTheTree(t *testing.T) {
	tree, o := newTree(6, 16)
	p := use(t, tree, o, []byte{7, 7})
	delta := tree.Delta(p.To)
	p.Wipe()
	pprf.WipeNodes(delta)
	if !slices.Equal(heldBy(tree), o.held([][]byte{{7, 7}})) {
		t.Fatal("wiping a copy wiped the tree")
	}
}

func TestWipe(t *testing.T) {
	tree, _ := newTree(7, 16)
	tree.Wipe()
	if _, _, err := tree.Eval([]byte{0, 0}); !errors.Is(err, pprf.ErrPunctured) || tree.Len() != 0 {
		t.Fatal(err)
	}
}

func TestBadInput(t *testing.T) {
	tree, o := newTree(8, 16)
	for _, input := range [][]byte{nil, {1}, {1, 2, 3}} {
		if _, _, err := tree.Eval(input); !errors.Is(err, pprf.ErrInput) {
			t.Fatalf("%x: %v", input, err)
		}
	}
	_, good, _ := tree.Eval([]byte{1, 2})
	spoil := map[string]func(p *pprf.Puncture){
		"nothing kept":   func(p *pprf.Puncture) { p.Keep = nil },
		"one missing":    func(p *pprf.Puncture) { p.Keep = p.Keep[1:] },
		"out of order":   func(p *pprf.Puncture) { slices.Reverse(p.Keep) },
		"short secret":   func(p *pprf.Puncture) { p.Keep[3].Secret = p.Keep[3].Secret[1:] },
		"one twice":      func(p *pprf.Puncture) { p.Keep[3] = p.Keep[4] },
		"stray bits":     func(p *pprf.Puncture) { p.Keep[0].ID.Prefix[60] = 1 },
		"too deep":       func(p *pprf.Puncture) { p.Keep[0].ID.Depth = 17 },
		"absurdly deep":  func(p *pprf.Puncture) { p.Keep[0].ID.Depth = 60000 },
		"the drop again": func(p *pprf.Puncture) { p.Keep[0].ID = p.Drop },
	}
	before := heldBy(tree)
	for name, f := range spoil {
		p := good
		p.Keep = slices.Clone(good.Keep)
		f(&p)
		if err := tree.Apply(&p); !errors.Is(err, pprf.ErrPuncture) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stale := good
	stale.From = 9
	if err := tree.Apply(&stale); !errors.Is(err, pprf.ErrStale) {
		t.Errorf("wrong delta: %v", err)
	}
	if !slices.Equal(heldBy(tree), before) {
		t.Fatal("a refused puncture changed the tree")
	}
	use(t, tree, o, []byte{1, 2})
}

func TestRestoreRefuses(t *testing.T) {
	tree, o := newTree(9, 16)
	use(t, tree, o, []byte{1, 2})
	nodes := tree.Delta(1)
	root := []pprf.Node{{Secret: testRoot(9)}}
	for name, c := range map[string]struct {
		bits   int
		deltas map[uint32][]pprf.Node
	}{
		"odd depth":        {12, nil},
		"no depth":         {0, nil},
		"too many bits":    {520, nil},
		"below the leaves": {8, map[uint32][]pprf.Node{1: nodes}},
		"node twice":       {16, map[uint32][]pprf.Node{1: nodes, 2: nodes[:1]}},
		"ancestor":         {16, map[uint32][]pprf.Node{0: root, 1: nodes}},
		"short secret":     {16, map[uint32][]pprf.Node{0: {{Secret: make([]byte, 31)}}}},
	} {
		if _, err := pprf.Restore(sha256KDF{}, c.bits, c.deltas); !errors.Is(err, pprf.ErrNodes) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A store that lost everything is punctured everywhere, not an error.
	empty, err := pprf.Restore(sha256KDF{}, 16, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := empty.Eval([]byte{0, 0}); !errors.Is(err, pprf.ErrPunctured) {
		t.Fatal(err)
	}
}

func TestMisuse(t *testing.T) {
	for _, f := range []func(){
		func() { pprf.New(sha256KDF{}, make([]byte, 31), 256) },
		func() { pprf.New(sha256KDF{}, make([]byte, 32), 0) },
		func() { pprf.New(sha256KDF{}, make([]byte, 32), 9) },
		func() { pprf.New(sha256KDF{}, make([]byte, 32), 1024) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("New took impossible arguments")
				}
			}()
			f()
		}()
	}
}

// Secrets stay out of whatever fmt prints.
func TestPrintingHidesSecrets(t *testing.T) {
	tree, _ := newTree(10, 8)
	_, p, _ := tree.Eval([]byte{0xa5})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb, p.Keep)
		for _, n := range p.Keep {
			if strings.Contains(text, fmt.Sprintf("%x", n.Secret[:4])) || strings.Contains(text, fmt.Sprint(n.Secret[:4])[1:8]) {
				t.Fatalf("%s prints a secret: %s", verb, text)
			}
		}
	}
}

// Theorem: after any mixture of evaluations, applied or not, singly or staged
// in pairs, with restarts between, punctured inputs fail, all others give what
// an unpunctured tree gives, and the nodes held are those of the definition.
func FuzzTree(f *testing.F) {
	f.Add([]byte("root"), []byte{0, 0, 1, 1, 0, 2, 2, 0, 3, 0, 0, 1})
	f.Add([]byte{}, []byte{1, 0xff, 0xff, 2, 0xff, 0xfe, 3, 0xff, 0xfc, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, seed, script []byte) {
		root := make([]byte, 32)
		copy(root, seed)
		tree, o := pprf.New(sha256KDF{}, root, 16), oracle{root, 16}
		var order [][]byte
		done := map[uint16]bool{}
		var staged []pprf.Puncture
		var stagedInputs [][]byte
		apply := func(p *pprf.Puncture, input []byte) {
			switch err := tree.Apply(p); {
			case err == nil && done[binary.BigEndian.Uint16(input)]:
				t.Fatalf("%x punctured twice", input)
			case err == nil:
				done[binary.BigEndian.Uint16(input)] = true
				order = append(order, input)
			case !errors.Is(err, pprf.ErrStale):
				t.Fatalf("%x: %v", input, err)
			}
		}
		for len(script) >= 3 && len(order) < 24 {
			verb, input := script[0]%4, script[1:3]
			script = script[3:]
			out, p, err := tree.Eval(input)
			if done[binary.BigEndian.Uint16(input)] {
				if !errors.Is(err, pprf.ErrPunctured) {
					t.Fatalf("punctured %x: %v", input, err)
				}
				continue
			}
			if err != nil || !bytes.Equal(out, o.eval(input)) {
				t.Fatalf("%x: wrong output, %v", input, err)
			}
			switch verb {
			case 0:
				apply(&p, input)
				if _, _, err := tree.Eval(input); !errors.Is(err, pprf.ErrPunctured) {
					t.Fatalf("punctured %x: %v", input, err)
				}
			case 1:
				staged, stagedInputs = append(staged, p), append(stagedInputs, input)
			case 2:
				for i := range staged {
					apply(&staged[i], stagedInputs[i])
				}
				staged, stagedInputs = nil, nil
			case 3:
				tree = restored(t, tree, 16)
			}
		}
		if got, want := heldBy(tree), o.held(order); !slices.Equal(got, want) {
			t.Fatalf("holds\n%v\nwant\n%v", got, want)
		}
	})
}

// Theorem: what parses is what marshals, byte for byte.
func FuzzParseNodes(f *testing.F) {
	tree, _ := newTree(11, 16)
	_, p, err := tree.Eval([]byte{0xa5, 0x3c})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pprf.MarshalNodes(p.Keep))
	f.Add(pprf.MarshalNodes(tree.Delta(0)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		nodes, err := pprf.ParseNodes(b)
		if err != nil {
			if !errors.Is(err, pprf.ErrNodes) {
				t.Fatal(err)
			}
			return
		}
		if again := pprf.MarshalNodes(nodes); !bytes.Equal(again, b) {
			t.Fatalf("parsed %x, marshalled %x", b, again)
		}
	})
}
