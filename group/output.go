package group

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/frame"
)

// Class says how a record must be kept and, above all, how it must go: a
// Secret or History record that is deleted or overwritten has to be erased
// for good, a Public one may linger in the files.
type Class uint8

const (
	Public  Class = iota + 1 // readable by anybody who has the group's gossip key
	Secret                   // keys and whatever they are derived from
	History                  // plaintext of the application
)

// Op is one change of the store: Value replaces what Key held; a nil Value
// deletes the record.
type Op struct {
	Key   string
	Value []byte
	Class Class
}

// Batch is written atomically: all of it or nothing. Values of class Secret are
// copies, for the caller to wipe afterwards.
type Batch []Op

// Output is everything that a Step asks of the world. The fields stand in the
// order in which they must be carried out.
type Output struct {
	Results []Result // one per received frame, for the transport's verdict

	Batch Batch // 1. durable before anything below leaves the device

	Publish  []frame.Block // 2. to all members, best effort: sync repairs
	Signals  []Signal      // 2. signed objects outside the frames (notices, offers, Welcomes)
	Welcomes []Welcome     // 2. one per KeyPackage that Change added

	Events []Event   // 3. for the application, in order, each with the group's next cursor
	Want   []cid.Cid // 4. blocks that parked frames wait for; ask peers
	Wake   time.Time // 5. next useful Tick; zero: none
	Sent   Sent      // what a Send or Change produced; zero for other inputs
}

// Sent names what the caller's own Send or Change put on the wire.
type Sent struct {
	CID     cid.Cid  // of the block, undefined if nothing was sent
	Message [16]byte // AppData id of a message
}

// Verdict is what became of a received frame (design, section 9).
type Verdict uint8

const (
	Applied    Verdict = iota + 1 // opened and taken up
	Forked                        // opened; a commit beside the head
	Buffered                      // not now: Missing must come first
	Duplicate                     // held already
	Stale                         // its epoch was erased, or lies above or beside our base
	Unopenable                    // signed well, but its path does not open for us
	Spent                         // an application frame on a key that is gone
	Rejected                      // wrong for every honest node
)

// Result reports one received block.
type Result struct {
	CID     cid.Cid
	Verdict Verdict
	Missing []cid.Cid // for Buffered
	Reason  error     // for Rejected, Unopenable and Stale
}

// Signal is a sealed, signed object that stands in no DAG: a notice, an offer
// or a Welcome for an offer. To is the transport's name of one peer, or empty
// for every peer of the topic.
type Signal struct {
	To      string
	Payload []byte
}

// Welcome is what a joiner needs: an opaque bundle of the MLS Welcome, the
// ratchet tree and the table of incarnations, for group.Join.
type Welcome struct {
	KeyPackageRef []byte
	Bundle        []byte
}
