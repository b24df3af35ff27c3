package sim

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/dagview"
)

//go:embed page/report.html
var pageText string

var pageTemplate = template.Must(template.New("report").Parse(pageText))

// Report runs a scenario and returns one HTML page about the run that needs
// nothing from outside.
func Report(s Scenario) ([]byte, *Result, error) {
	if err := s.Validate(); err != nil {
		return nil, nil, err
	}
	r, err := played(s, &trace{})
	if err != nil {
		return nil, nil, err
	}
	e := r.evidence()
	res := e.judge()
	r.close(res)
	p := r.page(e, res)
	if p.File, err = fileOf(s); err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, nil, fmt.Errorf("sim: report: %w", err)
	}
	return b.Bytes(), res, nil
}

func fileOf(s Scenario) (string, error) {
	b, err := s.TOML()
	return string(b), err
}

// page is what the template fills in.
type page struct {
	Title, About, Verdict, State string // State is good, bad or vacuous
	Facts                        []fact
	Checks                       []checked
	Timeline, Graph              template.HTML
	Curves                       []template.HTML
	Legend                       string
	Commits                      map[string]commitNote // by CID, for the panel
	File, Replay                 string
	History                      string // its end
}

type fact struct{ Name, Value string }

// checked is a row of the table of checks.
type checked struct {
	Name, Promise string
	Broken        []string
}

// commitNote is what the panel says of a commit.
type commitNote struct {
	CID     string   `json:"cid"`
	Epoch   uint64   `json:"epoch"`
	By      string   `json:"by"`
	At      string   `json:"at"`
	Did     string   `json:"did"`
	Parent  string   `json:"parent,omitempty"`
	Carries []string `json:"carries,omitempty"`
	Side    string   `json:"side"`
	Fork    string   `json:"fork,omitempty"`  // its epoch was forked: votes and reason
	Rival   string   `json:"rival,omitempty"` // it stands at such a fork itself
}

// promises are what the checkers check, in words.
var promises = map[string]string{
	"convergence": "all members come to one head with one key, and stay there",
	"enactment":   "what members of the head did is done there; nobody is gone whom nobody removed",
	"delivery":    "each message is read once by each member of its epoch",
	"secrecy":     "nobody reads what was sent in an epoch without it",
	"thief":       "a copied device opens what the rules leave open, and nothing else",
	"delay":       "messages do not wait for what never comes",
	"order":       "what one sender says is read in the order in which it was said",
	"log":         "what a user was told is in the event log, once and unchanged",
	"frames":      "all founders end with the same frames in the same order",
	"disk":        "a device that restarts is where it was",
	"verdict":     "no honest frame is refused",
	"keys":        "nobody signs two frames with one sequence number",
	"nonces":      "no key seals two frames",
	"reference":   "each head is the one that a slow reference finds in the same frames",
	"memory":      "nobody makes a device hold more than its quotas",
	"budget":      "nobody opens more of one author's commits than its budget allows",
	"bounds":      "in a quiet group only what is needed is retained",
}

// tailLines is how much of the history the page shows.
const tailLines = 400

func (r *run) page(e *evidence, res *Result) *page {
	a := agree(e.standings())
	notes := e.notes(a, r.start)
	g := graphOf(notes, a)
	p := &page{
		Title: fmt.Sprintf("%s, seed %d", res.Scenario.Name, res.Scenario.Seed), About: res.Scenario.About, Legend: dagview.Legend,
		Facts: r.facts(res, len(notes)), Checks: checks(res), Commits: notes, Replay: res.Scenario.Replay(),
		Graph: template.HTML(dagview.SVG(g)), Timeline: template.HTML(r.timeline(e, g)), // both escape what they quote
	}
	switch {
	case len(res.Violations) > 0:
		p.State, p.Verdict = "bad", fmt.Sprintf("%d violations", len(res.Violations))
	case res.Vacuous != "":
		p.State, p.Verdict = "vacuous", "vacuous: "+res.Vacuous
	default:
		p.State, p.Verdict = "good", "converged"
	}
	for _, c := range r.curves() {
		p.Curves = append(p.Curves, template.HTML(c))
	}
	lines := strings.Split(strings.TrimRight(string(res.History), "\n"), "\n")
	p.History = strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
	return p
}

func (r *run) facts(res *Result, commits int) []fact {
	heal := "never"
	if res.Heal > 0 {
		heal = fmt.Sprintf("%.1f s", res.Heal.Seconds())
	}
	return []fact{
		{"founders", fmt.Sprint(res.Scenario.Members)}, {"joiners", fmt.Sprint(res.Scenario.Joiners)},
		{"commits", fmt.Sprint(commits)}, {"forks", fmt.Sprint(res.Forks)}, {"messages", fmt.Sprint(res.Messages)},
		{"crashes", fmt.Sprint(res.Crashes)}, {"heal to one head", heal},
		{"virtual time", clockText(r.since())}, {"traffic", bytesText(float64(r.bytes))},
	}
}

