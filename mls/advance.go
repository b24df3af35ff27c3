package mls

import (
	"bytes"
	"fmt"

	"github.com/dmlsd/dmls/pprf"
)

// provisional is the GroupContext under which path secrets are encrypted: that
// of the child, but with the transcript of the parent (RFC 9420, section 12.4.1).
func (e *Epoch) provisional(t *transition) []byte {
	c := e.context
	c.Epoch++
	c.TreeHash = t.tree.TreeHash()
	c.Extensions = t.extensions
	return c.Marshal()
}

// makePath renews the committer's path in the tree of the transition.
func (e *Epoch) makePath(t *transition, c LeafChange, s Signer, env Env) (*freshPath, error) {
	f, err := t.tree.createPath(e.self, s, c, e.context.GroupID, env.Rand)
	if err != nil {
		return nil, err
	}
	if err := e.suite.verifyLeaf(&f.path.LeafNode, LeafNodeSourceCommit, e.context.GroupID, e.self); err != nil {
		f.wipeAll()
		return nil, err
	}
	t.tree = f.tree
	if err := checkGroup(t.tree, t.extensions); err != nil {
		f.wipeAll()
		return nil, fmt.Errorf("%w: %w", ErrPath, err)
	}
	if err := f.encrypt(e.provisional(t), t.added, env); err != nil {
		f.wipeAll()
		return nil, err
	}
	return f, nil
}

// opened is what the author of a path knows of it. An author who is alone in
// the tree has no parents: path_secret[0] then stands for path_secret[n] too.
func (f *freshPath) opened() *openedPath {
	o := &openedPath{last: f.lastSecret(), commitSecret: f.commitSecret, privs: f.privs}
	if o.last == nil {
		o.last = f.commitSecret
	}
	return o
}

// wipeAll drops what the author of a path knows of it, private keys included.
// The child has its own copies.
func (f *freshPath) wipeAll() {
	if f == nil {
		return
	}
	f.wipe()
	for _, priv := range f.privs {
		clear(priv)
	}
}

// pathless stands for a commit without a path: commit_secret is zero.
func (s *suite) pathless() *openedPath { return &openedPath{commitSecret: make([]byte, s.nh)} }

// mergePath puts a received path into the tree of the transition. It gives the
// tree before, to which the path is encrypted.
func (e *Epoch) mergePath(t *transition, p *UpdatePath) (before *RatchetTree, err error) {
	before = t.tree
	if p == nil {
		return before, nil
	}
	if t.external && len(t.removed) > 0 { // as an Update of the removed leaf (section 12.2)
		if old := e.tree.Leaf(t.removed[0]); bytes.Equal(old.EncryptionKey, p.LeafNode.EncryptionKey) {
			return nil, fmt.Errorf("%w: a resync keeps the encryption key of leaf %d", ErrPath, t.removed[0])
		}
	}
	if t.tree, err = before.applyPath(t.committer, p, e.context.GroupID, t.added); err != nil {
		return nil, err
	}
	return before, checkGroup(t.tree, t.extensions)
}

// openPath decrypts a path that was merged.
func (e *Epoch) openPath(t *transition, before *RatchetTree, p *UpdatePath) (*openedPath, error) {
	if p == nil {
		return e.suite.pathless(), nil
	}
	privs := e.privs
	if t.ownPriv != nil {
		privs = map[uint32][]byte{uint32(e.self.node()): t.ownPriv} // the Update blanked all parents
	}
	return before.openPath(e.self, t.committer, p, e.provisional(t), t.added, privs)
}

// wipeAll drops everything that the child has copies of.
func (o *openedPath) wipeAll() {
	o.wipe()
	for _, priv := range o.privs {
		clear(priv)
	}
}

// carryPrivs collects the private keys of the child: fresh ones, and copies of
// ours whose nodes have not changed.
func (e *Epoch) carryPrivs(t *transition, fresh map[uint32][]byte) map[uint32][]byte {
	out := make(map[uint32][]byte, len(e.privs)+1)
	for x, priv := range e.privs {
		was, is := e.tree.node(nodeIndex(x)), t.tree.node(nodeIndex(x))
		if is != nil && !is.blank() && bytes.Equal(was.key(), is.key()) {
			out[x] = bytes.Clone(priv)
		}
	}
	if t.ownPriv != nil {
		out[uint32(e.self.node())] = bytes.Clone(t.ownPriv)
	}
	for x, priv := range fresh {
		out[x] = bytes.Clone(priv)
	}
	return out
}

// next is the child of an epoch before anybody relies on it.
type next struct {
	child    *Epoch
	joiner   []byte
	welcome  []byte
	puncture *pprf.Puncture // of the parent; DMLS
}

func (n *next) wipeSecrets() { wipe(n.joiner, n.welcome) }

// drop forgets a child that was not confirmed.
func (n *next) drop() {
	n.wipeSecrets()
	n.child.Wipe()
	if n.puncture != nil {
		n.puncture.Wipe()
	}
}

// advance derives the child that a signed commit leads to (RFC 9420, section
// 8). The confirmation tag is still to be made or verified.
func (e *Epoch) advance(t *transition, a *AuthenticatedContent, path *openedPath, lookup PSKLookup) (*next, error) {
	psks, err := findPSKs(t.psks, lookup)
	if err != nil {
		return nil, err
	}
	context := e.context.clone()
	context.Epoch++
	context.TreeHash = t.tree.TreeHash()
	context.ConfirmedTranscriptHash = a.confirmedTranscriptHash(e.suite, e.interim)
	context.Extensions = cloneExtensions(t.extensions)
	encoded := context.Marshal()

	n := &next{}
	var init []byte
	switch {
	case e.schedule == DMLS:
		if init, n.puncture, err = e.childInit(path.last, encoded); err != nil {
			return nil, err
		}
	case t.init != nil:
		init = bytes.Clone(t.init)
	case t.external:
		if init, err = e.externalInit(t.kemOutput); err != nil {
			return nil, err
		}
	case e.secrets.init == nil:
		return nil, ErrChildTaken
	default:
		init = bytes.Clone(e.secrets.init)
	}
	pskSecret := e.suite.pskSecret(psks)
	n.joiner = e.suite.joinerSecret(init, path.commitSecret, encoded)
	var epochSecret []byte
	n.welcome, epochSecret = e.suite.epochSecrets(n.joiner, pskSecret, encoded)
	defer wipe(init, pskSecret, epochSecret)
	n.child = epochSeed{suite: e.suite, schedule: e.schedule, context: context, tree: t.tree, self: e.self,
		window: e.window, privs: e.carryPrivs(t, path.privs)}.grow(epochSecret)
	n.child.reinit = t.reinit
	return n, nil
}

// externalInit is RFC 9420, section 8.3.
func (e *Epoch) externalInit(kemOutput []byte) ([]byte, error) {
	priv, _, err := e.suite.deriveKeyPair(e.secrets.external)
	if err != nil {
		return nil, err
	}
	defer clear(priv)
	return e.suite.hpkeReceiveExport(priv, kemOutput, nil, []byte(labelExternalInit), e.suite.nh)
}
