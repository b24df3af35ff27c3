package node

import (
	"errors"
	"fmt"
)

var (
	ErrClosed        = errors.New("node: closed")
	ErrNotFound      = errors.New("node: no such group or member")
	ErrAmbiguous     = errors.New("node: more than one group or member fits")
	ErrLogAnew       = errors.New("node: the cursor is not of this log, which begins anew after the group was forgotten")
	ErrKeep          = errors.New("node: bad bounds of the event log")
	ErrNoIdentity    = errors.New("node: the store holds no identity; create one with a name first")
	ErrName          = errors.New("node: a name has 1 to 64 bytes of UTF-8, no invisible characters, and no space at its ends")
	ErrMalformed     = errors.New("node: malformed message")
	ErrIdentity      = errors.New("node: the stored identity is damaged")
	ErrNoAddress     = errors.New("node: no address to put into a ticket; listen on one first")
	ErrTicketForeign = errors.New("node: this is not a dmls ticket, which begins with dmls1")
	ErrTicketVersion = errors.New("node: the ticket is of a newer version")
	ErrTicketDamaged = errors.New("node: the ticket is damaged")
	ErrTicketExpired = errors.New("node: the ticket has expired")
	ErrTicketUsed    = errors.New("node: the ticket was used by somebody else")
	ErrTicketUnknown = errors.New("node: the inviter does not know this ticket")
	ErrTicketOwn     = errors.New("node: this is a ticket of this device")
	ErrRefused       = errors.New("node: the inviter refused")
	ErrUnreachable   = errors.New("node: the inviter cannot be reached")
)

// Refusal is an inviter's no to a request to join. It unwraps to ErrRefused
// and to the ticket error that fits its code.
type Refusal struct {
	Code  RefusalCode
	Words string // for people; from the inviter
}

// RefusalCode says why an inviter refuses.
type RefusalCode uint8

const (
	RefusedUnknown    RefusalCode = iota + 1 // no such ticket
	RefusedProof                             // the proof does not fit the ticket
	RefusedUsed                              // used with another KeyPackage
	RefusedExpired                           //
	RefusedKeyPackage                        // the KeyPackage is not acceptable
	RefusedGroup                             // the inviter cannot add to the group now
)

func (r *Refusal) Error() string { return fmt.Sprintf("node: the inviter refused: %q", r.Words) }

// Unwrap names the sentinels that fit.
func (r *Refusal) Unwrap() []error {
	switch r.Code {
	case RefusedUnknown:
		return []error{ErrRefused, ErrTicketUnknown}
	case RefusedUsed:
		return []error{ErrRefused, ErrTicketUsed}
	case RefusedExpired:
		return []error{ErrRefused, ErrTicketExpired}
	}
	return []error{ErrRefused}
}
