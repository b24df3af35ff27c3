package node

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

func TestJoinSurvivesRestarts(t *testing.T) {
	w := newWorld(t, "a", "b")
	a, b := w.devices["a"], w.devices["b"]
	gid := a.must(Create{Name: "ops"}).Group
	ticket := a.must(Invite{gid}).Ticket
	line := ticket.Line()

	// The request arrives, the answer is lost, both restart.
	b.must(Join{ticket, "a"})
	w.queue[0]()
	w.queue = nil
	if s, _ := a.driver.Status(gid); s.Blocks != 2 {
		t.Fatalf("%d frames, want the Add of b", s.Blocks)
	}
	a.boot()
	b.boot()
	again, err := ParseTicket(line)
	if err != nil {
		t.Fatal(err)
	}
	b.must(Join{again, "a"})
	w.run(20 * time.Second)
	if !slices.Equal(b.joined, []string{gid}) || b.failed[0] != nil {
		t.Fatalf("joined %v, failed %v", b.joined, b.failed)
	}
	w.sameFrames(gid, 2) // one Add for two requests

	if n := b.store.count(keyKeyPackages); n != 0 {
		t.Errorf("%d init keys are left after the join", n)
	}
	if o := b.must(Join{again, "a"}); o.Group != gid {
		t.Errorf("the used ticket leads to %q, want %s", o.Group, gid)
	}
	b.boot()
	if o := b.must(Join{again, "a"}); o.Group != gid {
		t.Errorf("after a restart the used ticket leads to %q, want %s", o.Group, gid)
	}
}

func TestJoinWithLoss(t *testing.T) {
	w := newWorld(t, "a", "b")
	a, b := w.devices["a"], w.devices["b"]
	gid := a.must(Create{Name: "ops"}).Group
	w.loss = 0.6
	b.must(Join{a.must(Invite{gid}).Ticket, "a"})
	w.run(5 * time.Minute)
	if !slices.Equal(b.joined, []string{gid}) {
		t.Fatalf("joined %v, failed %v", b.joined, b.failed)
	}
	w.sameFrames(gid, 2)
}

// The join and the end of the init key are one batch.
func TestJoinIsAtomic(t *testing.T) {
	w := newWorld(t, "a", "b")
	a, b := w.devices["a"], w.devices["b"]
	gid := a.must(Create{Name: "ops"}).Group
	b.must(Join{a.must(Invite{gid}).Ticket, "a"})
	w.queue[0]() // the request
	b.store.setFail(errors.New("disk full"))
	w.queue[len(w.queue)-1]() // the answer
	w.queue = nil
	if len(b.joined) != 0 || len(b.driver.Groups()) != 0 || b.store.count(keyKeyPackages) != 1 {
		t.Fatalf("after a failed commit: joined %v, groups %v", b.joined, b.driver.Groups())
	}
	b.store.setFail(nil)
	w.run(time.Minute)
	if !slices.Equal(b.joined, []string{gid}) || b.store.count(keyKeyPackages) != 0 {
		t.Fatalf("joined %v", b.joined)
	}
}

