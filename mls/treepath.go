package mls

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"io"
	"slices"
)

// TreeKEM (RFC 9420, Sections 7.4 to 7.6). Private keys are in maps from the
// position in the array-based tree, the own leaf's (2i) included.

// UpdatePathNode has the new public key of a parent and its path secret,
// encrypted to the resolution of the child on the copath.
type UpdatePathNode struct {
	EncryptionKey       []byte
	EncryptedPathSecret []HPKECiphertext
}

// UpdatePath renews a member's leaf and filtered direct path, bottom up.
type UpdatePath struct {
	LeafNode LeafNode
	Nodes    []UpdatePathNode
}

func (p *UpdatePath) write(w *writer) {
	p.LeafNode.write(w)
	w.vector(func(w *writer) {
		for _, n := range p.Nodes {
			w.vec(n.EncryptionKey)
			w.vector(func(w *writer) {
				for _, c := range n.EncryptedPathSecret {
					c.write(w)
				}
			})
		}
	})
}

// Marshal returns the encoding of the path.
func (p *UpdatePath) Marshal() []byte {
	w := &writer{}
	p.write(w)
	return w.buf
}

func readUpdatePath(r *reader) UpdatePath {
	p := UpdatePath{LeafNode: readLeafNode(r)}
	for nodes := r.sub(); !nodes.empty(); {
		n := UpdatePathNode{EncryptionKey: nodes.vec()}
		for cs := nodes.sub(); !cs.empty(); {
			n.EncryptedPathSecret = append(n.EncryptedPathSecret, readHPKECiphertext(cs))
		}
		p.Nodes = append(p.Nodes, n)
	}
	return p
}

// ParseUpdatePath parses an UpdatePath and nothing after it.
func ParseUpdatePath(b []byte) (*UpdatePath, error) {
	r := newReader(b)
	p := readUpdatePath(r)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("mls: UpdatePath: %w", err)
	}
	return &p, nil
}

// nextPathSecret is path_secret[n+1] of path_secret[n] (Section 7.4).
func (s *suite) nextPathSecret(secret []byte) []byte { return s.deriveSecret(secret, "path") }

// pathKeyPair is the key pair of the node with a path secret.
func (s *suite) pathKeyPair(secret []byte) (priv, pub []byte, err error) {
	node := s.deriveSecret(secret, "node")
	defer clear(node)
	return s.deriveKeyPair(node)
}

// freshPath is a path that this member made.
type freshPath struct {
	tree         *RatchetTree // with the path
	path         *UpdatePath  // without ciphertexts until encrypt
	sender       LeafIndex
	steps        []pathStep        // of the tree before
	pathSecrets  [][]byte          // one for each step, bottom up
	commitSecret []byte            // the path secret after the last
	privs        map[uint32][]byte // of the leaf and of each step
}

// createPath makes a path for sender, who is a member of t. The randomness is
// that of the leaf key, then path_secret[0].
func (t *RatchetTree) createPath(sender LeafIndex, signer Signer, c LeafChange, groupID []byte, rand io.Reader) (*freshPath, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	old := t.Leaf(sender)
	if old == nil {
		return nil, fmt.Errorf("%w: leaf %d makes a path", ErrMember, sender)
	}
	seed, err := randomBytes(rand, 2*t.s.nh)
	if err != nil {
		return nil, err
	}
	leafPriv, leafPub, err := t.s.deriveKeyPair(seed[:t.s.nh])
	clear(seed[:t.s.nh])
	if err != nil {
		return nil, err
	}
	f := &freshPath{
		sender: sender, steps: t.filteredDirectPath(sender), path: &UpdatePath{},
		privs: map[uint32][]byte{uint32(sender.node()): leafPriv},
	}
	if err := f.derive(t.s, seed[t.s.nh:]); err != nil {
		f.wipeAll()
		return nil, err
	}
	signer = c.signer(signer)
	leaf := old.renew(LeafNodeSourceCommit, leafPub, signer, c)
	parents, leafHash := t.pathParents(f.steps, f.path.Nodes)
	leaf.ParentHash = leafHash
	if err := t.s.signLeaf(leaf, signer, groupID, sender); err != nil {
		f.wipeAll()
		return nil, err
	}
	f.path.LeafNode = *leaf
	e := t.edit()
	if err := e.setPath(sender, leaf, f.steps, parents); err != nil {
		f.wipeAll()
		return nil, err
	}
	if f.tree, err = e.tree(); err != nil {
		f.wipeAll()
		return nil, err
	}
	return f, nil
}

