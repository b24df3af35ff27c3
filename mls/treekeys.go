package mls

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// The index of the keys in a tree: Section 7.3 wants signature and encryption
// keys unique among the members, Section 12.4.3.1 the encryption keys of
// parents unique among all nodes. It is a persistent trie over hashes of the
// keys, so that nobody can choose keys that make it deep.

const (
	keyKindEncryption byte = 1
	keyKindSignature  byte = 2
)

// keyID names a key: 16 bytes of a hash. A collision costs 2^64 hashes and
// yields no more than a key that the colliding party cannot use itself.
type keyID [16]byte

func newKeyID(kind byte, key []byte) keyID {
	var b [134]byte // room for a P-521 key without an allocation
	h := sha256.Sum256(append(append(b[:0], kind), key...))
	return keyID(h[:16])
}

func (id keyID) compare(o keyID) int {
	if c := cmp.Compare(binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(o[:])); c != 0 {
		return c
	}
	return cmp.Compare(binary.BigEndian.Uint64(id[8:]), binary.BigEndian.Uint64(o[8:]))
}

func (id keyID) nibble(depth int) int {
	return int(id[depth/2]>>(4*(1-depth%2))) & 15
}

var errKeyTwice = fmt.Errorf("%w: a key would be in the tree twice", ErrTree)

// keyNode is a branch, or holds up to fullKeys keys, sorted, where there are no
// more below it: few enough to copy, enough to be worth a node. Its shape
// follows from the set of keys. It never changes.
type keyNode struct {
	kids *[16]*keyNode
	ids  []keyID
}

const fullKeys = 16

// keyChange counts how often a key came into the tree (or left it).
type keyChange struct {
	id    keyID
	delta int
}

// settle sorts changes and adds up those of the same key.
func settle(cs []keyChange) []keyChange {
	slices.SortFunc(cs, func(a, b keyChange) int { return a.id.compare(b.id) })
	out := cs[:0]
	for i := 0; i < len(cs); {
		sum := keyChange{id: cs[i].id}
		for ; i < len(cs) && cs[i].id == sum.id; i++ {
			sum.delta += cs[i].delta
		}
		if sum.delta != 0 {
			out = append(out, sum)
		}
	}
	return out
}

func (n *keyNode) has(id keyID, depth int) bool {
	for ; n != nil && n.kids != nil; depth++ {
		n = n.kids[id.nibble(depth)]
	}
	if n == nil {
		return false
	}
	_, ok := slices.BinarySearchFunc(n.ids, id, keyID.compare)
	return ok
}

// apply returns the index after settled changes. It shares all branches that
// no change touches.
func (n *keyNode) apply(cs []keyChange) (*keyNode, error) { return n.applyAt(cs, 0) }

func (n *keyNode) applyAt(cs []keyChange, depth int) (*keyNode, error) {
	if len(cs) == 0 {
		return n, nil
	}
	if n == nil || n.kids == nil {
		ids, err := n.merge(cs)
		if err != nil {
			return nil, err
		}
		return buildKeys(ids, depth), nil
	}
	kids := *n.kids
	for len(cs) > 0 {
		k := cs[0].id.nibble(depth)
		end := 1
		for end < len(cs) && cs[end].id.nibble(depth) == k {
			end++
		}
		kid, err := kids[k].applyAt(cs[:end], depth+1)
		if err != nil {
			return nil, err
		}
		kids[k], cs = kid, cs[end:]
	}
	return branch(kids), nil
}

// branch collapses a branch with so few keys that a node holds them.
func branch(kids [16]*keyNode) *keyNode {
	n := 0
	for _, k := range kids {
		switch {
		case k == nil:
		case k.kids != nil:
			return &keyNode{kids: &kids}
		default:
			n += len(k.ids)
		}
	}
	switch {
	case n > fullKeys:
		return &keyNode{kids: &kids}
	case n == 0:
		return nil
	}
	all := &keyNode{ids: make([]keyID, 0, n)}
	for _, k := range kids {
		if k != nil {
			all.ids = append(all.ids, k.ids...)
		}
	}
	return all
}

