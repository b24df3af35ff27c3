package sim

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// The reference of fork choice follows the text of design, section 5.4, on what
// all devices together know, and is as slow as it likes. It shares no code with
// package dag, nor with the oracle in that package's tests.

// referee is what all devices together know: who was where, and every frame's links.
type referee struct {
	root    origin
	commits map[string]deltas
	links   map[string]frame.Links
	problem string // two devices read one commit otherwise
}

func (w *world) referee(all []sealed) referee {
	k := referee{root: w.origin(), links: map[string]frame.Links{}}
	k.commits, k.problem = w.known()
	for _, f := range all {
		k.links[f.cid] = f.header.Links
	}
	return k
}

// known is what devices wrote down of the commits that they opened: all must
// have read the same.
func (w *world) known() (map[string]deltas, string) {
	type reading struct{ commit, as string }
	out, seen, problem := map[string]deltas{}, map[reading]bool{}, ""
	for _, d := range w.devices { // one in bad hands wrote down what its engine read before
		for _, c := range sortedKeys(d.commits) {
			if seen[reading{c, d.commits[c]}] {
				continue // as a device before
			}
			seen[reading{c, d.commits[c]}] = true
			var r deltas
			if err := json.Unmarshal([]byte(d.commits[c]), &r); err != nil {
				w.fail(fmt.Errorf("sim: %s: commit: %w", d.name, err))
			}
			was, ok := out[c]
			if ok && !r.Base && !was.Base && !was.same(r) && problem == "" {
				problem = fmt.Sprintf("%s reads commit %s otherwise than others", d.name, tail(c))
			}
			if !ok || was.Base && !r.Base {
				out[c] = r
			}
		}
	}
	return out, problem
}

// deltas is the record of a commit, as far as fork choice goes.
type deltas struct {
	Parent, Author                        []byte
	Seq                                   uint64
	Added, Removed, Left, Admins, Demoted [][]byte
	Base                                  bool
}

func (d deltas) same(e deltas) bool {
	d.Base, e.Base = false, false
	return fmt.Sprint(d) == fmt.Sprint(e)
}

// incarnation of a member, as package group writes it: leaf, signature key,
// commit that added it.
type incarnation string

func incarnationOf(leaf uint32, key []byte, joined cid.Cid) incarnation {
	b := binary.BigEndian.AppendUint32(nil, leaf)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	return incarnation(append(append(b, key...), joined.Bytes()...))
}

func (i incarnation) leaf() uint32 { return binary.BigEndian.Uint32([]byte(i)) }
func (i incarnation) joined() cid.Cid {
	c, _ := cid.Cast([]byte(i[6+len(i.key())/2:]))
	return c
}
func (i incarnation) key() string {
	return hex.EncodeToString([]byte(i[6 : 6+binary.BigEndian.Uint16([]byte(i[4:6]))]))
}

// spoken is a frame that a device has opened: sent in an epoch, standing there
// or, a commit, at its child.
type spoken struct {
	cid, in, stands string
	by              incarnation
	seq             uint64
}

// reference is what one device knows.
type reference struct {
	root     origin
	commits  map[string]deltas // everybody's, for who was a member where
	children map[string][]string
	parent   map[string]string
	frames   []spoken
	proofs   []claim // equivocators, and where that was proved
	laments  []claim // who cannot open what
	unsure   bool    // a complaint is the device's own: it knows more than it has opened
}

// claim is what a member said of something, in an epoch.
type claim struct {
	by    incarnation
	in    string
	about string // commit, or identity
}

// origin is how the group began.
type origin struct {
	at      string
	creator incarnation
	rules   bool // as an admin
}

// origin reads it from the disk of the first device.
func (w *world) origin() origin {
	first := w.devices[0]
	var st struct{ Root []byte }
	if err := json.Unmarshal(first.store.read(group.Prefix(w.gid)+"state"), &st); err != nil {
		w.fail(fmt.Errorf("sim: %s: %w", first.name, err))
		return origin{}
	}
	root, err := cid.Cast(st.Root)
	if err != nil {
		w.fail(fmt.Errorf("sim: %s: %w", first.name, err))
		return origin{}
	}
	return origin{root.String(), incarnationOf(0, first.id.ID(), root), w.policy() == group.PolicyAdmins}
}

// reference takes what a device has opened. A commit that does not open moves its
// author (decision 0100), but is not among that: whoever complained is not judged.
func (k *referee) reference(g glimpse) *reference {
	r := &reference{root: k.root, commits: k.commits, children: map[string][]string{}, parent: map[string]string{}}
	for _, f := range g.frames {
		l, ok := k.links[f.CID]
		key, err := hex.DecodeString(f.From)
		if !ok || err != nil {
			r.unsure = true
			continue
		}
		s := spoken{cid: f.CID, in: l.Parent.String(), by: incarnationOf(l.Leaf, key, l.Joined), seq: l.Seq}
		switch s.stands = s.in; f.Kind {
		case "commit":
			s.stands = f.CID
			r.parent[f.CID] = s.in
			r.children[s.in] = append(r.children[s.in], f.CID)
		case "complaint":
			s.stands = ""
			r.unsure = r.unsure || f.From == g.key
			r.laments = append(r.laments, claim{s.by, s.in, f.About})
		case "proof":
			s.stands = ""
			r.proofs = append(r.proofs, claim{s.by, s.in, f.About})
		}
		r.frames = append(r.frames, s)
	}
	for _, c := range r.children {
		slices.Sort(c)
	}
	return r
}

