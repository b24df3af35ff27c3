package gossip

import (
	"fmt"
	"testing"
	"time"
)

// Of many dead peers none keeps a static one waiting.
func TestStaticGoesBeforeTheDead(t *testing.T) {
	var dead []string
	for i := range 3 * maxDials {
		id, err := PeerID(seed(fmt.Sprint("dead", i)))
		if err != nil {
			t.Fatal(err)
		}
		// 192.0.2.0/24 is for documentation (RFC 5737): nobody answers.
		dead = append(dead, fmt.Sprintf("/ip4/192.0.2.%d/tcp/9/p2p/%s", i+1, id))
	}
	a, _ := start(t, "a")
	b, _ := start(t, "b", func(c *Config) { c.Remembered, c.Static = dead, a.Addrs() })
	join(t, a, b)
	eventually(t, 3*time.Second, "static peer among dead ones", func() bool { return len(b.Peers(topic)) == 1 })
}

func TestTargetsAreBounded(t *testing.T) {
	a, _ := start(t, "a", func(c *Config) { c.NoListen, c.Listen = true, nil })
	static, err := PeerID(seed("static"))
	if err != nil {
		t.Fatal(err)
	}
	add := func(addr string, kind int) {
		infos, err := parseAddrs([]string{addr})
		if err != nil {
			t.Fatal(err)
		}
		a.keeper.add(infos[0].ID, infos[0].Addrs, kind)
	}
	add("/ip4/127.0.0.1/tcp/1/p2p/"+static, isStatic|isMember)
	member, err := PeerID(seed("member"))
	if err != nil {
		t.Fatal(err)
	}
	add("/ip4/127.0.0.1/tcp/1/p2p/"+member, isMember)
	for i := range maxTargets + 10 {
		id, err := PeerID(seed(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		for port := range maxAddrs + 3 {
			add(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", port+1, id), 0)
		}
	}
	a.keeper.mu.Lock()
	defer a.keeper.mu.Unlock()
	if n := len(a.keeper.targets); n != maxTargets {
		t.Errorf("%d peers are kept, want %d", n, maxTargets)
	}
	kept, remembered := false, false
	for id, g := range a.keeper.targets {
		kept = kept || id.String() == static
		remembered = remembered || id.String() == member
		if len(g.addrs) > maxAddrs {
			t.Errorf("%d addresses of one peer", len(g.addrs))
		}
	}
	if !kept {
		t.Error("the static peer was evicted")
	}
	if !remembered {
		t.Error("a member was evicted for peers that share no topic")
	}
}

func TestRetryGrowsAndIsBounded(t *testing.T) {
	k := newKeeper(nil)
	for _, c := range []struct {
		g    target
		most time.Duration
	}{{target{static: true}, fastRetry}, {target{}, slowRetry}} {
		last := time.Duration(0)
		for range 20 {
			now := time.Now()
			k.retry(&c.g)
			last = c.g.next.Sub(now)
			if last > 3*c.most/2+time.Second {
				t.Fatalf("pause of %v, at most %v", last, 3*c.most/2)
			}
		}
		if last < c.most/2 {
			t.Errorf("after 20 failures the pause is %v, at least %v", last, c.most/2)
		}
	}
}
