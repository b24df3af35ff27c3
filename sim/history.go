package sim

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
)

// history is what happened, one line each, in order: the bytes that the same
// seed must give again.
type history struct{ buf bytes.Buffer }

func (h *history) line(now time.Time, who, what string) {
	fmt.Fprintf(&h.buf, "%10.3f %-4s %s\n", now.Sub(epoch0).Seconds(), who, what)
}

func (h *history) event(now time.Time, who string, e group.Event) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s #%d epoch=%d", e.Kind, e.Cursor, e.Epoch)
	for _, f := range []struct{ name, value string }{
		{"head", tail(e.Head)}, {"cid", tail(e.CID)}, {"from", e.Name}, {"text", e.Text}, {"did", strings.Join(e.Actions, ",")},
		{"fork", tail(e.Fork)}, {"winner", tail(e.Winner)}, {"losers", tails(e.Losers)}, {"why", e.Why},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s=%q", f.name, f.value)
		}
	}
	h.line(now, who, b.String())
}

// tail shortens a CID to its end, which tells it apart.
func tail(cid string) string { return cid[max(0, len(cid)-6):] }

func tails(cids []string) string {
	out := make([]string, len(cids))
	for i, c := range cids {
		out[i] = tail(c)
	}
	return strings.Join(out, " ")
}
