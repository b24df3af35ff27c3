package sim

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/group"
)

// spoilt plays a run of a class in which joiners return, with bad disks.
func spoilt(t *testing.T, seed uint64, spoil func(*Store)) *run {
	t.Helper()
	s := classes[slices.IndexFunc(classes, func(c Class) bool { return c.Name == "joins" })].Scenario(seed)
	s.Events = slices.DeleteFunc(s.Events, func(e Event) bool { return e.Do == Crash })
	return finished(t, s, func(r *run) {
		for _, d := range r.devices {
			spoil(d.store)
		}
	})
}

// Disks that forget to erase a kind of record, or to delete it: whoever copies
// one finds what was there. The rules of retention know nothing of most of these.
func TestRelicsOnDisk(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"/p/", "/t/", "/r/", "/sec", "/exp", "/rejoin/", "/answer/", "/u/", "/w/", "d/kp/"} {
		for name, spoil := range map[string]func(*Store){
			"hoards": func(s *Store) { s.hoard = func(key string) bool { return strings.Contains(key, kind) } },
			"keeps":  func(s *Store) { s.stuck = func(key string) bool { return strings.Contains(key, kind) } },
		} {
			t.Run(name+strings.ReplaceAll(kind, "/", " "), func(t *testing.T) {
				t.Parallel()
				for seed := uint64(1); seed <= 6; seed++ {
					e := spoilt(t, seed, spoil).evidence()
					if found := checkThief(e, agreement{}); slices.ContainsFunc(found, func(v string) bool { return strings.Contains(v, " what was erased as ") && strings.Contains(v, kind) }) {
						return
					}
				}
				t.Error("nobody finds anything")
			})
		}
	}
}

// An engine that keeps in memory what it erased on its disk is found out, and so
// is a key within another record and a key that is written once more.
func TestRelics(t *testing.T) {
	t.Parallel()
	r := finished(t, Default(2), nil)
	d := r.byName[r.evidence().reader().name]
	if got := d.relics(); len(got) > 0 {
		t.Fatalf("an honest device: %q", got)
	}
	if n := d.store.needles; len(n.gone) < 100 || len(n.short) == 0 {
		t.Errorf("only %d values and %d keys were erased", len(n.gone), len(n.short))
	}
	st, _ := d.status()
	exporter := group.Prefix(r.gid) + "e/" + st.Head + "/exp"
	key := d.store.read(exporter)
	if len(key) != keyLen {
		t.Fatalf("the exporter has %d bytes", len(key))
	}
	commit := func(op group.Op) {
		if err := d.store.Commit(context.Background(), []group.Op{op}); err != nil {
			t.Fatal(err)
		}
	}
	found := func(want string) {
		t.Helper()
		if got := d.relics(); !slices.ContainsFunc(got, func(v string) bool { return strings.Contains(v, want) }) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	commit(group.Op{Key: exporter, Class: group.Secret})
	found("memory: " + exporter + " holds what was erased")
	commit(group.Op{Key: "g/other", Class: group.Public, Value: append([]byte("behind this: "), key...)})
	found("disk: in g/other is the key")
	commit(group.Op{Key: "g/same", Class: group.Public, Value: key})
	found("disk: g/same holds what was erased")
	commit(group.Op{Key: exporter, Class: group.Secret, Value: key})
	found("written once more")
}