// derive fills in path secrets and key pairs from path_secret[0].
func (f *freshPath) derive(s *suite, secret []byte) error {
	for _, step := range f.steps {
		priv, pub, err := s.pathKeyPair(secret)
		if err != nil {
			return err
		}
		f.privs[uint32(step.node)] = priv
		f.path.Nodes = append(f.path.Nodes, UpdatePathNode{EncryptionKey: pub})
		f.pathSecrets = append(f.pathSecrets, secret)
		secret = s.nextPathSecret(secret)
	}
	f.commitSecret = secret
	return nil
}

// pathParents builds the parents of a path, from the root down since each
// parent hash covers those above, and the parent hash of the leaf. The path
// empties the parents' unmerged leaves, so the siblings' present tree hashes
// are the original ones (Section 7.9).
func (t *RatchetTree) pathParents(steps []pathStep, nodes []UpdatePathNode) (parents []*parentNode, leafHash []byte) {
	parents = make([]*parentNode, len(steps))
	var above []byte
	for k := len(steps) - 1; k >= 0; k-- {
		parents[k] = &parentNode{encryptionKey: nodes[k].EncryptionKey, parentHash: above}
		above = t.s.parentHash(parents[k], steps[k].sibling.hash)
	}
	return parents, above
}

// encrypt seals the path secrets for everybody but the leaves that the same
// commit added; context is the provisional GroupContext (Section 7.6).
func (f *freshPath) encrypt(context []byte, added []LeafIndex, env Env) error {
	type job struct {
		pub, secret, seed []byte
		out               *HPKECiphertext
	}
	var jobs []job
	s := f.tree.s
	for k, step := range f.steps {
		var pubs [][]byte
		step.resolve(added, func(_ nodeIndex, n *treeNode) { pubs = append(pubs, n.key()) })
		cts := make([]HPKECiphertext, len(pubs))
		f.path.Nodes[k].EncryptedPathSecret = cts
		for i, pub := range pubs {
			// Seeds are drawn here, in order: what env.Parallel does later
			// has no influence on the result.
			seed, err := s.encapSeed(env.Rand)
			if err != nil {
				return err
			}
			jobs = append(jobs, job{pub, f.pathSecrets[k], seed, &cts[i]})
		}
	}
	c := s.encryptContext(labelUpdatePathNode, context)
	errs := make([]error, len(jobs))
	env.each(len(jobs), func(i int) {
		j := jobs[i]
		*j.out, errs[i] = s.hpkeSeal(j.pub, c, j.secret, j.seed)
		clear(j.seed)
	})
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("mls: encrypting a path secret: %w", err)
		}
	}
	return nil
}

// resolve visits the nodes that a path secret is sealed to: the resolution of
// the child on the copath, without leaves that the same commit added.
func (p *pathStep) resolve(added []LeafIndex, visit func(nodeIndex, *treeNode)) {
	p.sibling.resolve(p.copath, func(x nodeIndex, n *treeNode) {
		if !x.isLeaf() || !slices.Contains(added, x.firstLeaf()) {
			visit(x, n)
		}
	})
}

// sealed lists the nodes that encrypt seals to, for each node of the path.
func (f *freshPath) sealed(added []LeafIndex) [][]uint32 {
	out := make([][]uint32, len(f.steps))
	for k := range f.steps {
		f.steps[k].resolve(added, func(x nodeIndex, _ *treeNode) { out[k] = append(out[k], uint32(x)) })
	}
	return out
}

const labelUpdatePathNode = "UpdatePathNode"

// lastSecret is path_secret[n], or nil when the path has no parents.
func (f *freshPath) lastSecret() []byte {
	if len(f.pathSecrets) == 0 {
		return nil
	}
	return f.pathSecrets[len(f.pathSecrets)-1]
}

