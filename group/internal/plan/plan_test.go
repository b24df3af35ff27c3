package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// story builds histories line by line:
//
//	x <- e  ada: add finn, remove dan, leave gus, update, merge y z
//
// names commit x on parent e by ada. An incarnation is named key@commit; the
// founders came in the root commit "e". Nothing here is a CID or a real key.
type story struct {
	t       testing.TB
	commits map[string]*Commit
	members map[string]map[string]Who  // by commit, by key
	admins  map[string]map[string]bool // likewise; nil in a group of equal rights
}

// rule makes the group one with admins; it comes before the first line.
func (s *story) rule(admins string) *story {
	s.admins = map[string]map[string]bool{"e": {}}
	for _, k := range strings.Fields(admins) {
		s.admins["e"][k] = true
	}
	return s
}

func (s *story) lines(lines ...string) *story {
	s.t.Helper()
	for _, l := range lines {
		s.line(l)
	}
	return s
}

func tell(t testing.TB, founders string, lines ...string) *story {
	s := &story{t: t, commits: map[string]*Commit{"e": {ID: "e"}}, members: map[string]map[string]Who{"e": {}}}
	for _, k := range strings.Fields(founders) {
		s.members["e"][k] = Who{Key: k, Incarnation: k + "@e", AddedBy: "e"}
	}
	for _, l := range lines {
		s.line(l)
	}
	return s
}

func (s *story) line(l string) {
	s.t.Helper()
	head, tail, ok := strings.Cut(l, ":")
	f := strings.Fields(head)
	if !ok || len(f) != 4 || f[1] != "<-" || s.commits[f[2]] == nil {
		s.t.Fatalf("no story: %q", l)
	}
	s.commit(f[0], f[2], f[3], strings.Split(tail, ",")...)
}

func (s *story) commit(id, parent, author string, ops ...string) *Commit {
	s.t.Helper()
	c := &Commit{ID: id, Parent: parent, Number: s.commits[parent].Number + 1, Author: author}
	now := maps.Clone(s.members[parent])
	admins := maps.Clone(s.admins[parent])
	for _, op := range ops {
		w := strings.Fields(op)
		switch {
		case len(w) == 1 && w[0] == "update":
			c.Update = true
		case len(w) == 1 && w[0] == "settled":
			c.Settled = true
		case len(w) > 1 && w[0] == "merge":
			c.Supersedes = append(c.Supersedes, w[1:]...)
		case len(w) == 2 && w[0] == "add":
			who := Who{Key: w[1], Incarnation: w[1] + "@" + id, AddedBy: id}
			c.Added = append(c.Added, who)
			now[w[1]] = who
		case len(w) == 2 && (w[0] == "promote" || w[0] == "demote"):
			who := now[w[1]]
			if admins[w[1]] == (w[0] == "promote") || who == (Who{}) {
				s.t.Fatalf("%s: %s cannot be done", id, op)
			}
			if w[0] == "promote" {
				c.Promoted, admins[w[1]] = append(c.Promoted, who), true
			} else {
				c.Demoted = append(c.Demoted, who)
				delete(admins, w[1])
			}
		case len(w) == 2 && (w[0] == "remove" || w[0] == "leave"):
			who, ok := s.members[parent][w[1]]
			if !ok {
				s.t.Fatalf("%s: %s is no member of %s", id, w[1], parent)
			}
			if w[0] == "remove" {
				c.Removed = append(c.Removed, who)
			} else {
				c.Left = append(c.Left, who)
			}
			if now[w[1]] == who { // not added anew by the same commit
				delete(now, w[1])
			}
		default:
			s.t.Fatalf("%s: no operation: %q", id, op)
		}
	}
	s.commits[id], s.members[id] = c, now
	if s.admins != nil {
		maps.DeleteFunc(admins, func(k string, _ bool) bool { return now[k] == (Who{}) })
		s.admins[id] = admins
	}
	return c
}

