package dagview

// A lane is a column that carries one edge downward: from a drawn vertex to
// one that is still to come. Column 0 is the head's chain.
type lane struct {
	to   string // the vertex that the edge leads to
	soft bool   // the edge says "superseded by", not "parent of"
}

// row is one line of the drawing. Either vertex is set, or bends is: edges
// between columns.
type row struct {
	vertex *Vertex
	at     int    // column of the vertex, or of the bend's fixed end
	open   []bool // columns that carry an edge through this row
	bends  []int  // columns that are opened (down) or closed (up) here
	down   bool
}

// layout turns a plan into rows, oldest commit first.
func layout(p *plan) []row {
	var rows []row
	var lanes []*lane
	carried := func() []bool {
		open := make([]bool, len(lanes))
		for i, l := range lanes {
			open[i] = l != nil
		}
		return open
	}
	for _, v := range p.order {
		// Edges that end here: the parent's column is kept, the others bend in.
		at, joins := -1, []int(nil)
		for i, l := range lanes {
			if l == nil || l.to != v.CID {
				continue
			}
			if at < 0 {
				at = i
			} else if !l.soft && lanes[at].soft {
				joins, at = append(joins, at), i
			} else {
				joins = append(joins, i)
			}
		}
		if at < 0 {
			at, lanes = freeLane(lanes, 0)
		}
		if len(joins) > 0 {
			rows = append(rows, row{at: at, open: carried(), bends: joins})
			for _, j := range joins {
				lanes[j] = nil
			}
		}
		lanes[at] = &lane{}
		rows = append(rows, row{vertex: v, at: at, open: carried()})

		// Edges that begin here.
		lanes[at] = nil
		var opened []int
		for n, to := range p.next[v.CID] {
			col := at
			if n > 0 {
				col, lanes = freeLane(lanes, at+1)
				opened = append(opened, col)
			}
			lanes[col] = &lane{to: to, soft: p.known[to].Parent != v.CID}
		}
		if len(opened) > 0 {
			rows = append(rows, row{at: at, open: carried(), bends: opened, down: true})
		}
		for len(lanes) > 0 && lanes[len(lanes)-1] == nil {
			lanes = lanes[:len(lanes)-1]
		}
	}
	return rows
}

// freeLane finds the first empty column from col on, or adds one.
func freeLane(lanes []*lane, col int) (int, []*lane) {
	for i := col; i < len(lanes); i++ {
		if lanes[i] == nil {
			return i, lanes
		}
	}
	return len(lanes), append(lanes, nil)
}
