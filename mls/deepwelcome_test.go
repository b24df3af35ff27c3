package mls

import (
	"bytes"
	"flag"
	"slices"
	"testing"
)

// forest is a group of which every member's epoch is held, and whose commits
// are tried out without being taken up: a staged commit leaves its parent as
// it was.
type forest struct {
	t       *testing.T
	epochs  map[LeafIndex]*Epoch
	signers map[LeafIndex]Signer
	env     Env
	made    int
}

type recruit struct {
	signer Signer
	bundle *KeyPackageBundle
	epoch  *Epoch
}

func (f *forest) recruit() *recruit {
	f.t.Helper()
	f.made++
	d := newDevice(f.t, f.made, f.env.Rand)
	return &recruit{signer: d.signer, bundle: d.keyPackage()}
}

// members are in the order of their leaves.
func (f *forest) members() []LeafIndex {
	var out []LeafIndex
	for l := range f.epochs {
		out = append(out, l)
	}
	slices.Sort(out)
	return out
}

// admit lets e's owner commit proposals and adds of n recruits, who join.
func (f *forest) admit(e *Epoch, s Signer, n int, path bool, others ...Proposal) (*StagedCommit, []*recruit) {
	f.t.Helper()
	r := CommitRequest{Proposals: others, ForcePath: path}
	var in []*recruit
	for range n {
		x := f.recruit()
		in = append(in, x)
		r.Proposals = append(r.Proposals, &Add{KeyPackage: *x.bundle.KeyPackage})
	}
	c, err := e.Commit(r, s, f.env)
	if err != nil {
		f.t.Fatal(err)
	}
	if n == 0 {
		return c, nil
	}
	welcome, err := c.Welcome(nil, true, s, f.env)
	if err != nil {
		f.t.Fatal(err)
	}
	c.Wipe()
	for i, x := range in {
		if x.epoch, _, err = Join(welcome, nil, x.bundle, JoinOptions{KeySchedule: RFC9420, Signer: x.signer}, f.env); err != nil {
			f.t.Fatalf("leaf %d of %d, path %v: %v", c.Added[i], c.Child.tree.LeafCount(), path, err)
		}
		if x.epoch.Self() != c.Added[i] || !bytes.Equal(x.epoch.EpochAuthenticator(), c.Child.EpochAuthenticator()) {
			f.t.Fatalf("leaf %d joined as %d", c.Added[i], x.epoch.Self())
		}
	}
	return c, in
}

// follow opens a commit and gives the child.
func (f *forest) follow(e *Epoch, c *StagedCommit) *Epoch {
	f.t.Helper()
	m, err := ParsePrivateMessage(c.Message)
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := e.Open(m, OpenOptions{Env: f.env})
	if err != nil {
		f.t.Fatalf("leaf %d opens a commit: %v", e.Self(), err)
	}
	if !bytes.Equal(out.Commit.Child.EpochAuthenticator(), c.Child.EpochAuthenticator()) {
		f.t.Fatalf("leaf %d derives another epoch", e.Self())
	}
	return out.Commit.Child
}

// step makes a commit of one member the group's.
func (f *forest) step(by LeafIndex, c *StagedCommit, in []*recruit) {
	f.t.Helper()
	for _, l := range f.members() {
		switch {
		case slices.Contains(c.Removed, l):
			delete(f.epochs, l)
			delete(f.signers, l)
		case l == by:
			f.epochs[l] = c.Child
		default:
			f.epochs[l] = f.follow(f.epochs[l], c)
		}
	}
	for _, x := range in {
		f.epochs[x.epoch.Self()], f.signers[x.epoch.Self()] = x.epoch, x.signer
	}
}

