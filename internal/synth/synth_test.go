package synth

import (
	"bytes"
	"testing"

	"github.com/dmlsd/dmls/mls"
)

// All members join (which verifies every signature and parent hash), commit,
// and stay together.
func TestCrowd(t *testing.T) {
	for _, schedule := range []mls.KeySchedule{mls.RFC9420, mls.DMLS} {
		for _, n := range []int{10, 11, 12, 16, 17, 100, 255} {
			c, err := NewCrowd(n, schedule, true)
			if err != nil {
				t.Fatalf("%v, %d members: %v", schedule, n, err)
			}
			for _, author := range c.members() {
				if err := c.Advance(author); err != nil {
					t.Fatalf("%v, %d members: %v", schedule, n, err)
				}
			}
			want := c.First.Epoch.EpochAuthenticator()
			for _, m := range c.members() {
				if !bytes.Equal(m.Epoch.EpochAuthenticator(), want) {
					t.Errorf("%v, %d members: leaf %d is elsewhere", schedule, n, m.Epoch.Self())
				}
			}
			if got := c.First.Epoch.Tree().MemberCount(); int(got) != n {
				t.Errorf("%d members, want %d", got, n)
			}
		}
	}
}

// Equal sizes give equal bytes.
func TestDeterministic(t *testing.T) {
	a, err := NewCrowd(100, mls.DMLS, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewCrowd(100, mls.DMLS, false)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Group.WithTree, b.Group.WithTree) || !bytes.Equal(a.Group.Welcome, b.Group.Welcome) {
		t.Error("two groups of one size differ")
	}
	if !bytes.Equal(a.Far.Epoch.ID(), b.Far.Epoch.ID()) {
		t.Error("two runs lead to different epochs")
	}
}