// secretFor is the path secret that the Welcome of a new leaf carries: that of
// the lowest parent on the path above both (Section 12.4.3).
func (f *freshPath) secretFor(l LeafIndex) []byte {
	common := commonAncestor(f.sender, l)
	for k, step := range f.steps {
		if step.node == common {
			return f.pathSecrets[k]
		}
	}
	return nil
}

// wipe zeroes the path secrets; the private keys are the caller's.
func (f *freshPath) wipe() {
	for _, s := range f.pathSecrets {
		clear(s)
	}
	clear(f.commitSecret)
}

// applyPath merges a received path into the tree that the commit's proposals
// made (Section 7.5). It verifies the leaf, all lengths, the parent hash and
// that all keys are new. For an external commit the leaf was added before.
func (t *RatchetTree) applyPath(sender LeafIndex, p *UpdatePath, groupID []byte, added []LeafIndex) (*RatchetTree, error) {
	if t.Leaf(sender) == nil {
		return nil, fmt.Errorf("%w: leaf %d sent a path", ErrMember, sender)
	}
	if err := t.s.verifyLeaf(&p.LeafNode, LeafNodeSourceCommit, groupID, sender); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPath, err)
	}
	return t.mergePath(sender, p, added)
}

// mergePath is applyPath for a member's leaf that was verified.
func (t *RatchetTree) mergePath(sender LeafIndex, p *UpdatePath, added []LeafIndex) (*RatchetTree, error) {
	old, leaf := t.Leaf(sender), &p.LeafNode
	// Section 12.4.2: no public key of the path may be in the tree before. The
	// leaf of an external commit is there because it was added.
	if t.hasEncryptionKey(leaf.EncryptionKey) && !bytes.Equal(leaf.raw, old.raw) {
		return nil, fmt.Errorf("%w: the encryption key of leaf %d is not new", ErrPath, sender)
	}
	steps := t.filteredDirectPath(sender)
	if err := t.checkPathShape(steps, p, added); err != nil {
		return nil, err
	}
	parents, leafHash := t.pathParents(steps, p.Nodes)
	if !bytes.Equal(leafHash, leaf.ParentHash) {
		return nil, fmt.Errorf("%w: parent hash of leaf %d does not match", ErrPath, sender)
	}
	for _, n := range p.Nodes {
		if t.hasEncryptionKey(n.EncryptionKey) {
			return nil, fmt.Errorf("%w: an encryption key is not new", ErrPath)
		}
	}
	e := t.edit()
	if err := e.setPath(sender, leaf, steps, parents); err != nil {
		return nil, err
	}
	after, err := e.tree()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPath, err)
	}
	return after, nil
}

// checkPathShape checks the numbers of nodes and ciphertexts and the form of
// the keys (Section 7.6).
func (t *RatchetTree) checkPathShape(steps []pathStep, p *UpdatePath, added []LeafIndex) error {
	if len(p.Nodes) != len(steps) {
		return fmt.Errorf("%w: %d nodes, the filtered direct path has %d", ErrPath, len(p.Nodes), len(steps))
	}
	for k, step := range steps {
		want := int(step.sibling.resolved)
		for _, l := range added {
			if step.copath.covers(l) {
				want-- // a new leaf is in the resolution of all nodes above it
			}
		}
		n := &p.Nodes[k]
		if len(n.EncryptedPathSecret) != want {
			return fmt.Errorf("%w: node %d has %d ciphertexts, want %d", ErrPath, step.node, len(n.EncryptedPathSecret), want)
		}
		if err := t.s.kem.checkPublic(n.EncryptionKey); err != nil {
			return fmt.Errorf("%w: node %d: %w", ErrPath, step.node, err)
		}
	}
	return nil
}

// openedPath is what a path tells one member.
type openedPath struct {
	last         []byte            // path_secret[n]
	commitSecret []byte            // path_secret[n+1]
	privs        map[uint32][]byte // new private keys, from the common ancestor up
}

