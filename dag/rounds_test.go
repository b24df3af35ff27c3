package dag

import (
	"slices"
	"testing"
)

// Two rounds: all stand, then all confirm. One is not enough.
func TestTwoRounds(t *testing.T) {
	p := start(t, "abc")
	p.commit("a", "r", "x")
	p.ack("x", "", "b")
	p.finals("", "r")
	p.ack("x", "", "c")
	p.finals("x", "r")
	p.ack("x", "x", "a", "b")
	p.finals("x", "r")
	p.ack("x", "x", "c")
	p.finals("x", "x")
	if got := p.Erasable(); !slices.Equal(got, []ID{"r"}) {
		t.Fatal(got)
	}
	if p.Rebase("x"); p.Base() != "x" || p.Number("x") != 8 || p.Has("r") {
		t.Fatal("rebase")
	}
}

// A frame outside that only settled counts as leaving, one inside does not.
func TestSettledLeaves(t *testing.T) {
	for at, final := range map[ID]ID{"x": "x", "r": "r", "": "r"} {
		p := start(t, "ab")
		p.commit("a", "r", "x")
		p.ack("x", "", "b")
		p.ack("x", "x", "a", "b")
		p.Settled("b", p.seq["b"], at)
		if p.Final() != final {
			t.Errorf("settled in %q: final %q, want %q", at, p.Final(), final)
		}
	}
}

// Whoever left an epoch and came back does not make it final: v has confirmed
// x on the strength of s's first stand there, then hears of s's leaving before
// it hears of the return, and follows it out. (With "has not left it since",
// s would call x final while the group agrees on y. Decision 0020.)
func TestReturnDoesNotFinalise(t *testing.T) {
	views := map[Member]*play{}
	for _, m := range []Member{"v", "s", "w"} {
		views[m] = start(t, "vsw")
	}
	sees := func(who Member, do func(p *play)) { t.Helper(); do(views[who]) }
	x := func(p *play) { p.commit("w", "r", "x") }
	y := func(p *play) { p.commit("v", "r", "y") } // wins ties: lower leaf
	to := func(m Member, at, confirms ID) func(*play) {
		return func(p *play) { t.Helper(); p.ack(at, confirms, m) }
	}
	s1, w1, v1 := to("s", "x", ""), to("w", "y", ""), to("v", "x", "")
	v2 := to("v", "x", "x")
	s2, w2, s3 := to("s", "y", ""), to("w", "x", "x"), to("s", "x", "x")

	sees("v", y)
	sees("v", x)
	sees("v", s1)
	views["v"].heads("x")
	sees("v", v1)
	views["v"].finals("x", "r")
	sees("v", v2)

	sees("w", x)
	sees("w", y)
	views["w"].heads("y")
	sees("w", w1)
	sees("w", s1)
	views["w"].heads("y")

	sees("s", x)
	sees("s", s1)
	sees("s", y)
	views["s"].heads("x")
	sees("s", w1)
	views["s"].heads("y")
	sees("s", s2)

	sees("w", v1)
	sees("w", v2)
	views["w"].heads("x")
	sees("w", w2) // stands again; it sees s at x still
	for _, f := range []func(*play){v1, v2, w2} {
		sees("s", f)
	}
	views["s"].heads("x")
	sees("s", s3)
	views["s"].finals("x", "r") // all three have confirmed x

	sees("v", w1)
	sees("v", s2)
	views["v"].heads("y") // v leaves x
	sees("w", to("v", "y", ""))
	sees("w", s2)
	views["w"].heads("y") // and w with it
}

// The epoch that adds a member waits for it, and the joiner, to whom its base
// is final from the start, owes a confirmation.
func TestJoinerConfirmsBase(t *testing.T) {
	j := Voter{"j", 1, 2}
	x := Vertex{ID: "x", Parent: "r", Author: "a", Added: []Voter{j}}
	elder := start(t, "ab")
	if _, err := elder.AddVertex(x); err != nil {
		t.Fatal(err)
	}
	elder.seq["a"]++
	joiner := &play{t, New(nil, x, 8, elder.Members("x")), map[Member]uint64{"a": 1}, 0}
	both := func(confirms ID, by ...Member) {
		elder.ack("x", confirms, by...)
		joiner.ack("x", confirms, by...)
	}
	both("", "b")
	if joiner.Owes("j") != "" {
		t.Fatal("j has not stood yet")
	}
	both("", "j")
	elder.finals("x", "r")
	joiner.finals("x", "x")
	if joiner.Owes("j") != "x" || elder.Owes("b") != "x" || elder.Owes("j") != "x" {
		t.Fatal("all three owe x")
	}
	both("x", "j", "a", "b")
	elder.finals("x", "x")
	if elder.Rebase("x"); elder.Owes("a") != "" || joiner.Owes("j") != "" || joiner.Owes("stranger") != "" {
		t.Fatal("nobody owes anything")
	}
}
