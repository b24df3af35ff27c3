package group

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/dmlsd/dmls/dag"
	"github.com/dmlsd/dmls/mls"
)

// change commits what the caller asks for on the head.
func (s *step) change(in Change) error {
	if err := s.mayAct(); err != nil {
		return err
	}
	if len(in.Add)+len(in.Remove)+len(in.Promote)+len(in.Demote) == 0 && !in.Update {
		return ErrEmptyChange
	}
	e, err := s.headEpoch()
	if err != nil {
		return err
	}
	var r mls.CommitRequest
	for _, leaf := range in.Remove {
		if err := removable(e, leaf); err != nil {
			return err
		}
		r.Proposals = append(r.Proposals, &mls.Remove{Removed: mls.LeafIndex(leaf)})
	}
	packages := make([]*mls.KeyPackage, len(in.Add))
	for i, b := range in.Add {
		kp, proposals, err := addable(s.env, e, b)
		if err != nil {
			return err
		}
		packages[i] = kp
		r.Proposals = append(r.Proposals, proposals...)
	}
	if r, err = roles(e, r, in); err != nil {
		return err
	}
	own, err := s.commitOnHead(r, nil)
	if err != nil {
		return err
	}
	return s.welcome(own, packages)
}

// roles adds what promotes and demotes.
func roles(e *epoch, r mls.CommitRequest, in Change) (mls.CommitRequest, error) {
	if len(in.Promote)+len(in.Demote) == 0 {
		return r, nil
	}
	if e.info.Policy == PolicyOpen {
		return r, ErrNoAdmins
	}
	var keys [2][]string
	for i, leaves := range [][]uint32{in.Promote, in.Demote} {
		for _, leaf := range leaves {
			m := e.leaves.get(leaf)
			if m == "" {
				return r, fmt.Errorf("%w: %d", ErrNoSuchLeaf, leaf)
			}
			if e.info.isAdmin(keyOf(m)) == (i == 0) {
				return r, ErrSameRole
			}
			keys[i] = append(keys[i], keyOf(m))
		}
	}
	return withContext(e, r, keys[0], keys[1])
}

func removable(e *epoch, leaf uint32) error {
	switch {
	case e.leaves.get(leaf) == "":
		return fmt.Errorf("%w: %d", ErrNoSuchLeaf, leaf)
	case leaf == uint32(e.mls.Self()):
		return ErrSelfRemove
	}
	return nil
}

// addable checks a KeyPackage as its adder must and returns the proposals that
// add it, with the Remove of what it replaces: the present time is checked here
// and by the joiner, never by those who receive the commit.
func addable(env Env, e *epoch, b []byte) (*mls.KeyPackage, []mls.Proposal, error) {
	kp, err := mls.ParseKeyPackage(b)
	if err != nil {
		return nil, nil, fmt.Errorf("group: KeyPackage: %w", err)
	}
	if err := kp.Verify(env.Now); err != nil {
		return nil, nil, fmt.Errorf("group: KeyPackage: %w", err)
	}
	if err := checkLifetime(kp.LeafNode.Lifetime); err != nil {
		return nil, nil, err
	}
	if err := selfCertified(&kp.LeafNode); err != nil {
		return nil, nil, err
	}
	old, err := replaceable(e, kp)
	switch {
	case err != nil:
		return nil, nil, err
	case old != "" && old == e.leaves.get(uint32(e.mls.Self())):
		return nil, nil, ErrSelfRemove
	case old != "":
		return kp, []mls.Proposal{&mls.Remove{Removed: mls.LeafIndex(leafOf(old))}, &mls.Add{KeyPackage: *kp}}, nil
	case e.find(string(kp.LeafNode.SignatureKey)) != "":
		return nil, nil, ErrAlready
	}
	return kp, []mls.Proposal{&mls.Add{KeyPackage: *kp}}, nil
}

// welcome builds the Welcomes of an own commit. The GroupInfo names the
// commit's CID, which exists only now that the commit is sealed.
func (s *step) welcome(own *ownCommit, packages []*mls.KeyPackage) error {
	defer own.staged.Wipe()
	if len(packages) == 0 {
		return nil
	}
	e, err := s.epochOf(own.commit)
	if err != nil {
		return err
	}
	rows, gone := s.table(e, own.commit)
	table := marshalBase(rows, gone)
	sum := sha256.Sum256(table)
	x := base{CID: cidOf(e.id), Gossip: s.gossipKey, Generation: s.generation, TableHash: sum[:]}
	w, err := own.staged.Welcome([]mls.Extension{{Type: extBase, Data: x.marshal()}}, false, s.id.Signer, mlsEnv(s.env))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInternal, err)
	}
	b := bundle{Welcome: w, Tree: e.mls.Tree().Marshal(), Table: table}.marshal()
	for _, kp := range packages {
		s.out.Welcomes = append(s.out.Welcomes, Welcome{KeyPackageRef: kp.Ref(), Bundle: b})
	}
	return nil
}

func (s *step) epochOf(c *commit) (*epoch, error) {
	if e := s.epochs[c.ID]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%w: own commit without an epoch", ErrInternal)
}

// table states where the chains of the members of e stand, as this device has
// opened them, and those of earlier incarnations of whom the commit added.
func (g *Group) table(e *epoch, c *commit) (rows, gone []tableRow) {
	chains := g.chains()
	for m := range e.leaves.all() {
		row, ok := chains[m]
		if !ok {
			row = tableRow{Member: m, Prev: cidOf(addedBy(m))}
		}
		rows = append(rows, row)
		delete(chains, m)
	}
	for _, m := range slices.Sorted(maps.Keys(chains)) {
		back := func(added dag.Member) bool { return keyOf(added) == keyOf(m) }
		if slices.ContainsFunc(c.Added, back) {
			gone = append(gone, chains[m])
		}
	}
	return rows, gone
}
