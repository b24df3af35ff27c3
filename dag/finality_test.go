package dag

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// world is a group whose members see what the network has brought them so far.
// They follow the rules of design 5.6: they send on their own head, and every
// frame confirms what round one allows. Delivery is reliable but of any delay.
type world struct {
	r      *rand.Rand
	peers  []*peer
	log    []item // everything sent
	tree   *set   // everything sent, without forgetting
	finals []ID

	speed, commits int // deliveries and commits, per cent of the steps
}

type peer struct {
	w       *world
	me      Member
	g       *Graph
	next    map[Member]uint64 // seq expected
	waiting []item
	shut    map[ID]bool // commits that this peer settled without opening, or erased
	seq     uint64
	removed bool
}

func newWorld(seed uint64, n int, admins int) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 3)), tree: &set{base: "r", vertices: map[ID]Vertex{}}}
	w.speed, w.commits = 70+w.r.IntN(23), 1+w.r.IntN(4)
	for i := range n {
		rank := uint8(1)
		if i < admins {
			rank = 0
		}
		w.tree.members = append(w.tree.members, Voter{Member(rune('a' + i)), rank, uint32(i)})
	}
	for _, m := range w.tree.members {
		w.peers = append(w.peers, &peer{
			w: w, me: m.Member, next: map[Member]uint64{}, shut: map[ID]bool{},
			g: New(nil, Vertex{ID: "r"}, 0, w.tree.members),
		})
	}
	return w
}

func (it item) from() (Member, uint64) {
	if it.v != nil {
		return it.v.Author, it.v.Seq
	}
	return it.s.Author, it.s.Seq
}

// send takes up an own frame and puts it on every other peer's wire.
func (p *peer) send(it item) error {
	if _, err := it.add(p.g); err != nil {
		return err
	}
	p.seq++
	w := p.w
	w.log = append(w.log, it)
	if it.v != nil {
		w.tree.vertices[it.v.ID] = *it.v
	}
	for _, q := range w.peers {
		if q != p {
			q.waiting = append(q.waiting, it)
		}
	}
	return p.look()
}

func (p *peer) id() ID { return ID(fmt.Sprintf("%02x%s%d", p.w.r.IntN(256), p.me, p.seq)) }

func (p *peer) ack() error {
	return p.send(item{s: &Stand{ID: p.id(), Author: p.me, Seq: p.seq, At: p.g.Head(), Confirms: p.g.Confirmable()}})
}

func (p *peer) commit(changes bool) error {
	v := Vertex{ID: p.id(), Parent: p.g.Head(), Author: p.me, Seq: p.seq, Confirms: p.g.Confirmable()}
	var joins *peer
	members := p.g.Members(p.g.Head())
	switch p.w.r.IntN(3) {
	case 0:
		if changes && len(members) > 1 {
			m := members[p.w.r.IntN(len(members))].Member
			if m != p.me {
				v.Removed = []Member{m}
			}
		}
	case 1:
		if changes && len(p.w.peers) < 9 {
			m := Voter{Member("j" + v.ID), 1, uint32(100 + len(p.w.peers))}
			v.Added = []Voter{m}
			joins = &peer{w: p.w, me: m.Member, next: map[Member]uint64{}, shut: map[ID]bool{}}
			joins.next[p.me] = v.Seq + 1
		}
	}
	if err := p.send(item{v: &v}); err != nil {
		return err
	}
	if joins != nil {
		p.welcome(joins, v)
	}
	return nil
}

// welcome gives a joiner its base and the table of last seqs; it gets every
// later frame and must settle by itself what lies outside its base.
func (p *peer) welcome(j *peer, v Vertex) {
	for m, s := range p.next {
		j.next[m] = s
	}
	j.next[p.me] = p.seq
	j.g = New(nil, v, p.g.Number(v.ID), p.g.Members(v.ID))
	for id := range p.w.tree.vertices {
		j.shut[id] = id != v.ID && !p.w.tree.under(v.ID, id)
	}
	j.shut["r"] = true
	for _, it := range p.w.log {
		if m, s := it.from(); s >= j.next[m] {
			j.waiting = append(j.waiting, it)
		}
	}
	p.w.peers = append(p.w.peers, j)
}