// everyPosition lets a recruit take each position in turn: a member there is
// removed, and all blanks up to it are filled. What the recruit got in its
// Welcome has to carry a commit of its own and one of somebody else's.
func (f *forest) everyPosition() (joins int) {
	f.t.Helper()
	members := f.members()
	// Further right than one beside the last member is the work of larger groups.
	end := min(uint32(members[len(members)-1])+2, f.epochs[members[0]].tree.LeafCount())
	for p := range LeafIndex(end) {
		by := members[(int(p)*7+3)%len(members)]
		if by == p {
			by = members[(slices.Index(members, by)+1)%len(members)]
		}
		e, s := f.epochs[by], f.signers[by]
		blanks := 1
		for l := range p {
			if e.tree.Leaf(l) == nil {
				blanks++
			}
		}
		var others []Proposal
		// With and without path secrets in the Welcome: a Remove needs a path, so
		// without one it has a commit of its own, which leaves its path behind.
		path := (int(p)+len(members))%2 == 0
		if e.tree.Leaf(p) != nil {
			if path {
				others = append(others, &Remove{Removed: p})
			} else {
				c, err := e.Commit(CommitRequest{Proposals: []Proposal{&Remove{Removed: p}}}, s, f.env)
				if err != nil {
					f.t.Fatal(err)
				}
				e = c.Child
			}
		}
		if e.tree.LeafCount() <= uint32(p) && p > 0 { // truncated: everything right of it is blank
			blanks = 1
			for l := range LeafIndex(e.tree.LeafCount()) {
				if e.tree.Leaf(l) == nil {
					blanks++
				}
			}
		}
		c, in := f.admit(e, s, blanks, path, others...)
		joins += len(in)
		last := in[len(in)-1]
		own, err := last.epoch.Commit(CommitRequest{}, last.signer, f.env)
		if err != nil {
			f.t.Fatalf("leaf %d commits: %v", last.epoch.Self(), err)
		}
		f.follow(c.Child, own)
		if len(in) > 1 {
			f.follow(in[0].epoch, own)
		}
		theirs, err := c.Child.Commit(CommitRequest{}, s, f.env)
		if err != nil {
			f.t.Fatal(err)
		}
		f.follow(last.epoch, theirs)
	}
	return joins
}

var deep = flag.Bool("deep", false, "TestDeepWelcomes: every size from 2 to 70, not a dozen of them")

// TestDeepWelcomes: joins at every position in trees of 2 to 70 members, with
// blanks and unmerged leaves, with and without path secrets.
func TestDeepWelcomes(t *testing.T) {
	f := &forest{t: t, epochs: map[LeafIndex]*Epoch{}, signers: map[LeafIndex]Signer{}, env: Env{Now: testNow, Rand: testRand(300)}}
	d := newDevice(t, 0, f.env.Rand)
	d.create(RFC9420)
	f.epochs[0], f.signers[0] = d.e, d.signer
	sizes, joins := 0, 0
	for n := 2; n <= 70; n++ {
		members := f.members()
		by := members[(n*5)%len(members)]
		e, s := f.epochs[by], f.signers[by]
		// Every third size is reached by a removal and two pathless adds, so that
		// blanks and unmerged leaves stay; the others by one add.
		if n%3 == 0 && len(members) > 2 {
			gone := members[(n*11+1)%len(members)]
			if gone == by {
				gone = members[(slices.Index(members, gone)+1)%len(members)]
			}
			c, _ := f.admit(e, s, 0, true, &Remove{Removed: gone})
			f.step(by, c, nil)
			c, in := f.admit(f.epochs[by], s, 2, false)
			f.step(by, c, in)
		} else {
			c, in := f.admit(e, s, 1, n%2 == 0)
			f.step(by, c, in)
		}
		if len(f.epochs) != n {
			t.Fatalf("%d members, want %d", len(f.epochs), n)
		}
		if !*deep && n > 9 && n != 17 && n != 33 && n != 70 {
			continue
		}
		sizes++
		joins += f.everyPosition()
	}
	t.Logf("%d sizes of groups, %d joins, each with a commit of the joiner and one of another", sizes, joins)
}
