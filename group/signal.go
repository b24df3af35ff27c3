package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/mls"
)

// Signals are signed objects outside the frames: they vote for nothing and
// stand in no DAG. They are sealed with the group's gossip key, so that only
// members and stranded joiners read them.
type signalKind uint8

const (
	signalNotice  signalKind = 1 // a member tells a stranded joiner which branch won
	signalOffer   signalKind = 2 // the joiner answers with a fresh KeyPackage for that head
	signalWelcome signalKind = 3 // and is added again
	signalAsk     signalKind = 4 // the joiner is back, and asks for Welcomes that did not arrive
)

// notice names the head to a member that was added on a losing branch.
//
// Present names the commit that added the incarnation which holds the joiner's
// key on that head; it is empty if none does. Gone tells a joiner that it has
// been removed there since, and will not be added again.
//
//	struct { opaque joiner<V>; opaque head<V>; opaque present<V>; uint8 gone;
//	         opaque signer<V>; Stamp at; opaque signature<V>; } Notice
type notice struct {
	Joiner    dag.Member
	Head      cid.Cid
	Present   dag.ID
	Gone      bool
	Signer    dag.Member
	At        stamp
	Signature []byte
}

// offer is the joiner's answer. The KeyPackage is bound to that head and what
// follows it: it is good for no other branch.
//
//	struct { opaque joiner<V>; opaque head<V>; opaque key_package<V>; Stamp at; opaque signature<V>; } Offer
type offer struct {
	Joiner     dag.Member
	Head       cid.Cid
	KeyPackage []byte
	At         stamp
	Signature  []byte

	from     string // the transport's name of who brought it
	ref      []byte
	replaces dag.ID    // what its KeyPackage replaces; "" for an ordinary one
	heard    time.Time // since when it is known; in memory only
}

const (
	labelNotice = "DMLSNotice"
	labelOffer  = "DMLSOffer"
	labelAsk    = "DMLSAsk"
)

func (n notice) content(gid []byte) []byte {
	var w buffer
	w.bytes(gid)
	w.bytes([]byte(n.Joiner))
	w.bytes(n.Head.Bytes())
	w.bytes([]byte(n.Present))
	w.flag(n.Gone)
	w.bytes([]byte(n.Signer))
	n.At.write(&w)
	return w.b
}

func (o offer) content(gid []byte) []byte {
	var w buffer
	w.bytes(gid)
	w.bytes([]byte(o.Joiner))
	w.bytes(o.Head.Bytes())
	w.bytes(o.KeyPackage)
	o.At.write(&w)
	return w.b
}

func (s *step) signed(label string, content []byte) ([]byte, error) {
	sig, err := mls.SignWithLabel(suite, s.id.Signer, label, content)
	if err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	return sig, nil
}

func (n notice) marshal() []byte {
	var w buffer
	w.u8(uint8(signalNotice))
	w.bytes([]byte(n.Joiner))
	w.bytes(n.Head.Bytes())
	w.bytes([]byte(n.Present))
	w.flag(n.Gone)
	w.bytes([]byte(n.Signer))
	n.At.write(&w)
	w.bytes(n.Signature)
	return w.b
}

func (o offer) marshal() []byte {
	var w buffer
	w.u8(uint8(signalOffer))
	w.bytes([]byte(o.Joiner))
	w.bytes(o.Head.Bytes())
	w.bytes(o.KeyPackage)
	o.At.write(&w)
	w.bytes(o.Signature)
	return w.b
}

func marshalWelcome(ref, bundle []byte) []byte {
	var w buffer
	w.u8(uint8(signalWelcome))
	w.bytes(ref)
	w.bytes(bundle)
	return w.b
}

// readJoiner reads the two fields with which notice and offer begin.
func readJoiner(r *cursor) (dag.Member, cid.Cid, error) {
	m, err := parseIncarnation(r.bytes())
	if err != nil {
		return "", cid.Undef, err
	}
	head, err := cid.Cast(r.bytes())
	if err != nil {
		return "", cid.Undef, fmt.Errorf("%w: head: %w", ErrBadSignal, err)
	}
	return m, head, nil
}

func parseNotice(r *cursor) (notice, error) {
	m, head, err := readJoiner(r)
	n := notice{Joiner: m, Head: head, Present: dag.ID(r.bytes()), Gone: r.flag()}
	by, bad := parseIncarnation(r.bytes())
	n.Signer, n.At, n.Signature = by, r.stamp(), r.bytes()
	if err == nil {
		err = errors.Join(bad, r.done())
	}
	if err == nil && n.Present != "" {
		_, err = cid.Cast([]byte(n.Present))
	}
	return n, err
}

func parseOffer(r *cursor) (*offer, error) {
	m, head, err := readJoiner(r)
	o := &offer{Joiner: m, Head: head, KeyPackage: r.bytes(), At: r.stamp(), Signature: r.bytes()}
	if err == nil {
		err = r.done()
	}
	return o, err
}

// hear takes a signal. What is malformed, forged or not for this device is
// dropped without a trace: nobody is owed an answer.
func (s *step) hear(in Hear) error {
	plain, err := s.gossip.OpenSignal(in.Payload)
	if err != nil {
		return nil
	}
	r := &cursor{b: plain}
	switch signalKind(r.u8()) {
	case signalNotice:
		if n, err := parseNotice(r); err == nil {
			s.relayNotice(n)
			return s.hearNotice(n)
		}
	case signalOffer:
		if o, err := parseOffer(r); err == nil {
			o.from = in.From
			s.hearOffer(o)
		}
	case signalAsk:
		if a, err := parseAsk(r); err == nil {
			a.from = in.From
			s.hearAsk(a)
		}
	case signalWelcome:
		ref, b := r.bytes(), r.bytes()
		if r.done() == nil {
			s.relayWelcome(ref, b, in.From)
			return s.hearWelcome(ref, b)
		}
	}
	return nil
}

func (s *step) signal(to string, payload []byte) {
	s.out.Signals = append(s.out.Signals, Signal{To: to, Payload: s.gossip.SealSignal(payload)})
}
