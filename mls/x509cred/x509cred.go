// Package x509cred judges x509 credentials of MLS (RFC 9420, section 5.3): a
// ready mls.CredentialValidator over a pool of trusted certificates. It stands
// apart so that package mls does not depend on crypto/x509.
package x509cred

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dmlsd/dmls/mls"
)

// Errors of this package; mls wraps them in mls.ErrCredential.
var (
	ErrType  = errors.New("x509cred: credential is not of type x509")
	ErrChain = errors.New("x509cred: certificate chain is not trusted")
	ErrKey   = errors.New("x509cred: certificate is for another signature key")
	ErrName  = errors.New("x509cred: certificate names another client")
)

// Pool verifies chains against trusted roots. It implements
// mls.CredentialValidator.
type Pool struct {
	Roots *x509.CertPool
	// Usages are the extended key usages of which the end-entity certificate
	// must have one; none: any.
	Usages []x509.ExtKeyUsage
	// Time, unless it is zero, is the time at which chains are judged in place
	// of the caller's. In a DMLS group all members must judge alike: give it.
	Time time.Time
	// Basic lets basic credentials pass beside x509: they then are what
	// somebody says of himself.
	Basic bool
}

var _ mls.CredentialValidator = (*Pool)(nil)

// Credential is the x509 credential of a chain, the end-entity certificate first.
func Credential(chain ...*x509.Certificate) mls.Credential {
	c := mls.Credential{Type: mls.CredentialX509}
	for _, cert := range chain {
		c.Certificates = append(c.Certificates, bytes.Clone(cert.Raw))
	}
	return c
}

// Validate verifies the chain, each certificate by the next (section 5.3), and
// that the end-entity certificate is for the leaf's signature key.
func (p *Pool) Validate(_ mls.CipherSuite, leaf *mls.LeafNode, now time.Time) error {
	return p.validate(&leaf.Credential, leaf.SignatureKey, now)
}

// ValidateSender is Validate for an external sender (section 12.1.8.1).
func (p *Pool) ValidateSender(_ mls.CipherSuite, sender *mls.ExternalSender, now time.Time) error {
	return p.validate(&sender.Credential, sender.SignatureKey, now)
}

func (p *Pool) validate(c *mls.Credential, key []byte, now time.Time) error {
	if p.Basic && c.Type == mls.CredentialBasic {
		return nil
	}
	chain, err := parse(c)
	if err != nil {
		return err
	}
	// The order is part of the format: crypto/x509 alone would find any.
	for i := range chain[:len(chain)-1] {
		if err := chain[i].CheckSignatureFrom(chain[i+1]); err != nil {
			return fmt.Errorf("%w: certificate %d by the next: %w", ErrChain, i, err)
		}
	}
	if !p.Time.IsZero() {
		now = p.Time
	}
	o := x509.VerifyOptions{Roots: p.Roots, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: p.Usages}
	if len(o.KeyUsages) == 0 {
		o.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	}
	if o.Roots == nil {
		o.Roots = x509.NewCertPool() // never the system's
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		return fmt.Errorf("%w: %w", ErrChain, err)
	}
	certified, err := signatureKey(chain[0])
	if err != nil {
		return err
	}
	if !bytes.Equal(certified, key) {
		return ErrKey
	}
	return nil
}

// Replaces says whether both certificates name the same client: subject and all
// alternative names are equal. Chains that Validate refuses are not its matter.
func (p *Pool) Replaces(old, successor *mls.LeafNode) error {
	if old.Credential.Type != successor.Credential.Type {
		return fmt.Errorf("%w: credential type %d after %d", ErrName, successor.Credential.Type, old.Credential.Type)
	}
	if p.Basic && old.Credential.Type == mls.CredentialBasic {
		if !bytes.Equal(old.Credential.Identity, successor.Credential.Identity) {
			return ErrName
		}
		return nil
	}
	a, err := parse(&old.Credential)
	if err != nil {
		return err
	}
	b, err := parse(&successor.Credential)
	if err != nil {
		return err
	}
	if !bytes.Equal(a[0].RawSubject, b[0].RawSubject) || !slices.Equal(names(a[0]), names(b[0])) {
		return ErrName
	}
	return nil
}

func parse(c *mls.Credential) ([]*x509.Certificate, error) {
	if c.Type != mls.CredentialX509 {
		return nil, fmt.Errorf("%w: type %d", ErrType, c.Type)
	}
	if len(c.Certificates) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrChain)
	}
	chain := make([]*x509.Certificate, 0, len(c.Certificates))
	for i, der := range c.Certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrChain, i, err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}

// names are the subject alternative names, in order.
func names(c *x509.Certificate) []string {
	var out []string
	for _, n := range c.DNSNames {
		out = append(out, "dns:"+n)
	}
	for _, n := range c.EmailAddresses {
		out = append(out, "email:"+n)
	}
	for _, n := range c.IPAddresses {
		out = append(out, "ip:"+n.String())
	}
	for _, n := range c.URIs {
		out = append(out, "uri:"+n.String())
	}
	slices.Sort(out)
	return out
}

// signatureKey is the certificate's key in the form of a leaf. Ed448 is not
// known to crypto/x509: suites 4 and 6 need another validator.
func signatureKey(c *x509.Certificate) ([]byte, error) {
	switch k := c.PublicKey.(type) {
	case ed25519.PublicKey:
		return k, nil
	case *ecdsa.PublicKey:
		b, err := k.Bytes()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKey, err)
		}
		return b, nil
	}
	return nil, fmt.Errorf("%w: public key of algorithm %v", ErrKey, c.PublicKeyAlgorithm)
}
