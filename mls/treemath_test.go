package mls

import "testing"

// TestTreeMath runs tree-math.json (RFC 9420, Appendix C).
func TestTreeMath(t *testing.T) {
	type vector struct {
		Leaves  uint32       `json:"n_leaves"`
		Nodes   uint32       `json:"n_nodes"`
		Root    nodeIndex    `json:"root"`
		Left    []*nodeIndex `json:"left"`
		Right   []*nodeIndex `json:"right"`
		Parent  []*nodeIndex `json:"parent"`
		Sibling []*nodeIndex `json:"sibling"`
	}
	vs := loadVectors[vector](t, "tree-math.json")
	for _, v := range vs {
		width := widthFor(v.Leaves)
		if v.Nodes != 2*width-1 || rootIndex(width) != v.Root {
			t.Errorf("%d leaves: %d nodes, root %d, want %d, %d", v.Leaves, 2*width-1, rootIndex(width), v.Nodes, v.Root)
		}
		for x := range nodeIndex(v.Nodes) {
			same := func(what string, has bool, f func() nodeIndex, want *nodeIndex) {
				if has != (want != nil) || has && f() != *want {
					t.Errorf("%d leaves: %s(%d)", v.Leaves, what, x)
				}
			}
			same("left", !x.isLeaf(), func() nodeIndex { return x.left() }, v.Left[x])
			same("right", !x.isLeaf(), func() nodeIndex { return x.right() }, v.Right[x])
			same("parent", x != v.Root, func() nodeIndex { return x.parent() }, v.Parent[x])
			same("sibling", x != v.Root, func() nodeIndex { return x.sibling() }, v.Sibling[x])
		}
	}
	t.Logf("tree-math.json: %d cases ran", len(vs))
}

// TestTreeMathAncestors compares covers and commonAncestor with climbing.
func TestTreeMathAncestors(t *testing.T) {
	const width = 64
	for a := range LeafIndex(width) {
		above := map[nodeIndex]bool{a.node(): true}
		for x := a.node(); x != rootIndex(width); {
			x = x.parent()
			above[x] = true
		}
		for x := range nodeIndex(2*width - 1) {
			if x.covers(a) != above[x] {
				t.Fatalf("covers(%d, leaf %d)", x, a)
			}
		}
		for b := range LeafIndex(width) {
			x := b.node()
			for !above[x] {
				x = x.parent()
			}
			if commonAncestor(a, b) != x {
				t.Fatalf("commonAncestor(%d, %d) = %d, want %d", a, b, commonAncestor(a, b), x)
			}
		}
	}
}
