package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Measures in pixels, and the axes: sizes from 10 to 100,000, times from 0.1 ms
// to 100 s, both logarithmic.
const (
	width, height = 250, 250
	left, top     = 62, 44
	gap           = 58
	decadesX      = 4
	firstY, lastY = -1, 5 // powers of ten of a millisecond
)

// series are the lines of each panel, and where they come from.
var series = []struct {
	class, name string
	of          func(point) float64
}{
	{"theirs", "mls-go", func(p point) float64 { return p.Theirs }},
	{"ours", "dmls", func(p point) float64 { return p.Ours }},
	{"floor", "primitives alone", func(p point) float64 { return p.Floor }},
}

func draw(points []point) string {
	var b strings.Builder
	panels := []struct{ work, title string }{{"commit", "create and apply a commit"}, {"process", "process a commit"}, {"join", "join and verify all"}}
	total := left + len(panels)*(width+gap)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="time against the size of the group, dmls and mls-go">
<style>
text{font:12px ui-sans-serif,sans-serif;fill:#222}.title{font-weight:600}.soft{fill:#666}
.grid{stroke:#ddd}.line{fill:none;stroke-width:2.5}
.ours{stroke:#1a7f5a}.theirs{stroke:#b3541e}.floor{stroke:#888;stroke-dasharray:3 4;stroke-width:1.5}
circle.ours{fill:#1a7f5a}circle.theirs{fill:#b3541e}
@media (prefers-color-scheme:dark){text{fill:#ddd}.soft{fill:#aaa}.grid{stroke:#444}}
</style>
`, total, top+height+74, total, top+height+74)
	for k := firstY; k <= lastY; k++ {
		fmt.Fprintf(&b, "<text class=\"soft\" x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%s</text>\n", left-8, y(math.Pow10(k)*1e6)+4, duration(k))
	}
	for i, p := range panels {
		fmt.Fprintf(&b, "<g transform=\"translate(%d 0)\">\n", left+i*(width+gap))
		panel(&b, p.title, only(points, p.work))
		b.WriteString("</g>\n")
	}
	legend(&b)
	b.WriteString("</svg>\n")
	return b.String()
}

// only picks one kind of work, by size.
func only(points []point, work string) (out []point) {
	for _, p := range points {
		if p.Work == work {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b point) int { return a.N - b.N })
	return out
}

func x(n int) float64 { return (math.Log10(float64(n)) - 1) / decadesX * width }

func y(ns float64) float64 {
	return top + height - (math.Log10(ns/1e6)-firstY)/(lastY-firstY)*height
}

// duration names ten to the k milliseconds.
func duration(k int) string {
	if k >= 3 {
		return fmt.Sprintf("%.0f s", math.Pow10(k-3))
	}
	return fmt.Sprintf("%g ms", math.Pow10(k))
}

func panel(b *strings.Builder, title string, points []point) {
	fmt.Fprintf(b, "<text class=\"title\" x=\"0\" y=\"%d\">%s</text>\n", top-16, title)
	for k := firstY; k <= lastY; k++ {
		at := y(math.Pow10(k) * 1e6)
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M0 %.1fH%d\"/>\n", at, width)
	}
	for k, label := range []string{"10", "100", "1,000", "10,000", "100,000"} {
		at := k * width / decadesX
		fmt.Fprintf(b, "<path class=\"grid\" d=\"M%d %dV%d\"/>\n", at, top, top+height)
		fmt.Fprintf(b, "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", at, top+height+18, label)
	}
	for _, s := range series {
		line(b, s.class, s.of, points)
	}
}

func line(b *strings.Builder, class string, of func(point) float64, points []point) {
	var d, dots strings.Builder
	for i, p := range points {
		verb := "L"
		if i == 0 {
			verb = "M"
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", verb, x(p.N), y(of(p)))
		if class != "floor" {
			fmt.Fprintf(&dots, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>%d members: %.3g ms</title></circle>\n", class, x(p.N), y(of(p)), p.N, of(p)/1e6)
		}
	}
	fmt.Fprintf(b, "<path class=\"line %s\" d=\"%s\"/>\n%s", class, d.String(), dots.String())
}

func legend(b *strings.Builder) {
	at := left
	for _, s := range series {
		fmt.Fprintf(b, "<path class=\"line %s\" d=\"M%d %dh26\"/><text x=\"%d\" y=\"%d\">%s</text>\n", s.class, at, top+height+50, at+34, top+height+54, s.name)
		at += 60 + 9*len(s.name)
	}
	fmt.Fprintf(b, "<text class=\"soft\" x=\"%d\" y=\"%d\">members of the group; both axes are logarithmic</text>\n", at+10, top+height+54)
}
