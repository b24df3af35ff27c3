package dagview

import (
	"fmt"
	"html"
	"strings"
)

// Measures of the SVG in pixels.
const (
	svgRow, svgLane = 26, 22
	svgLeft, svgTop = 16, 20
)

// SVG draws the same rows as Text. The picture needs no script and no outside
// resource; colours follow the reader's light or dark scheme.
func SVG(g Graph) string {
	p := arrange(g)
	var edges, dots strings.Builder
	pos := map[string][2]int{}
	lanes, n := 1, 0
	for _, r := range layout(p) {
		lanes = max(lanes, len(r.open))
		if r.vertex != nil {
			pos[r.vertex.CID] = [2]int{svgLeft + r.at*svgLane, svgTop + n*svgRow}
			n++
		}
	}
	text := svgLeft + lanes*svgLane
	for _, v := range p.order {
		at := pos[v.CID]
		for _, to := range p.next[v.CID] {
			end, class := pos[to], "edge"
			if p.known[to].Parent != v.CID {
				class = "edge soft"
			}
			mid := (at[1] + end[1]) / 2
			fmt.Fprintf(&edges, "<path class=%q d=\"M%d %dC%d %d %d %d %d %d\"/>\n", class, at[0], at[1], at[0], mid, end[0], mid, end[0], end[1])
		}
		class := "on"
		if !v.OnHead {
			class = "lost"
		}
		if len(v.Supersedes) > 0 && v.OnHead {
			fmt.Fprintf(&dots, "<rect class=%q x=\"%d\" y=\"%d\" width=\"11\" height=\"11\" transform=\"rotate(45 %d %d)\"/>\n", class, at[0]-5, at[1]-5, at[0], at[1])
		} else {
			fmt.Fprintf(&dots, "<circle class=%q cx=\"%d\" cy=\"%d\" r=\"6\"/>\n", class, at[0], at[1])
		}
		label := fmt.Sprintf("e%d  %s  %s  %s", v.Epoch, Short(v.CID), v.name(), v.what())
		if m := v.marks(p.merged[v.CID]); m != "" {
			label += "  [" + m + "]"
		}
		fmt.Fprintf(&dots, "<text x=\"%d\" y=\"%d\"><title>%s</title>%s</text>\n", text, at[1]+4, html.EscapeString(Clean(v.CID)), html.EscapeString(label))
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" role="img" aria-label="commit graph">
<style>
text{font:13px ui-monospace,monospace;fill:#222}
.edge{fill:none;stroke:#888;stroke-width:2}.soft{stroke-dasharray:4 4}
.on{fill:#1a7f5a;stroke:#1a7f5a;stroke-width:2}.lost{fill:#fff;stroke:#b3541e;stroke-width:2}
@media (prefers-color-scheme:dark){text{fill:#ddd}.lost{fill:#111}}
</style>
%s%s</svg>
`, text+640, svgTop*2+n*svgRow, edges.String(), dots.String())
}
