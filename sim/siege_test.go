package sim

import (
	"slices"
	"strings"
	"testing"
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
		"backdater", "minter", "flooder", "remover", "lying-merger", "lying-notice",
	} {
		if attacks[name].make == nil || !slices.ContainsFunc(Sieges(), func(c Class) bool { return c.Name == siegePrefix+name }) {
			t.Errorf("no adversary %q", name)
		}
	}
}
