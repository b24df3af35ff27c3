package dag

import "errors"

// ID is the CID of a commit (or of any frame) as bytes, opaque here. As the
// name of an epoch it is the id of the commit that created the epoch.
type ID string

// Member names an incarnation (signature key, adding commit, leaf), opaque
// here and never reused.
type Member string

// Voter is a member as an epoch's tree has it. Rank 0 is the highest (admin).
type Voter struct {
	Member Member
	Rank   uint8
	Leaf   uint32
}

// MaxVoters is the number of members of an epoch that have a vote: all while
// there are no more than this, else admins and then the lowest leaves.
const MaxVoters = 128

// Vertex is a commit, opened and valid. It is also a frame of its author, sent
// in Parent and standing at ID. Removed is applied before Added, Added before
// Ranks. The Graph keeps the slices: do not change them afterwards.
type Vertex struct {
	ID, Parent ID
	Author     Member
	Seq        uint64 // place in the author's chain of frames
	Confirms   ID     // counts only if it is Parent or above it; may be empty
	Added      []Voter
	Removed    []Member
	Ranks      []Voter // members whose rank or leaf the commit changed
	Tag        []byte  // confirmation_tag, for the rule Tag only
	Supersedes []ID    // tips of losing branches that a merge commit settles
}

// Stand is any other opened frame. It stands at the epoch it was sent in,
// unless it is Mute (a complaint or a proof), which settles its Seq, is
// evidence of equivocation like any frame, but stands nowhere and confirms
// nothing.
type Stand struct {
	ID       ID // the frame's own CID
	Author   Member
	Seq      uint64
	At       ID // epoch it was sent in
	Confirms ID // counts only if it is At or above it; may be empty
	Mute     bool
	// CannotOpen makes a Mute frame a complaint: a child of At whose commit did
	// not open on the author's device. About another epoch it says nothing.
	CannotOpen ID
}

// Change reports what an addition did.
type Change struct {
	Head, Was ID   // head after and before
	Forked    bool // the added commit is the second or a further child of ForkAt
	ForkAt    ID
	Beside    bool // the added commit is not on the head's chain
	Reorg     bool // Was is not on the chain of Head

	// Equivocator is set when the added frame has the Seq of another frame of
	// the same member; Proof names the two, in byte order.
	Equivocator *Member
	Proof       [2]ID
}

// Moved reports whether the head changed.
func (c Change) Moved() bool { return c.Head != c.Was }

var (
	// ErrDuplicate is returned for a frame that was added before.
	ErrDuplicate = errors.New("dag: frame is here already")
	// ErrUnknown is returned for a frame whose epoch is not retained: it is not
	// here yet, or above or beside the base.
	ErrUnknown = errors.New("dag: epoch is not retained")
	// ErrMalformed is returned for a frame without id or author, and for a
	// state that is no tree below its base.
	ErrMalformed = errors.New("dag: malformed")
)
