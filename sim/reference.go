package sim

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// The reference of fork choice follows the text of design, section 5.4, on what
// all devices together know, and is as slow as it likes. It shares no code with
// package dag, nor with the oracle in that package's tests.

// glimpse is where a device stood at a moment, and what it had opened.
type glimpse struct {
	at         time.Time
	name       string
	base, head string
	members    []group.Member
	frames     []group.LogEntry
}

// sees reports whether two devices stood at one head and had opened the very same.
func (g glimpse) sees(o glimpse) bool {
	return g.base == o.base && g.head == o.head && len(g.frames) == len(o.frames) && len(g.members) == len(o.members) &&
		len(g.frames) > 0 && &g.frames[0] == &o.frames[0] && len(g.members) > 0 && &g.members[0] == &o.members[0]
}

// Glimpses of a run: some at any time, most while branches meet.
const (
	anyLooks     = 3
	meetingLooks = 4
	meeting      = 4 * time.Second
)

// planGlimpses draws when devices are looked at. Nobody notices.
func (r *run) planGlimpses() {
	if r.looks < 0 {
		return
	}
	chance := rand.New(stream(r.Seed, "glimpses"))
	draw := func(n int, from, until time.Time) {
		for range n {
			if long := until.Sub(from); long > 0 {
				r.nextLook = append(r.nextLook, from.Add(time.Duration(chance.Int64N(int64(long)))))
			}
		}
	}
	draw(anyLooks, r.now, r.ends)
	healed := r.moment(r.Scenario.healed())
	draw(cmp.Or(r.looks, meetingLooks), healed, healed.Add(meeting))
	slices.SortFunc(r.nextLook, time.Time.Compare)
	r.chance = chance
}

// glance takes the glimpses that are due before something happens. It is no
// event itself.
func (w *world) glance(until time.Time) {
	for len(w.nextLook) > 0 && !w.nextLook[0].After(until) {
		who := w.members()
		d := who[w.chance.IntN(len(who))]
		if g, ok := w.glimpse(d); ok {
			w.glimpses = append(w.glimpses, g)
		}
		w.nextLook = w.nextLook[1:]
	}
}

// glimpse looks at a device that is an honest member.
func (w *world) glimpse(d *device) (glimpse, bool) {
	st, ok := d.status()
	if !ok || d.attack != nil || st.State != "member" {
		return glimpse{}, false
	}
	frames, err := d.logged()
	if err != nil {
		w.fail(fmt.Errorf("sim: log of %s: %w", d.name, err))
		return glimpse{}, false
	}
	return glimpse{w.now, d.name, st.Final, st.Head, st.Members, frames}, true
}

// compare looks at all devices once more and compares every glimpse with the
// reference.
func (w *world) compare(known referee) (compared int, differs []string) {
	if w.Rule != "" && w.Rule != "support" {
		return 0, nil
	}
	if known.problem != "" {
		differs = append(differs, known.problem)
	}
	var last glimpse
	var ref *reference
	look := func(g glimpse) {
		if same := ref != nil && g.sees(last); same && len(differs) == 0 {
			compared++ // as before
			return
		}
		ref = known.reference(g)
		if last = g; ref.judged {
			ref = nil
			return
		}
		compared++
		when := fmt.Sprintf("%s at %.3f s", g.name, g.at.Sub(epoch0).Seconds())
		if head := ref.head(g.base); head != g.head {
			differs = append(differs, fmt.Sprintf("%s stands at %s, the reference at %s", when, tail(g.head), tail(head)))
		}
		if p := ref.wrongRoster(g); p != "" {
			differs = append(differs, when+" "+p)
		}
	}
	for _, g := range w.glimpses {
		look(g)
	}
	for _, d := range w.members() {
		if g, ok := w.glimpse(d); ok {
			look(g)
		}
	}
	return compared, differs
}

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
	judged   bool // complaints or proofs are among the frames
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

// reference takes what a device has opened. Complaints and proofs of
// equivocation are left out: what those say of heads is for the tests of package
// dag.
func (k *referee) reference(g glimpse) *reference {
	r := &reference{root: k.root, commits: k.commits, children: map[string][]string{}, parent: map[string]string{}}
	for _, f := range g.frames {
		l, ok := k.links[f.CID]
		key, err := hex.DecodeString(f.From)
		if !ok || err != nil || f.Kind == "proof" || f.Kind == "complaint" {
			r.judged = true
			continue
		}
		s := spoken{cid: f.CID, in: l.Parent.String(), by: incarnationOf(l.Leaf, key, l.Joined), seq: l.Seq}
		s.stands = s.in
		if f.Kind == "commit" {
			s.stands = f.CID
			r.parent[f.CID] = s.in
			r.children[s.in] = append(r.children[s.in], f.CID)
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

// vote is the child that a member supports at a fork: the one under which its
// latest frame of those sent in the fork epoch or below stands. Who signed two
// of these with one number has none.
func (r *reference) vote(fork string, m incarnation) string {
	var last spoken
	numbers := map[uint64]bool{}
	for _, f := range r.frames {
		if f.by != m || !r.under(fork, f.in) {
			continue
		}
		if numbers[f.seq] {
			return ""
		}
		numbers[f.seq] = true
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

// head walks from a base down, at each fork to the better child.
func (r *reference) head(base string) string {
	at := base
	for len(r.children[at]) > 0 {
		at = r.choose(at)
	}
	return at
}

func (r *reference) choose(fork string) string {
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
	best := r.children[fork][0]
	for _, c := range r.children[fork][1:] {
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
