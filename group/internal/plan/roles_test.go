package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Plans in a group whose admins are ada, ben and cleo.
func TestRights(t *testing.T) {
	for _, c := range []struct {
		name    string
		history []string
		head    string
		want    string
	}{
		{"a promotion of the losing branch is open",
			[]string{"x <- e ada: update", "y <- e ben: promote dan"}, "x", "promote dan by ben at y; over y"},
		{"a demotion, too",
			[]string{"x <- e dan: update", "y <- e ben: demote ada"}, "x", "demote ada by ben at y; over y"},
		{"a promotion that the head did, too, is done",
			[]string{"x <- e ada: promote dan", "y <- e ben: promote dan"}, "x", "over y"},
		{"a promotion that the branch took back is nothing",
			[]string{"x <- e ada: update", "y <- e ben: promote dan", "z <- y ben: demote dan"}, "x", "over z"},
		{"a removal wins over a concurrent promotion: on the losing side",
			[]string{"x <- e ada: update", "y <- e ben: promote dan", "z <- e cleo: remove dan"}, "x", "remove dan@e by cleo at z; over y z"},
		{"a removal wins over a concurrent promotion: on the head",
			[]string{"x <- e ada: remove dan", "y <- e ben: promote dan"}, "x", "over y"},
		{"a removal wins over a concurrent promotion: of the head",
			[]string{"x <- e ada: promote dan", "y <- e ben: remove dan"}, "x", "remove dan@e by ben at y; over y"},
		{"who removes and is demoted on the head has no right to it there",
			[]string{"x <- e ada: demote ben", "y <- e ben: remove dan"}, "x", "approve dan@e by ben at y; over y"},
		{"who promotes and is demoted on the head, neither",
			[]string{"x <- e ada: demote ben", "y <- e ben: promote dan"}, "x", "approve: promote dan by ben at y; over y"},
		{"adds need no right",
			[]string{"x <- e ada: demote ben", "y <- e ben: add finn"}, "x", "add finn@y by ben at y; stray finn@y by ben at y; over y"},
		{"who was promoted on the head has the right there to what it did as an admin of its branch",
			[]string{"x <- e ada: promote dan", "y <- e ben: promote dan", "z <- y dan: remove eve"}, "x", "remove eve@e by dan at z; over z"},
		{"who was promoted on the losing branch alone gets it back first",
			[]string{"x <- e ada: update", "y <- e ben: promote dan", "z <- y dan: remove eve"}, "x",
			"promote dan by ben at y; approve: remove eve by dan at z; over z"},
		{"and then what it did",
			[]string{"x <- e ada: update", "y <- e ben: promote dan", "z <- y dan: remove eve", "m <- x cleo: promote dan, merge z"}, "m",
			"remove eve@e by dan at z; over z"},
		{"of a mutual demotion the winner's stands",
			[]string{"x <- e ada: demote ben", "y <- e ben: demote ada"}, "x", "approve: demote ada by ben at y; over y"},
		{"a mutual demotion beside the head is done both ways",
			[]string{"x <- e cleo: update", "y <- e ben: demote ada", "z <- e ada: demote ben"}, "x",
			"demote ada by ben at y; demote ben by ada at z; over y z"},
		{"but not if nobody would be left",
			[]string{"d <- e ada: demote cleo", "x <- d dan: update", "y <- d ben: demote ada", "z <- d ada: demote ben"}, "x",
			"demote ada by ben at y; approve: demote ben by ada at z; over y z"},
		{"the head decided on the key since: it holds, and that is told",
			[]string{"x <- e ada: promote dan", "v <- x ada: demote dan", "y <- e ben: promote dan"}, "v", "dropped: promote dan by ben at y; over y"},
		{"the head decided in view of the losing branch: nothing to tell",
			[]string{"x <- e ada: update", "y <- e ben: promote dan", "m <- x ada: promote dan, merge y", "v <- m ada: demote dan"}, "v", ""},
		{"removed and added anew on the head: an ordinary member",
			[]string{"x <- e ada: remove dan", "v <- x ada: add dan", "y <- e ben: promote dan"}, "v", "dropped: promote dan by ben at y; over y"},
		{"a joiner's promotion waits until it is back",
			[]string{"x <- e ada: update", "y <- e ben: add finn", "z <- y ben: promote finn"}, "x",
			"add finn@y by ben at y; waiting: promote finn by ben at z; stray finn@y by ben at y; over z"},
		{"and is done then",
			[]string{"x <- e ada: update", "y <- e ben: add finn", "z <- y ben: promote finn", "m <- x ada: add finn, merge z"}, "m",
			"promote finn by ben at z; over z"},
		{"an ordinary guest's removal keeps nobody away",
			[]string{"x <- e ada: demote cleo", "y <- e ben: add finn", "z <- y cleo: remove finn"}, "x",
			"add finn@y by ben at y; stray finn@y by ben at y; over z"},
		{"a merge does not make what an ejected admin said of a role its own",
			[]string{"x <- e ada: remove ben", "y <- e ben: promote dan", "z <- e cleo: update", "m <- z cleo: promote dan, merge y"}, "x",
			"update cleo; approve: promote dan by ben at y; over m y"},
		{"what an admin did, too, needs no approval",
			[]string{"x <- e ada: demote ben", "y <- e ben: remove dan", "z <- e cleo: remove dan"}, "x", "remove dan@e by cleo at z; over y z"},
		{"a demotion of who is removed meanwhile is nothing",
			[]string{"x <- e ada: remove ben", "y <- e cleo: demote ben"}, "x", "over y"},
		{"three islands: roles are taken together",
			[]string{"x <- e ada: update", "y <- e ben: promote dan", "z <- e cleo: promote eve, demote ben"}, "x",
			"demote ben by cleo at z; promote dan by ben at y; promote eve by cleo at z; over y z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tell(t, "ada ben cleo dan eve").rule("ada ben cleo").lines(c.history...)
			if got := show(Make(s.history(c.head))); got != c.want {
				t.Errorf("at %s of\n\t%s\nplan: %s\nwant: %s", c.head, strings.Join(c.history, "\n\t"), got, c.want)
			}
		})
	}
}

