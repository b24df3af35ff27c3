package mls

import (
	"fmt"
	"testing"
)

// benchGroup is a group of n in which everybody joined by one commit and the
// creator then renewed its path.
func benchGroup(b *testing.B, k KeySchedule, n int) []*device {
	b.Helper()
	all := newGroup(b, k, n, 60, false)
	advance(b, all[0], CommitRequest{}, all[1], all[2])
	return all
}

func BenchmarkOpenCommit(b *testing.B) {
	for _, k := range []KeySchedule{RFC9420, DMLS} {
		for _, n := range []int{8, 128} {
			b.Run(fmt.Sprintf("%v/%d", k, n), func(b *testing.B) {
				all := benchGroup(b, k, n)
				c, _ := all[1].commit(all[1].e, CommitRequest{})
				m, err := ParsePrivateMessage(c.Message)
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if _, err := all[2].e.Open(m, OpenOptions{}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(c.Message)), "frame-B")
			})
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{8, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := benchGroup(b, DMLS, n)
			for b.Loop() {
				if _, err := all[1].e.Commit(CommitRequest{}, all[1].signer, all[1].env); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkProtectOpen(b *testing.B) {
	all := benchGroup(b, DMLS, 8)
	text := make([]byte, 100)
	for b.Loop() {
		msg, delta, err := all[1].e.Protect(text, nil, all[1].signer, all[1].env)
		if err != nil {
			b.Fatal(err)
		}
		if err := all[1].e.Apply(delta); err != nil {
			b.Fatal(err)
		}
		m, err := ParsePrivateMessage(msg)
		if err != nil {
			b.Fatal(err)
		}
		out, err := all[2].e.Open(m, OpenOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := all[2].e.Apply(out.Delta); err != nil {
			b.Fatal(err)
		}
	}
}
