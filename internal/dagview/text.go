package dagview

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Legend explains the marks of Text in one line.
const Legend = "oldest first; ● on the head's chain  ◆ merge commit  ○ losing branch"

// Text draws the graph with the oldest commit on top and the head at the
// bottom, one commit a line.
func Text(g Graph) string {
	p := arrange(g)
	rows := layout(p)
	graph := make([]string, len(rows))
	wide, who := 0, 0
	for i, r := range rows {
		graph[i] = strings.TrimRight(r.cells(), " ")
		wide = max(wide, utf8.RuneCountInString(graph[i]))
		if r.vertex != nil {
			who = max(who, utf8.RuneCountInString(r.vertex.name()))
		}
	}
	var b strings.Builder
	for i, r := range rows {
		if r.vertex == nil {
			b.WriteString(graph[i] + "\n")
			continue
		}
		v := r.vertex
		line := fmt.Sprintf("%s  e%-3d %s  %s  %s", pad(graph[i], wide), v.Epoch, pad(Short(v.CID), shortLen), pad(v.name(), who), v.what())
		if marks := v.marks(p.merged[v.CID]); marks != "" {
			line = pad(line, wide+who+shortLen+30) + "  " + marks
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// cells is the left part of a line: two characters a column.
func (r row) cells() string {
	near, far := r.at, r.at // the bend's span
	if len(r.bends) > 0 {
		near, far = min(near, slices.Min(r.bends)), max(far, slices.Max(r.bends))
	}
	n := max(len(r.open), far+1)
	var b strings.Builder
	for col := range n {
		bend := slices.Contains(r.bends, col)
		inside := col > near && col < far
		through := col < len(r.open) && r.open[col]
		b.WriteRune(r.cell(col, far, bend, inside, through))
		if col >= near && col < far {
			b.WriteRune('─')
		} else {
			b.WriteRune(' ')
		}
	}
	return b.String()
}

func (r row) cell(col, far int, bend, inside, through bool) rune {
	switch {
	case r.vertex != nil && col == r.at:
		return r.vertex.mark()
	case len(r.bends) > 0 && col == r.at && col == far:
		return '┤' // every bend lies to the left
	case len(r.bends) > 0 && col == r.at && inside:
		return '┼'
	case len(r.bends) > 0 && col == r.at:
		return '├'
	case bend && r.down && col == far:
		return '┐'
	case bend && r.down:
		return '┬'
	case bend && col == far:
		return '┘'
	case bend && inside:
		return '┴'
	case bend:
		return '└'
	case inside && through:
		return '┼'
	case inside:
		return '─'
	case through:
		return '│'
	default:
		return ' '
	}
}

func (v *Vertex) mark() rune {
	switch {
	case !v.OnHead:
		return '○'
	case len(v.Supersedes) > 0:
		return '◆'
	default:
		return '●'
	}
}

func (v *Vertex) name() string {
	if v.AuthorName != "" {
		return Clean(v.AuthorName)
	}
	return Short(v.Author)
}

func (v *Vertex) what() string {
	if len(v.Actions) == 0 {
		switch {
		case v.Base && v.Epoch > 0:
			return "this device's view begins"
		case v.Parent == "":
			return "the group begins"
		}
		return "-"
	}
	return Clean(strings.Join(v.Actions, ", "))
}

func (v *Vertex) marks(merged []string) string {
	var m []string
	if len(merged) > 0 {
		tips := make([]string, len(merged))
		for i, tip := range merged {
			tips[i] = Short(tip)
		}
		m = append(m, "carries over "+strings.Join(tips, " and "))
	}
	switch {
	case v.Head:
		m = append(m, "HEAD")
	case !v.OnHead:
		m = append(m, "lost")
	}
	if v.Final {
		m = append(m, "final")
	}
	if v.Base {
		m = append(m, "base")
	}
	if v.Erased {
		m = append(m, "erased")
	}
	return strings.Join(m, ", ")
}

// pad fills s with spaces to n characters.
func pad(s string, n int) string {
	if k := utf8.RuneCountInString(s); k < n {
		return s + strings.Repeat(" ", n-k)
	}
	return s
}