func (o *openedPath) wipe() {
	clear(o.last)
	clear(o.commitSecret)
}

// openPath decrypts the path secret that is meant for self and derives those
// above. t is the tree before the path and after the proposals; p passed
// applyPath. Its failures are ErrUnopenable: others may see the path whole.
func (t *RatchetTree) openPath(self, sender LeafIndex, p *UpdatePath, context []byte, added []LeafIndex, privs map[uint32][]byte) (*openedPath, error) {
	steps := t.filteredDirectPath(sender)
	common := commonAncestor(self, sender)
	k := slices.IndexFunc(steps, func(s pathStep) bool { return s.node == common })
	if k < 0 || self == sender {
		return nil, fmt.Errorf("%w: leaf %d is not beside the path of leaf %d", ErrMember, self, sender)
	}
	step := steps[k]
	i, at := step.sibling.place(step.copath, self)
	rank := i
	for _, l := range added {
		if step.copath.covers(l) {
			if j, _ := step.sibling.place(step.copath, l); j < i {
				rank--
			}
		}
	}
	priv := privs[uint32(at)]
	if priv == nil || rank >= len(p.Nodes[k].EncryptedPathSecret) {
		return nil, fmt.Errorf("%w: no private key for node %d", ErrUnopenable, at)
	}
	s := t.s
	secret, err := s.hpkeOpen(priv, t.node(at).key(), s.encryptContext(labelUpdatePathNode, context), p.Nodes[k].EncryptedPathSecret[rank])
	if err != nil {
		return nil, fmt.Errorf("%w: path secret of node %d: %w", ErrUnopenable, common, err)
	}
	if len(secret) != s.nh {
		clear(secret)
		return nil, fmt.Errorf("%w: path secret of %d bytes", ErrUnopenable, len(secret))
	}
	nodes := make([]nodeIndex, 0, len(steps)-k)
	keys := make([][]byte, 0, len(steps)-k)
	for j, st := range steps[k:] {
		nodes, keys = append(nodes, st.node), append(keys, p.Nodes[k+j].EncryptionKey)
	}
	return s.climb(secret, nodes, keys)
}

// climb derives the key pairs of nodes from the path secret of the first and
// compares them with the public keys that were sent.
func (s *suite) climb(secret []byte, nodes []nodeIndex, keys [][]byte) (*openedPath, error) {
	o := &openedPath{privs: make(map[uint32][]byte, len(nodes))}
	for k, x := range nodes {
		priv, pub, err := s.pathKeyPair(secret)
		if err == nil && subtle.ConstantTimeCompare(pub, keys[k]) != 1 {
			err = fmt.Errorf("public key of node %d is not that of its path secret", x)
		}
		if err != nil {
			clear(secret)
			return nil, fmt.Errorf("%w: %w", ErrUnopenable, err)
		}
		o.privs[uint32(x)] = priv
		clear(o.last)
		o.last, secret = secret, s.nextPathSecret(secret)
	}
	o.commitSecret = secret
	return o, nil
}

// joinPath derives a new member's private keys from the path secret of its
// Welcome; t is the tree of the new epoch and signer the committer (Section
// 12.4.3.1).
func (t *RatchetTree) joinPath(self, signer LeafIndex, secret []byte) (*openedPath, error) {
	common := commonAncestor(self, signer)
	var nodes []nodeIndex
	var keys [][]byte
	for _, step := range t.filteredDirectPath(signer) {
		if step.node.level() < common.level() {
			continue
		}
		n := t.node(step.node)
		if n.blank() {
			return nil, fmt.Errorf("%w: node %d on the committer's path is blank", ErrTree, step.node)
		}
		nodes, keys = append(nodes, step.node), append(keys, n.key())
	}
	if len(nodes) == 0 || nodes[0] != common || self == signer {
		return nil, fmt.Errorf("%w: leaves %d and %d have no parent on the path", ErrTree, self, signer)
	}
	if len(secret) != t.s.nh {
		return nil, fmt.Errorf("%w: path secret of %d bytes", ErrUnopenable, len(secret))
	}
	return t.s.climb(bytes.Clone(secret), nodes, keys)
}
