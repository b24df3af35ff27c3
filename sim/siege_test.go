package sim

import (
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// Whatever an adversary does, the honest members end on one head, with one
// key, the same members, and every message read once.
func TestSieges(t *testing.T) {
	t.Parallel()
	for _, c := range Sieges() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			seeds := uint64(3)
			if testing.Short() || race {
				seeds = 1
			}
			if n, err := strconv.ParseUint(os.Getenv("DMLS_SIM_SIEGE"), 10, 64); err == nil {
				seeds = n
			}
			met := 0
			for seed := uint64(1); seed <= seeds; seed++ {
				r, err := Run(c.Scenario(seed))
				if err != nil {
					t.Fatal(err)
				}
				if len(r.Violations) > 0 || r.Vacuous == "" && !r.Converged {
					t.Errorf("%s\nreplay: %s", strings.Join(r.Violations, "\n\t"), r.Scenario.Replay())
				}
				if r.Vacuous == "" {
					met++
				}
			}
			if met == 0 {
				t.Errorf("all %d runs are vacuous", seeds)
			}
		})
	}
}

// Every adversary of design, section 11, is there.
func TestAdversaries(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"removed-forker", "tag-grinder", "equivocator", "path-poisoner", "re-encrypter", "withholder",
		"backdater", "minter", "flooder", "remover", "lying-merger", "lying-notice", "replayer",
	} {
		if attacks[name].make == nil || !slices.ContainsFunc(Sieges(), func(c Class) bool { return c.Name == siegePrefix+name }) {
			t.Errorf("no adversary %q", name)
		}
	}
}

// siege runs the one of an adversary.
func siege(t *testing.T, name string, seed uint64) *run {
	t.Helper()
	c := Sieges()[slices.IndexFunc(Sieges(), func(c Class) bool { return c.Name == siegePrefix+name })]
	return finished(t, c.Scenario(seed), nil)
}

// The copies that a re-encrypter makes are on their way before what they copy.
func TestReencrypterIsFirst(t *testing.T) {
	t.Parallel()
	r := siege(t, "re-encrypter", 1)
	honest, first := map[time.Time]bool{}, 0
	for _, f := range r.unsealed() {
		if b := r.captured[f.cid]; f.header.ContentType == frame.Commit && !b.forged {
			honest[b.at] = true
		}
	}
	for _, cid := range r.heard {
		if b := r.captured[cid]; b.forged && honest[b.at] {
			first++
		}
	}
	if first < 4 || r.Network.MinLatency == 0 {
		t.Errorf("%d copies are on the way with the commit that they copy", first)
	}
}

// Members open what the adversaries send, but for those whose frames are never to
// open: an attack that all refuse at the door proves nothing.
func TestAdversariesBite(t *testing.T) {
	t.Parallel()
	for _, c := range Sieges() {
		name := strings.TrimPrefix(c.Name, siegePrefix)
		if slices.Contains([]string{"flooder", "re-encrypter", "lying-notice", "replayer"}, name) {
			continue
		}
		opened := 0
		for seed := uint64(1); seed <= 3; seed++ {
			r := finished(t, c.Scenario(seed), nil)
			for _, d := range r.members() {
				if d.attack != nil || d.driver == nil {
					continue
				}
				frames, err := d.driver.Log(r.gid)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range frames {
					if r.captured[f.CID].forged {
						opened++
					}
				}
			}
		}
		if opened == 0 {
			t.Errorf("%s: nobody opened anything", name)
		}
	}
}

// What the liar says is understood, and counted, by some; what the replayer plays
// is what others said.
func TestSignalsOfAdversariesAreHeard(t *testing.T) {
	t.Parallel()
	heard, played := 0, 0
	for seed := uint64(1); seed <= 3; seed++ {
		r := siege(t, "lying-notice", seed)
		liar := hex.EncodeToString(r.devices[r.Adversaries[0].Device].id.ID())
		for _, d := range r.devices {
			if _, _, ok := d.store.disk.get(group.Prefix(r.gid) + "word/" + liar); ok {
				heard++
			}
		}
		r = siege(t, "replayer", seed)
		played += min(r.assaults, len(r.signals))
	}
	if heard == 0 || played == 0 {
		t.Errorf("%d devices count the word of a liar; %d signals were played again", heard, played)
	}
}

// Members sync with an adversary as with anybody: it stays a peer and answers.
func TestAdversaryAnswers(t *testing.T) {
	t.Parallel()
	answered := 0
	for _, c := range Sieges()[:4] {
		r := finished(t, c.Scenario(2), nil)
		bad := r.devices[r.Adversaries[0].Device]
		if bad.insider == nil || len(bad.topics) == 0 {
			t.Fatalf("%s is no peer", bad.name)
		}
		answered += bad.insider.answered
	}
	if answered == 0 {
		t.Error("nobody was given a block")
	}
}
