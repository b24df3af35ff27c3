package mls

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// ExtensionType is an extension type (RFC 9420, Section 17.3).
type ExtensionType uint16

// The extension types of RFC 9420. All of them are default types: every client
// has them and capabilities do not list them.
const (
	ExtensionApplicationID        ExtensionType = 0x0001
	ExtensionRatchetTree          ExtensionType = 0x0002
	ExtensionRequiredCapabilities ExtensionType = 0x0003
	ExtensionExternalPub          ExtensionType = 0x0004
	ExtensionExternalSenders      ExtensionType = 0x0005
)

func (t ExtensionType) isDefault() bool {
	return t >= ExtensionApplicationID && t <= ExtensionExternalSenders
}

func (t ProposalType) isDefault() bool {
	return t >= ProposalTypeAdd && t <= ProposalTypeGroupContextExtensions
}

// Extension is a typed item of a LeafNode, KeyPackage, GroupContext or
// GroupInfo (RFC 9420, Section 13.4).
type Extension struct {
	Type ExtensionType
	Data []byte
}

func writeExtensions(w *writer, xs []Extension) {
	w.vector(func(w *writer) {
		for _, x := range xs {
			w.u16(uint16(x.Type))
			w.vec(x.Data)
		}
	})
}

func readExtensions(r *reader) []Extension {
	var xs []Extension
	for sub := r.sub(); !sub.empty(); {
		xs = append(xs, Extension{Type: ExtensionType(sub.u16()), Data: sub.vec()})
	}
	return xs
}

// findExtension returns the data of the first extension of a type.
func findExtension(xs []Extension, t ExtensionType) ([]byte, bool) {
	for _, x := range xs {
		if x.Type == t {
			return x.Data, true
		}
	}
	return nil, false
}

// duplicateExtension finds a type that occurs twice.
func duplicateExtension(xs []Extension) (ExtensionType, bool) {
	for i, x := range xs {
		for _, y := range xs[:i] {
			if x.Type == y.Type {
				return x.Type, true
			}
		}
	}
	return 0, false
}

// requirements is the content of the required_capabilities extension
// (RFC 9420, Section 11.1).
type requirements struct {
	extensions  []ExtensionType
	proposals   []ProposalType
	credentials []CredentialType
}

// RequiredCapabilities returns the GroupContext extension that names what all
// members must support beyond the defaults (RFC 9420, Section 11.1).
func RequiredCapabilities(extensions []ExtensionType, proposals []ProposalType, credentials []CredentialType) Extension {
	w := &writer{}
	writeUint16s(w, extensions)
	writeUint16s(w, proposals)
	writeUint16s(w, credentials)
	return Extension{Type: ExtensionRequiredCapabilities, Data: w.buf}
}

func parseRequirements(b []byte) (*requirements, error) {
	r := newReader(b)
	q := &requirements{
		extensions:  readUint16s[ExtensionType](r),
		proposals:   readUint16s[ProposalType](r),
		credentials: readUint16s[CredentialType](r),
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("mls: required_capabilities: %w", err)
	}
	return q, nil
}

// Capabilities lists what a client supports (RFC 9420, Section 7.2). Default
// extensions and proposals are not listed; unknown values are kept.
type Capabilities struct {
	Versions     []uint16
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}

func (c *Capabilities) write(w *writer) {
	writeUint16s(w, c.Versions)
	writeUint16s(w, c.CipherSuites)
	writeUint16s(w, c.Extensions)
	writeUint16s(w, c.Proposals)
	writeUint16s(w, c.Credentials)
}

func readCapabilities(r *reader) Capabilities {
	return Capabilities{
		Versions:     readUint16s[uint16](r),
		CipherSuites: readUint16s[CipherSuite](r),
		Extensions:   readUint16s[ExtensionType](r),
		Proposals:    readUint16s[ProposalType](r),
		Credentials:  readUint16s[CredentialType](r),
	}
}

func (c *Capabilities) clone() Capabilities {
	return Capabilities{
		Versions:     slices.Clone(c.Versions),
		CipherSuites: slices.Clone(c.CipherSuites),
		Extensions:   slices.Clone(c.Extensions),
		Proposals:    slices.Clone(c.Proposals),
		Credentials:  slices.Clone(c.Credentials),
	}
}

// supportsExtensions reports the first type in xs that is neither a default
// type nor listed.
func (c *Capabilities) supportsExtensions(xs []Extension) error {
	for _, x := range xs {
		if !x.Type.isDefault() && !slices.Contains(c.Extensions, x.Type) {
			return fmt.Errorf("extension 0x%04x is not in the capabilities", uint16(x.Type))
		}
	}
	if t, twice := duplicateExtension(xs); twice {
		return fmt.Errorf("extension 0x%04x occurs twice", uint16(t))
	}
	return nil
}

// withoutDefaults refuses to send capabilities that list a default type
// (Section 7.2). Receivers let it pass: it claims nothing untrue.
func (c *Capabilities) withoutDefaults() error {
	for _, t := range c.Extensions {
		if t.isDefault() {
			return fmt.Errorf("default extension 0x%04x is listed in the capabilities", uint16(t))
		}
	}
	for _, t := range c.Proposals {
		if t.isDefault() {
			return fmt.Errorf("default proposal 0x%04x is listed in the capabilities", uint16(t))
		}
	}
	return nil
}

func writeUint16s[T ~uint16](w *writer, vs []T) {
	w.vector(func(w *writer) {
		for _, v := range vs {
			w.u16(uint16(v))
		}
	})
}

func readUint16s[T ~uint16](r *reader) []T {
	b := r.take(r.varint())
	if len(b)%2 != 0 {
		r.failf("a list of 16-bit values of %d bytes", len(b))
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	vs := make([]T, 0, len(b)/2)
	for ; len(b) > 0; b = b[2:] {
		vs = append(vs, T(binary.BigEndian.Uint16(b)))
	}
	return vs
}
