package dagview

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// long has a thousand commits; every fortieth epoch is forked, and the loser
// carried over.
func long() Graph {
	var v []Vertex
	parent := ""
	for i := 0; len(v) < 1000; i++ {
		id := fmt.Sprintf("%08d", i)
		c := commit(id, parent, uint64(i), "Ada", true, "update")
		if i%40 == 20 {
			side := fmt.Sprintf("side%04d", i)
			v = append(v, commit(side, parent, uint64(i), "Ben", false, "add Finn"))
			c.Supersedes = []string{"bafkreiaaaaaaaa" + side}
		}
		v = append(v, c)
		parent = id
	}
	v[len(v)-1].Head = true
	return Graph{Vertices: v}
}

// A thousand commits are drawn, each in a place of its own, on a picture that is
// long but narrow.
func TestThousandCommits(t *testing.T) {
	t.Parallel()
	svg := SVG(long())
	dots := regexp.MustCompile(`<(?:circle|rect) class="[a-z]+" (?:c?x)="(\d+)" (?:c?y)="(\d+)"`).FindAllStringSubmatch(svg, -1)
	places := map[string]bool{}
	for _, m := range dots {
		places[m[1]+" "+m[2]] = true
	}
	if len(dots) != 1000 || len(places) != 1000 || strings.Count(svg, `data-cid="`) != 1000 {
		t.Errorf("%d commits are drawn, in %d places", len(dots), len(places))
	}
	var width, height int
	if _, err := fmt.Sscanf(svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"`, &width, &height); err != nil {
		t.Fatal(err)
	}
	if width > 800 || height > 30*1000 || len(svg) > 1<<20 {
		t.Errorf("%d by %d in %d bytes", width, height, len(svg))
	}
}
