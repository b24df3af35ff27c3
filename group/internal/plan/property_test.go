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

// random tells a story in which everybody commits anywhere.
func random(t testing.TB, r *rand.Rand) *story {
	s := tell(t, "ada ben cleo dan eve")
	ids := []string{"e"}
	for i := range 3 + r.IntN(9) {
		parent := ids[max(0, len(ids)-1-r.IntN(4))]
		keys := slices.Sorted(maps.Keys(s.members[parent]))
		author := keys[r.IntN(len(keys))]
		ops := []string{"update"}
		if r.IntN(3) > 0 {
			ops = nil
			if k := fmt.Sprint("g", r.IntN(3)); s.members[parent][k] == (Who{}) {
				ops = append(ops, "add "+k)
			}
			if k := keys[r.IntN(len(keys))]; k != author && r.IntN(2) == 0 {
				ops = append(ops, []string{"remove ", "leave "}[min(1, r.IntN(4)/3)]+k)
			}
			if other := ids[r.IntN(len(ids))]; r.IntN(4) == 0 && s.commits[other].Number > 0 {
				ops = append(ops, "merge "+other)
			}
			if ops == nil {
				ops = append(ops, "update")
			}
		}
		id := fmt.Sprintf("c%02d", i)
		s.commit(id, parent, author, ops...)
		ids = append(ids, id)
	}
	return s
}

// shuffled is the same history with every map built, and every list written,
// in another order.
func shuffled(h History, r *rand.Rand) History {
	out := History{Commits: map[string]*Commit{}, Head: h.Head, Members: map[string]Who{}, Admins: h.Admins, Spoke: h.Spoke}
	ids := slices.Sorted(maps.Keys(h.Commits))
	r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, id := range ids {
		c := *h.Commits[id]
		for _, list := range []*[]Who{&c.Added, &c.Removed, &c.Left, &c.Promoted, &c.Demoted} {
			*list = slices.Clone(*list)
			r.Shuffle(len(*list), func(i, j int) { (*list)[i], (*list)[j] = (*list)[j], (*list)[i] })
		}
		c.Supersedes = slices.Clone(c.Supersedes)
		slices.Reverse(c.Supersedes)
		out.Commits[id] = &c
	}
	for _, k := range slices.Backward(slices.Sorted(maps.Keys(h.Members))) {
		out.Members[k] = h.Members[k]
	}
	return out
}

// A plan is a function of the history: not of map order, not of how commits
// and their lists are written, and making it changes nothing.
func TestPlanDependsOnTheSetAlone(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	open := 0
	for run := range 400 {
		s := random(t, r)
		for head := range s.commits {
			h := s.history(head)
			first := Make(h)
			if !first.Empty() {
				open++
			}
			for range 3 {
				if again := Make(shuffled(h, r)); !reflect.DeepEqual(again, first) {
					t.Fatalf("run %d at %s: %s\nthen %s", run, head, show(first), show(again))
				}
			}
		}
	}
	if open < 1000 {
		t.Errorf("only %d plans had anything to do", open)
	}
}

// Doing what the plan says, in one commit on the head with its tips
// superseded, leaves nothing to do: groups come to rest.
func TestPlanAppliedIsEmpty(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	done := 0
	for run := range 2000 {
		s := random(t, r)
		ids := slices.Sorted(maps.Keys(s.commits))
		head := ids[r.IntN(len(ids))]
		for round := 0; ; round++ {
			p := Make(s.history(head))
			if p.Empty() {
				break
			}
			if round == 3 {
				t.Fatalf("run %d: after %d merges still %s", run, round, show(p))
			}
			head = s.apply(head, fmt.Sprint("m", round), p)
			done++
		}
	}
	if done < 500 {
		t.Errorf("only %d merges were made", done)
	}
}

// apply commits a plan, then the updates by their owners.
func (s *story) apply(head, id string, p *Plan) string {
	s.t.Helper()
	var ops []string
	gone := map[string]bool{}
	for _, o := range p.Removes {
		ops = append(ops, "remove "+o.Who.Key)
		gone[o.Who.Key] = true
	}
	for _, o := range p.Adds {
		ops = append(ops, "add "+o.Who.Key)
	}
	if len(p.Supersedes) > 0 {
		ops = append(ops, "merge "+strings.Join(p.Supersedes, " "))
	}
	if len(p.Removes)+len(p.Adds) > 0 {
		author := ""
		for _, k := range slices.Sorted(maps.Keys(s.members[head])) {
			if !gone[k] {
				author = k
			}
		}
		s.commit(id, head, author, ops...)
		head = id
	}
	for _, k := range p.Updates {
		if !gone[k] {
			s.commit(id+k, head, k, "update")
			head = id + k
		}
	}
	return head
}

func TestRank(t *testing.T) {
	leaves := []uint32{0, 1, 2, 5, 9}
	seen := map[int]bool{}
	for _, l := range leaves {
		k := Rank([]byte("work"), leaves, l)
		if k < 0 || k >= len(leaves) || seen[k] {
			t.Fatalf("leaf %d has rank %d", l, k)
		}
		seen[k] = true
	}
	if Rank([]byte("work"), leaves, 3) != -1 {
		t.Error("somebody who is no candidate has a rank")
	}
	if back := slices.Clone(leaves); true {
		slices.Reverse(back)
		if Rank([]byte("work"), back, 5) != Rank([]byte("work"), leaves, 5) {
			t.Error("rank depends on the order of candidates")
		}
	}
	firsts := map[uint32]int{}
	for i := range 200 {
		for _, l := range leaves {
			if Rank([]byte{byte(i)}, leaves, l) == 0 {
				firsts[l]++
			}
		}
	}
	for _, l := range leaves {
		if firsts[l] < 15 {
			t.Errorf("leaf %d came first in %d of 200 jobs", l, firsts[l])
		}
	}
}
