package sim

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Measures of a chart, in units of its viewBox.
const (
	chartWide, chartHigh        = 560, 170
	chartLeft, chartRight       = 74, 12
	chartTop, chartBottom       = 26, 24
	plotWide                    = chartWide - chartLeft - chartRight
	plotHigh                    = chartHigh - chartTop - chartBottom
	mostPoints                  = 600
	laneLeft, laneWide          = 66, 1120
	laneRight, axisHigh, topGap = 14, 26, 6
)

// curve is one line over time.
type curve struct {
	name string
	text func(float64) string
	of   func(before, now sample) float64
}

func count(v float64) string {
	if v < 1000 {
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%d,%03d", int(v+0.5)/1000, int(v+0.5)%1000)
}

// top is the end of an axis for values up to most: half of it is a whole number,
// too.
func top(most float64) float64 { return 2 * math.Ceil(most/2) }

func (r *run) curves() []string {
	var out []string
	for _, c := range []curve{
		{"open forks, most on one member", count, func(_, s sample) float64 { return float64(s.forks) }},
		{"distinct heads", count, func(_, s sample) float64 { return float64(s.heads) }},
		{"secret records retained, most on one member", count, func(_, s sample) float64 { return float64(s.secrets) }},
		{"bytes in them", bytesText, func(_, s sample) float64 { return float64(s.kept) }},
		{"traffic, bytes a second", bytesText, func(b, s sample) float64 { return float64(s.bytes-b.bytes) / every.Seconds() }},
		{"traffic, messages a second", count, func(b, s sample) float64 { return float64(s.messages-b.messages) / every.Seconds() }},
	} {
		out = append(out, r.chart(c))
	}
	return out
}

// chart draws one curve over the shading of the partitions.
func (r *run) chart(c curve) string {
	samples, most := r.trace.samples, 1.0
	end := r.since()
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = c.of(samples[max(0, i-1)], s)
		most = max(most, values[i])
	}
	most = top(most)
	x := func(t time.Duration) float64 { return chartLeft + plotWide*t.Seconds()/max(1, end.Seconds()) }
	y := func(v float64) float64 { return chartTop + plotHigh*(1-v/most) }
	var b strings.Builder
	fmt.Fprintf(&b, "<svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n<text class=\"name\" x=\"%d\" y=\"15\">%s</text>\n",
		chartWide, chartHigh, c.name, chartLeft, c.name)
	for _, p := range r.Partitions {
		fmt.Fprintf(&b, "<rect class=\"apart\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n",
			x(time.Duration(p.At)), chartTop, x(time.Duration(p.Until))-x(time.Duration(p.At)), plotHigh)
	}
	for _, v := range []float64{0, most / 2, most} {
		fmt.Fprintf(&b, "<path class=\"rule\" d=\"M%d %.1fH%d\"/><text class=\"tick y\" x=\"%d\" y=\"%.1f\">%s</text>\n",
			chartLeft, y(v), chartWide-chartRight, chartLeft-6, y(v)+4, c.text(v))
	}
	axis(&b, end, x, chartHigh-8)
	var line strings.Builder
	step := max(1, len(samples)/mostPoints)
	for i := 0; i < len(samples); i += step {
		v := values[i]
		for _, w := range values[i:min(i+step, len(values))] {
			v = max(v, w) // a peak must not fall between two points
		}
		if i == 0 {
			fmt.Fprintf(&line, "M%.1f %.1f", x(samples[i].at), y(v))
			continue
		}
		fmt.Fprintf(&line, "H%.1fV%.1f", x(samples[i].at), y(v))
	}
	fmt.Fprintf(&b, "<path class=\"area\" d=\"%sH%.1fV%.1fH%dZ\"/><path class=\"line\" d=\"%s\"/>\n</svg>\n",
		line.String(), x(end), y(0), chartLeft, line.String())
	return b.String()
}

// axis writes about eight moments below a picture.
func axis(b *strings.Builder, end time.Duration, x func(time.Duration) float64, y int) {
	step := time.Second
	for _, s := range []time.Duration{2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600} {
		if end/step > 8 {
			step = s * time.Second
		}
	}
	for t := time.Duration(0); t <= end; t += step {
		fmt.Fprintf(b, "<text class=\"tick x\" x=\"%.1f\" y=\"%d\">%s</text>\n", x(t), y, clockText(t))
	}
}

func clockText(t time.Duration) string {
	if t < time.Minute {
		return fmt.Sprintf("%d s", int(t.Seconds()))
	}
	return fmt.Sprintf("%d:%02d", int(t.Minutes()), int(t.Seconds())%60)
}

// momentText is a time in seconds, as the history has it, and as axes have it.
func momentText(t time.Duration) string {
	if t < time.Minute {
		return fmt.Sprintf("%.2f s", t.Seconds())
	}
	return fmt.Sprintf("%.2f s (%s)", t.Seconds(), clockText(t))
}
