package node

import (
	"github.com/dmlsd/dmls/group"
)

// MaxInputs is the number of inputs that a [Driver] puts into one commit.
const MaxInputs = 256

// Input is one of the types below, handed to [Driver.Do].
type Input interface{ nodeInput() }

// Step hands an input of the application to a group: [group.Send],
// [group.Change] or [group.Leave].
type Step struct {
	Group string // id, hex
	In    group.Input
}

// Deliver is a block from gossip.
type Deliver struct {
	Topic, From string
	Block       []byte
}

// Message is a message from a peer in one of the Protocols above.
type Message struct {
	Peer, Protocol string
	Body           []byte
}

// PeerJoin says that a peer takes part in a topic now; PeerLeave that it does
// so no longer.
type (
	PeerJoin  struct{ Topic, Peer string }
	PeerLeave struct{ Topic, Peer string }
)

// Announce says that a peer has a block too large for gossip. CID is its
// binary form.
type Announce struct {
	Topic, Peer string
	CID         []byte
}

// Create founds a group; Outcome.Group is its id. Policy zero is
// [group.PolicyAdmins].
type Create struct {
	Name   string
	Policy group.Policy
}

// Invite makes a ticket for a group; it is in Outcome.Ticket.
type Invite struct{ Group string }

// Join asks the peer behind a ticket to be added. It is repeated at each Tick
// that is due until the answer comes, which goes to [Sink.Joined]; handing in
// the same ticket again asks again at once, with the same KeyPackage. If the
// ticket was used by this device before, Outcome.Group is set at once.
type Join struct {
	Ticket Ticket
	Peer   string // the inviter's name on the network
}

// StopJoin ends the repetition. The KeyPackage stays for another try.
type StopJoin struct{ Ticket Ticket }

// Forget wipes a group from this device.
type Forget struct{ Group string }

// Tick lets work be done that is due; see [Driver.Wake].
type Tick struct{}

func (Step) nodeInput()      {}
func (Deliver) nodeInput()   {}
func (Message) nodeInput()   {}
func (PeerJoin) nodeInput()  {}
func (PeerLeave) nodeInput() {}
func (Announce) nodeInput()  {}
func (Create) nodeInput()    {}
func (Invite) nodeInput()    {}
func (Join) nodeInput()      {}
func (StopJoin) nodeInput()  {}
func (Forget) nodeInput()    {}
func (Tick) nodeInput()      {}

// Outcome is what became of one input.
type Outcome struct {
	Err     error
	Group   string         // group concerned, hex
	Results []group.Result // Deliver: one result; Message: one for each block that it brought
	Sent    group.Sent     // Step
	Ticket  Ticket         // Invite
}