// history is what somebody at head knows; silent keys never spoke there.
func (s *story) history(head string, silent ...string) History {
	h := History{Commits: s.commits, Head: head, Members: s.members[head], Admins: s.admins[head], Spoke: map[string]uint64{}}
	for k := range h.Members {
		if !slices.Contains(silent, k) {
			h.Spoke[k] = s.commits[head].Number
		}
	}
	return h
}

// show writes a plan as text; what is empty is left out.
func show(p *Plan) string {
	var parts []string
	ops := func(name string, list []Op) {
		var out []string
		for _, o := range list {
			out = append(out, fmt.Sprintf("%s by %s at %s", o.Who.Incarnation, o.Author, o.At))
		}
		if len(out) > 0 {
			parts = append(parts, name+" "+strings.Join(out, ", "))
		}
	}
	ops("remove", p.Removes)
	ops("add", p.Adds)
	roles := func(name string, list []Op) {
		for _, o := range list {
			parts = append(parts, fmt.Sprintf("%s%s %s by %s at %s", name, o.Verb, o.Who.Key, o.Author, o.At))
		}
	}
	roles("", p.Roles)
	if len(p.Updates) > 0 {
		parts = append(parts, "update "+strings.Join(p.Updates, " "))
	}
	if len(p.Roles)+len(p.Dropped)+len(p.Waiting) > 0 || slices.ContainsFunc(p.Approval, func(o Op) bool { return o.Verb == Promote || o.Verb == Demote }) {
		roles("approve: ", p.Approval)
	} else {
		ops("approve", p.Approval)
	}
	roles("dropped: ", p.Dropped)
	roles("waiting: ", p.Waiting)
	ops("stray", p.Strays)
	if len(p.Supersedes) > 0 {
		parts = append(parts, "over "+strings.Join(p.Supersedes, " "))
	}
	return strings.Join(parts, "; ")
}

