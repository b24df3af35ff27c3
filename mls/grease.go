package mls

import (
	"fmt"
	"io"
)

// GREASE draws one of the values that mean nothing (RFC 9420, section 13.5):
// whoever sends them now and then finds out early who cannot bear what comes
// later. They may stand in capabilities, but for the versions, and as types of
// extensions of leaves, KeyPackages and GroupInfos, nowhere else.
func GREASE(rand io.Reader) (uint16, error) {
	for {
		b, err := randomBytes(rand, 1)
		if err != nil {
			return 0, fmt.Errorf("mls: GREASE: %w", err)
		}
		if n := uint16(b[0] & 15); n < 15 { // 0xFAFA is for private use
			return n<<12 | 0x0A00 | n<<4 | 0x0A, nil
		}
	}
}

// GREASEExtension is an extension of such a type with up to 31 random bytes.
func GREASEExtension(rand io.Reader) (Extension, error) {
	t, err := GREASE(rand)
	if err != nil {
		return Extension{}, err
	}
	b, err := randomBytes(rand, 32)
	if err != nil {
		return Extension{}, fmt.Errorf("mls: GREASE: %w", err)
	}
	return Extension{Type: ExtensionType(t), Data: b[1 : 1+b[0]&31]}, nil
}

// grease adds GREASE to all lists of a KeyPackage that may have it.
func (k *KeyPackage) grease(rand io.Reader) error {
	var v [3]uint16
	for i := range v {
		var err error
		if v[i], err = GREASE(rand); err != nil {
			return err
		}
	}
	c := &k.LeafNode.Capabilities
	c.CipherSuites = append(c.CipherSuites, CipherSuite(v[0]))
	c.Proposals = append(c.Proposals, ProposalType(v[1]))
	c.Credentials = append(c.Credentials, CredentialType(v[2]))
	for _, xs := range []*[]Extension{&k.LeafNode.Extensions, &k.Extensions} {
		x, err := GREASEExtension(rand)
		if err != nil {
			return err
		}
		if _, twice := findExtension(*xs, x.Type); twice {
			continue
		}
		*xs = append(cloneExtensions(*xs), x)
		c.Extensions = append(c.Extensions, x.Type)
	}
	return nil
}
