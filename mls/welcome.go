package mls

import (
	"bytes"
	"fmt"
	"maps"
)

// EncryptedGroupSecrets is the part of a Welcome for one joiner.
type EncryptedGroupSecrets struct {
	NewMember []byte // KeyPackageRef, Nh bytes
	Secrets   HPKECiphertext
}

// Welcome is RFC 9420, section 12.4.3.1.
type Welcome struct {
	CipherSuite        CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

func (m *Welcome) write(w *writer) {
	w.u16(uint16(m.CipherSuite))
	w.vector(func(w *writer) {
		for _, s := range m.Secrets {
			w.vec(s.NewMember)
			s.Secrets.write(w)
		}
	})
	w.vec(m.EncryptedGroupInfo)
}

func readWelcome(r *reader) *Welcome {
	m := &Welcome{CipherSuite: CipherSuite(r.u16())}
	m.Secrets = readList(r, func(r *reader) EncryptedGroupSecrets {
		return EncryptedGroupSecrets{r.vec(), readHPKECiphertext(r)}
	})
	m.EncryptedGroupInfo = r.vec()
	return m
}

// groupSecrets is GroupSecrets.
type groupSecrets struct {
	joiner     []byte
	pathSecret []byte // nil: none
	psks       []PreSharedKeyID
}

func (g *groupSecrets) write(w *writer) {
	w.vec(g.joiner)
	w.optional(g.pathSecret != nil, func(w *writer) { w.vec(g.pathSecret) })
	w.vector(func(w *writer) {
		for _, id := range g.psks {
			id.write(w)
		}
	})
}

func readGroupSecrets(r *reader) *groupSecrets {
	g := &groupSecrets{joiner: r.vec()}
	if r.optional() {
		g.pathSecret = r.vec()
	}
	g.psks = readList(r, readPreSharedKeyID)
	return g
}

// Welcome makes one message for all members that the commit added. It may be
// called when the commit was framed already, so that an extension can name the
// frame. withTree puts the ratchet tree into the GroupInfo; otherwise the
// joiners need it by another way. s has the key of the committer's new leaf. Call
// it before Wipe.
func (c *StagedCommit) Welcome(extensions []Extension, withTree bool, s Signer, env Env) ([]byte, error) {
	if len(c.joiners) == 0 {
		return nil, fmt.Errorf("%w: the commit adds nobody", ErrConfig)
	}
	if c.next == nil {
		return nil, fmt.Errorf("%w: staged commit", ErrWiped)
	}
	child := c.Child
	if string(child.tree.Leaf(child.self).SignatureKey) != string(s.Public()) {
		return nil, fmt.Errorf("%w: the signer's key is not that of the committer's leaf", ErrConfig)
	}
	if withTree {
		extensions = append([]Extension{{Type: ExtensionRatchetTree, Data: child.tree.Marshal()}}, extensions...)
	}
	info := &GroupInfo{GroupContext: child.context, Extensions: extensions, ConfirmationTag: child.tag, Signer: child.self}
	if err := info.sign(child.suite, s); err != nil {
		return nil, err
	}
	key, nonce := child.suite.welcomeKey(c.next.welcome)
	defer wipe(key, nonce)
	sealed, err := child.suite.aeadSeal(key, nonce, nil, info.Marshal())
	if err != nil {
		return nil, fmt.Errorf("mls: sealing the GroupInfo: %w", err)
	}
	m := &Welcome{CipherSuite: child.suite.id, EncryptedGroupInfo: sealed}
	if m.Secrets, err = c.sealSecrets(sealed, env); err != nil {
		return nil, err
	}
	return (&MLSMessage{WireFormat: WireFormatWelcome, Welcome: m}).Marshal(), nil
}

// sealSecrets encrypts the GroupSecrets to each joiner. Seeds are drawn in
// order beforehand, so that the result does not depend on env.Parallel.
func (c *StagedCommit) sealSecrets(encryptedGroupInfo []byte, env Env) ([]EncryptedGroupSecrets, error) {
	suite := c.Child.suite
	info := suite.encryptContext("Welcome", encryptedGroupInfo)
	seeds := make([][]byte, len(c.joiners))
	for i := range seeds {
		var err error
		if seeds[i], err = suite.encapSeed(env.Rand); err != nil {
			return nil, err
		}
	}
	out, errs := make([]EncryptedGroupSecrets, len(c.joiners)), make([]error, len(c.joiners))
	env.each(len(c.joiners), func(i int) {
		g := &groupSecrets{joiner: c.next.joiner, psks: c.psks}
		if c.path != nil {
			g.pathSecret = c.path.secretFor(c.Added[i])
		}
		w := &writer{buf: make([]byte, 0, 256)}
		g.write(w)
		out[i].NewMember = c.joiners[i].Ref()
		out[i].Secrets, errs[i] = suite.hpkeSeal(c.joiners[i].InitKey, info, w.buf, seeds[i])
		wipe(w.buf, seeds[i])
	})
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("mls: Welcome for leaf %d: %w", c.Added[i], err)
		}
	}
	return out, nil
}

