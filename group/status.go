package group

import (
	"cmp"
	"encoding/hex"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dmlsd/dmls/dag"
)

// Member is one member of the head as shown to people.
type Member struct {
	Leaf   uint32 `json:"leaf"`
	ID     string `json:"id"` // signature key, hex
	Name   string `json:"name"`
	Self   bool   `json:"self,omitempty"`
	Admin  bool   `json:"admin,omitempty"`
	Stands string `json:"stands,omitempty"` // epoch of its latest frame seen here
	// Equivocator: it signed two frames with one sequence number and has no vote.
	Equivocator bool `json:"equivocator,omitempty"`
}

// Status is a snapshot of the group on this device. It holds no secret.
type Status struct {
	Group          string   `json:"group"`
	Name           string   `json:"name"`
	Policy         string   `json:"policy"` // admins or open
	State          string   `json:"state"`  // member, leaving, left, removed, stranded or copied
	Head           string   `json:"head"`   // CID of the commit that created the head epoch
	Epoch          uint64   `json:"epoch"`
	Final          string   `json:"final"` // deepest epoch that all members confirmed
	Members        []Member `json:"members"`
	ForksOpen      int      `json:"forks_open"`
	RetainedEpochs int      `json:"retained_epochs"`
	Kept           []Kept   `json:"kept,omitempty"`   // each of them, the head first
	Retained       int      `json:"secrets_retained"` // secret records held for these epochs
	RetainedBytes  int      `json:"secret_bytes"`
	OldestRetained int64    `json:"oldest_retained,omitempty"` // Unix milliseconds
	Parked         int      `json:"parked"`
	Blocks         int      `json:"blocks"`
	Unsent         int      `json:"unsent"`
	Cursor         uint64   `json:"cursor"`           // of the last event
	Authenticator  string   `json:"authenticator"`    // epoch_authenticator of the head, hex
	Halves         bool     `json:"halves,omitempty"` // members who removed this device, and were removed here, go on: two groups
	Away           []string `json:"away,omitempty"`   // members who went on where this device cannot read, once that is sure
}

// State is member, leaving, left, removed or stranded.
func (g *Group) State() string { return g.state.String() }

// Standing is the part of a status that costs nothing to tell.
type Standing struct {
	State, Head string // as in Status
	Parked      int
	Halves      bool
}

// Standing says where this device stands.
func (g *Group) Standing() Standing {
	return Standing{State: g.state.String(), Head: text(g.head), Parked: len(g.waiting), Halves: g.halves}
}

// Status describes the group as this device has it.
func (g *Group) Status() Status {
	st := Status{
		Group: g.ID(), Name: g.info.Name, Policy: g.info.Policy.String(), State: g.state.String(), Head: text(g.head), Final: text(g.graph.Base()),
		RetainedEpochs: len(g.epochs), Parked: len(g.waiting), Unsent: len(g.unsent) - len(g.seen), Cursor: g.cursor, Halves: g.halves, Members: []Member{},
	}
	for _, f := range g.graph.Forks() {
		if len(f.Branches) > 1 {
			st.ForksOpen++
		}
	}
	for _, m := range g.frames {
		if m.Status != seeded {
			st.Blocks++
		}
	}
	for _, e := range g.epochs {
		k := g.kept(e)
		st.Kept = append(st.Kept, k)
		st.Retained, st.RetainedBytes = st.Retained+k.Secrets, st.RetainedBytes+k.Bytes
		if ms := e.born.UnixMilli(); st.OldestRetained == 0 || ms < st.OldestRetained {
			st.OldestRetained = ms
		}
	}
	if e := g.epochs[g.head]; e != nil {
		if g.diverged {
			st.Away = g.namesOf(g.away(e))
		}
		st.Epoch = e.mls.Number()
		st.Authenticator = hex.EncodeToString(e.mls.EpochAuthenticator())
		for m := range e.leaves.all() {
			at, _, _, _ := g.graph.Standing(m)
			st.Members = append(st.Members, Member{Leaf: leafOf(m), ID: hexKey(keyOf(m)), Name: g.names[keyOf(m)],
				Self: m == g.self, Admin: e.info.isAdmin(keyOf(m)), Stands: text(at), Equivocator: g.graph.IsEquivocator(m)})
		}
	}
	slices.SortFunc(st.Kept, func(a, b Kept) int {
		return cmp.Or(-compareBool(a.CID == st.Head, b.CID == st.Head), cmp.Compare(b.Epoch, a.Epoch), cmp.Compare(a.CID, b.CID))
	})
	return st
}

