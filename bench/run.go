package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/dmlsd/dmls/internal/floor"
)

// Report is everything that a run found, and the machine.
type Report struct {
	Go     string           `json:"go"`
	CPU    string           `json:"cpu"`
	Cores  int              `json:"cores"`
	Peer   string           `json:"peer"`
	Floors floor.Primitives `json:"primitives_ns"` // timed anew for each size; the last
	Times  []Time           `json:"times"`
	Sizes  []Size           `json:"sizes"`
}

// plan is what a run measures.
type plan struct {
	sizes    []int
	works    []string
	mostOf   int // the largest group that is built by one commit
	progress io.Writer
}

// allWorks can be chosen: commit includes process, protect includes open.
var allWorks = []string{"commit", "protect", "join", "build"}

func (p plan) has(work string) bool { return slices.Contains(p.works, work) }

func (p plan) say(n int, what string) { fmt.Fprintf(p.progress, "n=%d: %s\n", n, what) }

func run(p plan) (*Report, error) {
	r := &Report{Go: runtime.Version(), CPU: cpu(), Cores: runtime.GOMAXPROCS(0), Peer: "mls-go v1.6.0"}
	for _, n := range p.sizes {
		r.Floors = floor.Measure()
		if p.has("commit") || p.has("protect") || p.has("join") {
			if err := r.inGroup(p, n); err != nil {
				return nil, err
			}
		}
		if p.has("build") && n <= p.mostOf {
			p.say(n, "build")
			if err := r.build(n); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func (r *Report) add(n, least int, works ...work) error {
	ts, err := series(n, least, works...)
	for i := range ts {
		ts[i].Floor = lower(r.Floors, ts[i].Work, n)
	}
	r.Times = append(r.Times, ts...)
	return err
}

// inGroup measures all that happens in a group that stands.
func (r *Report) inGroup(p plan, n int) error {
	p.say(n, "two members of each side join")
	a, err := newOurs(n)
	if err != nil {
		return fmt.Errorf("bench: dmls: %w", err)
	}
	b, err := newTheirs(n)
	if err != nil {
		return fmt.Errorf("bench: mls-go: %w", err)
	}
	if p.has("commit") {
		p.say(n, "commit and process")
		if err := r.talk(n, "commit", "process", a.commit, b.commit, a.process, b.process); err != nil {
			return err
		}
		if err := r.stored(n, a, b); err != nil {
			return err
		}
	}
	if p.has("protect") {
		p.say(n, "protect and open")
		text := make([]byte, 1024)
		ours := func() ([]byte, error) { return a.protect(text) }
		theirs := func() ([]byte, error) { return b.protect(text) }
		if err := r.talk(n, "protect", "open", ours, theirs, a.open, b.open); err != nil {
			return err
		}
	}
	if p.has("join") {
		p.say(n, "join")
		return r.add(n, 2, work{name: "join", ours: a.join, theirs: b.join})
	}
	return nil
}

// talk measures sending and receiving: what is received was just sent.
func (r *Report) talk(n int, sending, receiving string, sendA, sendB func() ([]byte, error), takeA, takeB func([]byte) error) error {
	var sentA, sentB []byte
	send := func(into *[]byte, f func() ([]byte, error)) func() error {
		return func() (err error) { *into, err = f(); return err }
	}
	light := sending == "protect"
	err := r.add(n, least, work{sending, send(&sentA, sendA), send(&sentB, sendB), light},
		work{receiving, func() error { return takeA(sentA) }, func() error { return takeB(sentB) }, light})
	what := map[string]string{"commit": "commit", "protect": "message of 1 KiB"}[sending]
	r.Sizes = append(r.Sizes, Size{N: n, What: what, Ours: len(sentA), Theirs: len(sentB)})
	return err
}

// stored measures what a member keeps.
func (r *Report) stored(n int, a, b side) error {
	for _, what := range []struct {
		name         string
		ours, theirs func() (int, error)
	}{{"stored state", a.state, b.state}, {"retained epoch", a.retained, b.retained}} {
		x, err := what.ours()
		if err != nil {
			return err
		}
		y, err := what.theirs()
		if err != nil {
			return err
		}
		r.Sizes = append(r.Sizes, Size{N: n, What: what.name, Ours: x, Theirs: y})
	}
	return nil
}

// build measures one commit that adds all, and its Welcome.
func (r *Report) build(n int) error {
	ours, err := buildOurs(n)
	if err != nil {
		return fmt.Errorf("bench: dmls: %w", err)
	}
	theirs, err := buildTheirs(n)
	if err != nil {
		return fmt.Errorf("bench: mls-go: %w", err)
	}
	var a, b int
	err = r.add(n, 1, work{name: "build",
		ours: func() (err error) { a, err = ours(); return err }, theirs: func() (err error) { b, err = theirs(); return err }})
	r.Sizes = append(r.Sizes, Size{N: n, What: "Welcome, per member", Ours: a / (n - 1), Theirs: b / (n - 1)})
	return err
}
