package x509cred_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/dmlsd/dmls/mls"
	"github.com/dmlsd/dmls/mls/x509cred"
)

var now = time.Unix(1_800_000_000, 0)

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes a certificate; without an issuer it signs itself.
func issue(t *testing.T, name string, key crypto.Signer, by *authority, ca bool) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature}
	if ca {
		template.KeyUsage |= x509.KeyUsageCertSign
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// client is a signer of a suite whose key certificates can certify.
func client(t *testing.T, suite mls.CipherSuite) (mls.Signer, crypto.Signer) {
	t.Helper()
	s, private, err := mls.GenerateSigner(suite, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := map[mls.CipherSuite]elliptic.Curve{2: elliptic.P256(), 5: elliptic.P521(), 7: elliptic.P384()}[suite]
	if curve == nil {
		return s, ed25519.NewKeyFromSeed(private)
	}
	k, err := ecdsa.ParseRawPrivateKey(curve, private)
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

func options(suite mls.CipherSuite, c mls.Credential) mls.KeyPackageOptions {
	return mls.KeyPackageOptions{Suite: suite, Credential: c,
		Lifetime: mls.Lifetime{NotBefore: uint64(now.Unix()) - 60, NotAfter: uint64(now.Unix()) + 60}}
}

// A group whose members are certified by an intermediate authority, and what
// the pool refuses of those who want to join it.
func TestPool(t *testing.T) {
	for _, suite := range []mls.CipherSuite{1, 2, 3, 5, 7} {
		t.Run(suite.String(), func(t *testing.T) { testPool(t, suite) })
	}
}

func testPool(t *testing.T, suite mls.CipherSuite) {
	env := mls.Env{Now: now, Rand: rand.Reader}
	_, rootKey := client(t, 2)
	root := &authority{issue(t, "root", rootKey, nil, true), rootKey}
	_, middleKey := client(t, 2)
	middle := &authority{issue(t, "middle", middleKey, root, true), middleKey}
	pool := &x509cred.Pool{Roots: x509.NewCertPool()}
	pool.Roots.AddCert(root.cert)

	alice, aliceKey := client(t, suite)
	aliceCert := issue(t, "alice", aliceKey, middle, false)
	e, err := mls.Create(mls.GroupConfig{Suite: suite, GroupID: []byte("g"), KeySchedule: mls.RFC9420,
		Leaf: options(suite, x509cred.Credential(aliceCert, middle.cert))}, alice, env)
	if err != nil {
		t.Fatal(err)
	}
	add := func(c mls.Credential, s mls.Signer, p *x509cred.Pool) error {
		kp, err := mls.NewKeyPackage(options(suite, c), s, env)
		if err != nil {
			t.Fatal(err)
		}
		commit, err := e.Commit(mls.CommitRequest{Proposals: []mls.Proposal{&mls.Add{KeyPackage: *kp.KeyPackage}}, Credentials: p}, alice, env)
		if err != nil {
			return err
		}
		welcome, err := commit.Welcome(nil, true, alice, env)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = mls.Join(welcome, nil, kp, mls.JoinOptions{KeySchedule: mls.RFC9420, Credentials: p}, env)
		return err
	}
	bob, bobKey := client(t, suite)
	cert := issue(t, "bob", bobKey, middle, false)
	if err := add(x509cred.Credential(cert, middle.cert), bob, pool); err != nil {
		t.Error(err)
	}
	_, strangerKey := client(t, 2)
	stranger := &authority{issue(t, "stranger", strangerKey, nil, true), strangerKey}
	other, _ := client(t, suite)
	late := *pool
	late.Time = now.Add(48 * time.Hour)
	usage := *pool
	usage.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for what, c := range map[string]struct {
		credential mls.Credential
		signer     mls.Signer
		pool       *x509cred.Pool
		want       error
	}{
		"another root":        {x509cred.Credential(issue(t, "bob", bobKey, stranger, false), stranger.cert), bob, pool, x509cred.ErrChain},
		"no intermediate":     {x509cred.Credential(cert), bob, pool, x509cred.ErrChain},
		"order of the chain":  {x509cred.Credential(cert, root.cert, middle.cert), bob, pool, x509cred.ErrChain},
		"issued by no CA":     {x509cred.Credential(issue(t, "bob", bobKey, &authority{aliceCert, aliceKey}, false), aliceCert, middle.cert), bob, pool, x509cred.ErrChain},
		"another key":         {x509cred.Credential(cert, middle.cert), other, pool, x509cred.ErrKey},
		"garbage":             {mls.Credential{Type: mls.CredentialX509, Certificates: [][]byte{{1, 2}}}, bob, pool, x509cred.ErrChain},
		"empty":               {mls.Credential{Type: mls.CredentialX509}, bob, pool, x509cred.ErrChain},
		"out of date":         {x509cred.Credential(cert, middle.cert), bob, &late, x509cred.ErrChain},
		"extended key usage":  {x509cred.Credential(cert, middle.cert), bob, &usage, nil},
		"no roots, no system": {x509cred.Credential(cert, middle.cert), bob, &x509cred.Pool{}, x509cred.ErrChain},
	} {
		err := add(c.credential, c.signer, c.pool)
		if c.want == nil && err != nil || c.want != nil && (!errors.Is(err, c.want) || !errors.Is(err, mls.ErrCredential)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A leaf is replaced by one of the same names, never by another's.
func TestReplaces(t *testing.T) {
	_, key := client(t, 1)
	leaf := func(name string) *mls.LeafNode {
		return &mls.LeafNode{Credential: x509cred.Credential(issue(t, name, key, nil, false))}
	}
	p := &x509cred.Pool{}
	if err := p.Replaces(leaf("a"), leaf("a")); err != nil {
		t.Error(err)
	}
	if err := p.Replaces(leaf("a"), leaf("b")); !errors.Is(err, x509cred.ErrName) {
		t.Errorf("%v", err)
	}
	basic := &mls.LeafNode{Credential: mls.BasicCredential([]byte("a"))}
	if err := p.Replaces(leaf("a"), basic); !errors.Is(err, x509cred.ErrName) {
		t.Errorf("basic after x509: %v", err)
	}
	if err := p.Replaces(basic, basic); !errors.Is(err, x509cred.ErrType) {
		t.Errorf("basic: %v", err)
	}
	p.Basic = true
	if err := p.Replaces(basic, basic); err != nil {
		t.Error(err)
	}
	if err := p.Validate(1, basic, now); err != nil {
		t.Error(err)
	}
}

// An external sender is judged by the same chain as a member.
func TestValidateSender(t *testing.T) {
	_, rootKey := client(t, 2)
	root := &authority{issue(t, "root", rootKey, nil, true), rootKey}
	pool := &x509cred.Pool{Roots: x509.NewCertPool()}
	pool.Roots.AddCert(root.cert)
	service, serviceKey := client(t, 1)
	other, _ := client(t, 1)
	certified := x509cred.Credential(issue(t, "service", serviceKey, root, false))
	for what, c := range map[string]struct {
		sender mls.ExternalSender
		want   error
	}{
		"certified":   {mls.ExternalSender{SignatureKey: service.Public(), Credential: certified}, nil},
		"another key": {mls.ExternalSender{SignatureKey: other.Public(), Credential: certified}, x509cred.ErrKey},
		"basic":       {mls.ExternalSender{SignatureKey: service.Public(), Credential: mls.BasicCredential(nil)}, x509cred.ErrType},
	} {
		if err := pool.ValidateSender(1, &c.sender, now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
