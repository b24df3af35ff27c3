package sim

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/dagview"
)

// lanes is the picture of who did what when, one lane for each device.
type lanes struct {
	*run
	b    strings.Builder
	end  time.Duration
	high int // of one lane
	hue  map[string]int
	dot  float64 // radius of a commit
}

// laneHigh makes room for as many devices as there are.
func laneHigh(devices int) int {
	switch {
	case devices <= 40:
		return 24
	case devices <= 200:
		return 10
	}
	return 4
}

func (r *run) timeline(e *evidence, g dagview.Graph) string {
	l := &lanes{run: r, end: r.since(), high: laneHigh(len(r.devices)), hue: dagview.Hues(g)}
	high := topGap + l.high*len(r.devices) + axisHigh
	fmt.Fprintf(&l.b, "<svg class=\"lanes\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"timeline of members\">\n", laneLeft+laneWide+laneRight, high)
	l.b.WriteString("<defs><pattern id=\"off\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect class=\"off\" width=\"3\" height=\"6\"/></pattern></defs>\n")
	witnesses := map[string]*witness{}
	for i := range e.witnesses {
		witnesses[e.witnesses[i].name] = &e.witnesses[i]
	}
	l.dot = dotSize(e)
	for i, d := range r.devices {
		l.lane(i, d, witnesses[d.name])
	}
	axis(&l.b, l.end, l.x, high-8)
	l.b.WriteString("</svg>\n")
	return l.b.String()
}

// dotSize is such that commits do not hide each other where there are many.
func dotSize(e *evidence) float64 {
	most := 1
	for _, w := range e.witnesses {
		n := 0
		for _, ev := range w.shown {
			if ev.Kind == group.KindCommit && ev.Mine {
				n++
			}
		}
		most = max(most, n)
	}
	return max(2.5, min(5, laneWide/float64(3*most)))
}

func (l *lanes) x(t time.Duration) float64 {
	return laneLeft + laneWide*max(0, t.Seconds())/max(1, l.end.Seconds())
}

func (l *lanes) y(i int) int { return topGap + i*l.high }

// bar fills a part of a lane.
func (l *lanes) bar(i int, class string, from, to time.Duration, title string) {
	if to <= from {
		return
	}
	inset := max(1, l.high/8)
	fmt.Fprintf(&l.b, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>%s</title></rect>\n",
		class, l.x(from), l.y(i)+inset, l.x(to)-l.x(from), l.high-2*inset, html.EscapeString(title))
}

func (l *lanes) lane(i int, d *device, w *witness) {
	if l.high >= 10 {
		fmt.Fprintf(&l.b, "<text class=\"who\" x=\"%d\" y=\"%d\">%s</text>\n", laneLeft-8, l.y(i)+l.high/2+4, d.name)
	}
	came := time.Duration(0)
	if i >= l.Members && d.attack == nil {
		came = l.end
	}
	if w != nil && came > 0 {
		for _, ev := range w.shown {
			if ev.Kind == group.KindJoined {
				came = max(0, ev.at.Sub(l.start))
				break
			}
		}
	}
	gone := l.end
	if w != nil && (w.st.State == "removed" || w.st.State == "left") {
		for _, ev := range w.shown {
			if ev.Kind == group.KindRemoved || ev.Kind == group.KindLeft {
				gone = ev.at.Sub(l.start)
			}
		}
	}
	l.bar(i, "in", came, gone, d.name)
	for k, is := range l.trace.islands {
		until := l.end
		if k+1 < len(l.trace.islands) {
			until = l.trace.islands[k+1].at
		}
		if is.on != nil {
			l.bar(i, fmt.Sprintf("isle i%d", is.on[i]%6), max(came, is.at), min(until, gone), fmt.Sprintf("%s on island %d", d.name, is.on[i]+1))
		}
	}
	l.away(i, d, came)
	if w != nil {
		l.marks(i, w)
	}
}

// away hatches the times between two lives.
func (l *lanes) away(i int, d *device, came time.Duration) {
	if d.number >= len(l.trace.lives) {
		return
	}
	lives := l.trace.lives[d.number]
	for k, life := range lives {
		if life.to < 0 {
			continue
		}
		back := l.end
		if k+1 < len(lives) {
			back = lives[k+1].from
		}
		l.bar(i, "down", max(came, life.to), back, fmt.Sprintf("%s is down from %.1f s to %.1f s", d.name, life.to.Seconds(), back.Seconds()))
	}
}

// marks puts what a device did into its lane.
func (l *lanes) marks(i int, w *witness) {
	y, r := float64(l.y(i))+float64(l.high)/2, min(5, float64(l.high)/2.5)
	merges := map[string]bool{}
	for _, ev := range w.shown {
		if ev.Kind == group.KindMerge {
			merges[ev.CID] = true
		}
	}
	dot := min(r, l.dot)
	for _, ev := range w.shown {
		t := ev.at.Sub(l.start)
		if t < 0 {
			continue
		}
		x, title := l.x(t), html.EscapeString(fmt.Sprintf("%.2f s  %s %s %s%s", t.Seconds(), w.name, ev.Kind, ev.Text, strings.Join(ev.Actions, ", ")))
		switch {
		case ev.Kind == group.KindMessage && ev.Mine:
			fmt.Fprintf(&l.b, "<path class=\"said\" d=\"M%.1f %.1fv%.1f\"><title>%s</title></path>\n", x, y-r, 2*r, title)
		case ev.Kind == group.KindCommit && ev.Mine && merges[ev.CID]:
			fmt.Fprintf(&l.b, "<path class=\"v k%d dot\" data-cid=\"%s\" d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fZ\"><title>%s</title></path>\n",
				l.hue[ev.CID], ev.CID, x, y-1.3*r, 1.3*r, 1.3*r, -1.3*r, 1.3*r, -1.3*r, -1.3*r, title)
		case ev.Kind == group.KindCommit && ev.Mine:
			fmt.Fprintf(&l.b, "<circle class=\"v k%d dot\" data-cid=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>%s</title></circle>\n", l.hue[ev.CID], ev.CID, x, y, dot, title)
		case slices.Contains([]group.Kind{group.KindRemoved, group.KindLeft, group.KindStranded, group.KindRejoined, group.KindDiverged}, ev.Kind):
			fmt.Fprintf(&l.b, "<path class=\"turn\" d=\"M%.1f %.1fl%.1f %.1fm0 %.1fl%.1f %.1f\"><title>%s</title></path>\n",
				x-r, y-r, 2*r, 2*r, -2*r, -2*r, 2*r, title)
		}
	}
}
