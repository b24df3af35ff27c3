package sim

import (
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/bend"
	"github.com/dmlsd/dmls/mls"
)

// attacks are all ways of misbehaving, by name. What they have in common is in
// insider: keys and signature of a member, ears and arms everywhere.
var attacks = map[string]attackKind{
	"removed-forker": {"goes on forking above and at its own removal, and votes for that", again, plot(removedForker)},
	"removed-voter":  {"was removed and goes on sending where it was a member", again, plot(removedVoter)},
	"tag-grinder": {"forks the head's parent with the greatest of many confirmation tags",
		map[string]float64{"rounds": 3, "every": 4, "tries": 24}, plot(tagGrinder)},
	"equivocator": {"gives each half of the group other commits under one sequence number",
		map[string]float64{"rounds": 5, "every": 5, "siblings": 5}, plot(equivocator)},
	"path-poisoner": {"commits with a path that opens for one half of the tree only", few, plot(pathPoisoner)},
	"re-encrypter": {"seals others' commits again, with another tag and with other padding, and is the first to send them",
		map[string]float64{"commits": 30}, plot(reencrypter)},
	"withholder": {"commits in secret and shows it when the others have gone on",
		map[string]float64{"chain": 3, "hold": 15}, plot(withholder)},
	"backdater": {"forks the oldest epoch that it has keys of", again, plot(backdater)},
	"minter": {"mints a long chain of commits beside the head",
		map[string]float64{"depth": 40}, plot(minter)},
	"flooder": {"sends frames that wait for what will never come",
		map[string]float64{"rounds": 8, "every": 3, "frames": 40, "bytes": 1024}, plot(flooder)},
	"remover": {"removes a member; two of them remove each other", map[string]float64{"of": 0}, plot(remover)},
	"sybil":   {"forks and adds many members that are all its own", map[string]float64{"adds": 12}, plot(sybil)},
	"lying-merger": {"claims with supersedes to have consolidated everybody's branches", few,
		plot(lyingMerger)},
	"lying-notice": {"tells everybody that the branch they are on has lost", again, plot(lyingNotice)},
	"replayer":     {"keeps every signal and plays all of them to everybody, again and again", again, plot(replayer)},
}

var (
	again = map[string]float64{"rounds": 10, "every": 3}
	few   = map[string]float64{"rounds": 3, "every": 4}
)

// plotter seizes its device when its time comes.
type plotter struct {
	a   Adversary
	act func(*insider, Adversary)
}

func plot(act func(*insider, Adversary)) func(Adversary) attack {
	return func(a Adversary) attack { return &plotter{a, act} }
}

func (p *plotter) begin(r *run, d *device) {
	r.at(r.moment(p.a.From), func() {
		if !d.joined {
			return
		}
		if in := r.seize(d); in != nil {
			p.act(in, p.a)
		}
	})
}

// removedForker commits, again and again, in the last epochs in which it was a
// member: at the parent of its removal, and further up. It brings a guest, who
// speaks for it, takes another along, or merely refreshes its keys.
func removedForker(in *insider, a Adversary) {
	in.every(a, func(round int) {
		in.listen()
		all := in.epochs()
		all = all[max(0, len(all)-3):]
		at := all[round%len(all)]
		var child string
		switch round % 4 {
		case 1:
			var guests []*insider
			if guests, child = in.bring(at, 1); len(guests) > 0 {
				guests[0].ack(child)
			}
		case 3:
			if in.r.policy() == group.PolicyOpen { // else all would refuse that, and what it says after
				to := in.honest()
				child = in.putOut(at, to[round%len(to)])
			}
		}
		if child == "" {
			var b frame.Block
			b, child = in.commit(at, mls.CommitRequest{}, nil)
			in.send(b)
		}
		if in.epoch(child) != nil {
			in.ack(child)
		}
	})
}

// putOut removes a device where it is a member, and reports the child; empty if it
// is none.
func (in *insider) putOut(at string, of *device) (child string) {
	for leaf, node := range in.epoch(at).Tree().Leaves() {
		if string(node.SignatureKey) != string(of.id.ID()) {
			continue
		}
		b, child := in.commit(at, mls.CommitRequest{Proposals: []mls.Proposal{&mls.Remove{Removed: leaf}}}, nil)
		in.send(b)
		in.r.deeds = append(in.r.deeds, deed{remove: true, by: in.d.key(), of: of.key()})
		return child
	}
	return ""
}

