package dag

import (
	"fmt"
	"testing"
)

// BenchmarkChain adds commits and acks where nothing is forked, in a group of
// 10,000 with 1,000 retained epochs.
func BenchmarkChain(b *testing.B) {
	var ms []Voter
	for i := range 10000 {
		ms = append(ms, Voter{Member(fmt.Sprint(i)), 1, uint32(i)})
	}
	g := New(nil, Vertex{ID: "0"}, 0, ms)
	id := 0
	add := func() {
		id++
		v := Vertex{ID: ID(fmt.Sprint(id)), Parent: g.Head(), Author: ms[id%100].Member, Seq: uint64(id)}
		if _, err := g.AddVertex(v); err != nil {
			b.Fatal(err)
		}
		if _, err := g.AddStand(Stand{ID: v.ID + "a", Author: "500", Seq: uint64(id), At: v.ID}); err != nil {
			b.Fatal(err)
		}
	}
	for range 1000 {
		add()
	}
	for b.Loop() {
		add()
	}
}

// BenchmarkSilent asks for the final epoch while one of 128 voters is silent
// and 1,000 epochs are retained.
func BenchmarkSilent(b *testing.B) {
	var ms []Voter
	for i := range 128 {
		ms = append(ms, Voter{Member(fmt.Sprint(i)), 1, uint32(i)})
	}
	g := New(nil, Vertex{ID: "0"}, 0, ms)
	for id := 1; id <= 1000; id++ {
		v := Vertex{ID: ID(fmt.Sprint(id)), Parent: g.Head(), Author: ms[id%127].Member, Seq: uint64(id)}
		if _, err := g.AddVertex(v); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		g.round++
		if g.Final() != "0" || g.Confirmable() != "" {
			b.Fatal("final")
		}
	}
}
