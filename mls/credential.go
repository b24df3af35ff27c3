package mls

import "fmt"

// CredentialType is a credential type (RFC 9420, Section 17.5).
type CredentialType uint16

// The credential types whose format is known here. A Credential carries no
// length, so one of another type cannot even be skipped.
const (
	CredentialBasic CredentialType = 0x0001
	CredentialX509  CredentialType = 0x0002
)

// Credential presents a member's identity (RFC 9420, Section 5.3). Whether it
// belongs to the signature key is for the application to judge.
type Credential struct {
	Type         CredentialType
	Identity     []byte   // basic: any bytes, their meaning is the application's
	Certificates [][]byte // x509: DER, the end-entity certificate first, not looked into
}

// BasicCredential returns the bare assertion of an identity.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: append([]byte(nil), identity...)}
}

func (c *Credential) write(w *writer) {
	w.u16(uint16(c.Type))
	if c.Type == CredentialX509 {
		w.vector(func(w *writer) {
			for _, cert := range c.Certificates {
				w.vec(cert)
			}
		})
		return
	}
	w.vec(c.Identity)
}

func readCredential(r *reader) Credential {
	c := Credential{Type: CredentialType(r.u16())}
	switch {
	case r.err != nil:
	case c.Type == CredentialBasic:
		c.Identity = r.vec()
	case c.Type == CredentialX509:
		for sub := r.sub(); !sub.empty(); {
			c.Certificates = append(c.Certificates, sub.vec())
		}
	default:
		r.fail(fmt.Errorf("%w: credential type 0x%04x", ErrUnsupported, uint16(c.Type)))
	}
	return c
}
