package interop

import (
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/dmlsd/dmls/interop/pb"
)

// scenarios are those of the working group's configs, one by one.
var scenarios = []struct {
	name string
	run  func(*driver)
}{
	{"welcome", func(d *driver) {
		d.create("alice")
		p := d.propose("alice", add(d.keyPackage("bob")))
		d.commit("alice", change{byRef: [][]byte{p}, joiners: []string{"bob"}})
	}},
	{"welcome with a PSK", func(d *driver) {
		d.create("alice")
		p := d.propose("alice", add(d.keyPackage("bob")))
		q := d.propose("alice", externalPSK(d.install("alice", "bob").PskId))
		d.commit("alice", change{byRef: [][]byte{p, q}, joiners: []string{"bob"}})
	}},
	{"external join", func(d *driver) {
		d.create("alice")
		d.externalJoin("alice", "bob", false, nil)
	}},
	{"external join with PSKs", func(d *driver) {
		d.create("alice")
		d.externalJoin("alice", "bob", false, []*pb.PreSharedKey{d.install("alice"), d.install("alice")})
	}},
	{"external join, removing oneself", func(d *driver) {
		d.create("alice")
		d.externalJoin("alice", "bob", false, nil)
		d.externalJoin("alice", "bob", true, nil)
	}},
	{"external join of a larger group", func(d *driver) {
		d.create("alice", "bob", "charlie", "diana")
		d.externalJoin("diana", "ellen", false, nil, "alice", "bob", "charlie")
		d.commit("ellen", change{members: []string{"alice", "bob", "charlie", "diana"}})
	}},
	{"application data in order", func(d *driver) {
		d.create("alice", "bob")
		a, b, c := d.say("alice"), d.say("alice"), d.say("alice")
		d.receive("bob", a)
		d.receive("bob", b)
		d.receive("bob", c)
	}},
	{"application data out of order", func(d *driver) {
		d.create("alice", "bob")
		a, b, c := d.say("alice"), d.say("alice"), d.say("alice")
		d.receive("bob", c)
		d.receive("bob", b)
		d.receive("bob", a)
	}},
	{"application data of an earlier epoch", func(d *driver) {
		d.create("alice", "bob")
		a, b := d.say("alice"), d.say("alice")
		d.commit("alice", change{members: []string{"bob"}})
		c, e := d.say("alice"), d.say("alice")
		for _, s := range []said{e, c, b, a} {
			d.receive("bob", s)
		}
	}},
	{"empty commit", func(d *driver) {
		d.create("alice", "bob")
		d.commit("alice", change{members: []string{"bob"}})
		d.commit("bob", change{members: []string{"alice"}})
	}},
	{"commit of Adds", func(d *driver) {
		d.create("alice", "bob")
		members := []string{"bob"}
		for _, names := range [][]string{{"c1", "c2", "c3"}, {"c4", "c5", "c6"}} {
			p := d.propose("alice", add(d.keyPackage(names[0])))
			q := d.propose("bob", add(d.keyPackage(names[1])))
			d.commit("alice", change{byRef: [][]byte{p, q}, byValue: []*pb.ProposalDescription{add(d.keyPackage(names[2]))},
				members: members, joiners: names})
			members = append(members, names...)
		}
	}},
	{"commit of Removes", func(d *driver) {
		d.create("alice", "bob", "c1", "c2", "c3")
		p, q := d.propose("alice", remove("c1")), d.propose("bob", remove("c2"))
		d.commit("alice", change{byRef: [][]byte{p, q}, byValue: []*pb.ProposalDescription{remove("c3")}, members: []string{"bob"}})
	}},
	{"commit of an Update", func(d *driver) {
		d.create("alice", "bob", "charlie")
		p := d.propose("bob", nil)
		d.commit("alice", change{byRef: [][]byte{p}, members: []string{"bob", "charlie"}})
		d.commit("bob", change{members: []string{"alice", "charlie"}})
	}},
	{"commit of GroupContextExtensions", func(d *driver) {
		d.create("alice", "bob")
		bob := []string{"bob"}
		d.commit("alice", change{byRef: [][]byte{d.propose("alice", newExtensions(nothingRequired(), nobodyOutside()))}, members: bob})
		d.commit("alice", change{byRef: [][]byte{d.propose("bob", newExtensions())}, members: bob})
		d.commit("alice", change{byValue: []*pb.ProposalDescription{newExtensions(nothingRequired())}, members: bob})
	}},
	{"commit of external PSKs", func(d *driver) {
		d.create("alice", "bob")
		var ids [3][]byte
		for i := range ids {
			ids[i] = d.install("alice", "bob").PskId
		}
		for range 2 {
			p, q := d.propose("alice", externalPSK(ids[0])), d.propose("bob", externalPSK(ids[1]))
			d.commit("alice", change{byRef: [][]byte{p, q}, byValue: []*pb.ProposalDescription{externalPSK(ids[2])}, members: []string{"bob"}})
		}
	}},
	{"commit of resumption PSKs", func(d *driver) {
		d.create("alice", "bob")
		bob := []string{"bob"}
		d.commit("alice", change{members: bob})
		d.commit("alice", change{members: bob})
		for first := uint64(1); first < 3; first++ {
			p, q := d.propose("alice", resumptionPSK(first)), d.propose("bob", resumptionPSK(first+1))
			d.commit("alice", change{byRef: [][]byte{p, q}, byValue: []*pb.ProposalDescription{resumptionPSK(first + 2)}, members: bob})
		}
	}},
	{"commit of everything, proposed by the committer", func(d *driver) { everything(d, "alice") }},
	{"commit of everything, proposed by another", func(d *driver) { everything(d, "bob") }},
	{"Add signed by the joiner", func(d *driver) {
		d.create("alice")
		out := call(d, d.at("bob").NewMemberAddProposal, &pb.NewMemberAddProposalRequest{GroupInfo: d.info("alice", false).GroupInfo, Identity: []byte("bob")})
		d.tx["bob"] = out.TransactionId
		d.commit("alice", change{byRef: [][]byte{out.Proposal}, joiners: []string{"bob"}})
	}},
	{"Add from outside", func(d *driver) {
		d.create("alice", "bob")
		id := d.signer("ds", "alice", "bob")
		p := d.proposeOutside("ds", id, 0, "alice", add(d.keyPackage("charlie")))
		d.commit("alice", change{byRef: [][]byte{p}, members: []string{"bob"}, joiners: []string{"charlie"}})
	}},
	{"Remove from outside", func(d *driver) {
		d.create("alice", "bob", "charlie")
		id := d.signer("ds", "alice", "bob", "charlie")
		p := d.proposeOutside("ds", id, 0, "alice", remove("bob"))
		d.commit("alice", change{byRef: [][]byte{p}, members: []string{"charlie"}})
	}},
	{"PSKs from outside", func(d *driver) {
		d.create("alice", "bob", "charlie")
		others := []string{"bob", "charlie"}
		psk := d.install("alice", "bob", "charlie")
		id := d.signer("ds", "alice", others...)
		p := d.proposeOutside("ds", id, 0, "alice", externalPSK(psk.PskId))
		q := d.proposeOutside("ds", id, 0, "alice", resumptionPSK(2))
		d.commit("alice", change{byRef: [][]byte{p, q}, members: others})
	}},
	{"GroupContextExtensions from outside", func(d *driver) {
		d.create("alice", "bob", "charlie")
		others := []string{"bob", "charlie"}
		id := d.signer("ds", "alice", others...)
		p := d.proposeOutside("ds", id, 0, "alice", newExtensions(nothingRequired()))
		d.commit("alice", change{byRef: [][]byte{p}, members: others})
	}},
	{"two outside", func(d *driver) {
		d.create("alice", "bob", "charlie")
		others := []string{"bob", "charlie"}
		x, y := d.install("alice", "bob", "charlie"), d.install("alice", "bob", "charlie")
		one := d.signer("ds1", "alice", others...)
		two := d.signer("ds2", "alice", others...)
		p := d.proposeOutside("ds1", one, 0, "alice", externalPSK(x.PskId))
		q := d.proposeOutside("ds2", two, 1, "alice", externalPSK(y.PskId))
		d.commit("alice", change{byRef: [][]byte{p, q}, members: others})
	}},
	{"ReInit from outside", func(d *driver) {
		d.create("alice", "bob", "charlie")
		id := d.signer("ds", "alice", "bob", "charlie")
		p := d.proposeOutside("ds", id, 0, "alice", &pb.ProposalDescription{ProposalType: []byte("reinit"), CipherSuite: d.suite%7 + 1,
			GroupId: append(d.group, '+'), Extensions: []*pb.Extension{nothingRequired()}})
		d.suite = d.suite%7 + 1
		d.reinitialise(p, "alice", "bob", "alice", "bob", "charlie")
	}},
	{"ReInit to another cipher suite", func(d *driver) { reinit(d, d.suite%7+1, d.group, "charlie") }},
	{"ReInit to another group id", func(d *driver) { reinit(d, d.suite, append(d.group, '+'), "charlie") }},
	{"ReInit to other extensions", func(d *driver) { reinit(d, d.suite, d.group, "charlie", nothingRequired(), nobodyOutside()) }},
	{"ReInit, all by one", func(d *driver) { reinit(d, d.suite, append(d.group, '+'), "bob") }},
	{"branch", func(d *driver) {
		d.create("alice", "bob", "charlie", "diana", "eliza")
		d.branch("alice", nil, "bob", "charlie", "diana", "eliza")
	}},
	{"branch with extensions", func(d *driver) {
		d.create("alice", "bob", "charlie", "diana", "eliza")
		d.branch("bob", []*pb.Extension{nothingRequired(), nobodyOutside()}, "alice", "eliza")
	}},
	{"random", random},
}

