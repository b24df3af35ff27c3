package sim

import (
	"strings"
	"testing"
	"time"
)

// thieves plays a run in which every founder is robbed at several times.
func thieves(t *testing.T, s Scenario, before func(*run)) (*run, *ledger) {
	t.Helper()
	r := finished(t, s, func(r *run) {
		if before != nil {
			before(r)
		}
		r.robbed = []time.Duration{5 * time.Second, 25 * time.Second, 45 * time.Second, 80 * time.Second}
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
	b, err := r.book()
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

// What the thief reads is what the model says, no more and no less, for every
// founder at several times; and it is not nothing.
func TestThief(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 3; seed++ {
		s := Default(seed)
		r, b := thieves(t, s, nil)
		var unread, reread, later, epochs int
		for _, l := range r.loots {
			got, err := r.rob(false, l)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range b.differ(got, punctured, l) {
				t.Errorf("seed %d: %s", seed, v)
			}
			m := b.measure(l, got)
			unread, reread, later, epochs = unread+m.Unread, reread+m.Reread, later+m.Later, epochs+m.Epochs
		}
		t.Logf("seed %d: %d thefts: %d epochs, %d unread, %d reread, %d later", seed, len(r.loots), epochs, unread, reread, later)
		if len(r.loots) < 8 || unread == 0 || later == 0 || epochs == 0 {
			t.Errorf("seed %d: the thief came home with nothing", seed)
		}
	}
}

// Disks that fail to erase what they should. The thief must find each.
func TestPlantedLeaks(t *testing.T) {
	t.Parallel()
	for name, hoard := range map[string]func(string) bool{
		"a puncture is not applied":         func(k string) bool { return strings.Contains(k, "/p/") },
		"an epoch is not erased":            func(k string) bool { return strings.Contains(k, "/e/") },
		"a ratchet does not move":           func(k string) bool { return strings.Contains(k, "/r/") },
		"the secret tree is not consumed":   func(k string) bool { return strings.Contains(k, "/t/") },
		"a KeyPackage outlives its Welcome": func(k string) bool { return strings.HasPrefix(k, "d/kp/") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, b := thieves(t, Default(1), func(r *run) {
				for _, d := range r.devices {
					d.store.hoard = hoard
				}
			})
			found := 0
			for _, l := range r.loots {
				got, err := r.rob(true, l)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range b.differ(got, punctured, l) {
					if !strings.Contains(v, "gone by the rules") {
						t.Fatalf("not a leak: %s", v)
					}
					if found++; found == 1 {
						t.Log(v)
					}
				}
			}
			if found == 0 {
				t.Errorf("%d thefts, and the thief finds nothing", len(r.loots))
			}
		})
	}
}

// Two stolen devices serve each other: the path keys of one with the PPRF of
// the other. The model says by how much, and in some run it is more than both
// get alone: that is the gap of whoever has not processed a commit yet
// (reference/dmls.md, case 28).
func TestThiefOfTwo(t *testing.T) {
	t.Parallel()
	tried := 0
	for seed := uint64(1); seed <= 6 && tried < 4; seed++ {
		r, b := thieves(t, Default(seed), nil)
		for i, l := range r.loots {
			for _, o := range r.loots[:i] {
				pair := []*loot{l, o}
				more := len(b.exposed(punctured, pair...).frames)
				alone := b.exposed(punctured, l).frames
				for c := range b.exposed(punctured, o).frames {
					alone[c] = true
				}
				if more == len(alone) || tried == 4 {
					continue
				}
				tried++
				got, err := r.rob(false, pair...)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range b.differ(got, punctured, pair...) {
					t.Errorf("seed %d: %s", seed, v)
				}
				t.Logf("seed %d: %s at %v and %s at %v: %d frames, alone %d", seed, l.name, l.at.Sub(epoch0), o.name, o.at.Sub(epoch0), len(got.frames), len(alone))
			}
		}
	}
	if tried == 0 {
		t.Error("no two thefts were worth more together")
	}
}
