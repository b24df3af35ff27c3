package group_test

import (
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// Above 128 members, whoever has no vote says once that it is there, and then follows
// and says nothing; who has one says where it stands (decision 0106).
func TestWithoutAVote(t *testing.T) {
	t.Parallel()
	for _, n := range []int{128, 1000} { // far is member n/2
		first, far, _, env, err := group.Crowd(n, group.Sim())
		if err != nil {
			t.Fatal(err)
		}
		step := func(g, other *group.Group, in group.Input) (sent int) {
			out, err := g.Step(env, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range out.Publish {
				if _, err := other.Step(env, group.Receive{Blocks: [][]byte{b.Data}}); err != nil {
					t.Fatal(err)
				}
			}
			return len(out.Publish)
		}
		said := func() (sent int) { // by far in a minute
			for range 60 {
				env.Now = env.Now.Add(time.Second)
				sent += step(far, first, group.Tick{})
			}
			return sent
		}
		base := said()
		step(far, first, group.Change{Update: true}) // from now on it knows the path
		step(first, far, group.Change{Update: true})
		head := said()
		if a, b := first.Status().Head, far.Status().Head; a != b {
			t.Fatalf("n=%d: heads %s and %s", n, a, b)
		}
		if votes := n <= 128; base != 1 && !votes || base == 0 || votes != (head > 0) {
			t.Errorf("n=%d: far sent %d frames of its base and %d of the new head", n, base, head)
		}
	}
}
