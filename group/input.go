package group

import (
	"io"
	"time"
)

// Env is everything impure that a Step may use, handed in by the caller.
// Results never depend on Parallel's schedule; nil means a plain loop. Nor do
// they depend on Once, which is that of mls.Env and may be nil, too.
type Env struct {
	Now      time.Time
	Rand     io.Reader
	Parallel func(n int, f func(i int))
	Once     func(sum [32]byte, check func() bool) bool
}

// Input is one of Receive, Hear, Send, Change, Leave and Tick.
type Input interface{ input() }

// Receive hands in sealed blocks from the network, in any order.
type Receive struct {
	Blocks [][]byte
	From   string // the transport's name of the peer, for quotas and answers
}

// Hear hands in a Signal from a peer.
type Hear struct {
	Payload []byte
	From    string
}

// Send sends an application message on the head.
type Send struct {
	ID   [16]byte // zero: drawn from Env.Rand
	Text []byte
}

// Change commits on the head. At least one field must be set. Add holds
// serialised KeyPackages; Remove, Promote (to admin) and Demote hold leaf
// indexes of the head's tree.
type Change struct {
	Add     [][]byte
	Remove  []uint32
	Promote []uint32
	Demote  []uint32
	Update  bool
}

// Leave publishes a self-Remove that any member may commit.
type Leave struct{}

// Tick lets due work be done: acks, merges, notices, expiry.
type Tick struct{}

func (Receive) input() {}
func (Hear) input()    {}
func (Send) input()    {}
func (Change) input()  {}
func (Leave) input()   {}
func (Tick) input()    {}
