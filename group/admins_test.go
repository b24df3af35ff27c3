package group_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// copyOf is the world as its disks have it, so that many stories can begin at
// one point.
func (w *world) copyOf(t testing.TB) *world {
	c := &world{t: t, now: w.now, cfg: w.cfg, policy: w.policy, devices: map[string]*device{}, island: map[string]int{}}
	for n, d := range w.devices {
		x := &device{name: n, id: d.id, rand: rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", n)))), disk: maps.Clone(d.disk)}
		g, err := group.Load(w.cfg, d.id, d.g.ID(), records(x))
		if err != nil {
			t.Fatal(err)
		}
		x.g = g
		c.devices[n] = x
	}
	return c
}

// deed is what an admin does: a verb and, but for an update, a name.
type deed struct{ verb, of string }

func (d deed) String() string { return strings.TrimSpace(d.verb + " " + d.of) }

func (w *world) do(by string, d deed) []byte {
	w.t.Helper()
	in := group.Change{}
	switch d.verb {
	case "update":
		in.Update = true
	case "promote":
		in.Promote = []uint32{w.leaf(by, d.of)}
	case "demote":
		in.Demote = []uint32{w.leaf(by, d.of)}
	case "remove":
		in.Remove = []uint32{w.leaf(by, d.of)}
	}
	out := w.step(w.devices[by], in)
	w.queue = nil
	return out.Publish[0].Data
}

// realm is the model: who is a member and who an admin. It follows the text of
// design 5.5 and shares no code with the engine.
type realm struct{ members, admins map[string]bool }

func (r realm) do(d deed) {
	switch {
	case !r.members[d.of]:
	case d.verb == "promote":
		r.admins[d.of] = true
	case d.verb == "demote":
		delete(r.admins, d.of)
	case d.verb == "remove":
		delete(r.members, d.of)
		delete(r.admins, d.of)
	}
}

func (r realm) String() string {
	return strings.Join(slices.Sorted(maps.Keys(r.members)), " ") + " / " + strings.Join(slices.Sorted(maps.Keys(r.admins)), " ")
}

// after is what the group must come to when admins do one thing each, at once.
// The branch of the first wins: one admin stands on each, and it has the lowest
// leaf. Of the others, what they may still do there is done, removals last, as
// they win; what is still undone then is asked.
func (r realm) after(did []deed, by []string) (left realm, asked bool) {
	left = realm{maps.Clone(r.members), maps.Clone(r.admins)}
	left.do(did[0])
	may := maps.Clone(left.admins)
	for _, removals := range []bool{false, true} {
		for i, d := range did[1:] {
			if (d.verb == "remove") == removals && may[by[i+1]] {
				left.do(d)
			}
		}
	}
	for i, d := range did[1:] {
		undone := d.verb == "remove" || d.verb == "promote" && !left.admins[d.of] || d.verb == "demote" && left.admins[d.of]
		asked = asked || undone && left.members[d.of] && !may[by[i+1]]
	}
	return left, asked
}

// orders are all orders of n things.
func orders(n int) [][]int {
	if n == 0 {
		return [][]int{{}}
	}
	var out [][]int
	for _, o := range orders(n - 1) {
		for at := range n {
			out = append(out, slices.Insert(slices.Clone(o), at, n-1))
		}
	}
	return out
}

// concurrent lets admins do one thing each, cut off from all others; observers
// hear of it in given orders before they say a word; then the network heals.
func concurrent(t *testing.T, base *world, by []string, did []deed, hear map[string][]int) {
	t.Helper()
	w := base.copyOf(t)
	for i, n := range by {
		w.island[n] = i + 1
	}
	blocks := make([][]byte, len(by))
	for i, n := range by {
		blocks[i] = w.do(n, did[i])
	}
	start := realm{map[string]bool{}, map[string]bool{}}
	for _, m := range w.devices[by[0]].g.Status().Members {
		start.members[m.Name] = true
	}
	for _, n := range strings.Fields(admins(base.devices[by[0]].g.Status())) {
		start.admins[n] = true
	}
	for n := range w.devices {
		start.members[n] = true
	}
	want, asked := start.after(did, by)
	for _, n := range slices.Sorted(maps.Keys(hear)) {
		for _, i := range hear[n] {
			w.step(w.devices[n], group.Receive{Blocks: [][]byte{blocks[i]}, From: by[i]})
		}
	}
	w.heal()
	for range 4 {
		w.run(15 * time.Second)
		w.sync()
	}
	story := fmt.Sprintf("%v by %v, heard as %v", did, by, hear)
	st := w.agree(slices.Sorted(maps.Keys(want.members))...)
	got := realm{map[string]bool{}, map[string]bool{}}
	for _, m := range st.Members {
		got.members[m.Name] = true
		if m.Admin {
			got.admins[m.Name] = true
		}
	}
	if got.String() != want.String() {
		t.Errorf("%s: %s, want %s", story, got, want)
	}
	for n := range want.members {
		if got := w.devices[n].has(group.KindNeedsApproval); got != asked {
			t.Errorf("%s: %s asks for approval: %v, want %v", story, n, got, asked)
		}
		w.reload(n)
	}
	w.agree(slices.Sorted(maps.Keys(want.members))...)
}

// TestTwoAdmins: every pair of what two admins can do at once, in every order
// of arrival at the others.
func TestTwoAdmins(t *testing.T) {
	base := ruled(t, 2, "ada", "ben", "cleo", "dan")
	do := func(other string) []deed {
		return []deed{{"update", ""}, {"promote", "cleo"}, {"promote", "dan"}, {"demote", other}, {"remove", other}, {"remove", "cleo"}}
	}
	n := 0
	for _, a := range do("ben") {
		for _, b := range do("ada") {
			for _, cleo := range orders(2) {
				for _, dan := range orders(2) {
					concurrent(t, base, []string{"ada", "ben"}, []deed{a, b}, map[string][]int{"cleo": cleo, "dan": dan})
					n++
				}
			}
		}
	}
	t.Logf("%d stories", n)
}

// TestThreeAdmins: three at once, each order of arrival at the one observer.
func TestThreeAdmins(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of stories: run without -short")
	}
	base := ruled(t, 3, "ada", "ben", "cleo", "dan")
	all := []string{"ada", "ben", "cleo"}
	do := func(self int) []deed {
		x, y := all[(self+1)%3], all[(self+2)%3]
		return []deed{{"promote", "dan"}, {"demote", x}, {"remove", y}, {"remove", "dan"}}
	}
	n := 0
	for _, a := range do(0) {
		for _, b := range do(1) {
			for _, c := range do(2) {
				for _, order := range orders(3) {
					concurrent(t, base, all, []deed{a, b, c}, map[string][]int{"dan": order})
					n++
				}
			}
		}
	}
	t.Logf("%d stories", n)
}