// everything commits all kinds of proposals in one commit, and those that can
// not stand beside them in the next.
func everything(d *driver, proposer string) {
	d.create("alice", "bob", "diana")
	psk := d.install("alice", "bob")
	refs := [][]byte{
		d.propose(proposer, add(d.keyPackage("charlie"))),
		d.propose(proposer, externalPSK(psk.PskId)),
		d.propose(proposer, resumptionPSK(1)),
		d.propose(proposer, remove("diana")),
		d.propose(proposer, newExtensions(nothingRequired())),
	}
	if proposer != "alice" {
		refs = append(refs, d.propose(proposer, nil))
	}
	// A joiner has no resumption PSK of an epoch before its own.
	withoutAdd := change{byRef: refs[1:], members: []string{"bob"}}
	d.commit("alice", withoutAdd)
	d.install("charlie")
	p := d.propose("bob", add(d.keyPackage("charlie")))
	d.commit("alice", change{byRef: [][]byte{p}, byValue: []*pb.ProposalDescription{newExtensions(nothingRequired(), nobodyOutside())},
		members: []string{"bob"}, joiners: []string{"charlie"}})
}

// reinit has bob commit alice's ReInit and somebody found the new group.
func reinit(d *driver, suite uint32, group []byte, welcomer string, xs ...*pb.Extension) {
	d.create("alice", "bob", "charlie", "diana", "eliza")
	p := call(d, d.at("alice").ReInitProposal, &pb.ReInitProposalRequest{StateId: d.states["alice"], CipherSuite: suite, GroupId: group, Extensions: xs})
	d.suite = suite
	d.reinitialise(p.Proposal, map[bool]string{true: "alice", false: "bob"}[welcomer == "bob"], welcomer, "alice", "bob", "charlie", "diana", "eliza")
}

// random grows and shrinks a group by random commits of random members.
func random(d *driver) {
	r := rand.New(rand.NewPCG(uint64(d.suite), uint64(len(d.clients))))
	next := 0
	name := func() string { next++; return "actor" + strconv.Itoa(next) }
	members := []string{name()}
	d.create(members[0])
	for range 8 {
		r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		committer, c := members[0], change{}
		rest := slices.Clone(members[1:])
		gone := min(len(rest)/2, r.IntN(3))
		for _, m := range rest[:gone] {
			c.byValue = append(c.byValue, remove(m))
		}
		c.members = rest[gone:]
		if len(c.members) > 0 && r.IntN(2) == 0 {
			c.byRef = append(c.byRef, d.propose(c.members[0], nil))
		}
		for range r.IntN(4) {
			j := name()
			c.joiners = append(c.joiners, j)
			c.byValue = append(c.byValue, add(d.keyPackage(j)))
		}
		d.path = r.IntN(2) == 0
		d.commit(committer, c)
		members = append(slices.Concat(c.members, c.joiners), committer)
	}
}