func TestInviteIsAtomic(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	a, b := w.devices["a"], w.devices["b"]
	gid := a.must(Create{Name: "ops"}).Group
	ticket := a.must(Invite{gid}).Ticket
	a.store.setFail(errors.New("disk full"))
	b.must(Join{ticket, "a"})
	w.run(time.Second)
	a.store.setFail(nil)
	if len(b.joined) != 0 {
		t.Fatal("joined by a commit that is not durable")
	}
	w.run(time.Minute) // b repeats its request; the ticket was not used up
	if !slices.Equal(b.joined, []string{gid}) {
		t.Fatalf("joined %v %v", b.joined, b.failed)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	a, b, c := w.devices["a"], w.devices["b"], w.devices["c"]
	gid := a.must(Create{Name: "ops"}).Group
	ticket := a.must(Invite{gid}).Ticket
	refused := func(d *device, tk Ticket, want error) {
		t.Helper()
		d.joined, d.failed = nil, nil
		d.must(Join{tk, "a"})
		w.run(5 * time.Second)
		if len(d.failed) != 1 || !errors.Is(d.failed[0], ErrRefused) || !errors.Is(d.failed[0], want) {
			t.Errorf("refused with %v, want %v", d.failed, want)
		}
		if n := d.store.count(keyKeyPackages); n != 0 {
			t.Errorf("%d init keys are left", n)
		}
		if _, err := d.driver.Status(gid); err == nil {
			t.Error("a refusal made a member")
		}
	}
	unknown := ticket
	unknown.Secret[0] ^= 1
	refused(b, unknown, ErrTicketUnknown)

	// A device whose clock is slow asks with a ticket that has expired.
	late := ticket
	late.Expires = late.Expires.Add(2 * w.devices["a"].driver.c.Timing.TicketLife)
	w.now = ticket.Expires
	refused(b, late, ErrTicketExpired)
	if o := b.do(Join{ticket, "a"})[0]; !errors.Is(o.Err, ErrTicketExpired) {
		t.Errorf("own clock: %v", o.Err)
	}

	fresh := a.must(Invite{gid}).Ticket
	b.joined, b.failed = nil, nil
	b.must(Join{fresh, "a"})
	w.run(5 * time.Second)
	if len(b.joined) != 1 || b.failed[0] != nil {
		t.Fatalf("b did not join: %v", b.failed)
	}
	refused(c, fresh, ErrTicketUsed)

	if o := a.do(Join{fresh, "a"})[0]; !errors.Is(o.Err, ErrTicketOwn) {
		t.Errorf("own ticket: %v", o.Err)
	}
	last := a.must(Invite{gid}).Ticket
	a.must(Step{gid, group.Leave{}})
	refused(c, last, ErrRefused)
	if o := a.do(Invite{gid})[0]; !errors.Is(o.Err, group.ErrNotMember) {
		t.Errorf("ticket of a device that left: %v", o.Err)
	}
}

// Who saw a request cannot use its proof for another KeyPackage, and a wrong
// proof does not use the ticket up.
func TestProof(t *testing.T) {
	w := newWorld(t, "a", "b")
	a, b := w.devices["a"], w.devices["b"]
	gid := a.must(Create{Name: "ops"}).Group
	ticket := a.must(Invite{gid}).Ticket
	m := joinMessage{kind: joinRequest, ticket: ticket.ID(), proof: ticket.proof([]byte("kp of b")), keyPackage: []byte("kp of eve")}
	a.must(Message{"eve", ProtocolJoin, m.marshal()})
	if s, _ := a.driver.Status(gid); s.Blocks != 1 {
		t.Fatal("added by a proof for another KeyPackage")
	}
	m.keyPackage, m.proof = []byte("bad"), ticket.proof([]byte("bad"))
	if o := a.do(Message{"eve", ProtocolJoin, m.marshal()})[0]; !errors.Is(o.Err, group.ErrAlready) {
		t.Errorf("a KeyPackage that the group refuses: %v", o.Err)
	}
	w.run(time.Second)
	b.must(Join{ticket, "a"})
	w.run(time.Second)
	if len(b.joined) != 1 || b.failed[0] != nil {
		t.Fatalf("the ticket was used up: %v", b.failed)
	}
}

func TestUnaskedReply(t *testing.T) {
	w := newWorld(t, "a", "b")
	a, b := w.devices["a"], w.devices["b"]
	gid := a.must(Create{Name: "ops"}).Group
	ticket := a.must(Invite{gid}).Ticket
	b.must(Join{ticket, "a"})
	w.queue = nil
	for _, o := range b.do(
		Message{"eve", ProtocolJoin, reply(ticket.ID(), []byte(gid+"|x"))},
		Message{"a", ProtocolJoin, reply(strings.Repeat("0", 32), []byte(gid+"|x"))},
	) {
		if !errors.Is(o.Err, ErrMalformed) {
			t.Errorf("an answer that was not asked for: %v", o.Err)
		}
	}
	if len(b.joined) != 0 {
		t.Fatal("joined by a stranger's answer")
	}
	_ = b.do(Message{"a", ProtocolJoin, reply(ticket.ID(), []byte("garbage"))})
	if len(b.failed) != 1 || !errors.Is(b.failed[0], group.ErrBundle) {
		t.Fatalf("an unusable answer: %v", b.failed)
	}
}

func TestTicketsAreForgotten(t *testing.T) {
	w := newWorld(t, "a", "b")
	a := w.devices["a"]
	gid := a.must(Create{Name: "ops"}).Group
	w.invite(gid, "a", "b")
	a.must(Invite{gid})
	if a.store.count(keyTickets) != 2 || a.store.count(keyWelcomes) != 1 {
		t.Fatal("tickets are not stored")
	}
	w.run(graceTime + a.driver.c.Timing.TicketLife + time.Hour)
	if n := a.store.count(keyTickets) + a.store.count(keyWelcomes); n != 0 {
		t.Errorf("%d records of old tickets are left", n)
	}
}

func TestJoinAgainAfterRemoval(t *testing.T) {
	w := newWorld(t, "a", "b")
	a, b := w.devices["a"], w.devices["b"]
	gid := a.must(Create{Name: "ops"}).Group
	w.invite(gid, "a", "b")
	b.must(Step{gid, group.Leave{}})
	b.joined, b.failed = nil, nil
	b.must(Join{a.must(Invite{gid}).Ticket, "a"})
	w.run(5 * time.Second)
	if len(b.joined) != 1 || b.failed[0] != nil {
		t.Fatalf("%v %v", b.joined, b.failed)
	}
	if s, _ := b.driver.Status(gid); s.State != "member" {
		t.Errorf("state %s", s.State)
	}
	// As a member one does not join again: nothing of the group is touched.
	records := b.store.count(group.Prefix(gid))
	b.joined, b.failed = nil, nil
	b.must(Join{a.must(Invite{gid}).Ticket, "a"})
	w.run(5 * time.Second)
	if len(b.failed) != 1 || !errors.Is(b.failed[0], group.ErrAlready) {
		t.Errorf("second join as a member: %v", b.failed)
	}
	if got := b.store.count(group.Prefix(gid)); got < records {
		t.Errorf("%d records of %d are left", got, records)
	}
}

// A KeyPackage whose Welcome never came goes a day after its ticket, with the
// record of the attempt, also on a device that was restarted.
func TestUnansweredJoinExpires(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := newWorld(t, "a", "b")
		a, b := w.devices["a"], w.devices["b"]
		gid := a.must(Create{Name: "ops"}).Group
		ticket := a.must(Invite{gid}).Ticket
		w.partition(true, []string{"a"}, []string{"b"})
		b.must(Join{ticket, "a"})
		if restart {
			b.boot()
		}
		w.now = ticket.Expires.Add(graceTime - time.Second)
		b.must(Tick{})
		if n := b.store.count(keyKeyPackages); n != 1 {
			t.Fatalf("%d KeyPackages a second too early", n)
		}
		w.now = ticket.Expires.Add(graceTime)
		b.must(Tick{})
		if n, m := b.store.count(keyKeyPackages), b.store.count(keyJoins); n+m != 0 {
			t.Errorf("restarted %v: %d KeyPackages and %d records are left", restart, n, m)
		}
		if !restart && (len(b.failed) != 1 || !errors.Is(b.failed[0], ErrTicketExpired)) {
			t.Errorf("who waits is told %v", b.failed)
		}
	}
}

