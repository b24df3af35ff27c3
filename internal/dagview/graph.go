// Package dagview draws the commit DAG of a group as text and as SVG, for the
// demo, the command line and reports.
//
// It is a pure function of a Graph: equal graphs give equal bytes. It knows no
// network, no store and no engine, so that it can draw what came over a socket
// or out of a file just as well as a live view.
package dagview

import (
	"strings"
	"unicode"
)

// Vertex is one commit: the epoch that it created.
type Vertex struct {
	CID        string   `json:"cid"`
	Parent     string   `json:"parent,omitempty"` // commit that created the epoch it was made in; empty for the root
	Epoch      uint64   `json:"epoch"`            // integer epoch; commits of rival branches can share it
	Author     string   `json:"author,omitempty"` // identity, hex
	AuthorName string   `json:"author_name,omitempty"`
	Actions    []string `json:"actions,omitempty"`    // "add dana", "remove eve", "update"
	Supersedes []string `json:"supersedes,omitempty"` // tips of losing branches that a merge commit carried over
	OnHead     bool     `json:"on_head"`              // the head or one of its ancestors
	Head       bool     `json:"head,omitempty"`
	Final      bool     `json:"final,omitempty"`  // deepest epoch that everybody confirmed
	Base       bool     `json:"base,omitempty"`   // where this device came in
	Erased     bool     `json:"erased,omitempty"` // its secrets are gone from this device
}

// Fork is an epoch with more than one child.
type Fork struct {
	At       string   `json:"at"` // commit that created the forked epoch
	Branches []Branch `json:"branches"`
	Why      string   `json:"why,omitempty"` // why the chosen branch is the chosen one, in words
}

// Branch is one side of a Fork.
type Branch struct {
	Child   string   `json:"child"` // its first commit
	Chosen  bool     `json:"chosen"`
	Author  string   `json:"author,omitempty"`  // of Child: a name
	Commits int      `json:"commits,omitempty"` // in it
	Votes   int      `json:"votes"`
	Admins  int      `json:"admin_votes,omitempty"` // among them; they are compared first
	Voters  []string `json:"voters"`                // names
}

// Ask is something that a losing branch did and that nobody does again unasked.
type Ask struct {
	Action string `json:"action"` // "remove eve"
	Verb   string `json:"verb"`
	Member string `json:"member"` // whom it concerns: identity, hex
	By     string `json:"by"`     // a name
	CID    string `json:"cid"`    // commit
	Why    string `json:"why"`
}

// Graph is what is drawn. Vertices may stand in any order, links may lead out
// of the graph.
type Graph struct {
	Vertices []Vertex `json:"vertices"`
	Forks    []Fork   `json:"forks,omitempty"`
	Ask      []Ask    `json:"ask,omitempty"`
}

// shortLen is how many characters of a CID are shown, as many as the engine
// shows where it says why it follows a branch.
const shortLen = 6

// Short is the tail of an id, which is where two CIDs of one kind differ: the
// beginning names only version, codec and hash.
func Short(id string) string {
	if len(id) <= shortLen {
		return id
	}
	return id[len(id)-shortLen:]
}

// Clean makes a peer-given string safe for one line of a terminal: control
// characters (line breaks and escapes too) and the invisible characters that
// reorder text (class Cf: bidi marks, joiners) are replaced or dropped.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		}
		return r
	}, s)
}