// JoinOptions are the joiner's part in a Welcome.
type JoinOptions struct {
	KeySchedule KeySchedule
	Signer      Signer    // nil, or checked against the own leaf
	PSK         PSKLookup // RFC 9420
	Window      Window
	Credentials CredentialValidator // nil: none are judged
	// Parent is the epoch that the new group succeeds, if it does: the last one
	// of a group closed by a ReInit (section 11.2) or the one that a subgroup
	// branches from (section 11.3). The Welcome must then be bound to it.
	Parent *Epoch
}

// Join makes the epoch that a Welcome (an MLSMessage) leads into and verifies
// everything of RFC 9420, section 12.4.3.1, but the uniqueness of the group id.
// tree is the ratchet tree, or nil if the GroupInfo carries it. The bundle is
// left as it is: its keys are to be erased together with storing the epoch.
func Join(welcome, tree []byte, kp *KeyPackageBundle, o JoinOptions, env Env) (*Epoch, *GroupInfo, error) {
	if err := o.KeySchedule.check(); err != nil {
		return nil, nil, err
	}
	m, err := ParseMLSMessage(welcome)
	if err != nil {
		return nil, nil, err
	}
	if m.Welcome == nil {
		return nil, nil, fmt.Errorf("%w: wire format %d, want a Welcome", ErrMalformed, m.WireFormat)
	}
	if kp.initPriv == nil || kp.leafPriv == nil {
		return nil, nil, fmt.Errorf("%w: KeyPackage bundle", ErrWiped)
	}
	j := &joining{kp: kp, options: o}
	defer j.wipe()
	// The present time is judged by who adds and by who joins, by nobody else.
	if !kp.KeyPackage.LeafNode.Lifetime.Contains(env.Now) {
		return nil, nil, fmt.Errorf("%w: %w: now is not in its lifetime", ErrWelcome, ErrKeyPackage)
	}
	if err := j.open(m.Welcome); err != nil {
		return nil, nil, err
	}
	if err := j.loadTree(tree, env); err != nil {
		return nil, nil, err
	}
	e, err := j.enter()
	if err != nil {
		return nil, nil, err
	}
	return e, j.info, nil
}

// joining is a Welcome in the course of being verified.
type joining struct {
	kp        *KeyPackageBundle
	options   JoinOptions
	suite     *suite
	secrets   *groupSecrets
	pskSecret []byte
	info      *GroupInfo
	tree      *RatchetTree
	self      LeafIndex
}

func (j *joining) wipe() {
	if j.secrets != nil {
		wipe(j.secrets.joiner, j.secrets.pathSecret)
	}
	clear(j.pskSecret)
}

// open decrypts the GroupSecrets and with them the GroupInfo.
func (j *joining) open(m *Welcome) (err error) {
	if m.CipherSuite != j.kp.KeyPackage.CipherSuite {
		return fmt.Errorf("%w: cipher suite %d, KeyPackage has %d", ErrWelcome, m.CipherSuite, j.kp.KeyPackage.CipherSuite)
	}
	if j.suite, err = suiteByID(m.CipherSuite); err != nil {
		return err
	}
	ref := j.kp.KeyPackage.Ref()
	var mine *EncryptedGroupSecrets
	for i := range m.Secrets {
		if bytes.Equal(m.Secrets[i].NewMember, ref) {
			mine = &m.Secrets[i]
		}
	}
	if mine == nil {
		return fmt.Errorf("%w: it is not for this KeyPackage", ErrWelcome)
	}
	b, err := j.suite.decryptWithLabel(j.kp.initPriv, "Welcome", m.EncryptedGroupInfo, mine.Secrets)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWelcome, err)
	}
	defer clear(b)
	r := newReader(b)
	j.secrets = readGroupSecrets(r)
	if err := r.done(); err != nil {
		return fmt.Errorf("%w: GroupSecrets: %w", ErrWelcome, err)
	}
	if err := j.checkSecrets(); err != nil {
		return err
	}
	psks, err := findPSKs(j.secrets.psks, j.lookup)
	if err != nil {
		return err
	}
	j.pskSecret = j.suite.pskSecret(psks)
	return j.openInfo(m.EncryptedGroupInfo)
}

