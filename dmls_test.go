package dmls

import (
	"slices"
	"testing"
)

func TestSamePorts(t *testing.T) {
	last := []string{"/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4002/quic-v1", "/ip6/::1/tcp/5"}
	for _, c := range []struct{ want, got []string }{
		{nil, []string{"/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4002/quic-v1"}},
		{[]string{"/ip4/127.0.0.1/tcp/0"}, []string{"/ip4/127.0.0.1/tcp/0"}},
		{[]string{"/ip4/0.0.0.0/tcp/7000"}, []string{"/ip4/0.0.0.0/tcp/7000"}},
		{[]string{"/ip6/::1/tcp/0"}, []string{"/ip6/::1/tcp/5"}},
	} {
		if got := samePorts(c.want, last); !slices.Equal(got, c.got) {
			t.Errorf("samePorts(%v) = %v, want %v", c.want, got, c.got)
		}
	}
}
