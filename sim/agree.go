package sim

import (
	"fmt"
	"slices"

	"github.com/dmlsd/dmls/group"
)

// standing is where a device stands.
type standing struct {
	name, id string
	inviter  string // identity; empty for founders, who were invited before the first message
	up       bool
	st       group.Status
	besieged bool // there are adversaries, whose frames may wait for ever
}

func (s standing) String() string {
	if !s.up {
		return "down"
	}
	return fmt.Sprintf("%s at %d %s with %d members, final %s, %d epochs retained, %d forks open, %d parked", s.st.State,
		s.st.Epoch, tail(s.st.Head), len(s.st.Members), tail(s.st.Final), s.st.RetainedEpochs, s.st.ForksOpen, s.st.Parked)
}

func (r *run) standings() []standing {
	var out []standing
	for i, d := range r.devices {
		if !d.joined || d.attack != nil {
			continue
		}
		s := standing{name: d.name, id: d.key(), besieged: len(r.Adversaries) > 0}
		if i >= r.Members && d.host != nil {
			s.inviter = d.host.key()
		}
		s.st, s.up = d.status()
		out = append(out, s)
	}
	return out
}

// agreement is the state that most devices are in.
type agreement struct {
	head     group.Status    // of one of them
	members  map[string]bool // of the head, by identity
	admins   map[string]bool // likewise
	stranded []string        // names of those that stay out by the rules
	problem  string          // why the others do not agree; empty if they do
}

// agree compares the devices that got into the group: each is on one head with
// one authenticator and the same members, or knows that it is not a member any
// more. Only a guest whose host was ejected stays out without having been
// removed: an ejected member does not return through its guests (design,
// section 5.5).
func agree(all []standing) agreement {
	a := agreement{members: map[string]bool{}, admins: map[string]bool{}}
	votes := map[string]int{}
	for _, s := range all {
		if s.up && s.st.State == "member" {
			votes[s.st.Head]++
			if votes[s.st.Head] > votes[a.head.Head] || a.head.Head == "" {
				a.head = s.st
			}
		}
	}
	if a.head.Head == "" {
		a.problem = "nobody is a member"
		return a
	}
	for _, m := range a.head.Members {
		a.members[m.ID], a.admins[m.ID] = true, m.Admin
	}
	for _, s := range all {
		if a.apart(s) {
			continue
		}
		if s.up && !a.members[s.id] && s.inviter != "" && !a.members[s.inviter] && s.st.State != "removed" && s.st.State != "left" {
			a.stranded = append(a.stranded, s.name)
			continue
		}
		if p := a.differs(s); p != "" {
			a.problem = s.name + " " + p
			return a
		}
	}
	return a
}

// apart reports whether a device is of a half that removed members of the other,
// and was removed by it. They cannot see each other's votes and stay two groups,
// if they say so (design, section 5.6).
func (a agreement) apart(s standing) bool {
	return s.up && s.st.State == "member" && s.st.Halves && !a.members[s.id] &&
		slices.ContainsFunc(a.head.Members, func(m group.Member) bool {
			return !slices.ContainsFunc(s.st.Members, func(o group.Member) bool { return o.ID == m.ID })
		})
}

// differs says in which way a device is not where the agreement has it.
func (a agreement) differs(s standing) string {
	switch {
	case !s.up:
		return "is down"
	case s.st.State == "removed" || s.st.State == "left":
		if a.members[s.id] {
			return "was " + s.st.State + ", it believes, but is on the head"
		}
		return ""
	case s.st.State != "member":
		return "is " + s.st.State
	case s.st.Head != a.head.Head:
		return "stands at " + tail(s.st.Head) + ", not at " + tail(a.head.Head)
	case s.st.Authenticator != a.head.Authenticator:
		return "has another epoch authenticator"
	case !slices.EqualFunc(s.st.Members, a.head.Members, func(x, y group.Member) bool { return x.ID == y.ID && x.Leaf == y.Leaf && x.Admin == y.Admin }):
		return "has other members"
	case !a.members[s.id]:
		return "is not among the members of its head"
	case s.st.Parked > 0 && !s.besieged:
		return fmt.Sprintf("has %d frames parked", s.st.Parked)
	}
	return ""
}