func checks(res *Result) []checked {
	var out []checked
	for _, c := range checkers {
		row := checked{Name: c.name, Promise: promises[c.name]}
		for _, v := range res.Violations {
			if text, ok := strings.CutPrefix(v, c.name+": "); ok {
				row.Broken = append(row.Broken, text)
			}
		}
		out = append(out, row)
	}
	for _, v := range res.Violations {
		if text, ok := strings.CutPrefix(v, "broke off: "); ok {
			out = append(out, checked{"broke off", "the run comes to its end", []string{text}})
		}
	}
	return out
}

// notes gathers the commits that any device was told of.
func (e *evidence) notes(a agreement, start time.Time) map[string]commitNote {
	out, first := map[string]commitNote{}, map[string]time.Time{}
	for _, w := range e.witnesses {
		told := map[uint64]time.Time{}
		for _, ev := range w.shown {
			told[ev.Cursor] = ev.at
		}
		for _, ev := range w.log {
			e.note(out, first, ev, told[ev.Cursor])
		}
	}
	for cid, t := range first {
		n := out[cid]
		if n.At = "before the run"; !t.Before(start) {
			n.At = momentText(t.Sub(start))
		}
		out[cid] = n
	}
	e.noteForks(out)
	on := chain(out, a.head.Head)
	for cid, n := range out {
		n.Side = "on a losing branch"
		if on[cid] {
			n.Side = "on the head's chain"
		}
		out[cid] = n
	}
	return out
}

// note takes one event of one device; at is when its user heard of it, or zero.
func (e *evidence) note(out map[string]commitNote, first map[string]time.Time, ev group.Event, at time.Time) {
	switch ev.Kind {
	case group.KindCommit:
		n := out[ev.CID]
		n.CID, n.Epoch, n.By, n.Did, n.Parent = ev.CID, ev.Epoch, ev.Name, strings.Join(ev.Actions, ", "), ev.Head
		if t, ok := first[ev.CID]; !ok || at.Before(t) {
			first[ev.CID] = at
		}
		out[ev.CID] = n
	case group.KindMerge:
		n := out[ev.CID]
		n.Carries = ev.Losers
		out[ev.CID] = n
	case group.KindJoined: // the epoch where the device came in; its commit may be told by others
		if n, ok := out[ev.Head]; !ok {
			n.CID, n.Epoch = ev.Head, ev.Epoch
			out[ev.Head], first[ev.Head] = n, at
		}
	}
}

// noteForks adds why each fork was decided as it was: what was said last.
func (e *evidence) noteForks(notes map[string]commitNote) {
	last := map[string]telling{}
	for _, w := range e.witnesses {
		for _, ev := range w.shown {
			if ev.Kind != group.KindForkOpened && ev.Kind != group.KindForkResolved || ev.at.Before(last[ev.Fork].at) {
				continue
			}
			last[ev.Fork] = ev
		}
	}
	for _, at := range sortedKeys(last) {
		ev := last[at]
		if n, ok := notes[at]; ok {
			n.Fork = ev.Why
			notes[at] = n
		}
		for _, cid := range append(slices.Clone(ev.Losers), ev.Winner) {
			if n, ok := notes[cid]; ok {
				n.Rival = ev.Why
				notes[cid] = n
			}
		}
	}
}

// chain is the commits at and above a head.
func chain(notes map[string]commitNote, head string) map[string]bool {
	on := map[string]bool{}
	for head != "" && !on[head] {
		on[head] = true
		head = notes[head].Parent
	}
	return on
}

func graphOf(notes map[string]commitNote, a agreement) dagview.Graph {
	on := chain(notes, a.head.Head)
	var g dagview.Graph
	for _, cid := range sortedKeys(notes) {
		n := notes[cid]
		v := dagview.Vertex{CID: cid, Parent: n.Parent, Epoch: n.Epoch, AuthorName: n.By, Supersedes: n.Carries,
			OnHead: on[cid], Head: cid == a.head.Head, Final: cid == a.head.Final}
		if n.Did != "" {
			v.Actions = []string{n.Did}
		}
		g.Vertices = append(g.Vertices, v)
	}
	return g
}

// bytesText is a size for people.
func bytesText(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 999.5 {
			return fmt.Sprintf("%.3g %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.3g GiB", n)
}
