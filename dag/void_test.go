package dag

import "testing"

// complain lets members say in an epoch that they cannot open a child.
func (p *play) complain(at, child ID, by ...Member) {
	p.Helper()
	p.send(Stand{At: at, Mute: true, CannotOpen: child}, by...)
}

// More than a third of the parent's voters void a commit, and only those count whom
// it keeps, who never stood below it, are no proved equivocators there, and say so in
// its parent.
func TestComplaints(t *testing.T) {
	for name, c := range map[string]struct {
		third func(p *play) // the third complaint, of six voters
		void  bool
	}{
		"three":              {func(p *play) { p.complain("r", "x", "d") }, true},
		"two":                {func(p *play) {}, false},
		"one twice":          {func(p *play) { p.complain("r", "x", "b", "c") }, false},
		"one who is removed": {func(p *play) { p.complain("r", "x", "f") }, false},
		"one who stood there": {func(p *play) {
			p.ack("x", "", "d")
			p.complain("r", "x", "d")
		}, false},
		"one who stands there later": {func(p *play) {
			p.complain("r", "x", "d")
			p.ack("x", "", "d")
		}, false},
		"an equivocator": {func(p *play) {
			p.Equivocated("d", "r")
			p.complain("r", "x", "d")
		}, false},
		"one who is proved later": {func(p *play) {
			p.complain("r", "x", "d")
			p.Equivocated("d", "r")
		}, false},
		"an equivocator elsewhere": {func(p *play) {
			p.Equivocated("d", "nowhere")
			p.complain("r", "x", "d")
		}, true},
		"one in another epoch": {func(p *play) { p.complain("y", "x", "d") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, "abcdef")
			p.commit("a", "r", "x", "f")
			p.commit("e", "r", "y")
			p.heads("x") // one each; a has the lower leaf
			p.complain("r", "x", "b", "c")
			c.third(p)
			if p.Void("x") != c.void {
				t.Fatalf("void %v, complainers %q", p.Void("x"), p.Complainers("x"))
			}
			if c.void {
				p.heads("y")
			}
		})
	}
}

// Whoever stood at the new base and was last seen beside it does not stand there.
func TestForgottenLeave(t *testing.T) {
	p := start(t, "abc")
	p.commit("a", "r", "x")
	p.ack("x", "", "b", "c")
	p.commit("b", "r", "y")
	p.heads("x")
	p.Retire("r")
	p.ack("x", "", "a", "c")
	p.finals("", "x")
	p.ack("x", "", "b")
	p.finals("x", "x")
}