// deliver takes up a waiting frame if it can be; it reports whether it did.
func (p *peer) deliver(i int) (bool, error) {
	it := p.waiting[i]
	m, seq := it.from()
	if seq != p.next[m] {
		return false, nil
	}
	in := it.in()
	opens := p.g.Has(in) && p.g.IsMember(in, p.me) && (it.v == nil || !slices.Contains(it.v.Removed, p.me))
	if !p.g.Has(in) && !p.shut[in] {
		return false, nil
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.next[m]++
	if opens {
		if _, err := it.add(p.g); err != nil {
			return false, err
		}
		return true, p.look()
	}
	p.g.Settled(m, seq, in)
	if it.v != nil {
		p.shut[it.v.ID] = true
		if slices.Contains(it.v.Removed, p.me) && in == p.g.Head() {
			p.removed = true
		}
	}
	return true, p.look()
}

// look compares what the peer finds final with what anybody ever found final.
func (p *peer) look() error {
	f := p.g.Final()
	if f == p.g.Base() {
		return nil
	}
	for _, o := range p.w.finals {
		if !p.w.tree.under(o, f) && !p.w.tree.under(f, o) {
			return fmt.Errorf("%s finds %q final, rival of final %q", p.me, f, o)
		}
	}
	if !slices.Contains(p.w.finals, f) {
		p.w.finals = append(p.w.finals, f)
	}
	if p.w.r.IntN(2) == 0 {
		for _, d := range p.g.Rebase(f) {
			p.shut[d] = true
		}
	}
	return nil
}

// step lets one peer do one thing. While island is set, frames do not cross.
func (w *world) step(changes, island bool) error {
	i := w.r.IntN(len(w.peers))
	p := w.peers[i]
	switch x := w.r.IntN(100); {
	case x < w.speed:
		if len(p.waiting) == 0 {
			return nil
		}
		from, _ := p.waiting[w.r.IntN(len(p.waiting))].from()
		k := slices.IndexFunc(p.waiting, func(it item) bool {
			m, seq := it.from()
			return m == from && seq == p.next[m]
		})
		if k < 0 {
			return nil
		}
		j := slices.IndexFunc(w.peers, func(q *peer) bool { return q.me == from })
		if island && i%2 != j%2 {
			return nil
		}
		_, err := p.deliver(k)
		return err
	case p.removed:
	case x < w.speed+w.commits:
		return p.commit(changes)
	default:
		return p.ack()
	}
	return nil
}

// settle delivers everything.
func (w *world) settle() error {
	for again := true; again; {
		again = false
		for _, p := range w.peers {
			for i := 0; i < len(p.waiting); i++ {
				done, err := p.deliver(i)
				if err != nil {
					return err
				}
				if done {
					again = true
					i--
				}
			}
		}
	}
	return nil
}

func (w *world) run(steps int, changes bool) error {
	quiet := w.r.IntN(steps) // when the islands meet
	for i := range steps {
		if err := w.step(changes, i < quiet); err != nil {
			return err
		}
	}
	return w.settle()
}

// TestFinality: on partial views of random histories no two final epochs are
// rivals, all heads are equal after full delivery, whatever anybody found
// final is above that head, and two rounds of acks make the head final unless
// somebody had left it and come back.
func TestFinality(t *testing.T) {
	n := uint64(3000)
	if testing.Short() {
		n = 400
	}
	forked, early, returned := 0, 0, 0
	for seed := range n {
		w := newWorld(seed, 3+int(seed%3), int(seed/3%3))
		if err := w.run(60+int(seed%7)*60, false); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		early += min(len(w.finals), 1)
		head := w.peers[0].g.Head()
		for _, p := range w.peers {
			if p.g.Head() != head || len(p.waiting) > 0 {
				t.Fatalf("seed %d: heads %q and %q, %d frames wait", seed, head, p.g.Head(), len(p.waiting))
			}
			if len(p.g.Forks()) > 0 {
				forked++
			}
		}
		for _, f := range w.finals {
			if !w.tree.under(f, head) {
				t.Fatalf("seed %d: %q was final, the head is %q", seed, f, head)
			}
		}
		for range 2 {
			for _, p := range w.peers {
				if err := p.ack(); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.settle(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for _, p := range w.peers {
			if p.g.Final() == head {
				continue
			}
			back := false
			for _, s := range p.g.senders {
				back = back || s.everLeft(p.g.nodes[head])
			}
			if !back {
				t.Fatalf("seed %d: after two rounds %s has final %q, head %q", seed, p.me, p.g.Final(), head)
			}
			returned++
		}
	}
	if forked == 0 || early == 0 {
		t.Fatalf("vacuous: %d views forked, %d histories with early finality", forked, early)
	}
	t.Logf("%d histories, %d with something final before the quiet, %d views still forked then, %d views kept back by a return", n, early, forked, returned)
}

// TestFinalityWithChanges: with adds and removals at random (mutual ones, too)
// members may part for good, but never do two rivals become final.
func TestFinalityWithChanges(t *testing.T) {
	n := uint64(3000)
	if testing.Short() {
		n = 400
	}
	finals := 0
	for seed := range n {
		w := newWorld(seed, 3+int(seed%4), int(seed/4%3))
		if err := w.run(60+int(seed%7)*60, true); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for range 3 {
			for _, p := range w.peers {
				if p.removed {
					continue
				}
				if err := p.ack(); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			if err := w.settle(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		finals += len(w.finals)
	}
	if finals == 0 {
		t.Fatal("vacuous: nothing ever became final")
	}
	t.Logf("%d histories, %d final epochs", n, finals)
}
