package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/dagview"
)

// story tells the play as it happens, as text or as JSON lines. What many
// devices report is told once, by the first; the rest is counted.
type story struct {
	mu     sync.Mutex
	out    io.Writer
	asJSON bool
	began  time.Time
	act    int
	full   bool // tell of punctures and erasures too
	told   map[string]bool
	counts map[group.Kind]int
	erased int // secrets
}

// entry is one JSON line. Kind is "chapter", "say", "dag", "node", "sums" or
// "result", or the kind of a device's own event, which then is in Event.
type entry struct {
	Schema string         `json:"schema"`
	T      float64        `json:"t"` // seconds since the first line
	Kind   string         `json:"kind"`
	Who    string         `json:"who,omitempty"`
	Text   string         `json:"text,omitempty"`
	Event  *group.Event   `json:"event,omitempty"`
	DAG    *api.DAG       `json:"dag,omitempty"`
	Node   *row           `json:"node,omitempty"`
	Sums   map[string]int `json:"sums,omitempty"`
	Result *result        `json:"result,omitempty"`
}

// result is the last line.
type result struct {
	OK          bool     `json:"ok"`
	HealSeconds float64  `json:"heal_seconds"` // from healing to one head on all members
	Seconds     float64  `json:"seconds"`
	Messages    int      `json:"messages"`
	Faults      []string `json:"faults,omitempty"`
}

func newStory(out io.Writer, asJSON bool) *story {
	return &story{out: out, asJSON: asJSON, began: time.Now(), told: map[string]bool{}, counts: map[group.Kind]int{}}
}

// write prints an entry; the caller holds mu. In text, "say" and events have a
// time and a name in front.
func (s *story) write(e entry) {
	e.Schema, e.T = "dmlsd/demo/v1", round(time.Since(s.began))
	if s.asJSON {
		if b, err := json.Marshal(e); err == nil {
			fmt.Fprintf(s.out, "%s\n", b)
		}
		return
	}
	fmt.Fprintf(s.out, "%6.2fs  %-4s  %s\n", e.T, e.Who, e.Text)
}

func (s *story) say(who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(entry{Kind: "say", Who: who, Text: fmt.Sprintf(format, args...)})
}

func (s *story) chapter(title string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.act++
	if s.asJSON {
		s.write(entry{Kind: "chapter", Text: title})
		return
	}
	fmt.Fprintf(s.out, "\n%d. %s\n", s.act, title)
}

func (s *story) detail(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = on
}

// hear takes an event of a device's own log.
func (s *story) hear(who string, ev group.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[ev.Kind]++
	if ev.Kind == group.KindErased {
		s.erased += ev.Count
	}
	text := s.words(who, ev)
	if s.asJSON {
		s.write(entry{Kind: string(ev.Kind), Who: who, Text: text, Event: &ev})
	} else if text != "" {
		s.write(entry{Who: who, Text: text})
	}
}

// first says whether a thing is told for the first time.
func (s *story) first(parts ...string) bool {
	key := strings.Join(parts, "/")
	was := s.told[key]
	s.told[key] = true
	return !was
}

