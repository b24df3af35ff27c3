package sim

import (
	"encoding/binary"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/mls"
)

// Adversaries who lie with signals, or use those of others.

// lyingNotice: the head that it names is one that nobody has ever seen.
func lyingNotice(in *insider, a Adversary) {
	in.every(a, func(int) {
		nowhere := frame.CIDOf(in.bytes(32))
		for _, o := range in.honest() {
			in.signal(o, in.notice(o, nowhere))
		}
	})
}

// notice is a signed notice as package group makes it: nothing that its signer
// sends later will count as newer.
func (in *insider) notice(o *device, head cid.Cid) []byte {
	field := func(to, b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(to, uint32(len(b))), b...)
	}
	body := field(field(nil, o.incarnation()), head.Bytes())
	body = append(field(body, nil), 0) // the head does not have it; it is not gone
	body = field(body, []byte(in.self))
	body = binary.BigEndian.AppendUint64(body, 1<<32)                        // next
	body = binary.BigEndian.AppendUint64(body, uint64(in.r.now.UnixMilli())) // cursor
	content := append(field(nil, in.epoch(in.epochs()[0]).GroupID()), body...)
	sig, err := mls.SignWithLabel(simSuite, in.signer, "DMLSNotice", content)
	if err != nil {
		in.r.fail(err)
	}
	return field(append([]byte{1}, body...), sig)
}

// mostPlayed bounds what a replayer plays to one device at a time: the latest.
const mostPlayed = 200

// replayer has heard every signal since the group began.
func replayer(in *insider, a Adversary) {
	in.every(a, func(int) {
		from := max(0, len(in.r.signals)-mostPlayed)
		for _, o := range in.honest() {
			for _, body := range slices.Clone(in.r.signals[from:]) {
				in.play(o, body)
			}
		}
	})
}