// merge returns the sorted keys of a node without branches (or of nothing)
// after changes.
func (n *keyNode) merge(cs []keyChange) ([]keyID, error) {
	var old []keyID
	if n != nil {
		old = n.ids
	}
	ids := make([]keyID, 0, len(old)+len(cs))
	for len(cs) > 0 || len(old) > 0 {
		switch {
		case len(cs) == 0 || len(old) > 0 && old[0].compare(cs[0].id) < 0:
			ids, old = append(ids, old[0]), old[1:]
			continue
		case len(old) > 0 && old[0] == cs[0].id:
			cs[0].delta, old = cs[0].delta+1, old[1:]
		}
		switch d := cs[0].delta; {
		case d > 1:
			return nil, errKeyTwice
		case d < 0:
			return nil, fmt.Errorf("%w: a key leaves the tree that is not in it", ErrTree)
		case d == 1:
			ids = append(ids, cs[0].id)
		}
		cs = cs[1:]
	}
	return ids, nil
}

// buildKeys takes the ids over.
func buildKeys(ids []keyID, depth int) *keyNode {
	switch {
	case len(ids) == 0:
		return nil
	case len(ids) <= fullKeys:
		return &keyNode{ids: slices.Clip(ids)}
	}
	var kids [16]*keyNode
	for len(ids) > 0 {
		k, end := ids[0].nibble(depth), 1
		for end < len(ids) && ids[end].nibble(depth) == k {
			end++
		}
		kids[k] = buildKeys(ids[:end], depth+1)
		ids = ids[end:]
	}
	return &keyNode{kids: &kids}
}

// indexKeys makes the index of a new tree from what the edits of its parts
// logged: 256 indexes by the first byte of the hash, and the branches above.
func indexKeys(parts []treeEdit, env Env) (*keyNode, error) {
	var ends [257]int
	for i := range parts {
		for _, c := range parts[i].moved {
			ends[int(c.id[0])+1]++
		}
	}
	for b := range 256 {
		ends[b+1] += ends[b]
	}
	ids, at := make([]keyID, ends[256]), ends
	for i := range parts {
		for _, c := range parts[i].moved {
			ids[at[c.id[0]]] = c.id
			at[c.id[0]]++
		}
	}
	var low [256]*keyNode
	var twice [256]bool
	env.each(256, func(b int) {
		own := ids[ends[b]:ends[b+1]]
		slices.SortFunc(own, keyID.compare)
		for i := 1; i < len(own); i++ {
			twice[b] = twice[b] || own[i] == own[i-1]
		}
		if !twice[b] {
			low[b] = buildKeys(own, 2)
		}
	})
	if slices.Contains(twice[:], true) {
		return nil, errKeyTwice
	}
	var top [16]*keyNode
	for k := range top {
		top[k] = branch([16]*keyNode(low[16*k:]))
	}
	return branch(top), nil
}

// diffKeys logs what has to change in the index of tree b to make it that of
// tree a. Shared subtrees cost nothing.
func (e *treeEdit) diffKeys(a *treeNode, ax nodeIndex, b *treeNode, bx nodeIndex) {
	if a != nil && a.void() {
		a = nil // loaded blank subtrees are not shared
	}
	if b != nil && b.void() {
		b = nil
	}
	switch {
	case a == b:
	case a == nil || b != nil && bx.level() > ax.level():
		e.logOwn(b, -1)
		if b.left != nil {
			e.diffKeys(a, ax, b.left, bx.left())
			e.diffKeys(nil, 0, b.right, bx.right())
		}
	case b == nil || ax.level() > bx.level():
		e.logOwn(a, 1)
		if a.left != nil {
			e.diffKeys(a.left, ax.left(), b, bx)
			e.diffKeys(a.right, ax.right(), nil, 0)
		}
	default:
		e.logOwn(a, 1)
		e.logOwn(b, -1)
		if a.left != nil {
			e.diffKeys(a.left, ax.left(), b.left, bx.left())
			e.diffKeys(a.right, ax.right(), b.right, bx.right())
		}
	}
}

func (e *treeEdit) logOwn(n *treeNode, delta int) {
	if n.leaf != "" {
		e.logLeaf(n.leaf, delta)
	}
	if n.parent != nil {
		e.log(keyKindEncryption, n.parent.encryptionKey, delta)
	}
}

// summary is what the members below a node have in common. Trees of like
// members share a single one.
type summary struct {
	extensions  []ExtensionType  // that all support, sorted
	proposals   []ProposalType   // that all support, sorted
	credentials []CredentialType // that all support, sorted
	inUse       []CredentialType // of any, sorted
}

