package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	dmls "github.com/dmlsd/dmls"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/node"
)

// The cast. Island one has three voters that stay, island two has two: support
// decides for island one (design, section 5.4). Island two adds Finn, so Finn
// is the one who gets stranded on a branch that loses.
var (
	founders  = []string{"Ada", "Ben", "Cleo", "Dan", "Eve", "Gus"}
	islandOne = []string{"Ada", "Ben", "Cleo", "Dan"}
	islandTwo = []string{"Eve", "Gus"}
	everybody = append(slices.Clone(founders), newcomer)
	atLast    = append(without(founders, "Dan"), newcomer)
)

const newcomer = "Finn"

// What is said, drawn by the seed.
var (
	greetings  = []string{"hello, all", "good morning", "is this thing on?", "no server in sight", "the kettle is on", "who brings the charts?", "fog over the bay", "tide at six"}
	apartLines = []string{"did the line just drop?", "we go on from here", "write it down for the others", "the radio is dead", "anybody else out there?", "I will tell them later", "keep a light on", "so be it", "three boats are in"}
	returns    = []string{"there you all are", "good to see you", "what did we miss?", "nothing is lost", "back on one line"}
)

// device is one member of the cast.
type device struct {
	name string
	n    *node.Node
	gid  string

	mu     sync.Mutex
	events []group.Event // its own log, as far as heard
	heard  map[string]bool
	gone   chan struct{} // closed when the listener has ended
	deaf   context.CancelFunc
}

// line is a message and who has to have it in the end.
type line struct {
	id, from, text string
	hears          []string
}

// play is the state of the play.
type play struct {
	story   *story
	rng     *rand.Rand
	dir     string
	cast    map[string]*device
	spoken  []line
	used    map[string]bool
	healed  time.Time
	oneHead time.Duration
}

func (p *play) open(ctx context.Context, name string) error {
	if p.cast == nil {
		p.cast, p.used = map[string]*device{}, map[string]bool{}
	}
	var peers []string
	for _, other := range everybody {
		if d := p.cast[other]; d != nil {
			peers = append(peers, d.n.Addrs()...)
		}
	}
	n, err := dmls.Open(ctx, dmls.Config{
		Home: filepath.Join(p.dir, strings.ToLower(name)), Name: name,
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Peers: peers, NoMDNS: true, Group: hurried(),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.cast[name] = &device{name: name, n: n, heard: map[string]bool{}}
	p.story.say(name, "is up: peer %s, key %s…", tail(n.PeerID()), n.ID()[:8])
	return nil
}

// hurried is a LAN's configuration for people who have a minute: on a busy
// machine two members may add Finn again at once, and whoever of the two loses
// must tell him within the play.
func hurried() group.Config {
	c := group.LAN()
	c.MergeDelay = 400 * time.Millisecond
	c.ReaddDelay = 8 * time.Second
	return c
}

func tail(s string) string { return "…" + s[max(0, len(s)-6):] }

// enter notes that a device is in the group and begins to listen to its log.
func (p *play) enter(ctx context.Context, d *device, gid string) {
	ctx, d.deaf = context.WithCancel(context.WithoutCancel(ctx))
	d.gid, d.gone = gid, make(chan struct{})
	go func() {
		defer close(d.gone)
		for ev, err := range d.n.Events(ctx, gid, 0, true) {
			if err != nil {
				return
			}
			p.story.hear(d.name, ev)
			d.mu.Lock()
			d.events = append(d.events, ev)
			if ev.Kind == group.KindMessage {
				d.heard[ev.ID] = true
			}
			d.mu.Unlock()
		}
	}()
}

// speak sends a line that was not said before.
func (p *play) speak(ctx context.Context, name string, lines, hears []string) error {
	text := ""
	for _, i := range p.rng.Perm(len(lines)) {
		if !p.used[lines[i]] {
			text = lines[i]
			break
		}
	}
	if text == "" {
		return errors.New("nothing left to say")
	}
	p.used[text] = true
	d := p.cast[name]
	id, err := d.n.Send(ctx, d.gid, text)
	if err != nil {
		return fmt.Errorf("%s sends: %w", name, err)
	}
	p.spoken = append(p.spoken, line{id: id, from: name, text: text, hears: hears})
	return nil
}

// pairs lists the pairs of devices that the cut separates.
func (p *play) pairs() (pairs [][2]string) {
	for _, a := range islandOne {
		for _, b := range append([]string{newcomer}, islandTwo...) {
			pairs = append(pairs, [2]string{a, b})
		}
	}
	return pairs
}

func (p *play) close() error {
	var wg sync.WaitGroup
	errs := make([]error, len(everybody))
	for i, name := range everybody {
		d := p.cast[name]
		if d == nil {
			continue
		}
		wg.Go(func() {
			if d.deaf != nil {
				d.deaf()
				<-d.gone
			}
			if err := d.n.Close(); err != nil {
				errs[i] = fmt.Errorf("%s closes: %w", d.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (d *device) status() (group.Status, error) { return d.n.Status(d.gid) }

func (d *device) graph() (api.DAG, error) {
	v, err := d.n.View(d.gid)
	if err != nil {
		return api.DAG{}, err
	}
	return api.GraphOf(v), nil
}

func (d *device) is(state string) error {
	st, err := d.status()
	if err == nil && st.State != state {
		err = fmt.Errorf("%s is %q", d.name, st.State)
	}
	return err
}

// saw reports whether the device's log has an event of a kind.
func (d *device) saw(kind group.Kind) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.events, func(ev group.Event) bool { return ev.Kind == kind })
}

func (d *device) messages() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.heard)
}

func (d *device) has(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.heard[id]
}

func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}

func contains(list []string, name string) bool { return slices.Contains(list, name) }

func names(list []string) string { return strings.Join(list, ", ") }