// Records of version 1 do not know when their ticket expires.
func TestOldJoinRecord(t *testing.T) {
	j := joinRecord{ref: []byte("ref"), public: []byte("public")}
	b := j.marshal()
	b[0], b = 1, b[:len(b)-8]
	got, err := parseJoinRecord(b)
	if err != nil || string(got.ref) != "ref" || !got.expires.IsZero() {
		t.Fatalf("%+v, %v", got, err)
	}
	now := time.Unix(1_700_000_000, 0)
	js := joins{byID: map[string]*attempt{}, stored: map[string]*joinRecord{"t": got}}
	if ops, _ := js.expire(now); len(ops) != 0 {
		t.Error("dropped at once")
	}
	if ops, _ := js.expire(now.Add(graceTime)); len(ops) != 2 {
		t.Errorf("%d ops after the grace time", len(ops))
	}
}

func TestTicketText(t *testing.T) {
	ticket := Ticket{Expires: time.Unix(1_800_000_000, 0).UTC(), Hint: groupHint("ab"), Secret: [16]byte{1, 2, 3},
		Addrs: []string{"/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooW"}}
	line := ticket.Line()
	got, err := ParseTicket(" " + line + "\n")
	if err != nil || got.Line() != line || got.ID() != ticket.ID() || !got.Expires.Equal(ticket.Expires) {
		t.Fatalf("%v %+v", err, got)
	}
	if strings.ContainsAny(line, " \t\n\"'") {
		t.Errorf("the line %q needs quoting", line)
	}
	for name, c := range map[string]struct {
		line string
		want error
	}{
		"empty":     {"", ErrTicketForeign},
		"other":     {"https://example.org", ErrTicketForeign},
		"huge":      {strings.Repeat("a", 1<<20), ErrTicketForeign},
		"newer":     {"dmls2" + line[5:], ErrTicketVersion},
		"cut":       {line[:len(line)-5], ErrTicketDamaged},
		"upper":     {strings.ToUpper(line), ErrTicketForeign},
		"upperBody": {line[:5] + strings.ToUpper(line[5:]), ErrTicketDamaged},
		"prefix":    {"dmls1", ErrTicketDamaged},
		"longer":    {line + "a", ErrTicketDamaged},
	} {
		if _, err := ParseTicket(c.line); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for i := range len(line) - 5 {
		b := []byte(line)
		if b[i+5]++; b[i+5] > 'z' {
			b[i+5] = 'a'
		}
		if _, err := ParseTicket(string(b)); !errors.Is(err, ErrTicketDamaged) {
			t.Fatalf("a change at %d is not seen: %v", i+5, err)
		}
	}
}

// Theorem: a line that parses is the only text of its ticket.
func FuzzTicket(f *testing.F) {
	f.Add(Ticket{Addrs: []string{"/memory/1"}}.Line())
	f.Add("dmls1")
	f.Fuzz(func(t *testing.T, line string) {
		ticket, err := ParseTicket(line)
		if err == nil && ticket.Line() != strings.TrimSpace(line) {
			t.Fatalf("%q is a second text of %q", line, ticket)
		}
	})
}

// Theorem: parse, then marshal, is the identity on what parses.
func FuzzMessages(f *testing.F) {
	ticket := Ticket{Secret: [16]byte{7}}
	request := joinMessage{kind: joinRequest, ticket: ticket.ID(), proof: ticket.proof(nil), keyPackage: []byte("kp")}
	g := newFake("00", "", "a")
	var out group.Output
	g.say(group.Env{}, &out, block{Text: "x"})
	tips := syncMessage{kind: syncTips, topic: "t", cids: g.Tips(), lacking: g.Tips()}
	want := syncMessage{kind: syncWant, topic: "t", cids: g.Tips()}
	blocks := syncMessage{kind: syncBlocks, topic: "t", answers: syncWant, more: true, blocks: [][]byte{[]byte("b"), nil}}
	seeds := [][]byte{request.marshal(), reply(ticket.ID(), []byte("bundle")), refuse(ticket.ID(), RefusedUsed, "used"),
		tips.marshal(), want.marshal(), blocks.marshal(), marshalSignal("t", []byte("p")), marshalStrings([]string{"a", ""}),
		(&invitation{ticket: ticket, group: "00", usedBy: []byte("r")}).marshal(),
		(&joinRecord{ref: []byte("r"), public: []byte("p"), group: "00"}).marshal(), (&identity{name: "a"}).marshal()}
	parsers := []func([]byte) ([]byte, error){
		func(b []byte) ([]byte, error) { m, err := parseJoinMessage(b); return marshalOr(m, err) },
		func(b []byte) ([]byte, error) { m, err := parseSyncMessage(b); return marshalOr(m, err) },
		func(b []byte) ([]byte, error) { m, err := parseInvitation(b); return marshalOr(m, err) },
		func(b []byte) ([]byte, error) { m, err := parseJoinRecord(b); return marshalOr(m, err) },
		func(b []byte) ([]byte, error) { m, err := parseIdentity(b); return marshalOr(&m, err) },
		func(b []byte) ([]byte, error) {
			topic, p, err := parseSignal(b)
			return marshalSignal(topic, p), err
		},
		func(b []byte) ([]byte, error) { l, err := parseStrings(b); return marshalStrings(l), err },
	}
	for _, s := range seeds {
		parsed := false
		for _, p := range parsers {
			_, err := p(s)
			parsed = parsed || err == nil
		}
		if !parsed {
			f.Fatalf("no parser takes the seed %x", s)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, p := range parsers {
			if got, err := p(bytes.Clone(b)); err == nil && !bytes.Equal(got, b) {
				t.Fatalf("parser %d: %x came back as %x", i, b, got)
			}
		}
	})
}

func marshalOr[M interface{ marshal() []byte }](m M, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return m.marshal(), nil
}

// Whatever holds a ticket prints without its secret, with every verb.
func TestTicketIsRedacted(t *testing.T) {
	ticket := Ticket{Expires: time.Unix(1_700_000_000, 0), Addrs: []string{"/memory/a"}}
	copy(ticket.Secret[:], "sixteen letters!")
	shown := []any{ticket, &ticket, Outcome{Ticket: ticket}, Join{Ticket: ticket}, StopJoin{ticket}, []Ticket{ticket}, &invitation{ticket: ticket}, &tickets{byID: map[string]*invitation{"x": {ticket: ticket}}}, &attempt{ticket: ticket}, &joins{byID: map[string]*attempt{"x": {ticket: ticket}}}, keyPackage{secret: ticket.Secret[:]}}
	for _, v := range shown {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			text := fmt.Sprintf(verb, v)
			for _, secret := range []string{ticket.Line(), "sixteen", hex.EncodeToString(ticket.Secret[:4]), "115 105 120", "0x73, 0x69, 0x78"} {
				if strings.Contains(text, secret) {
					t.Errorf("%T prints with %s as %s", v, verb, text)
				}
			}
		}
	}
}