// checkSecrets applies what can be said of GroupSecrets alone.
func (j *joining) checkSecrets() error {
	g := j.secrets
	if len(g.joiner) != j.suite.nh || g.pathSecret != nil && len(g.pathSecret) != j.suite.nh {
		return fmt.Errorf("%w: secret of a wrong length", ErrWelcome)
	}
	special := 0
	for _, id := range g.psks {
		if id.succeeds() {
			special++
		}
		if len(id.Nonce) != j.suite.nh {
			return fmt.Errorf("%w: PSK nonce of %d bytes", ErrWelcome, len(id.Nonce))
		}
	}
	if len(g.psks) > maxPSKs {
		return fmt.Errorf("%w: more than %d PSKs", ErrWelcome, maxPSKs)
	}
	if special > 1 {
		return fmt.Errorf("%w: several reinit or branch PSKs", ErrWelcome)
	}
	if j.options.KeySchedule == DMLS && (len(g.psks) > 0 || g.pathSecret == nil) {
		return fmt.Errorf("%w: %w: PSK or commit without a path", ErrWelcome, ErrForbidden)
	}
	return nil
}

// openInfo decrypts the GroupInfo. The welcome secret does not depend on the
// GroupContext, which is still unknown here.
func (j *joining) openInfo(sealed []byte) error {
	welcome, epoch := j.suite.epochSecrets(j.secrets.joiner, j.pskSecret, nil)
	key, nonce := j.suite.welcomeKey(welcome)
	defer wipe(welcome, epoch, key, nonce)
	b, err := j.suite.aeadOpen(key, nonce, nil, sealed)
	if err != nil {
		return fmt.Errorf("%w: %w: GroupInfo", ErrWelcome, ErrDecrypt)
	}
	r := newReader(b)
	j.info = readGroupInfo(r)
	if err := r.done(); err != nil {
		return fmt.Errorf("%w: GroupInfo: %w", ErrWelcome, err)
	}
	if c := &j.info.GroupContext; c.CipherSuite != j.suite.id || len(c.ConfirmedTranscriptHash) != j.suite.nh {
		return fmt.Errorf("%w: GroupContext of cipher suite %d", ErrWelcome, c.CipherSuite)
	}
	return nil
}

// loadTree verifies the ratchet tree and what the GroupInfo says about it.
func (j *joining) loadTree(given []byte, env Env) (err error) {
	if j.tree, err = j.info.ratchetTree(j.suite, given, env); err != nil {
		return fmt.Errorf("%w: %w", ErrWelcome, err)
	}
	if err := judgeGroup(j.options.Credentials, j.tree, &j.info.GroupContext, env.Now); err != nil {
		return fmt.Errorf("%w: %w", ErrWelcome, err)
	}
	if err := j.findSelf(); err != nil {
		return err
	}
	return j.checkParent()
}

// findSelf looks for the leaf of our KeyPackage.
func (j *joining) findSelf() error {
	own := &j.kp.KeyPackage.LeafNode
	if s := j.options.Signer; s != nil && !bytes.Equal(s.Public(), own.SignatureKey) {
		return fmt.Errorf("%w: the signer's key is not that of the KeyPackage", ErrConfig)
	}
	packed := own.pack()
	for i, leaf := range j.tree.packed() {
		if leaf == packed {
			j.self = i
			return nil
		}
	}
	return fmt.Errorf("%w: our leaf is not in the tree", ErrWelcome)
}

// privs collects the private keys of our leaf and, where the commit had a
// path, of the nodes that we share with its author.
func (j *joining) privs() (map[uint32][]byte, error) {
	out := map[uint32][]byte{uint32(j.self.node()): bytes.Clone(j.kp.leafPriv)}
	if j.secrets.pathSecret == nil {
		return out, nil
	}
	path, err := j.tree.joinPath(j.self, j.info.Signer, j.secrets.pathSecret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWelcome, err)
	}
	defer path.wipe()
	maps.Copy(out, path.privs)
	return out, nil
}

// enter derives the epoch and verifies its confirmation tag.
func (j *joining) enter() (*Epoch, error) {
	privs, err := j.privs()
	if err != nil {
		return nil, err
	}
	c := j.info.GroupContext.clone()
	welcome, epochSecret := j.suite.epochSecrets(j.secrets.joiner, j.pskSecret, c.Marshal())
	defer wipe(welcome, epochSecret)
	e := epochSeed{suite: j.suite, schedule: j.options.KeySchedule, context: c, tree: j.tree, self: j.self,
		window: j.options.Window, privs: privs}.grow(epochSecret)
	if err := j.suite.verifyConfirmation(e.secrets.confirmation, c.ConfirmedTranscriptHash, j.info.ConfirmationTag); err != nil {
		e.Wipe()
		return nil, fmt.Errorf("%w: %w", ErrWelcome, err)
	}
	e.setTag(j.info.ConfirmationTag)
	e.dropConfirmationKey()
	return e, nil
}
