package mls

import (
	"errors"
	"fmt"

	"github.com/dmlsd/dmls/pprf"
)

// pprfKDF derives the PPRF's tree: nodes as in the secret tree of RFC 9420,
// section 9, outputs with the label "pprf". A first evaluation is 512 HMACs at
// Nh = 32, so the KDFLabels are made once.
type pprfKDF struct {
	alg                 hashAlgorithm
	left, right, output []byte // info of KDF.Expand and the block counter 1
}

func newPPRFKDF(s *suite) *pprfKDF {
	info := func(label, context string) []byte {
		w := &writer{}
		w.u16(uint16(s.nh))
		w.label(label)
		w.vec([]byte(context))
		w.u8(1)
		return w.buf
	}
	return &pprfKDF{alg: s.alg, left: info("tree", "left"), right: info("tree", "right"), output: info("pprf", "")}
}

// Size is Nh.
func (k *pprfKDF) Size() int { return k.alg.size() }

// Children derives both children in place.
func (k *pprfKDF) Children(left, right, node []byte) {
	k.alg.macs(left, right, node, k.left, k.right)
}

// Output is DeriveSecret(leaf, "pprf").
func (k *pprfKDF) Output(leaf []byte) []byte {
	return k.alg.appendMAC(make([]byte, 0, k.alg.size()), leaf, k.output, nil)
}

// newPPRF starts the tree of an epoch at parent_init_secret.
func (s *suite) newPPRF(parentInit []byte) *pprf.Tree {
	return pprf.New(newPPRFKDF(s), parentInit, 8*s.nh)
}

// childInit evaluates the init secret of a child (draft-kohbrok-mls-dmls):
// commit_confirmation is derived from the last path secret, and the index from
// it under the GroupContext of the child. Binding the child, not the parent,
// gives two commits with equal path secrets different points.
func (e *Epoch) childInit(lastPathSecret, childContext []byte) ([]byte, *pprf.Puncture, error) {
	confirmation := e.suite.deriveSecret(lastPathSecret, "conf")
	index := e.suite.expandWithLabel(confirmation, "child_init", childContext, e.suite.nh)
	defer wipe(confirmation, index)
	out, p, err := e.pprf.Eval(index)
	if errors.Is(err, pprf.ErrPunctured) {
		return nil, nil, fmt.Errorf("%w: %w", ErrChildTaken, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("mls: init secret of the child: %w", err)
	}
	return out, &p, nil
}

// checkDMLSProposals refuses what bypasses or blinds the PPRF, and references
// other than to a leave, before anything is looked up or computed.
func checkDMLSProposals(list []CommittedProposal, committer LeafIndex) error {
	for _, p := range list {
		switch x := p.Proposal.(type) {
		case *PreSharedKey, *ReInit, *ExternalInit:
			return fmt.Errorf("%w: proposal type %d", ErrForbidden, x.Type())
		case *Update:
			return fmt.Errorf("%w: Update by proposal", ErrForbidden)
		case *Remove:
			if p.Ref != nil && x.Removed != p.Sender {
				return fmt.Errorf("%w: leaf %d proposes to remove leaf %d by reference", ErrForbidden, p.Sender, x.Removed)
			}
		default:
			if p.Ref != nil {
				return fmt.Errorf("%w: proposal type %d by reference", ErrForbidden, x.Type())
			}
		}
		if p.Ref == nil && p.Sender != committer {
			return fmt.Errorf("%w: inline proposal of another sender", ErrForbidden)
		}
	}
	return nil
}
