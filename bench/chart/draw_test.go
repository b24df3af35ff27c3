package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The picture is well-formed, has every point and stays inside its frame.
func TestDraw(t *testing.T) {
	var points []point
	for i, n := range []int{10, 100, 1000, 10_000, 100_000} {
		for _, w := range []string{"commit", "process", "join", "open"} {
			points = append(points, point{N: n, Work: w, Ours: 1e6 * float64(i+1), Theirs: 1e7 * float64(i+1), Floor: 5e5})
		}
	}
	svg := draw(points)
	d := xml.NewDecoder(strings.NewReader(svg))
	dots := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			dots++
		}
	}
	if dots != 5*3*2 {
		t.Errorf("%d points, want 30", dots)
	}
	if x(100_000) != width || y(1e5) != top+height || y(1e11) != top {
		t.Errorf("the axes end at %v, %v and %v", x(100_000), y(1e5), y(1e11))
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Error("a point has no place")
	}
}
