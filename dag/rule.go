package dag

import "slices"

// Rule picks the branch to follow at a fork. Better must be a strict total
// order on the branches of one fork and depend on nothing else. The reason is
// one of the Decided values of Fork.
type Rule interface {
	Name() string
	UsesDepth() bool // whether Better reads Branch.Depth, which costs a walk
	Better(a, b Branch) (better bool, reason string)
}

// Reasons that a rule gives.
const (
	ByVotes = "votes" // votes compared rank by rank, admins first
	ByRank  = "rank"  // higher rank of the fork commit's author
	ByLeaf  = "leaf"  // lower leaf of the author in the fork epoch's tree
	ByCID   = "cid"   // siblings by one author
	ByTag   = "tag"
	ByDepth = "depth"

	// ByComplaints is no rule's reason: void branches come last under each.
	ByComplaints = "complaints"
)

// Support is the default rule (design, section 5.4): votes rank by rank, then
// rank and leaf of the fork commit's author, then the commit's id.
type Support struct{}

func (Support) Name() string    { return "support" }
func (Support) UsesDepth() bool { return false }

func (Support) Better(a, b Branch) (bool, string) {
	if c := slices.Compare(a.Votes, b.Votes); c != 0 {
		return c > 0, ByVotes
	}
	return byAuthor(a, b)
}

// Tag follows the higher confirmation_tag, the example of the early draft. It
// can be ground and is here for comparison only.
type Tag struct{}

func (Tag) Name() string    { return "tag" }
func (Tag) UsesDepth() bool { return false }

func (Tag) Better(a, b Branch) (bool, string) {
	if a.Tag != b.Tag {
		return a.Tag > b.Tag, ByTag
	}
	return a.Child < b.Child, ByCID
}

// Depth follows the longer branch. One member can mint depth; it is here for
// comparison only.
type Depth struct{}

func (Depth) Name() string    { return "depth" }
func (Depth) UsesDepth() bool { return true }

func (Depth) Better(a, b Branch) (bool, string) {
	if a.Depth != b.Depth {
		return a.Depth > b.Depth, ByDepth
	}
	return byAuthor(a, b)
}

func byAuthor(a, b Branch) (bool, string) {
	switch {
	case a.AuthorRank != b.AuthorRank:
		return a.AuthorRank < b.AuthorRank, ByRank
	case a.AuthorLeaf != b.AuthorLeaf:
		return a.AuthorLeaf < b.AuthorLeaf, ByLeaf
	}
	return a.Child < b.Child, ByCID
}
