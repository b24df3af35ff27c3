package mls

import "errors"

// Errors of this package. They are wrapped with what was wrong; match them
// with errors.Is. None of them, and nothing wrapped around them, holds a secret.
var (
	ErrMalformed   = errors.New("mls: malformed")                       // bytes that no honest client writes
	ErrUnsupported = errors.New("mls: not supported")                   // version, suite or type that we do not speak
	ErrSignature   = errors.New("mls: signature does not verify")       //
	ErrDecrypt     = errors.New("mls: does not decrypt")                // AEAD or HPKE
	ErrKeyPackage  = errors.New("mls: KeyPackage is invalid")           // RFC 9420, section 10.1
	ErrLeafNode    = errors.New("mls: LeafNode is invalid")             // section 7.3
	ErrTree        = errors.New("mls: ratchet tree is invalid")         // section 7.9, 12.4.3.1
	ErrPath        = errors.New("mls: UpdatePath is invalid")           // section 7.6, 12.4.2
	ErrConfig      = errors.New("mls: impossible request")              // misuse by the caller
	ErrMember      = errors.New("mls: no such member")                  // blank leaf or out of range
	ErrEpoch       = errors.New("mls: message is of another epoch")     // group id or epoch number
	ErrSpent       = errors.New("mls: ratchet generation is spent")     // its key was used and deleted
	ErrGeneration  = errors.New("mls: ratchet generation is too far")   // beyond the forward bound
	ErrMAC         = errors.New("mls: membership tag does not verify")  // section 6.2
	ErrProposals   = errors.New("mls: proposal list is invalid")        // section 12.2
	ErrForbidden   = errors.New("mls: not allowed in a DMLS group")     // external commits, PSK, ReInit, pathless
	ErrPSK         = errors.New("mls: pre-shared key is not available") // section 8.4
	ErrWelcome     = errors.New("mls: Welcome is invalid")              // section 12.4.3.1
	ErrGroupInfo   = errors.New("mls: GroupInfo is invalid")            // section 12.4.3
	ErrWiped       = errors.New("mls: epoch is wiped")                  //
	ErrRecords     = errors.New("mls: records are damaged or missing")  // LoadEpoch, tree loader

	// ErrUnknownProposal means that a commit refers to a proposal that this
	// epoch has not seen (yet).
	ErrUnknownProposal = errors.New("mls: commit refers to an unknown proposal")
	// ErrNotCanonical means that a DMLS frame is not the one that its content
	// determines: reuse guard or padding were chosen freely.
	ErrNotCanonical = errors.New("mls: frame is not a function of its content")
	// ErrUnopenable means that the commit is signed by a member, but that its
	// path does not decrypt to its public keys on this device. Other devices may
	// see it differently, so it is no reason to refuse it for all.
	ErrUnopenable = errors.New("mls: commit does not open on this device")
	// ErrConfirmation means a wrong confirmation tag. The tag is in neither
	// signature nor transcript: any member could have swapped it.
	ErrConfirmation = errors.New("mls: confirmation tag does not verify")
	// ErrChildTaken means that the child's init secret was derived before and
	// its PPRF point punctured; it wraps pprf.ErrPunctured.
	ErrChildTaken = errors.New("mls: child epoch was derived before")
	// ErrClosed means that a ReInit ended the group: nothing is sent or opened in
	// it any more (section 12.4.2).
	ErrClosed = errors.New("mls: group is closed by a ReInit")
	// ErrCredential means that the application's CredentialValidator refused.
	ErrCredential = errors.New("mls: credential is refused")
	// ErrStale means that a Delta was made on another state of the epoch.
	ErrStale = errors.New("mls: delta is stale")
	// ErrExporter means that the exporter secret was dropped.
	ErrExporter = errors.New("mls: exporter secret was dropped")
)
