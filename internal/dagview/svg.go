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
	svgLetter       = 8 // of the labels, rounded up
)

// hues is how many colours losing branches take turns with; the head's chain
// has one of its own.
const hues = 7

const svgStyle = `text{font:13px ui-monospace,SFMono-Regular,Menlo,monospace;fill:#24292f}
.v{outline:none}.v:hover text,.v:focus text,.v.picked text{font-weight:700}
.edge{fill:none;stroke:currentColor;stroke-width:2}.head{stroke-width:4.5}.soft{stroke-dasharray:4 4}
.on{fill:currentColor;stroke:currentColor;stroke-width:2}.lost{fill:#fff;stroke:currentColor;stroke-width:2.5}
.k0{color:#0b7a5b}.k1{color:#b3541e}.k2{color:#2f5fbf}.k3{color:#8a3ffc}.k4{color:#a8780a}.k5{color:#c2255c}.k6{color:#1098ad}.k7{color:#6b7280}
@media (prefers-color-scheme:dark){text{fill:#d7dde3}.lost{fill:#15191e}
.k0{color:#3ecf9b}.k1{color:#f0955a}.k2{color:#7ea6ff}.k3{color:#be95ff}.k4{color:#e6b84d}.k5{color:#ff7eb0}.k6{color:#56d4e8}.k7{color:#a3acb8}}
`

// SVG draws the same rows as Text. The head's chain is bold, each losing branch
// has a colour, and what a merge commit carries over hangs on it by a dashed
// line. The picture needs no script and no outside resource; colours follow
// the reader's light or dark scheme. Each vertex is a group of class "v" whose
// attribute data-cid is its CID, so that a page can say more about it.
func SVG(g Graph) string {
	p := arrange(g)
	hue := p.hues()
	var edges, dots strings.Builder
	pos := map[string][2]int{}
	lanes, n, wide := 1, 0, 0
	for _, r := range layout(p) {
		lanes = max(lanes, len(r.open))
		if r.vertex != nil {
			pos[r.vertex.CID] = [2]int{svgLeft + r.at*svgLane, svgTop + n*svgRow}
			n++
		}
	}
	text := svgLeft + lanes*svgLane
	for _, v := range p.order {
		for _, to := range p.next[v.CID] {
			p.edge(&edges, pos, hue, v, p.known[to])
		}
		label := p.label(v)
		wide = max(wide, len([]rune(label)))
		p.dot(&dots, pos[v.CID], hue[v.CID], text, v, label)
	}
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"commit graph\">\n<style>\n%s</style>\n%s%s</svg>\n",
		text+svgLeft+wide*svgLetter, svgTop*2+n*svgRow, svgStyle, edges.String(), dots.String())
}

// edge draws a line in the colour of the branch that it belongs to: the
// child's, or the losing one's where it is carried over.
func (p *plan) edge(b *strings.Builder, pos map[string][2]int, hue map[string]int, v, to *Vertex) {
	class, k := "edge", hue[to.CID]
	switch {
	case to.Parent != v.CID:
		class, k = "edge soft", hue[v.CID]
	case to.OnHead:
		class = "edge head"
	}
	at, end := pos[v.CID], pos[to.CID]
	mid := (at[1] + end[1]) / 2
	fmt.Fprintf(b, "<path class=\"%s k%d\" d=\"M%d %dC%d %d %d %d %d %d\"/>\n", class, k, at[0], at[1], at[0], mid, end[0], mid, end[0], end[1])
}

// dot draws a vertex, a merge commit as a diamond, and its label.
func (p *plan) dot(b *strings.Builder, at [2]int, hue, text int, v *Vertex, label string) {
	class := "on"
	if !v.OnHead {
		class = "lost"
	}
	cid := html.EscapeString(Clean(v.CID))
	fmt.Fprintf(b, "<g class=\"v k%d\" tabindex=\"0\" data-cid=\"%s\"><title>%s</title>", hue, cid, cid)
	if len(v.Supersedes) > 0 && v.OnHead {
		fmt.Fprintf(b, "<rect class=%q x=\"%d\" y=\"%d\" width=\"11\" height=\"11\" transform=\"rotate(45 %d %d)\"/>", class, at[0]-5, at[1]-5, at[0], at[1])
	} else {
		fmt.Fprintf(b, "<circle class=%q cx=\"%d\" cy=\"%d\" r=\"6\"/>", class, at[0], at[1])
	}
	fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\">%s</text></g>\n", text, at[1]+4, html.EscapeString(label))
}

func (p *plan) label(v *Vertex) string {
	label := fmt.Sprintf("e%d  %s  %s  %s", v.Epoch, Short(v.CID), v.name(), v.what())
	if m := v.marks(p.merged[v.CID]); m != "" {
		label += "  [" + m + "]"
	}
	return label
}

// Hues is the colour of each vertex in SVG by CID: 0 for the head's chain, else
// a branch's. Its class there is "k" and this number.
func Hues(g Graph) map[string]int { return arrange(g).hues() }

// hues gives each losing branch a colour: a vertex has that of its parent if it
// is the first child there, else the next one.
func (p *plan) hues() map[string]int {
	out, taken, last := map[string]int{}, map[string]bool{}, 0
	for _, v := range p.order {
		parent := p.known[v.Parent]
		switch {
		case v.OnHead:
		case parent != nil && !parent.OnHead && !taken[v.Parent]:
			out[v.CID], taken[v.Parent] = out[v.Parent], true
		default:
			last++
			out[v.CID] = (last-1)%hues + 1
		}
	}
	return out
}