func newSummary(l *LeafNode) *summary {
	return &summary{
		extensions:  sorted(l.Capabilities.Extensions),
		proposals:   sorted(l.Capabilities.Proposals),
		credentials: sorted(l.Capabilities.Credentials),
		inUse:       []CredentialType{l.Credential.Type},
	}
}

func (s *summary) equal(o *summary) bool {
	return s == o || s != nil && o != nil && slices.Equal(s.extensions, o.extensions) && slices.Equal(s.proposals, o.proposals) &&
		slices.Equal(s.credentials, o.credentials) && slices.Equal(s.inUse, o.inUse)
}

// join is the summary of two sets of members; it reuses one that fits.
func (s *summary) join(o *summary) *summary {
	switch {
	case o == nil || s.equal(o):
		return s
	case s == nil:
		return o
	}
	j := &summary{
		extensions:  common(s.extensions, o.extensions),
		proposals:   common(s.proposals, o.proposals),
		credentials: common(s.credentials, o.credentials),
		inUse:       sorted(slices.Concat(s.inUse, o.inUse)),
	}
	switch {
	case j.equal(s):
		return s
	case j.equal(o):
		return o
	}
	return j
}

// sorted returns a sorted copy without repetitions.
func sorted[T ~uint16](vs []T) []T {
	if len(vs) == 0 {
		return nil
	}
	c := slices.Clone(vs)
	slices.Sort(c)
	return slices.Compact(c)
}

// common is the intersection of two sorted lists.
func common[T ~uint16](a, b []T) []T {
	var out []T
	for _, v := range a {
		if _, ok := slices.BinarySearch(b, v); ok {
			out = append(out, v)
		}
	}
	return out
}

// checkMembers checks that all members support all credential types that are
// in use (Section 7.3).
func (t *RatchetTree) checkMembers() error {
	m := t.root.members
	for _, c := range m.inUse {
		if _, ok := slices.BinarySearch(m.credentials, c); !ok {
			return fmt.Errorf("%w: credential type 0x%04x is in use and not supported by all members", ErrLeafNode, uint16(c))
		}
	}
	return nil
}

// checkExtensions checks that no type occurs twice in the extensions of a
// GroupContext (Section 13.4), that all members support them and what their
// required_capabilities name (Sections 7.3, 11.1, 12.1.7), and that the keys of
// external_senders are of the suite (Section 12.1.8.1).
func (t *RatchetTree) checkExtensions(xs []Extension) error {
	if x, twice := duplicateExtension(xs); twice {
		return fmt.Errorf("%w: extension 0x%04x occurs twice in the GroupContext", ErrMalformed, uint16(x))
	}
	m := t.root.members
	for _, x := range xs {
		if _, ok := slices.BinarySearch(m.extensions, x.Type); !ok && !x.Type.isDefault() {
			return fmt.Errorf("%w: extension 0x%04x is not supported by all members", ErrLeafNode, uint16(x.Type))
		}
	}
	senders, err := ParseExternalSenders(xs)
	if err != nil {
		return err
	}
	for i := range senders {
		if err := t.s.sig.checkPublic(senders[i].SignatureKey); err != nil {
			return fmt.Errorf("%w: external sender %d: %w", ErrMalformed, i, err)
		}
	}
	b, ok := findExtension(xs, ExtensionRequiredCapabilities)
	if !ok {
		return nil
	}
	q, err := parseRequirements(b)
	if err != nil {
		return err
	}
	for _, v := range q.extensions {
		if _, ok := slices.BinarySearch(m.extensions, v); !ok && !v.isDefault() {
			return fmt.Errorf("%w: required extension 0x%04x is not supported by all members", ErrLeafNode, uint16(v))
		}
	}
	for _, v := range q.proposals {
		if _, ok := slices.BinarySearch(m.proposals, v); !ok && !v.isDefault() {
			return fmt.Errorf("%w: required proposal 0x%04x is not supported by all members", ErrLeafNode, uint16(v))
		}
	}
	for _, v := range q.credentials {
		if _, ok := slices.BinarySearch(m.credentials, v); !ok {
			return fmt.Errorf("%w: required credential 0x%04x is not supported by all members", ErrLeafNode, uint16(v))
		}
	}
	return nil
}
