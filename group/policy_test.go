package group_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
)

// ruled is a quiet group of the policy of admins; the first founds it, the
// first n are admins.
func ruled(t testing.TB, n int, names ...string) *world {
	w := newWorld(t, names...)
	w.policy = group.PolicyAdmins
	w.create(names[0])
	for _, name := range names[1:] {
		w.join(names[0], name)
	}
	for _, name := range names[1:n] {
		w.promote(names[0], name)
	}
	w.run(20 * time.Second)
	return w
}

func (w *world) promote(by, name string) {
	w.t.Helper()
	w.step(w.devices[by], group.Change{Promote: []uint32{w.leaf(by, name)}})
	w.flush()
}

func (w *world) demote(by, name string) {
	w.t.Helper()
	w.step(w.devices[by], group.Change{Demote: []uint32{w.leaf(by, name)}})
	w.flush()
}

func admins(st group.Status) string {
	var out []string
	for _, m := range st.Members {
		if m.Admin {
			out = append(out, m.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func wantAdmins(t *testing.T, st group.Status, want string) {
	t.Helper()
	if got := admins(st); got != want {
		t.Fatalf("admins %q, want %q", got, want)
	}
}

// What a caller has no right to is refused to it, and changes nothing.
func TestRightsOfCallers(t *testing.T) {
	w := ruled(t, 2, "ada", "ben", "cleo", "dan")
	ada, ben, cleo := w.devices["ada"], w.devices["ben"], w.devices["cleo"]
	leaf := func(n string) []uint32 { return []uint32{w.leaf("ada", n)} }
	for _, c := range []struct {
		by   *device
		in   group.Input
		want error
	}{
		{cleo, group.Change{Remove: leaf("dan")}, group.ErrForbidden},
		{cleo, group.Change{Promote: leaf("cleo")}, group.ErrForbidden},
		{cleo, group.Change{Demote: leaf("ada")}, group.ErrForbidden},
		{ada, group.Change{Promote: leaf("ben")}, group.ErrSameRole},
		{ada, group.Change{Demote: leaf("cleo")}, group.ErrSameRole},
		{ada, group.Change{Promote: []uint32{9}}, group.ErrNoSuchLeaf},
		{ada, group.Change{Demote: append(leaf("ben"), leaf("ada")...)}, group.ErrLastAdmin},
	} {
		before := c.by.digest()
		if _, err := w.try(c.by, c.in); !errors.Is(err, c.want) || c.by.digest() != before {
			t.Errorf("%s %+v: %v, want %v", c.by.name, c.in, err, c.want)
		}
	}
	w.demote("ben", "ada")
	w.run(20 * time.Second)
	wantAdmins(t, w.agree("ada", "ben", "cleo", "dan"), "ben")
	if _, err := w.try(ada, group.Change{Remove: leaf("dan")}); !errors.Is(err, group.ErrForbidden) {
		t.Errorf("a former admin removes: %v", err)
	}
	if _, err := w.try(ben, group.Leave{}); !errors.Is(err, group.ErrLastAdmin) || ben.g.Status().State != "member" {
		t.Errorf("the last admin leaves: %v", err)
	}
}

func TestOpenGroupHasNoAdmins(t *testing.T) {
	w := newWorld(t, "ada", "ben")
	w.create("ada")
	w.join("ada", "ben")
	if _, err := w.try(w.devices["ada"], group.Change{Promote: []uint32{1}}); !errors.Is(err, group.ErrNoAdmins) {
		t.Errorf("promoting in an open group: %v", err)
	}
	wantAdmins(t, w.agree("ada", "ben"), "")
	if _, _, err := group.Create(w.env(w.devices["ada"]), w.cfg, w.devices["ada"].id, "x", 7); !errors.Is(err, group.ErrPolicy) {
		t.Errorf("policy 7: %v", err)
	}
}

// Admins are members: who goes is no admin any more, also if it comes back.
// Joiners and reloaded devices know the same admins.
func TestAdminsAreMembers(t *testing.T) {
	w := ruled(t, 3, "ada", "ben", "cleo", "dan")
	w.remove("ada", "ben")
	w.run(20 * time.Second)
	wantAdmins(t, w.agree("ada", "cleo", "dan"), "ada cleo")
	w.step(w.devices["cleo"], group.Leave{})
	w.run(20 * time.Second)
	wantAdmins(t, w.agree("ada", "dan"), "ada")
	w.devices["ben"].g, w.devices["ben"].disk = nil, map[string]group.Op{}
	w.join("dan", "ben")
	w.run(20 * time.Second)
	w.reload("ada")
	w.run(time.Second)
	wantAdmins(t, w.agree("ada", "ben", "dan"), "ada")
	if p := w.devices["ben"].g.Status().Policy; p != "admins" {
		t.Errorf("policy %q", p)
	}
}

// An admin removes as many as it likes in one commit; the bound is for open
// groups.
func TestAdminRemovesMany(t *testing.T) {
	w := ruled(t, 1, "ada", "ben", "cleo", "dan", "eve")
	w.step(w.devices["ada"], group.Change{Remove: []uint32{w.leaf("ada", "ben"), w.leaf("ada", "cleo"), w.leaf("ada", "dan")}})
	w.run(20 * time.Second)
	if st := w.agree("ada", "eve"); len(st.Members) != 2 {
		t.Errorf("members %s", members(st))
	}
}

// All admins leave at once: the lowest leaf of those who stay is the heir.
func TestHeir(t *testing.T) {
	w := ruled(t, 2, "ada", "ben", "cleo", "dan")
	w.step(w.devices["ada"], group.Leave{})
	w.step(w.devices["ben"], group.Leave{})
	w.run(20 * time.Second)
	wantAdmins(t, w.agree("cleo", "dan"), "cleo")
	w.remove("cleo", "dan")
	if !slices.ContainsFunc(w.devices["dan"].events, func(e group.Event) bool { return slices.Contains(e.Actions, "inherit cleo") }) {
		t.Error("no event says who inherits")
	}
}

// lawless is a commit that its author has no right to.
var lawless = []struct {
	name string
	r    func(w *world, x []mls.Extension) mls.CommitRequest
}{
	{"a removal", func(w *world, _ []mls.Extension) mls.CommitRequest {
		return mls.CommitRequest{Proposals: []mls.Proposal{&mls.Remove{Removed: mls.LeafIndex(w.leaf("ada", "ben"))}}}
	}},
	{"a promotion", context(func(w *world, i *group.Info) { i.Admins = append(i.Admins, key(w, "mal")) })},
	{"a demotion", context(func(w *world, i *group.Info) {
		i.Admins = slices.DeleteFunc(i.Admins, func(k string) bool { return k == key(w, "ben") })
	})},
	{"admins who are nobody", context(func(_ *world, i *group.Info) { i.Admins = append(i.Admins, strings.Repeat("z", 32)) })},
	{"another policy", context(func(_ *world, i *group.Info) { i.Policy, i.Admins = group.PolicyOpen, nil })},
	{"another name", context(func(_ *world, i *group.Info) { i.Name = "mine" })},
	{"extensions that change nothing", context(func(*world, *group.Info) {})},
	{"no admins", context(func(_ *world, i *group.Info) { i.Admins = nil })},
	{"admins twice", context(func(w *world, i *group.Info) { i.Admins = append(i.Admins, i.Admins[0]) })},
	{"another extension dropped", func(w *world, x []mls.Extension) mls.CommitRequest {
		return mls.CommitRequest{Proposals: []mls.Proposal{&mls.GroupContextExtensions{Extensions: x[:1]}}}
	}},
	{"another extension changed", func(w *world, x []mls.Extension) mls.CommitRequest {
		x[1] = mls.RequiredCapabilities(nil, nil, nil)
		return mls.CommitRequest{Proposals: []mls.Proposal{&mls.GroupContextExtensions{Extensions: x}}}
	}},
}

func key(w *world, name string) string { return string(w.devices[name].id.ID()) }

// context changes what the group's extension says.
func context(change func(*world, *group.Info)) func(*world, []mls.Extension) mls.CommitRequest {
	return func(w *world, x []mls.Extension) mls.CommitRequest {
		for i := range x {
			if x[i].Type == 0xF0D1 {
				x[i].Data = group.ChangeInfo(w.t, x[i].Data, func(info *group.Info) { change(w, info) })
			}
		}
		return mls.CommitRequest{Proposals: []mls.Proposal{&mls.GroupContextExtensions{Extensions: x}}}
	}
}

// A commit without right is refused by everybody, live, late or merging what
// a losing branch did by right, and leaves the records as they were, byte for
// byte.
func TestLawlessCommits(t *testing.T) {
	for _, c := range lawless {
		t.Run(c.name, func(t *testing.T) {
			w := ruled(t, 2, "ada", "ben", "mal", "dan")
			w.cut(1, "mal")
			w.cut(2, "dan") // dan hears late, when the head has moved on
			mal := w.devices["mal"]
			live := mal.g.CommitRaw(w.t, w.env(mal), c.r(w, mal.g.Extensions()))
			w.refused(live, "ben", "mal")
			w.update("ada")
			w.update("ben")
			w.refused(live, "ada", "mal")
			w.island = map[string]int{"mal": 1}
			w.sync()
			w.refused(live, "dan", "mal")

			w = ruled(t, 2, "ada", "ben", "mal", "dan")
			w.cut(1, "ben", "mal")
			w.update("ben")
			lost := mustCID(t, w.devices["ben"].g.Status().Head)
			w.promote("ada", "dan")
			w.island = map[string]int{}
			for _, name := range []string{"ada", "mal", "dan"} { // both sides, but nobody merges yet
				w.pull(w.devices["ben"], w.devices[name])
				w.pull(w.devices["ada"], w.devices[name])
			}
			w.queue = nil
			mal = w.devices["mal"]
			merge := mal.g.CommitRaw(w.t, w.env(mal), c.r(w, mal.g.Extensions()), lost)
			w.refused(merge, "ada", "mal")
			w.refused(merge, "dan", "mal")
		})
	}
}

// refused hands a device a block that it must refuse, twice.
func (w *world) refused(block []byte, name, from string) {
	w.t.Helper()
	d := w.devices[name]
	before := d.digest()
	for range 2 {
		out := w.step(d, group.Receive{Blocks: [][]byte{block}, From: from})
		if r := out.Results[0]; r.Verdict != group.Rejected || !errors.Is(r.Reason, group.ErrForbidden) {
			w.t.Fatalf("%s: verdict %d, %v", name, r.Verdict, r.Reason)
		}
		if d.digest() != before || len(out.Events) > 0 {
			w.t.Fatalf("%s: the refused commit changed something", name)
		}
	}
}

// One admin outvotes any number of others, also after a restart.
func TestAdminsVoteFirst(t *testing.T) {
	w := ruled(t, 1, "ada", "ben", "cleo", "dan")
	w.cut(1, "ada")
	w.update("ada")
	lone := w.devices["ada"].g.Status().Head
	w.update("ben")
	w.say("cleo", "three of us")
	w.say("dan", "are here")
	for _, n := range []string{"ada", "ben", "cleo", "dan"} {
		w.reload(n)
	}
	w.queue = nil
	w.pull(w.devices["ada"], w.devices["ben"])
	if head := w.devices["ben"].g.Status().Head; head != lone {
		t.Errorf("ben follows %s, not the admin's %s", head, lone)
	}
	f := w.devices["ben"].g.View().Forks
	if len(f) != 1 || !strings.HasPrefix(f[0].Why, "1 admin vote against 0") {
		t.Errorf("forks %+v", f)
	}
	w.heal()
	w.run(time.Minute)
	w.agree("ada", "ben", "cleo", "dan")
}

// What needs no right does not wait for admins who are away: a joiner whose
// branch lost is added again by an ordinary member.
func TestAdminsAway(t *testing.T) {
	w := ruled(t, 2, "ada", "ben", "cleo", "dan")
	w.add("finn")
	w.cut(1, "cleo", "dan")
	w.join("cleo", "finn")
	w.update("ada")
	w.run(time.Second)
	for _, n := range []string{"cleo", "dan"} {
		w.pull(w.devices["ada"], w.devices[n])
	}
	w.run(time.Minute) // the admins stay away
	st := w.agree("cleo", "dan", "finn")
	if len(st.Members) != 5 {
		t.Errorf("members %s", members(st))
	}
	w.heal()
	w.run(time.Minute)
	w.sync()
	w.agree("ada", "ben", "cleo", "dan", "finn")
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
