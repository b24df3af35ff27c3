// Package demo is the play behind "dmlsd demo": seven devices with real
// libp2p hosts on loopback and stores of their own form a group, are cut into
// two islands that go on without each other, and are healed.
//
// The script says who does what and when; everything that it tells of forks,
// branches, merges, punctures and erasures comes from the devices' own event
// logs. At the end it asks every device for its state and fails if any stands
// elsewhere. It uses the front door of package dmls only.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/dmlsd/dmls/internal/dagview"
)

// Config says how to play.
type Config struct {
	Out  io.Writer
	JSON bool   // JSON lines in place of the text
	Seed uint64 // for what is said and in which order; keys are random always
	Keep bool   // keep the devices' homes
}

// playTime bounds the whole play, which takes some seconds.
const playTime = 58 * time.Second

// Run plays the demo. It returns an error if the devices do not end where the
// protocol says they must.
func Run(ctx context.Context, c Config) (err error) {
	s := newStory(c.Out, c.JSON)
	s.say("", "Seven devices, no server. Nothing here is simulated: real keys, real connections on loopback, real files.")
	dir, err := os.MkdirTemp("", "dmls-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if c.Keep {
		s.say("", "homes are kept in %s", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	ctx, cancel := context.WithTimeout(ctx, playTime)
	defer cancel()
	p := &play{story: s, rng: rand.New(rand.NewPCG(c.Seed, 0x646d6c73)), dir: dir}
	defer func() { err = errors.Join(err, p.close()) }()

	for _, act := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"Seven devices start", p.start},
		{"Ada founds a group and hands out tickets", p.found},
		{"They chat", p.chat},
		{"The network breaks: two islands", p.cut},
		{"Both islands go on without each other", p.apart},
		{"The network heals", p.heal},
		{"One group again", p.together},
		{"What every device says now", p.curtain},
	} {
		s.chapter(act.title)
		err := act.play(ctx)
		if err == nil {
			err = p.until(ctx, "the devices' logs to be told", p.allTold)
		}
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				p.wreck(err)
			}
			return fmt.Errorf("demo: %s: %w", act.title, err)
		}
	}
	return nil
}

// wreck tells what each device says when the play stops in the middle.
func (p *play) wreck(err error) {
	p.story.say("", "STOPPED: %v", err)
	p.story.table(p.rows())
	if ada := p.cast["Ada"]; ada != nil && ada.gid != "" {
		if g, err := ada.graph(); err == nil {
			p.story.dag(g)
		}
	}
}