// VertexView is one commit for drawing.
type VertexView struct {
	CID        string   `json:"cid"`
	Parent     string   `json:"parent,omitempty"`
	Epoch      uint64   `json:"epoch"`
	Author     string   `json:"author,omitempty"`
	AuthorName string   `json:"author_name,omitempty"`
	Actions    []string `json:"actions,omitempty"`
	Supersedes []string `json:"supersedes,omitempty"`
	OnHead     bool     `json:"on_head"` // on the chain that the head stands on
	Head       bool     `json:"head,omitempty"`
	Final      bool     `json:"final,omitempty"`  // final epoch: nothing above it is retained
	Base       bool     `json:"base,omitempty"`   // where this device came in
	Erased     bool     `json:"erased,omitempty"` // its secrets are gone
}

// BranchView is one side of a fork.
type BranchView struct {
	Child   string   `json:"child"`
	Chosen  bool     `json:"chosen"`
	Author  string   `json:"author,omitempty"` // of Child: a name
	Admin   bool     `json:"admin,omitempty"`  // the author was an admin at the fork
	Admins  int      `json:"admin_votes"`      // compared first
	Others  int      `json:"other_votes"`
	Voters  []string `json:"voters"`  // names
	Commits int      `json:"commits"` // of the branch
}

// ForkView is an epoch with several children that is still retained.
type ForkView struct {
	At       string       `json:"at"`
	Epoch    uint64       `json:"epoch"`
	Branches []BranchView `json:"branches"`
	Why      string       `json:"why"`
}

// View is the commit DAG as this device has seen it, parents first.
type View struct {
	Group    string       `json:"group"`
	Name     string       `json:"name"`
	Vertices []VertexView `json:"vertices"`
	Forks    []ForkView   `json:"forks"`
	Ask      []AskView    `json:"ask,omitempty"` // what losing branches did and a person must decide
}

// AskView is an operation of a losing branch that is not done again unasked.
// Whoever wants it does it anew; then it is gone from here.
type AskView struct {
	Action string `json:"action"` // "remove eve"
	Verb   string `json:"verb"`   // add, remove, promote or demote
	Member string `json:"member"` // whom it concerns: identity, hex
	By     string `json:"by"`     // a name
	CID    string `json:"cid"`    // the losing commit
	Why    string `json:"why"`    // it is not done
}

// View returns the DAG for drawing, in an order that is equal on all members
// who have seen the same commits.
func (g *Group) View() View {
	v := View{Group: g.ID(), Name: g.info.Name, Vertices: []VertexView{}, Forks: []ForkView{}}
	onHead := g.headChain()
	for _, id := range g.commitIDs() {
		c := g.commits[id]
		x := VertexView{CID: text(id), Parent: text(c.Parent), Epoch: c.Number, OnHead: onHead[id], Head: id == g.head,
			Final: id == g.graph.Base(), Base: c.Base, Erased: c.Erased, Supersedes: texts(c.Supersedes), Actions: g.actions(c)}
		if c.Author != "" {
			x.Author, x.AuthorName = hexKey(keyOf(c.Author)), g.nameOf(keyOf(c.Author))
		}
		v.Vertices = append(v.Vertices, x)
	}
	for _, f := range g.graph.Forks() {
		v.Forks = append(v.Forks, ForkView{At: text(f.At), Epoch: g.graph.Number(f.At), Why: g.whyOf(f), Branches: g.branches(f)})
	}
	v.Ask = g.askViews()
	return v
}

