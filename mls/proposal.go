package mls

import "fmt"

// ProposalType is of the registry in RFC 9420, section 17.4.
type ProposalType uint16

// The proposal types of RFC 9420.
const (
	ProposalTypeAdd                    ProposalType = 1
	ProposalTypeUpdate                 ProposalType = 2
	ProposalTypeRemove                 ProposalType = 3
	ProposalTypePreSharedKey           ProposalType = 4
	ProposalTypeReInit                 ProposalType = 5
	ProposalTypeExternalInit           ProposalType = 6
	ProposalTypeGroupContextExtensions ProposalType = 7
)

// Proposal is one of *Add, *Update, *Remove, *PreSharedKey, *ReInit,
// *ExternalInit and *GroupContextExtensions (RFC 9420, section 12.1).
type Proposal interface {
	Type() ProposalType
	write(w *writer)
}

// Add asks for a new member.
type Add struct{ KeyPackage KeyPackage }

// Update replaces the sender's leaf. It is always sent by reference.
type Update struct{ LeafNode LeafNode }

// Remove asks that a member go. In a DMLS group a Remove of its own sender is
// the only proposal that may be sent by reference.
type Remove struct{ Removed LeafIndex }

// PreSharedKey injects a PSK into the key schedule. Not in a DMLS group.
type PreSharedKey struct{ ID PreSharedKeyID }

// ReInit closes the group in favour of a new one. Not in a DMLS group.
type ReInit struct {
	GroupID     []byte
	Version     uint16
	CipherSuite CipherSuite
	Extensions  []Extension
}

// ExternalInit carries the KEM output of an external commit. Not in a DMLS group.
type ExternalInit struct{ KEMOutput []byte }

// GroupContextExtensions replaces all extensions of the GroupContext.
type GroupContextExtensions struct{ Extensions []Extension }

// Type is ProposalTypeAdd.
func (*Add) Type() ProposalType { return ProposalTypeAdd }

// Type is ProposalTypeUpdate.
func (*Update) Type() ProposalType { return ProposalTypeUpdate }

// Type is ProposalTypeRemove.
func (*Remove) Type() ProposalType { return ProposalTypeRemove }

// Type is ProposalTypePreSharedKey.
func (*PreSharedKey) Type() ProposalType { return ProposalTypePreSharedKey }

// Type is ProposalTypeReInit.
func (*ReInit) Type() ProposalType { return ProposalTypeReInit }

// Type is ProposalTypeExternalInit.
func (*ExternalInit) Type() ProposalType { return ProposalTypeExternalInit }

// Type is ProposalTypeGroupContextExtensions.
func (*GroupContextExtensions) Type() ProposalType { return ProposalTypeGroupContextExtensions }

func (p *Add) write(w *writer)          { p.KeyPackage.write(w) }
func (p *Update) write(w *writer)       { p.LeafNode.write(w) }
func (p *Remove) write(w *writer)       { w.u32(uint32(p.Removed)) }
func (p *PreSharedKey) write(w *writer) { p.ID.write(w) }
func (p *ReInit) write(w *writer) {
	w.vec(p.GroupID)
	w.u16(p.Version)
	w.u16(uint16(p.CipherSuite))
	writeExtensions(w, p.Extensions)
}
func (p *ExternalInit) write(w *writer)           { w.vec(p.KEMOutput) }
func (p *GroupContextExtensions) write(w *writer) { writeExtensions(w, p.Extensions) }

// writeProposal writes type and content.
func writeProposal(w *writer, p Proposal) {
	w.u16(uint16(p.Type()))
	p.write(w)
}

func readProposal(r *reader) Proposal { return readProposalOf(ProposalType(r.u16()), r) }

// readProposalOf reads what follows the type. An unknown type can not be
// skipped, since its content has no length: it is an error.
func readProposalOf(t ProposalType, r *reader) Proposal {
	switch t {
	case ProposalTypeAdd:
		return &Add{KeyPackage: readKeyPackage(r)}
	case ProposalTypeUpdate:
		return &Update{LeafNode: readLeafNode(r)}
	case ProposalTypeRemove:
		return &Remove{Removed: LeafIndex(r.u32())}
	case ProposalTypePreSharedKey:
		return &PreSharedKey{ID: readPreSharedKeyID(r)}
	case ProposalTypeReInit:
		p := &ReInit{GroupID: r.vec(), Version: r.u16(), CipherSuite: CipherSuite(r.u16())}
		p.Extensions = readExtensions(r)
		return p
	case ProposalTypeExternalInit:
		return &ExternalInit{KEMOutput: r.vec()}
	case ProposalTypeGroupContextExtensions:
		return &GroupContextExtensions{Extensions: readExtensions(r)}
	default:
		r.fail(fmt.Errorf("%w: proposal type %d", ErrUnsupported, t))
		return nil
	}
}

// ParseProposal reads a Proposal and nothing after it.
func ParseProposal(b []byte) (Proposal, error) {
	r := newReader(b)
	p := readProposal(r)
	if err := r.done(); err != nil {
		return nil, err
	}
	return p, nil
}

// MarshalProposal is the encoding that ParseProposal reads.
func MarshalProposal(p Proposal) []byte {
	w := &writer{}
	writeProposal(w, p)
	return w.buf
}

// pathRequired is the column "Path Required" of RFC 9420, section 17.4.
func pathRequired(p Proposal) bool {
	switch p.Type() {
	case ProposalTypeAdd, ProposalTypePreSharedKey, ProposalTypeReInit:
		return false
	}
	return true
}

// ProposalOrRef is a proposal by value or, where Proposal is nil, by reference.
type ProposalOrRef struct {
	Proposal Proposal
	Ref      []byte // Nh bytes
}

func (p ProposalOrRef) write(w *writer) {
	if p.Proposal != nil {
		w.u8(1)
		writeProposal(w, p.Proposal)
		return
	}
	w.u8(2)
	w.vec(p.Ref)
}

func readProposalOrRef(r *reader) ProposalOrRef {
	switch t := r.u8(); t {
	case 1:
		return ProposalOrRef{Proposal: readProposal(r)}
	case 2:
		return ProposalOrRef{Ref: r.vec()}
	default:
		r.fail(fmt.Errorf("%w: ProposalOrRef type %d", ErrMalformed, t))
		return ProposalOrRef{}
	}
}
