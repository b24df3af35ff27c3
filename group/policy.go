package group

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/dmlsd/dmls/mls"
)

// Policy says who may do what in a group. It is chosen when the group is
// founded and does not change (design, section 5.5).
type Policy uint8

const (
	// PolicyAdmins: every member adds, refreshes its keys and leaves; admins
	// remove, promote and demote. The founder is the first admin.
	PolicyAdmins Policy = 1
	// PolicyOpen: equal rights. A commit removes at most a third of the members.
	PolicyOpen Policy = 2
)

// policies by name, as people write them.
var policies = map[string]Policy{"admins": PolicyAdmins, "open": PolicyOpen}

// ParsePolicy reads the name of a policy; "" is the default, admins.
func ParsePolicy(name string) (Policy, error) {
	if name == "" {
		return PolicyAdmins, nil
	}
	if p, ok := policies[name]; ok {
		return p, nil
	}
	return 0, fmt.Errorf("%w: %.40q, want admins or open", ErrPolicy, name)
}

func (p Policy) String() string {
	switch p {
	case PolicyAdmins:
		return "admins"
	case PolicyOpen:
		return "open"
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// Ranks of members as fork choice counts them; in an open group all have the
// second one.
const (
	rankAdmin  uint8 = 0
	rankMember uint8 = 1
)

func (x groupInfo) isAdmin(key string) bool {
	_, found := slices.BinarySearch(x.Admins, key)
	return found
}

// mayRemove reports whether the key may remove others.
func (x groupInfo) mayRemove(key string) bool { return x.Policy == PolicyOpen || x.isAdmin(key) }

func (x groupInfo) rank(key string) uint8 {
	if x.isAdmin(key) {
		return rankAdmin
	}
	return rankMember
}

// effect is what the proposals of a commit do to who is a member and who is an
// admin. Members are named by signature key.
type effect struct {
	removed, left, added map[string]bool

	due    []string  // the admins of the child if nobody is promoted or demoted
	heir   string    // who becomes admin because the last ones leave
	next   groupInfo // the child's
	stated *mls.CommittedProposal
}

// effectOf computes it from the parent's state alone. Admins are members: who
// goes is no admin any more, unless the same commit takes the key back. A group
// with admins is never without one: where all of them leave, the lowest leaf
// of those who stay is the heir.
func effectOf(e *epoch, proposals []mls.CommittedProposal) (effect, error) {
	f := effect{removed: map[string]bool{}, left: map[string]bool{}, added: map[string]bool{}, next: e.info}
	for i, p := range proposals {
		switch v := p.Proposal.(type) {
		case *mls.Add:
			f.added[string(v.KeyPackage.LeafNode.SignatureKey)] = true
		case *mls.Remove:
			m := e.leaves.get(uint32(v.Removed))
			if m == "" {
				return f, fmt.Errorf("%w: nobody to remove at leaf %d", ErrForbidden, v.Removed)
			}
			if p.Sender == v.Removed {
				f.left[keyOf(m)] = true
			} else {
				f.removed[keyOf(m)] = true
			}
		case *mls.GroupContextExtensions:
			f.stated = &proposals[i]
			info, err := statedInfo(e, v)
			if err != nil {
				return f, err
			}
			f.next = info
		}
	}
	for _, k := range e.info.Admins {
		if !f.goes(k) {
			f.due = append(f.due, k)
		}
	}
	if e.info.Policy == PolicyAdmins && len(f.due) == 0 {
		f.heir = f.firstOf(e)
		f.due = []string{f.heir}
	}
	return f, nil
}

func (f effect) goes(key string) bool { return (f.removed[key] || f.left[key]) && !f.added[key] }

func (f effect) firstOf(e *epoch) string {
	for m := range e.leaves.all() {
		if !f.goes(keyOf(m)) {
			return keyOf(m)
		}
	}
	return ""
}

// statedInfo reads the extensions of a proposal. But for the list of admins
// they must be the parent's, byte for byte.
func statedInfo(e *epoch, p *mls.GroupContextExtensions) (groupInfo, error) {
	was := e.mls.GroupContext().Extensions
	if len(was) != len(p.Extensions) {
		return groupInfo{}, fmt.Errorf("%w: another set of extensions", ErrForbidden)
	}
	var info groupInfo
	for i, x := range p.Extensions {
		if x.Type != was[i].Type || x.Type != extGroup && !bytes.Equal(x.Data, was[i].Data) {
			return groupInfo{}, fmt.Errorf("%w: a change of extension %#04x", ErrForbidden, uint16(x.Type))
		}
		if x.Type != extGroup {
			continue
		}
		var err error
		if info, err = parseGroupInfo(x.Data); err != nil {
			return groupInfo{}, fmt.Errorf("%w: %w", ErrForbidden, err)
		}
	}
	if info.Policy != e.info.Policy || info.Name != e.info.Name {
		return groupInfo{}, fmt.Errorf("%w: a change of the group's policy or name", ErrForbidden)
	}
	return info, nil
}

// checkContext judges the change of the list of admins. Whatever follows from
// removals and leaves anybody states, and must; the rest is for admins.
func (f effect) checkContext(e *epoch) error {
	if f.stated == nil {
		if !slices.Equal(f.due, e.info.Admins) {
			return fmt.Errorf("%w: an admin goes, and the list of admins does not say so", ErrForbidden)
		}
		return nil
	}
	if slices.Equal(f.next.Admins, e.info.Admins) {
		return fmt.Errorf("%w: extensions that change nothing", ErrForbidden)
	}
	if slices.Equal(f.next.Admins, f.due) {
		return nil
	}
	if by := e.leaves.get(uint32(f.stated.Sender)); by == "" || !e.info.isAdmin(keyOf(by)) {
		return fmt.Errorf("%w: only admins promote and demote", ErrForbidden)
	}
	for _, k := range f.next.Admins {
		if f.goes(k) || !f.added[k] && e.find(k) == "" {
			return fmt.Errorf("%w: an admin who is no member", ErrForbidden)
		}
	}
	return nil
}

// promoted and demoted are what somebody decided, without what follows from
// removals and leaves. Both are sorted.
func (f effect) promoted() []string { return missingFrom(f.next.Admins, f.due) }
func (f effect) demoted() []string  { return missingFrom(f.due, f.next.Admins) }

// missingFrom returns what is in a and not in b, both sorted.
func missingFrom(a, b []string) []string {
	var out []string
	for _, k := range a {
		if _, found := slices.BinarySearch(b, k); !found {
			out = append(out, k)
		}
	}
	return out
}

// withContext completes a commit of this device: the proposal that states the
// admins of the child, where they change.
func withContext(e *epoch, r mls.CommitRequest, promote, demote []string) (mls.CommitRequest, error) {
	f, err := effectOf(e, proposalsOf(e, r))
	if err != nil {
		return r, err
	}
	info := e.info
	info.Admins = nil
	for _, k := range slices.Concat(f.due, promote) {
		if !slices.Contains(demote, k) {
			info.Admins = append(info.Admins, k)
		}
	}
	slices.Sort(info.Admins)
	info.Admins = slices.Compact(info.Admins)
	if slices.Equal(info.Admins, e.info.Admins) {
		return r, nil
	}
	if info.Policy == PolicyAdmins && len(info.Admins) == 0 {
		return r, ErrLastAdmin
	}
	xs := e.mls.GroupContext().Extensions
	for i := range xs {
		if xs[i].Type == extGroup {
			xs[i].Data = info.marshal()
		}
	}
	r.Proposals = append(slices.Clip(r.Proposals), &mls.GroupContextExtensions{Extensions: xs})
	return r, nil
}

// proposalsOf lists the proposals of a commit that this device is about to
// make, as those who receive it will see them.
func proposalsOf(e *epoch, r mls.CommitRequest) []mls.CommittedProposal {
	var out []mls.CommittedProposal
	for _, c := range e.mls.CachedProposals() {
		if slices.ContainsFunc(r.References, func(ref []byte) bool { return bytes.Equal(ref, c.Ref) }) {
			out = append(out, mls.CommittedProposal{Proposal: c.Proposal, Ref: c.Ref, Origin: c.Sender, Sender: mls.LeafIndex(c.Sender.Index)})
		}
	}
	for _, p := range r.Proposals {
		out = append(out, mls.CommittedProposal{Proposal: p, Sender: e.mls.Self()})
	}
	return out
}
