package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What is planned comes in its order, and what is planned for one moment in the
// order in which it was planned.
func TestAgenda(t *testing.T) {
	t.Parallel()
	chance := rand.New(stream(1, "agenda"))
	var a agenda
	var want, got []event
	for order := range uint64(2000) {
		e := event{at: epoch0.Add(time.Duration(chance.IntN(50))), order: order}
		a.add(e)
		want = append(want, e)
		if chance.IntN(3) == 0 { // what comes out early goes in again
			again := a.next()
			a.add(again)
		}
	}
	slices.SortStableFunc(want, func(x, y event) int { return x.at.Compare(y.at) })
	for len(a) > 0 {
		got = append(got, a.next())
	}
	if !slices.EqualFunc(got, want, func(x, y event) bool { return x.at.Equal(y.at) && x.order == y.order }) {
		t.Error("events come out of order")
	}
}