// words puts an event into words; "" where there is nothing new in it.
func (s *story) words(who string, ev group.Event) string {
	kind, at := string(ev.Kind), func(epoch uint64, id string) string { return fmt.Sprintf("e%d %s", epoch, dagview.Short(id)) }
	switch ev.Kind {
	case group.KindMessage:
		if !ev.Mine {
			return ""
		}
		return fmt.Sprintf("“%s”  (in %s)", dagview.Clean(ev.Text), at(ev.Epoch, ev.Head))
	case group.KindJoined:
		if ev.CID == "" {
			return "founds the group: epoch " + at(ev.Epoch, ev.Head)
		}
		return "has joined: epoch " + at(ev.Epoch, ev.Head)
	case group.KindCommit:
		if !ev.Mine || !s.first(kind, ev.CID) {
			return ""
		}
		return fmt.Sprintf("commits: %s: epoch %s follows %s", dagview.Clean(strings.Join(ev.Actions, ", ")), at(ev.Epoch, ev.CID), dagview.Short(ev.Head))
	case group.KindForkOpened:
		if s.first(kind, ev.Fork, ev.Winner) {
			return fmt.Sprintf("sees a fork after %s and follows %s, not %s. Why: %s", at(ev.Epoch, ev.Fork), dagview.Short(ev.Winner), shorts(ev.Losers), dagview.Clean(ev.Why))
		}
		if s.first(kind, ev.Fork, ev.Winner, who) {
			return "sees the fork too and follows " + dagview.Short(ev.Winner)
		}
		return ""
	case group.KindEpoch:
		if ev.Fork == "" {
			return ""
		}
		return fmt.Sprintf("changes over from %s to %s: now at %s", shorts(ev.Losers), dagview.Short(ev.Winner), at(ev.Epoch, ev.Head))
	case group.KindForkResolved:
		if s.first(kind, ev.Fork) {
			return fmt.Sprintf("sees the fork after %s decided for good: %s stays, %s goes. Why: %s", at(ev.Epoch, ev.Fork), dagview.Short(ev.Winner), shorts(ev.Losers), dagview.Clean(ev.Why))
		}
		return ""
	case group.KindMerge:
		if !s.first(kind, ev.CID) {
			return ""
		}
		return fmt.Sprintf("merges: %s carries over what the branch of %s had done: %s", at(ev.Epoch, ev.CID), shorts(ev.Losers), dagview.Clean(strings.Join(ev.Actions, ", ")))
	case group.KindPunctured:
		if !s.full || !s.first(kind, ev.CID) {
			return ""
		}
		return fmt.Sprintf("punctures %s: the secret that led to %s can never be derived again (%d tree nodes stay)", at(ev.Epoch, ev.Head), dagview.Short(ev.CID), ev.Count)
	case group.KindErased:
		if !s.full || !s.first(kind, ev.Head) {
			return ""
		}
		return fmt.Sprintf("erases %s: %d secrets (%s)", at(ev.Epoch, ev.Head), ev.Count, dagview.Clean(ev.Why))
	case group.KindRejoined:
		return "is back: added again at " + at(ev.Epoch, ev.Head)
	}
	text := strings.ReplaceAll(kind, "_", " ")
	if ev.Why != "" {
		text += ": " + dagview.Clean(ev.Why)
	}
	return text
}

func shorts(ids []string) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = dagview.Short(id)
	}
	return strings.Join(list, ", ")
}

func (s *story) dag(g api.DAG) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asJSON {
		s.write(entry{Kind: "dag", DAG: &g})
		return
	}
	fmt.Fprintf(s.out, "\nThe commits as Ada has them (%s):\n\n%s\n", dagview.Legend, dagview.Text(g))
}

func (s *story) table(rows []row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asJSON {
		for i := range rows {
			s.write(entry{Kind: "node", Who: rows[i].Name, Node: &rows[i]})
		}
		return
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tSTATE\tHEAD\tEPOCH\tMEMBERS\tMESSAGES\tEPOCHS KEPT\tSECRETS KEPT\tAUTHENTICATOR")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\te%d\t%d\t%d\t%d\t%d\t%.8s\n", r.Name, r.State, dagview.Short(r.Head), r.Epoch, r.Members, r.Messages, r.Epochs, r.Secrets, r.Authenticator)
	}
	_ = w.Flush()
	fmt.Fprintln(s.out)
}

// sums tells what was counted over all devices.
func (s *story) sums() {
	s.mu.Lock()
	defer s.mu.Unlock()
	sums := map[string]int{"secrets_erased": s.erased}
	for k, n := range s.counts {
		sums[string(k)] = n
	}
	s.write(entry{Kind: "sums", Sums: sums, Text: fmt.Sprintf("on all devices together: %d deliveries, %d commits taken up, %d punctures, %d epochs and %d secrets erased",
		s.counts[group.KindMessage], s.counts[group.KindCommit], s.counts[group.KindPunctured], s.counts[group.KindErased], s.erased)})
}

func (s *story) result(r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf("all is well: %d messages, one head %.1f s after healing, %.1f s in all", r.Messages, r.HealSeconds, r.Seconds)
	if !r.OK {
		text = "NOT as it must be: " + strings.Join(r.Faults, "; ")
	}
	s.write(entry{Kind: "result", Result: &r, Text: text})
}