func removedVoter(in *insider, a Adversary) {
	in.every(a, func(int) {
		in.listen()
		all := in.epochs()
		in.ack(all[len(all)-1])
	})
}

func tagGrinder(in *insider, a Adversary) {
	in.every(a, func(int) {
		if at := in.parentOf(in.head()); in.epoch(at) != nil {
			in.tries = int(a.With["tries"])
			b, _ := in.commit(at, mls.CommitRequest{}, nil)
			in.send(b)
		}
	})
}

func equivocator(in *insider, a Adversary) {
	in.every(a, func(int) {
		at := in.head()
		if at == "" {
			return
		}
		next, prev := in.next, in.prev
		to := in.honest()
		for i := range int(a.With["siblings"]) {
			in.next, in.prev, in.rolled = next, prev, i+1 < int(a.With["siblings"])
			b, _ := in.commit(at, mls.CommitRequest{}, nil)
			in.send(b, to[i%len(to)])
		}
		if rival := in.beside(at); rival != "" { // and a vote, which would count if nobody saw that there are two
			next, prev := in.next, in.prev
			in.ack(rival)
			in.next, in.prev = next, prev
			in.ack(rival)
		}
	})
}

// pathPoisoner spoils what is encrypted to the other half of the tree.
func pathPoisoner(in *insider, a Adversary) {
	in.every(a, func(int) {
		if at := in.head(); at != "" {
			b, _ := in.commit(at, mls.CommitRequest{Bend: bend.With(func(p *mls.UpdatePath, _ [][]uint32) {
				for i := range p.Nodes[len(p.Nodes)-1].EncryptedPathSecret {
					c := p.Nodes[len(p.Nodes)-1].EncryptedPathSecret[i].Ciphertext
					c[len(c)-1] ^= 1
				}
			})}, nil)
			in.send(b)
		}
	})
}

func withholder(in *insider, a Adversary) {
	at := in.head()
	if at == "" {
		return
	}
	var chain []frame.Block
	for range int(a.With["chain"]) {
		var b frame.Block
		b, at = in.commit(at, mls.CommitRequest{}, nil)
		chain = append(chain, b)
	}
	in.r.at(in.r.moment(a.From+Span(a.With["hold"]*1e9)), func() {
		for _, b := range chain {
			in.send(b)
		}
	})
}

func backdater(in *insider, a Adversary) {
	in.every(a, func(int) {
		in.listen()
		b, _ := in.commit(in.epochs()[0], mls.CommitRequest{}, nil)
		in.send(b)
	})
}

func minter(in *insider, a Adversary) {
	at := in.above()
	for range int(a.With["depth"]) {
		if in.epoch(at) == nil {
			return
		}
		var b frame.Block
		b, at = in.commit(at, mls.CommitRequest{}, nil)
		in.send(b)
	}
}

// flooder needs the gossip key alone: what never opens is never verified.
func flooder(in *insider, a Adversary) {
	in.every(a, func(int) {
		for range int(a.With["frames"]) {
			in.send(in.junk(int(a.With["bytes"])))
		}
	})
}

func remover(in *insider, a Adversary) {
	at := in.head()
	if at == "" {
		return
	}
	if child := in.putOut(at, in.r.devices[int(a.With["of"])]); child != "" {
		in.ack(child)
		in.r.deeds[len(in.r.deeds)-1].acknowledged = true
	}
}

// sybil's guests all follow it, say so, and go on from there.
func sybil(in *insider, a Adversary) {
	at := in.above()
	if at == "" {
		return
	}
	guests, child := in.bring(at, int(a.With["adds"]))
	for _, g := range guests {
		g.ack(child)
	}
	for _, g := range guests[:min(2, len(guests))] {
		b, on := g.commit(child, mls.CommitRequest{}, nil)
		in.send(b)
		g.ack(on)
	}
}

// lyingMerger names every commit that it knows.
func lyingMerger(in *insider, a Adversary) {
	in.every(a, func(int) {
		at := in.head()
		if at == "" {
			return
		}
		var all []cid.Cid
		for _, c := range sortedKeys(in.thief.spoils.epochs) {
			if id, err := cid.Decode(c); err == nil && c != at {
				all = append(all, id)
			}
		}
		slices.SortFunc(all, func(a, b cid.Cid) int { return slices.Compare(a.Bytes(), b.Bytes()) })
		b, _ := in.commit(at, mls.CommitRequest{}, func(l *frame.Links) {
			l.Supersedes = all[:min(len(all), frame.MaxSupersedes)]
		})
		in.send(b)
	})
}