// start opens the devices. Each knows the addresses of those before it, as
// devices on one network find each other by multicast.
func (p *play) start(ctx context.Context) error {
	for _, name := range everybody {
		if err := p.open(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) found(ctx context.Context) error {
	ada := p.cast["Ada"]
	gid, err := ada.n.CreateGroup(ctx, "harbour")
	if err != nil {
		return err
	}
	p.enter(ctx, ada, gid)
	for _, name := range founders[1:] {
		if err := p.invite(ctx, ada, p.cast[name]); err != nil {
			return err
		}
	}
	return p.until(ctx, "all founders on one head", func() error { return p.agree(founders) })
}

// invite lets one device join by a ticket of another.
func (p *play) invite(ctx context.Context, host, guest *device) error {
	ticket, err := host.n.Invite(ctx, host.gid)
	if err != nil {
		return err
	}
	p.story.say(host.name, "gives %s a ticket: %s…", guest.name, ticket[:min(24, len(ticket))])
	gid, err := guest.n.Join(ctx, ticket)
	if err != nil {
		return fmt.Errorf("%s joins: %w", guest.name, err)
	}
	p.enter(ctx, guest, gid)
	return nil
}

func (p *play) chat(ctx context.Context) error {
	order := p.rng.Perm(len(founders))
	for _, i := range order {
		if err := p.speak(ctx, founders[i], greetings, founders); err != nil {
			return err
		}
	}
	return p.until(ctx, "every message on every device", p.delivered)
}

// cut blocks every pair of devices across the islands, on both sides, at the
// gate through which each connection has to pass.
func (p *play) cut(ctx context.Context) error {
	p.story.say("", "island one: %s; island two: %s", names(islandOne), names(append(islandTwo, newcomer)))
	for _, pair := range p.pairs() {
		a, b := p.cast[pair[0]], p.cast[pair[1]]
		if err := errors.Join(a.n.Block(b.n.PeerID()), b.n.Block(a.n.PeerID())); err != nil {
			return err
		}
	}
	err := p.until(ctx, "no connection across", p.separated)
	if err == nil {
		p.story.say("", "%d connections are cut; new ones are refused", len(p.pairs()))
	}
	return err
}

// apart is what the islands do on their own: each of them changes the group.
func (p *play) apart(ctx context.Context) error {
	p.story.detail(true)
	ada, eve, dan := p.cast["Ada"], p.cast["Eve"], p.cast["Dan"]
	finn, gus, ben := p.cast[newcomer], p.cast["Gus"], p.cast["Ben"]

	if _, err := ada.n.Remove(ctx, ada.gid, dan.n.ID()); err != nil {
		return err
	}
	if err := p.invite(ctx, eve, finn); err != nil {
		return err
	}
	one, two := without(islandOne, "Dan"), append([]string{newcomer}, islandTwo...)
	if err := p.until(ctx, "each island on one head", p.bothAgree(one, two)); err != nil {
		return err
	}
	// Whoever was in the group when it broke can read both islands later; Finn
	// can read what is said where he is.
	late := without(founders, "Dan")
	for _, name := range []string{"Ada", "Eve", "Cleo", newcomer} {
		hears := late
		if contains(two, name) {
			hears = append([]string{newcomer}, late...)
		}
		if err := p.speak(ctx, name, apartLines, hears); err != nil {
			return err
		}
	}
	if _, err := ben.n.Update(ctx, ben.gid); err != nil {
		return err
	}
	if _, err := gus.n.Update(ctx, gus.gid); err != nil {
		return err
	}
	if err := p.until(ctx, "each island on one head", p.bothAgree(one, two)); err != nil {
		return err
	}
	if err := p.speak(ctx, "Ben", apartLines, late); err != nil {
		return err
	}
	if err := p.speak(ctx, "Gus", apartLines, append([]string{newcomer}, late...)); err != nil {
		return err
	}
	p.tellIslands(one, two)
	return p.until(ctx, "Dan knows that he is removed", func() error { return dan.is("removed") })
}

func (p *play) heal(ctx context.Context) error {
	for _, pair := range p.pairs() {
		a, b := p.cast[pair[0]], p.cast[pair[1]]
		if err := errors.Join(a.n.Unblock(b.n.PeerID()), b.n.Unblock(a.n.PeerID())); err != nil {
			return err
		}
	}
	p.healed = time.Now()
	p.story.say("", "every device may talk to every other again; the clock starts")
	if err := p.until(ctx, "one head on all founders", func() error { return p.agree(without(founders, "Dan")) }); err != nil {
		return err
	}
	p.story.say("", "%d founders follow one head after %.1f s", len(founders)-1, time.Since(p.healed).Seconds())
	if err := p.until(ctx, "Finn back on the head", func() error { return p.agree(atLast) }); err != nil {
		return err
	}
	p.oneHead = time.Since(p.healed)
	p.story.say("", "one head and one authenticator on all %d members after %.1f s", len(atLast), p.oneHead.Seconds())
	return nil
}

// together shows that the healed group works, and waits until it has come to
// rest: everything delivered, no fork open, nothing left to do again.
func (p *play) together(ctx context.Context) error {
	for _, name := range []string{"Eve", newcomer, "Ada"} {
		if err := p.speak(ctx, name, returns, atLast); err != nil {
			return err
		}
	}
	if err := p.until(ctx, "every message on every device", p.delivered); err != nil {
		return err
	}
	return p.until(ctx, "the group at rest", p.rest())
}

// curtain prints DAG and table and checks the ending.
func (p *play) curtain(context.Context) error {
	g, err := p.cast["Ada"].graph()
	if err != nil {
		return err
	}
	p.story.dag(g)
	rows := p.rows()
	p.story.table(rows)
	for _, r := range rows {
		if r.State == "removed" {
			p.story.say(r.Name, "was removed: it stands at the last epoch that it could open")
		}
	}
	p.story.sums()
	faults := p.faults(g, rows)
	p.story.result(result{OK: len(faults) == 0, HealSeconds: round(p.oneHead), Seconds: round(time.Since(p.story.began)), Messages: len(p.spoken), Faults: faults})
	if len(faults) > 0 {
		return fmt.Errorf("%d devices or facts are not as they must be: %s", len(faults), faults[0])
	}
	return nil
}

func round(d time.Duration) float64 { return math.Round(100*d.Seconds()) / 100 }

// tellIslands says where the islands stand before the healing.
func (p *play) tellIslands(one, two []string) {
	for i, island := range [][]string{one, two} {
		if st, err := p.cast[island[0]].status(); err == nil {
			p.story.say("", "island %d stands at epoch e%d %s with %d members", i+1, st.Epoch, dagview.Short(st.Head), len(st.Members))
		}
	}
}