// lawful tells a story in which everybody does, anywhere, what it may there.
func lawful(t testing.TB, r *rand.Rand) *story {
	s := tell(t, "ada ben cleo dan eve").rule("ada ben")
	ids := []string{"e"}
	for i := range 3 + r.IntN(9) {
		parent := ids[max(0, len(ids)-1-r.IntN(4))]
		keys := slices.Sorted(maps.Keys(s.members[parent]))
		author := keys[r.IntN(len(keys))]
		ops := s.anything(r, parent, author, keys, ids)
		id := fmt.Sprintf("c%02d", i)
		s.commit(id, parent, author, ops...)
		ids = append(ids, id)
	}
	return s
}

func (s *story) anything(r *rand.Rand, parent, author string, keys, ids []string) (ops []string) {
	admins := s.admins[parent]
	if k := fmt.Sprint("g", r.IntN(3)); r.IntN(2) == 0 && s.members[parent][k] == (Who{}) {
		ops = append(ops, "add "+k)
	}
	if k := keys[r.IntN(len(keys))]; admins[author] && k != author {
		switch {
		case r.IntN(3) == 0:
			ops = append(ops, "remove "+k)
		case admins[k]:
			ops = append(ops, "demote "+k)
		default:
			ops = append(ops, "promote "+k)
		}
	}
	if other := ids[r.IntN(len(ids))]; r.IntN(4) == 0 && s.commits[other].Number > 0 {
		ops = append(ops, "merge "+other)
	}
	if ops == nil {
		ops = []string{"update"}
	}
	return ops
}

// A plan does again only what its author may do on the head, leaves an admin,
// is a function of the set, and when done leaves nothing to do.
func TestPlansAreLawful(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	roles, asked, done := 0, 0, 0
	for run := range 1500 {
		s := lawful(t, r)
		ids := slices.Sorted(maps.Keys(s.commits))
		head := ids[r.IntN(len(ids))]
		for round := 0; ; round++ {
			h := s.history(head)
			p := Make(h)
			if again := Make(shuffled(h, r)); !reflect.DeepEqual(p, again) {
				t.Fatalf("run %d: %s\nthen %s", run, show(p), show(again))
			}
			s.judge(run, h, p)
			roles, asked = roles+len(p.Roles), asked+len(p.Approval)
			if p.Empty() {
				break
			}
			if round == 4 {
				t.Fatalf("run %d: after %d merges still %s", run, round, show(p))
			}
			head = s.enact(head, fmt.Sprint("m", round), p)
			done++
		}
	}
	if roles < 250 || asked < 250 || done < 500 {
		t.Errorf("vacuous: %d roles, %d to be approved, %d merges", roles, asked, done)
	}
}

func (s *story) judge(run int, h History, p *Plan) {
	s.t.Helper()
	stay := maps.Clone(h.Admins)
	for _, o := range slices.Concat(p.Removes, p.Roles) {
		if h.Members[o.Author] == (Who{}) || !h.Admins[o.Author] {
			s.t.Fatalf("run %d: %s by %s, who has no right on the head: %s", run, o.Verb, o.Author, show(p))
		}
		switch o.Verb {
		case Promote:
			stay[o.Who.Key] = true
		default:
			delete(stay, o.Who.Key)
		}
	}
	if len(p.Removes) == 0 && len(stay) == 0 {
		s.t.Fatalf("run %d: nobody would be left an admin: %s", run, show(p))
	}
	for _, o := range p.Roles {
		if hasOp(p.Removes, Remove, o.Who.Key) || h.Members[o.Who.Key] == (Who{}) || h.Admins[o.Who.Key] == (o.Verb == Promote) {
			s.t.Fatalf("run %d: %s of %s: %s", run, o.Verb, o.Who.Key, show(p))
		}
	}
}

// enact does what the plan says, in one commit by an admin who may stay; of
// admins who are all to go, the first removes the others.
func (s *story) enact(head, id string, p *Plan) string {
	s.t.Helper()
	author := ""
	for _, k := range slices.Sorted(maps.Keys(s.admins[head])) {
		if author == "" || hasOp(p.Removes, Remove, author) && !hasOp(p.Removes, Remove, k) {
			author = k
		}
	}
	var ops []string
	for _, o := range slices.Concat(p.Removes, p.Adds, p.Roles) {
		if o.Verb != Remove || o.Who.Key != author {
			ops = append(ops, string(o.Verb)+" "+o.Who.Key)
		}
	}
	if len(p.Supersedes) > 0 {
		ops = append(ops, "merge "+strings.Join(p.Supersedes, " "))
	}
	if len(p.Removes)+len(p.Adds)+len(p.Roles) > 0 {
		s.commit(id, head, author, ops...)
		head = id
	}
	for _, k := range p.Updates {
		if s.members[head][k] != (Who{}) {
			s.commit(id+k, head, k, "update")
			head = id + k
		}
	}
	return head
}
