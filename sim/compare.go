package sim

import (
	"fmt"
	"strings"
	"time"
)

// Regime is what one way of keeping keys came to in a scenario.
type Regime struct {
	Name   string `json:"name"`
	Thefts int    `json:"thefts"`
	// Means of what a theft yields. Epochs and messages from before the theft,
	// but for Later; the head epoch is not counted.
	Epochs  float64 `json:"epochs"`
	Unread  float64 `json:"unread"`
	Reread  float64 `json:"reread"`
	Later   float64 `json:"later"`
	Worst   int     `json:"worst_reread"` // most that one theft yields
	Secrets float64 `json:"secrets"`      // secret records on the device

	Commits      int     `json:"commits"`
	CommitsLost  int     `json:"commits_lost"` // that not every founder who stayed has processed
	Messages     int     `json:"messages"`
	MessagesLost int     `json:"messages_lost"` // that not every member of their epoch who stayed has read
	OneHead      float64 `json:"one_head_s"`    // virtual seconds from the heal to one head; negative: never
}

// Comparison is a scenario under three regimes.
type Comparison struct {
	Scenario string   `json:"scenario"`
	About    string   `json:"about"`
	Members  int      `json:"members"`
	Read     float64  `json:"read"` // messages that a robbed device had sent or read, on average
	Regimes  []Regime `json:"regimes"`
}

// Names of the regimes.
const (
	PPRFOn  = "DMLS"
	PPRFOff = "plain init secret"
	Vanilla = "nothing kept, as in RFC 9420"
)

// Compare robs every founder again and again and says what that yields under
// three regimes:
//
//   - DMLS, as it is;
//   - a plain init secret: the same run, the same retention, but each retained
//     epoch still has the root of its PPRF, which serves for one init secret for
//     all its children. The disk keeps that one record, nothing else differs;
//   - RFC 9420: the scenario played again by the same engine with no retention
//     at all, MaxEpochs 1: whoever took up a commit cannot take up its rival.
//
// Every figure of the first two is what the thief really opened, and was
// compared with the model. A difference is an error.
func Compare(s Scenario, every time.Duration) (*Comparison, error) {
	out := &Comparison{Scenario: s.Name, About: s.About, Members: s.Members}
	r, b, err := robbed(s, every, true)
	if err != nil {
		return nil, err
	}
	for kept, name := range []string{PPRFOn, PPRFOff} {
		g, err := b.regime(r, name, regime(kept), regime(kept) == plainInit)
		if err != nil {
			return nil, err
		}
		out.Regimes = append(out.Regimes, g)
	}
	for _, l := range r.loots {
		for c := range l.opened {
			if b.all[c].kind == "message" {
				out.Read++
			}
		}
	}
	out.Read /= float64(max(1, len(r.loots)))
	s.Engine.MaxEpochs = 1
	if r, b, err = robbed(s, every, false); err != nil {
		return nil, err
	}
	g, err := b.regime(r, Vanilla, punctured, false)
	if err != nil {
		return nil, err
	}
	out.Regimes = append(out.Regimes, g)
	return out, nil
}

// robbed plays a run in which every founder is copied at intervals.
func robbed(s Scenario, every time.Duration, hoard bool) (*run, *ledger, error) {
	if err := s.Validate(); err != nil {
		return nil, nil, err
	}
	w, err := newWorld(s)
	if err != nil {
		return nil, nil, err
	}
	r := &run{world: w}
	for at := every; at <= time.Duration(r.end()); at += every {
		r.robbed = append(r.robbed, at)
	}
	if hoard {
		for _, d := range r.devices {
			d.store.hoard = func(key string) bool { return strings.Contains(key, "/p/") }
		}
	}
	r.safely()
	if r.err != nil {
		return nil, nil, r.err
	}
	b, err := r.book()
	return r, b, err
}

// regime tries all loots under one regime and counts what the run lost.
func (b *ledger) regime(r *run, name string, kept regime, leaks bool) (Regime, error) {
	g := Regime{Name: name, OneHead: -1}
	for _, l := range r.loots {
		got, err := r.rob(leaks, l)
		if err != nil {
			return g, err
		}
		if bad := b.differ(got, kept, l); len(bad) > 0 {
			return g, fmt.Errorf("sim: thief and model differ: %s", bad[0])
		}
		t := b.measure(l, got)
		g.Thefts++
		g.Epochs += float64(t.Epochs)
		g.Unread += float64(t.Unread)
		g.Reread += float64(t.Reread)
		g.Later += float64(t.Later)
		g.Secrets += float64(t.Secrets)
		g.Worst = max(g.Worst, t.Reread)
	}
	for _, v := range []*float64{&g.Epochs, &g.Unread, &g.Reread, &g.Later, &g.Secrets} {
		*v /= float64(max(1, g.Thefts))
	}
	b.losses(r, &g)
	return g, nil
}

// losses counts what did not reach everybody whom nobody removed.
func (b *ledger) losses(r *run, g *Regime) {
	e := r.evidence()
	removed := map[string]bool{}
	for _, d := range e.deeds {
		if d.remove {
			removed[d.of] = true
		}
	}
	has := map[string]map[string]bool{} // frames by founder
	for _, w := range e.witnesses {
		if w.inviter != "" || removed[w.id] {
			continue
		}
		has[w.id] = map[string]bool{}
		for _, f := range w.frames {
			has[w.id][f.CID] = true
		}
	}
	for _, c := range sortedKeys(b.all) {
		if f := b.all[c]; f.kind == "commit" && f.heard.After(r.start) {
			g.Commits++
			for _, id := range sortedKeys(has) {
				if !has[id][c] {
					g.CommitsLost++
					break
				}
			}
		}
	}
	g.Messages = len(e.said)
	for _, s := range e.said {
		for _, w := range e.witnesses {
			if has[w.id] != nil && s.readers[w.id] && w.read()[s.text] == 0 {
				g.MessagesLost++
				break
			}
		}
	}
	if e.settled {
		g.OneHead = max(0, e.heal.Seconds())
	}
}

// Table is the comparison for people, in Markdown.
func Table(all []*Comparison) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "**%s**: %s; %d founders, %d thefts, %.1f messages read or sent by a device before it was robbed.\n\n",
			c.Scenario, c.About, c.Members, c.Regimes[0].Thefts, c.Read)
		b.WriteString("| keys kept | old epochs | read before: opened again | at worst | unread: opened | sent later: opened | secret records | commits lost | messages lost | one head after |\n")
		b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
		for _, g := range c.Regimes {
			head := "never"
			if g.OneHead >= 0 {
				head = fmt.Sprintf("%.1f s", g.OneHead)
			}
			fmt.Fprintf(&b, "| %s | %.1f | %.1f | %d | %.1f | %.1f | %.0f | %d of %d | %d of %d | %s |\n", g.Name, g.Epochs, g.Reread, g.Worst,
				g.Unread, g.Later, g.Secrets, g.CommitsLost, g.Commits, g.MessagesLost, g.Messages, head)
		}
		b.WriteString("\n")
	}
	return b.String()
}