func (g *Group) branches(f dag.Fork) []BranchView {
	var out []BranchView
	for _, b := range f.Branches {
		bv := BranchView{Child: text(b.Child), Chosen: b.Chosen, Author: g.nameOf(keyOf(b.Author)), Admin: b.AuthorRank == rankAdmin,
			Voters: []string{}, Commits: b.Size}
		for rank, n := range b.Votes {
			if rank == int(rankAdmin) {
				bv.Admins += n
			} else {
				bv.Others += n
			}
		}
		for _, m := range b.Voters {
			bv.Voters = append(bv.Voters, g.nameOf(keyOf(m)))
		}
		out = append(out, bv)
	}
	return out
}

// headChain returns the commits at or above the head, as far as remembered.
func (g *Group) headChain() map[dag.ID]bool {
	on := map[dag.ID]bool{}
	for id := g.head; id != ""; {
		on[id] = true
		c := g.commits[id]
		if c == nil {
			break
		}
		id = c.Parent
	}
	return on
}

// LogEntry is one opened frame in the canonical order.
type LogEntry struct {
	CID     string   `json:"cid"`
	Kind    string   `json:"kind"` // message, ack, leave, commit, proof or complaint
	From    string   `json:"from"` // identity, hex
	Name    string   `json:"name"`
	Epoch   uint64   `json:"epoch"`  // that it was sent in
	Parent  string   `json:"parent"` // commit of that epoch
	Seq     uint64   `json:"seq"`
	Actions []string `json:"actions,omitempty"`
	About   string   `json:"about,omitempty"` // of a complaint the commit, of a proof the identity in hex
}

// Log returns the opened frames in canonical order: each after what it links
// to, otherwise by CID. Members who opened the same frames have the same log.
func (g *Group) Log() []LogEntry {
	var list []cid.Cid
	for _, c := range sorted(g.frames) {
		if g.frames[c].Status == opened {
			list = append(list, c)
		}
	}
	out := []LogEntry{}
	for _, c := range g.topological(list, len(list)) {
		m := g.frames[c]
		key := keyOf(m.Author)
		e := LogEntry{CID: c.String(), Kind: "message", From: hexKey(key), Name: g.nameOf(key), Epoch: m.Epoch,
			Parent: m.Links.Parent.String(), Seq: m.Links.Seq}
		switch m.Type {
		case typeProposal:
			e.Kind = "leave"
		case typeCommit:
			e.Kind = "commit"
			if c := g.commits[idOf(c)]; c != nil {
				e.Actions = g.actions(c)
			}
		default:
			switch m.Kind {
			case appAck:
				e.Kind = "ack"
			case appProof:
				e.Kind, e.About = "proof", hexKey(keyOf(dag.Member(m.About)))
			case appComplaint:
				e.Kind, e.About = "complaint", text(dag.ID(m.About))
			}
		}
		out = append(out, e)
	}
	return out
}

// Find returns the leaf of a member of the head by identity (hex, or a unique
// prefix of at least 4 digits) or by name.
func (g *Group) Find(ref string) (leaf uint32, ok bool) {
	e := g.epochs[g.head]
	if e == nil {
		return 0, false
	}
	var found []uint32
	for m := range e.leaves.all() {
		id := hexKey(keyOf(m))
		if id == ref {
			return leafOf(m), true
		}
		if g.names[keyOf(m)] == ref || len(ref) >= 4 && len(ref) < len(id) && id[:len(ref)] == ref {
			found = append(found, leafOf(m))
		}
	}
	slices.Sort(found)
	if len(found) != 1 {
		return 0, false
	}
	return found[0], true
}
