package group

// Kind names an event. The names are part of the JSON API.
type Kind string

const (
	KindMessage       Kind = "message"         // an application message was delivered (our own too)
	KindEpoch         Kind = "epoch"           // the head moved
	KindCommit        Kind = "commit"          // a commit was taken up, on the head's chain or beside it
	KindForkOpened    Kind = "fork_opened"     // an epoch got a second child
	KindForkResolved  Kind = "fork_resolved"   // the losing side was erased or consolidated
	KindMerge         Kind = "merge_committed" // a merge commit carried over what a losing branch had done
	KindPunctured     Kind = "epoch_punctured" // a child's init secret was derived and is gone
	KindErased        Kind = "epoch_erased"    // an old epoch's secrets were erased, with the reason
	KindEquivocation  Kind = "equivocation"    // one sender signed two frames with one sequence number
	KindUnopenable    Kind = "commit_unopenable"
	KindStranded      Kind = "stranded"       // this device was added on a branch that lost
	KindRejoined      Kind = "rejoined"       // and has come back
	KindNeedsApproval Kind = "needs_approval" // a losing operation that nobody may redo unasked
	KindDropped       Kind = "dropped"        // a losing operation that the branch that won overrules
	KindDiverged      Kind = "diverged"       // members went on where this device cannot follow; Actions: their names
	KindReadable      Kind = "readable"       // a branch that this device is not on, and whose messages it can read; Head: the epoch
	KindResent        Kind = "message_resent"
	KindJoined        Kind = "joined"  // this device joined; From and Name: the inviter, Text: the group's name
	KindRemoved       Kind = "removed" // this device was removed
	KindLeft          Kind = "left"    // this device's leave was committed

	// KindCompacted is not the engine's: it stands for events up to its own cursor
	// that whoever keeps the log has removed.
	KindCompacted Kind = "log_compacted"
)

// Event is one entry of the device's event log for the group. Fields that do
// not fit the Kind are empty. Ids of epochs and commits are CIDs as text.
type Event struct {
	Cursor uint64 `json:"cursor"`
	Time   int64  `json:"time"` // Unix milliseconds of the Step that made it
	Kind   Kind   `json:"kind"`

	Group string `json:"group"`           // group id, hex
	Epoch uint64 `json:"epoch,omitempty"` // integer epoch; rivals can share it
	Head  string `json:"head,omitempty"`  // for a message: the epoch it was sent in
	CID   string `json:"cid,omitempty"`   // the frame

	ID   string `json:"id,omitempty"`   // message id, hex
	From string `json:"from,omitempty"` // sender's identity, hex
	Name string `json:"name,omitempty"` // sender's name
	Text string `json:"text,omitempty"`
	Mine bool   `json:"mine,omitempty"`

	Fork    string       `json:"fork,omitempty"`    // fork point
	Winner  string       `json:"winner,omitempty"`  // first commit of the chosen branch
	Losers  []string     `json:"losers,omitempty"`  // first commits of the others; of a merge: tips of the branches
	Votes   []BranchView `json:"votes,omitempty"`   // of a fork: who supports which branch
	Why     string       `json:"why,omitempty"`     // in words
	Actions []string     `json:"actions,omitempty"` // what a commit did: "add dana", "remove eve", "update"
	Member  string       `json:"member,omitempty"`  // whom an operation that needs approval concerns: identity, hex
	Plan    PlanView     `json:"plan,omitzero"`     // of a merge, as this device had it before
	Count   int          `json:"count,omitempty"`   // for epoch_erased: secrets erased; for punctured: nodes kept; for log_compacted: events removed

	Messages int `json:"messages,omitempty"` // for log_compacted: how many of them were messages
}

// PlanView is what losing branches did that the head lacked, in words.
type PlanView struct {
	Done []string `json:"done,omitempty"` // by this merge
	Open []string `json:"open,omitempty"` // after it
	Ask  []string `json:"ask,omitempty"`  // left to a person
}
