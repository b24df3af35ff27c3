package sim

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const acksHead = `One update is committed in a quiet group. *Exposure* is the time until the last member has erased the
epoch before it, *frames* are what was published for that, *sent* their bytes, *each* what one member
received meanwhile, sync included. The ack delay is drawn from the two bounds; its upper bound grows
to voters/rate (design, section 5.6), and above 128 members 128 vote.

| members | ack delay | rate | exposure | frames | sent | each |
|--:|---|--:|--:|--:|--:|--:|
`

// ackDelays are those of a LAN, the same with more acks a second, and those of
// the internet.
var ackDelays = []Engine{
	{AckMin: Span(200 * time.Millisecond), AckMax: Span(2 * time.Second), AckRate: 5},
	{AckMin: Span(200 * time.Millisecond), AckMax: Span(2 * time.Second), AckRate: 50},
	{AckMin: Span(5 * time.Second), AckMax: Span(30 * time.Second), AckRate: 5},
}

func measureAcks(w io.Writer) error {
	fmt.Fprint(w, acksHead)
	for _, n := range []int{4, 16, 64} {
		for _, e := range ackDelays {
			if err := ackRow(w, n, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureAcks256 is as long as all others together.
func measureAcks256(w io.Writer) error {
	fmt.Fprint(w, "The same as above, in a network where each device knows eight others, and soon after the founding."+acksHead[strings.Index(acksHead, "\n\n"):])
	return ackRow(w, 256, ackDelays[0])
}

func ackRow(w io.Writer, n int, e Engine) error {
	s := Scenario{Name: "acks", Seed: 1, Members: n, Found: FoundAtOnce, After: Span(5 * time.Minute), Engine: e,
		Network: Network{MinLatency: Span(roundTrip / 2), MaxLatency: Span(roundTrip / 2)}}
	s.Engine.DeliverWait = Span(time.Second)
	// The founding must be final before, or its acks are counted.
	begin := 4 * max(time.Duration(e.AckMax), time.Duration(min(n, 128)/e.AckRate)*time.Second)
	if n > 64 {
		s.Network.sparse()
		begin = time.Second // among 64 it comes to the same within 2 %, and for half of the cost
	}
	s.Events = []Event{{At: Span(begin), Do: Update}}
	s.Partitions = []Partition{{At: Span(begin) - 2, Until: Span(begin) - 1, Islands: []Devices{some(0, n-1)}}} // separates nobody; the meter begins
	r, err := metered(s, func(m *meter) { m.forgetful = n })
	if err != nil {
		return err
	}
	m := r.meter
	if !m.done() {
		_, err := fmt.Fprintf(w, "| %d | %v to %v | %d | more than %v | | | |\n", n, e.AckMin, e.AckMax, e.AckRate, time.Duration(s.After))
		return err
	}
	_, err = fmt.Fprintf(w, "| %d | %v to %v | %d | %.1f s | %d | %s | %s |\n", n, e.AckMin, e.AckMax, e.AckRate, m.all.at.Sub(m.commitAt).Seconds(),
		m.all.frames-1, bytesText(float64(m.all.sent)), bytesText(float64(m.all.got)/float64(n)))
	return err
}