// under reports whether an epoch is another or below it.
func (r *reference) under(top, at string) bool {
	for at != top {
		up, ok := r.parent[at]
		if !ok {
			return false
		}
		at = up
	}
	return true
}

// roster lists the members of an epoch by leaf, and who of them is an admin.
func (r *reference) roster(at string) (map[uint32]incarnation, map[incarnation]bool) {
	members, admins := map[uint32]incarnation{}, map[incarnation]bool{}
	if at == r.root.at {
		members[0] = r.root.creator
		admins[r.root.creator] = r.root.rules
		return members, admins
	}
	c := r.commits[at]
	up, err := cid.Cast(c.Parent)
	if err != nil {
		return members, admins // nobody honest has opened it
	}
	members, admins = r.roster(up.String())
	for _, m := range slices.Concat(c.Removed, c.Left) {
		delete(members, incarnation(m).leaf())
		delete(admins, incarnation(m))
	}
	for _, m := range c.Added {
		members[incarnation(m).leaf()] = incarnation(m)
	}
	for _, m := range c.Admins {
		admins[incarnation(m)] = true
	}
	for _, m := range c.Demoted {
		delete(admins, incarnation(m))
	}
	return members, admins
}

// maxVoting is the number of members that have a vote: admins first, then the
// lowest leaves.
const maxVoting = 128

func (r *reference) voters(at string) (voters []incarnation, admins map[incarnation]bool) {
	members, admins := r.roster(at)
	leaves := make([]uint32, 0, len(members))
	for l := range members {
		leaves = append(leaves, l)
	}
	slices.Sort(leaves)
	for _, first := range []bool{true, false} {
		for _, l := range leaves {
			if m := members[l]; admins[m] == first && len(voters) < maxVoting {
				voters = append(voters, m)
			}
		}
	}
	return voters, admins
}

// equivocates reports whether frames sent in an epoch or below prove that a member
// signed two frames with one number.
func (r *reference) equivocates(at string, m incarnation) bool {
	numbers := map[uint64]bool{}
	for _, f := range r.frames {
		if f.by != m || !r.under(at, f.in) {
			continue
		}
		if numbers[f.seq] {
			return true
		}
		numbers[f.seq] = true
	}
	return slices.ContainsFunc(r.proofs, func(p claim) bool { return p.about == m.key() && r.under(at, p.in) })
}

// void reports whether more than a third of the parent's voters say, there, that they
// cannot open a commit: whom it keeps, who never stood below it, and who do not
// equivocate.
func (r *reference) void(child string) bool {
	at := r.parent[child]
	voters, _ := r.voters(at)
	n := 0
	for _, v := range voters {
		says := slices.ContainsFunc(r.laments, func(c claim) bool { return c.by == v && c.in == at && c.about == child })
		if says && r.couldComplain(v, child) && !r.equivocates(at, v) {
			n++
		}
	}
	return 3*n > len(voters)
}

// vote is the child that a member supports at a fork: the one under which its
// latest frame of those sent in the fork epoch or below stands. Equivocators have
// none.
func (r *reference) vote(fork string, m incarnation) string {
	if r.equivocates(fork, m) {
		return ""
	}
	var last spoken
	for _, f := range r.frames {
		if f.by != m || f.stands == "" || !r.under(fork, f.in) {
			continue
		}
		if last.cid == "" || f.seq > last.seq {
			last = f
		}
	}
	for _, child := range r.children[fork] {
		if last.cid != "" && r.under(child, last.stands) {
			return child
		}
	}
	return ""
}

// head walks from a base down, at each fork to the better child, unless all are void.
func (r *reference) head(base string) string {
	at := base
	for {
		open := slices.DeleteFunc(slices.Clone(r.children[at]), r.void)
		if len(open) == 0 {
			return at
		}
		at = r.choose(at, open)
	}
}

func (r *reference) choose(fork string, children []string) string {
	voters, admins := r.voters(fork)
	type tally struct{ admins, others int }
	votes := map[string]tally{}
	for _, m := range voters {
		t := votes[r.vote(fork, m)]
		if admins[m] {
			t.admins++
		} else {
			t.others++
		}
		votes[r.vote(fork, m)] = t
	}
	better := func(a, b string) bool {
		va, vb := votes[a], votes[b]
		ma, mb := incarnation(r.commits[a].Author), incarnation(r.commits[b].Author)
		switch {
		case va.admins != vb.admins:
			return va.admins > vb.admins
		case va.others != vb.others:
			return va.others > vb.others
		case admins[ma] != admins[mb]:
			return admins[ma]
		case ma.leaf() != mb.leaf():
			return ma.leaf() < mb.leaf()
		}
		ca, _ := cid.Decode(a)
		cb, _ := cid.Decode(b)
		return slices.Compare(ca.Bytes(), cb.Bytes()) < 0
	}
	best := children[0]
	for _, c := range children[1:] {
		if better(c, best) {
			best = c
		}
	}
	return best
}

// wrongRoster compares the members of a device's head with what the commits
// above it add up to.
func (r *reference) wrongRoster(g glimpse) string {
	members, admins := r.roster(g.head)
	if len(members) != len(g.members) {
		return fmt.Sprintf("has %d members at %s, the commits add up to %d", len(g.members), tail(g.head), len(members))
	}
	for _, m := range g.members {
		if i := members[m.Leaf]; i == "" || i.key() != m.ID || admins[i] != m.Admin {
			return fmt.Sprintf("has %s (admin: %v) at leaf %d of %s, and the commits say otherwise", m.Name, m.Admin, m.Leaf, tail(g.head))
		}
	}
	return ""
}
