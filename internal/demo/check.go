package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/api"
)

// Checks ask the devices for their state and say what is not so yet.

// until waits until check finds nothing to complain of.
func (p *play) until(ctx context.Context, what string, check func() error) error {
	every := time.NewTicker(30 * time.Millisecond)
	defer every.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (%w)", what, err, ctx.Err())
		}
	}
}

// agree wants one head, one authenticator and one list of members.
func (p *play) agree(list []string) error {
	var first group.Status
	for i, name := range list {
		d := p.cast[name]
		if d.gid == "" {
			return fmt.Errorf("%s is not in the group", name)
		}
		st, err := d.status()
		switch {
		case err != nil:
			return err
		case st.State != "member":
			return fmt.Errorf("%s is %q", name, st.State)
		case i == 0:
			first = st
		case st.Head != first.Head || st.Authenticator != first.Authenticator:
			return fmt.Errorf("%s and %s follow different heads", list[0], name)
		}
	}
	if got := memberNames(first); !slices.Equal(got, sorted(list)) {
		return fmt.Errorf("the group has the members %s", names(got))
	}
	return nil
}

// bothAgree wants each island on one head: each without those whom it cannot
// reach, who are members there all the same.
func (p *play) bothAgree(one, two []string) func() error {
	return func() error {
		for _, island := range [][]string{one, two} {
			var head string
			for _, name := range island {
				st, err := p.cast[name].status()
				switch {
				case err != nil:
					return err
				case head == "":
					head = st.Head
				case st.Head != head:
					return fmt.Errorf("%s and %s follow different heads", island[0], name)
				}
			}
		}
		return nil
	}
}

func (p *play) separated() error {
	for _, pair := range p.pairs() {
		for _, d := range []struct{ a, b *device }{{p.cast[pair[0]], p.cast[pair[1]]}, {p.cast[pair[1]], p.cast[pair[0]]}} {
			for _, peer := range d.a.n.Peers() {
				if peer.Peer == d.b.n.PeerID() && len(peer.Addrs) > 0 {
					return fmt.Errorf("%s is still connected to %s", d.a.name, d.b.name)
				}
			}
		}
	}
	return nil
}

func (p *play) delivered() error {
	for _, l := range p.spoken {
		for _, name := range l.hears {
			if !p.cast[name].has(l.id) {
				return fmt.Errorf("%s has not got %q of %s", name, l.text, l.from)
			}
		}
	}
	return nil
}

// allTold wants every event of every log to be heard, so that the story keeps
// to its chapters.
func (p *play) allTold() error {
	for _, d := range p.cast {
		if d.gid == "" {
			continue
		}
		st, err := d.status()
		if err != nil {
			return err
		}
		d.mu.Lock()
		told := len(d.events) > 0 && d.events[len(d.events)-1].Cursor >= st.Cursor
		d.mu.Unlock()
		if !told {
			return fmt.Errorf("%s has more to tell", d.name)
		}
	}
	return nil
}

// calm is how long nothing may happen before the group counts as at rest.
const calm = 1500 * time.Millisecond

// rest wants agreement, no open fork, nothing parked, and heads that do not
// move for a while.
func (p *play) rest() func() error {
	var head string
	var since time.Time
	return func() error {
		if err := p.agree(atLast); err != nil {
			head = ""
			return err
		}
		for _, name := range atLast {
			st, err := p.cast[name].status()
			switch {
			case err != nil:
				return err
			case st.ForksOpen > 0:
				return fmt.Errorf("%s sees %d open forks", name, st.ForksOpen)
			case st.Parked > 0:
				return fmt.Errorf("%s has %d frames parked", name, st.Parked)
			case st.Head != head:
				head, since = st.Head, time.Now()
			}
		}
		if time.Since(since) < calm {
			return fmt.Errorf("the head moved a moment ago")
		}
		return nil
	}
}

// row is a device in the last table.
type row struct {
	Name          string `json:"name"`
	State         string `json:"state"`
	Head          string `json:"head"`
	Epoch         uint64 `json:"epoch"`
	Members       int    `json:"members"`
	Messages      int    `json:"messages"`
	Epochs        int    `json:"retained_epochs"`
	Secrets       int    `json:"secrets_retained"`
	Authenticator string `json:"authenticator"`
	Forks         int    `json:"forks_open"`
}

func (p *play) rows() (rows []row) {
	for _, name := range everybody {
		d := p.cast[name]
		if d == nil || d.gid == "" {
			continue
		}
		st, err := d.status()
		if err != nil {
			rows = append(rows, row{Name: name, State: err.Error()})
			continue
		}
		rows = append(rows, row{
			Name: name, State: st.State, Head: st.Head, Epoch: st.Epoch, Members: len(st.Members), Messages: d.messages(),
			Epochs: st.RetainedEpochs, Secrets: st.Retained, Authenticator: st.Authenticator, Forks: st.ForksOpen,
		})
	}
	return rows
}

// faults compares the end of the play with what the protocol promises.
func (p *play) faults(g api.DAG, rows []row) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if err := p.agree(atLast); err != nil {
		fault("%v", err)
	}
	if err := p.delivered(); err != nil {
		fault("%v", err)
	}
	for _, r := range rows {
		if want := r.Name != "Dan"; want != (r.State == "member") {
			fault("%s is %q", r.Name, r.State)
		}
	}
	dan := p.cast["Dan"]
	for _, l := range p.spoken {
		if p.healedLine(l) && dan.has(l.id) {
			fault("Dan was removed and reads %q", l.text)
		}
	}
	for _, name := range without(founders, "Dan") {
		if !p.cast[name].saw(group.KindForkOpened) {
			fault("%s never saw the fork", name)
		}
	}
	finn := p.cast[newcomer]
	if !finn.saw(group.KindStranded) || !finn.saw(group.KindRejoined) {
		fault("Finn was not stranded, or did not come back")
	}
	merges, lost := 0, 0
	for _, v := range g.Vertices {
		if v.OnHead && len(v.Supersedes) > 0 {
			merges++
		}
		if !v.OnHead {
			lost++
		}
	}
	if merges == 0 || lost < 2 {
		fault("the DAG shows %d merge commits on the head's chain and %d commits beside it", merges, lost)
	}
	return faults
}

// healedLine says whether a line was said where Dan must not read it: on his
// island after his removal, or by the healed group.
func (p *play) healedLine(l line) bool {
	return !contains(l.hears, "Dan") && !contains(append([]string{newcomer}, islandTwo...), l.from) ||
		contains(returns, l.text)
}

func memberNames(st group.Status) []string {
	var list []string
	for _, m := range st.Members {
		list = append(list, m.Name)
	}
	slices.Sort(list)
	return list
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}