func TestMake(t *testing.T) {
	const six = "ada ben cleo dan eve gus"
	for _, c := range []struct {
		name    string
		history []string
		head    string
		silent  string
		want    string
	}{
		{"no fork", []string{"x <- e ada: remove dan"}, "x", "", ""},
		{"seen from above, what follows is no branch of ours yet",
			[]string{"x <- e ada: remove dan"}, "e", "", "remove dan@e by ada at x; over x"},

		{"an add of the losing branch is open",
			[]string{"x <- e ada: update", "y <- e eve: add finn"}, "x", "",
			"add finn@y by eve at y; stray finn@y by eve at y; over y"},
		{"an add that the head did, too, is done",
			[]string{"x <- e ada: add finn", "y <- e eve: add finn"}, "x", "", "over y"},
		{"a rival re-add that never spoke leaves the joiner stranded beside it",
			[]string{"x <- e ada: add finn", "y <- e eve: add finn"}, "x", "finn", "stray finn@y by eve at y; over y"},
		{"the head's own silent newcomer is no stray",
			[]string{"x <- e ada: add finn", "y <- e eve: update"}, "x", "finn", "update eve; over y"},
		{"an add that the same branch took back is nothing",
			[]string{"x <- e ada: update", "y <- e eve: add finn", "z <- y eve: remove finn"}, "x", "", "over z"},
		{"a guest who left by itself stays away",
			[]string{"x <- e ada: update", "y <- e eve: add finn", "z <- y eve: leave finn"}, "x", "", "over z"},
		{"removed, then added again on the losing branch: of no effect on who is a member",
			[]string{"x <- e ada: update", "y <- e eve: remove dan", "z <- y eve: add dan"}, "x", "", "over z"},
		{"removed, added again and removed again: removed",
			[]string{"x <- e ada: update", "y <- e eve: remove dan", "z <- y eve: add dan", "v <- z eve: remove dan"}, "x", "",
			"remove dan@e by eve at v; over v"},
		{"re-add in one commit (5.3) is an add, not a removal",
			[]string{"x <- e ada: update", "y <- e eve: remove dan, add dan"}, "x", "", "over y"},
		{"who was replaced on the losing branch and says nothing on the head is a stray",
			[]string{"x <- e ada: update", "y <- e eve: remove dan, add dan"}, "x", "dan", "stray dan@y by eve at y; over y"},
		{"a removal outlives a concurrent re-add in one commit",
			[]string{"x <- e ada: remove dan, add dan", "y <- e eve: remove dan"}, "x", "", "remove dan@x by eve at y; over y"},

		{"a remove of the losing branch is open",
			[]string{"x <- e ada: update", "y <- e eve: remove dan"}, "x", "", "remove dan@e by eve at y; over y"},
		{"a remove that the head did, too, is done",
			[]string{"x <- e ada: remove dan", "y <- e eve: remove dan"}, "x", "", "over y"},
		{"a remove stays open whatever supersedes claims",
			[]string{"x <- e ada: update", "y <- e eve: remove dan", "z <- x ben: merge y"}, "z", "", "remove dan@e by eve at y; over y"},
		{"removes win over an update of their target",
			[]string{"x <- e dan: update", "y <- e eve: remove dan"}, "x", "", "remove dan@e by eve at y; over y"},
		{"removes win over a concurrent add of the same key on the head",
			[]string{"r <- e ada: update", "x <- r ada: add finn", "y <- r eve: add finn", "z <- y eve: remove finn"}, "x", "",
			"remove finn@x by eve at z; over z"},
		{"removes win over a concurrent add of the same key on the losing side",
			[]string{"r <- e ada: remove dan", "x <- r ada: update", "y <- r eve: add dan", "v <- r gus: add dan", "z <- v gus: remove dan"},
			"x", "", "over y z"},
		{"an add is void when the head removed that key meanwhile",
			[]string{"p <- e ada: update", "x <- p ada: add finn", "w <- x ben: remove finn", "y <- p eve: add finn"}, "w", "", "over y"},
		{"who was re-added on the head by somebody who knew of the remove stays",
			[]string{"x <- e ada: update", "y <- e eve: remove dan", "m <- x ada: remove dan, merge y", "z <- m ada: add dan"}, "z", "", ""},
		{"who was removed and re-added on the head without knowing of the remove stays: the remove is done",
			[]string{"x <- e ada: remove dan", "z <- x ada: add dan", "y <- e eve: remove dan"}, "z", "", "over y"},
		{"an add on a losing branch that knew of the head's removal is open",
			[]string{"x <- e ada: remove dan", "y <- e eve: update", "m <- y eve: remove dan, merge x", "z <- m eve: add dan"}, "x", "",
			"add dan@z by eve at z; update eve; stray dan@z by eve at z; over z"},

		{"leaves are repeated by who leaves, not by plans",
			[]string{"x <- e ada: update", "y <- e eve: leave dan"}, "x", "", "over y"},

		{"an ejected member's removals are for a person to decide",
			[]string{"x <- e ada: remove dan", "y <- e dan: remove eve"}, "x", "", "approve eve@e by dan at y; over y"},
		{"an ejected member does not come back through its guest",
			[]string{"x <- e ada: remove dan", "y <- e dan: add finn", "z <- y finn: add dan2"}, "x", "",
			"approve dan2@z by finn at z, finn@y by dan at y; stray dan2@z by finn at z, finn@y by dan at y; over z"},
		{"an ejected member does not keep others' guests away",
			[]string{"x <- e ada: remove dan", "y <- e eve: add finn", "z <- y dan: remove finn"}, "x", "",
			"add finn@y by eve at y; stray finn@y by eve at y; over z"},
		{"a guest's removal counts while the guest can come back",
			[]string{"x <- e ada: update", "y <- e eve: add finn", "z <- y eve: add hal", "v <- z hal: remove finn"}, "x", "",
			"add hal@z by eve at z; stray hal@z by eve at z; over v"},
		{"of a mutual removal the winner's stands",
			[]string{"x <- e ada: remove dan", "y <- e dan: remove ada"}, "x", "", "approve ada@e by dan at y; over y"},
		{"and on the other side the other's",
			[]string{"x <- e ada: remove dan", "y <- e dan: remove ada"}, "y", "", "approve dan@e by ada at x; over x"},
		{"what one who is on the head did, too, needs no approval",
			[]string{"x <- e ada: remove dan", "y <- e dan: remove eve", "z <- e ben: remove eve"}, "x", "",
			"remove eve@e by ben at z; over y z"},

		{"a merge does not make an ejected member's removal its own",
			[]string{"x <- e ada: remove dan", "y <- e dan: remove eve", "z <- e ben: update", "m <- z ben: remove eve, merge y"}, "x", "",
			"update ben; approve eve@e by dan at y; over m y"},
		{"nor does a merge of merges",
			[]string{"x <- e ada: remove dan", "y <- e dan: remove eve", "z <- e ben: update", "m <- z ben: remove eve, merge y",
				"v <- e gus: update", "n <- v gus: remove eve, merge m"}, "x", "",
			"update ben gus; approve eve@e by dan at y; over m n y"},
		{"nor does a merge of a branch and of the merge that took it in, whichever id is lower",
			[]string{"x <- e ada: remove dan", "b <- e dan: remove eve", "v <- e gus: update", "n <- v gus: remove eve, merge b",
				"z <- e ben: update", "m <- z ben: remove eve, merge b n"}, "x", "",
			"update ben gus; approve eve@e by dan at b; over b m n"},
		{"nor if he claims that it was done for somebody who is there",
			[]string{"u <- e gus: remove eve", "a <- e ada: remove eve, merge u", "b <- a ada: add eve", "x <- b ada: remove dan",
				"y <- b dan: remove eve, merge u", "z <- b ben: update", "m <- z ben: remove eve, merge y"}, "x", "",
			"update ben; approve eve@b by dan at y; over m y"},
		{"what a merge took in that is not known here is to be asked about",
			[]string{"x <- e ada: remove dan", "z <- e ben: update", "m <- z ben: remove eve, merge unknown"}, "x", "",
			"update ben; approve eve@e by ben at m; over m"},
		{"nor what a merge of that merge did",
			[]string{"x <- e ada: remove dan", "z <- e ben: update", "m <- z ben: remove eve, merge unknown", "v <- e gus: update", "n <- v gus: remove eve, merge m"}, "x", "",
			"update ben gus; approve eve@e by ben at m; over m n"},
		{"it carries over what others on the head did, too",
			[]string{"x <- e ada: remove dan", "y <- e dan: remove eve", "v <- e gus: remove eve", "z <- e ben: update",
				"m <- z ben: remove eve, merge v y"}, "x", "",
			"remove eve@e by ben at m; update ben; over m v y"},
		{"and does what it does beside that",
			[]string{"x <- e ada: remove dan", "y <- e dan: update", "z <- e ben: update", "m <- z ben: remove eve, merge y"}, "x", "",
			"remove eve@e by ben at m; update ben; over m y"},
		{"an ejected member's removal by merge keeps no guest away",
			[]string{"x <- e ada: remove dan", "r <- e ben: add finn", "y <- r dan: remove finn", "z <- r ben: update", "m <- z ben: remove finn, merge y"}, "x", "",
			"add finn@r by ben at r; update ben; stray finn@r by ben at r; over m y"},

		{"an update lost is repeated by its owner",
			[]string{"x <- e ada: remove dan", "y <- e eve: update"}, "x", "", "update eve; over y"},
		{"any own commit on the head since refreshes the keys",
			[]string{"x <- e ada: update", "z <- x eve: add finn", "y <- e eve: update"}, "z", "", "over y"},
		{"an own commit before the fork does not",
			[]string{"r <- e eve: update", "x <- r ada: update", "y <- r eve: update"}, "x", "", "update eve; over y"},
		{"an ejected member's update is nothing",
			[]string{"x <- e ada: remove eve", "y <- e eve: update"}, "x", "", "over y"},
		{"who was added anew on the head since has fresh keys",
			[]string{"x <- e ada: remove eve", "z <- x ada: add eve", "y <- e eve: update"}, "z", "", "over y"},

		{"only the ends of losing branches are superseded",
			[]string{"x <- e ada: update", "y <- e eve: update", "z <- y gus: update", "v <- y dan: update"}, "x", "",
			"update dan eve gus; over v z"},
		{"a tip that a merge covered is not superseded again",
			[]string{"x <- e ada: update", "y <- e eve: add finn", "m <- x ada: add finn, merge y"}, "m", "", ""},
		{"what was built on a covered tip is a new tip",
			[]string{"x <- e ada: update", "y <- e eve: add finn", "m <- x ada: add finn, merge y", "z <- y eve: remove dan"}, "m", "",
			"remove dan@e by eve at z; over z"},
		{"settled branches are passed over",
			[]string{"x <- e ada: update", "y <- e eve: add finn, settled"}, "x", "", ""},

		{"three islands: all losing work is taken together",
			[]string{"x <- e ada: update", "y <- e eve: add finn", "z <- e gus: remove dan"}, "x", "",
			"remove dan@e by gus at z; add finn@y by eve at y; stray finn@y by eve at y; over y z"},
		{"three islands: two adds of one key are one add, both joiners are told",
			[]string{"x <- e ada: update", "y <- e eve: add finn", "z <- e gus: add finn"}, "x", "",
			"add finn@y by eve at y; stray finn@y by eve at y, finn@z by gus at z; over y z"},
		{"nested forks: a fork inside the losing branch",
			[]string{"x <- e ada: update", "y <- e eve: update", "p <- y eve: add finn", "q <- y gus: remove dan"}, "x", "",
			"remove dan@e by gus at q; add finn@p by eve at p; update eve; stray finn@p by eve at p; over p q"},
		{"nested forks: the inner fork was decided on the losing branch, the outer against it",
			[]string{"x <- e ada: update", "y <- e eve: update", "p <- y eve: add finn", "q <- y gus: remove dan",
				"m <- p eve: remove dan, merge q"}, "x", "",
			"remove dan@e by eve at m; add finn@p by eve at p; update eve; stray finn@p by eve at p; over m q"},
		{"a fork of merges: the rival did the same, so nothing is left",
			[]string{"x <- e ada: update", "y <- e eve: add finn, remove dan", "m <- x ada: add finn, remove dan, merge y",
				"n <- x ben: add finn, remove dan, merge y"}, "m", "", "over n"},
		{"a fork of merges: the rival did more",
			[]string{"x <- e ada: update", "y <- e eve: remove dan", "z <- e gus: remove cleo", "m <- x ada: remove dan, merge y",
				"n <- x ben: remove dan, remove cleo, merge y z"}, "m", "",
			"remove cleo@e by ben at n; over n z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tell(t, six, c.history...)
			if got := show(Make(s.history(c.head, strings.Fields(c.silent)...))); got != c.want {
				t.Errorf("at %s of\n\t%s\nplan: %s\nwant: %s", c.head, strings.Join(c.history, "\n\t"), got, c.want)
			}
		})
	}
}

// Who does not know all that a merge supersedes cannot say for whom it acts, and
// leaves that to those who know.
func TestMergeOfWhatIsNotKnown(t *testing.T) {
	s := tell(t, "ada ben cleo dan eve gus", "x <- e ada: update", "y <- e dan: remove eve", "y2 <- y dan: add finn", "z <- e ben: update",
		"m <- z ben: remove eve, merge y2")
	h := s.history("x")
	h.Commits = maps.Clone(h.Commits)
	for _, c := range []string{"", "y2", "y"} {
		delete(h.Commits, c)
		if got := h.Carries(s.commits["m"], "eve"); got != (c == "") {
			t.Errorf("without %q: ben acts for dan: %v", c, got)
		}
	}
	if got := show(Make(h)); strings.Contains(got, "remove") {
		t.Errorf("of what is not known: %s", got)
	}
}
