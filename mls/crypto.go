package mls

import (
	"errors"
	"fmt"
	"io"
)

// ErrKey reports a key of a wrong length or one that the algorithm refuses.
var ErrKey = errors.New("mls: unusable key")

// labelPrefix precedes the label of every labelled operation (Section 5).
const labelPrefix = "MLS 1.0 "

// hash is Hash of the concatenation of b.
func (s *suite) hash(b ...[]byte) []byte {
	if len(b) == 1 {
		return s.sum(b[0])
	}
	h := s.alg.new()
	for _, p := range b {
		h.Write(p)
	}
	return h.Sum(make([]byte, 0, s.nh))
}

// hmac is the MAC of Section 6.1 and 8.1.
func (s *suite) hmac(key, data []byte) []byte {
	return s.alg.appendMAC(make([]byte, 0, s.nh), key, data, nil)
}

// extract is KDF.Extract.
func (s *suite) extract(salt, ikm []byte) []byte { return s.alg.extract(salt, ikm) }

// expand is KDF.Expand.
func (s *suite) expand(secret, info []byte, n int) []byte { return s.alg.expand(secret, info, n) }

// maxExpand is the longest output of KDF.Expand, in bytes.
func (s *suite) maxExpand() int { return 255 * s.nh }

// expandWithLabel is ExpandWithLabel of Section 8.
func (s *suite) expandWithLabel(secret []byte, label string, context []byte, n int) []byte {
	w := writer{make([]byte, 0, 128)}
	w.u16(uint16(n))
	w.label(label)
	w.vec(context)
	return s.expand(secret, w.buf, n)
}

// deriveSecret is DeriveSecret of Section 8.
func (s *suite) deriveSecret(secret []byte, label string) []byte {
	return s.expandWithLabel(secret, label, nil, s.nh)
}

// deriveTreeSecret is DeriveTreeSecret of Section 9.1.
func (s *suite) deriveTreeSecret(secret []byte, label string, generation uint32, n int) []byte {
	g := [4]byte{byte(generation >> 24), byte(generation >> 16), byte(generation >> 8), byte(generation)}
	return s.expandWithLabel(secret, label, g[:], n)
}

// label writes a prefixed label as opaque<V>.
func (w *writer) label(label string) {
	w.buf = appendVarint(w.buf, len(labelPrefix)+len(label))
	w.buf = append(w.buf, labelPrefix...)
	w.buf = append(w.buf, label...)
}

// refHash is RefHash of Section 5.2; the caller's label is taken as it is.
func (s *suite) refHash(label string, value []byte) []byte {
	w := writer{make([]byte, 0, len(label)+len(value)+8)}
	w.vec([]byte(label))
	w.vec(value)
	return s.sum(w.buf)
}

// signContent is SignContent of Section 5.1.2.
func signContent(label string, content []byte) []byte {
	return appendSignContent(make([]byte, 0, len(labelPrefix)+len(label)+len(content)+8), label, content)
}

func appendSignContent(b []byte, label string, content []byte) []byte {
	w := writer{b}
	w.label(label)
	w.vec(content)
	return w.buf
}

// signWithLabel is SignWithLabel of Section 5.1.2.
func (s *suite) signWithLabel(signer Signer, label string, content []byte) ([]byte, error) {
	sig, err := signer.Sign(signContent(label, content))
	if err != nil {
		return nil, fmt.Errorf("mls: signing %s: %w", label, err)
	}
	return s.sig.normal(sig), nil
}

// verifyWithLabel is VerifyWithLabel of Section 5.1.2.
func (s *suite) verifyWithLabel(public []byte, label string, content, signature []byte) error {
	return s.verifyContent(Env{}, public, label, signContent(label, content), signature)
}

// verifyContent is verifyWithLabel for a SignContent that was made.
func (s *suite) verifyContent(env Env, public []byte, label string, signed, signature []byte) error {
	if !env.verify(s, public, signed, signature) {
		return fmt.Errorf("%w: %s", ErrSignature, label)
	}
	return nil
}

// deriveKeyPair is KEM.DeriveKeyPair (RFC 9180, Section 7.1.3).
func (s *suite) deriveKeyPair(ikm []byte) (priv, pub []byte, err error) {
	return s.kem.deriveKeyPair(ikm)
}

// HPKECiphertext is an encapsulated key and the ciphertext under it
// (RFC 9420, Section 7.6).
type HPKECiphertext struct {
	KEMOutput  []byte
	Ciphertext []byte
}

func (c HPKECiphertext) write(w *writer) {
	w.vec(c.KEMOutput)
	w.vec(c.Ciphertext)
}

func readHPKECiphertext(r *reader) HPKECiphertext {
	return HPKECiphertext{KEMOutput: r.vec(), Ciphertext: r.vec()}
}

// encryptContext is the HPKE info of EncryptWithLabel (Section 5.1.3), already
// hashed into the HPKE key schedule. Many recipients can share one.
func (s *suite) encryptContext(label string, context []byte) hpkeContext {
	return s.hpkeContext(signContent(label, context))
}

// encryptWithLabel is EncryptWithLabel of Section 5.1.3. The encapsulation's
// seed is drawn from rand: equal bytes there give an equal ciphertext.
func (s *suite) encryptWithLabel(pub []byte, label string, context, plaintext []byte, rand io.Reader) (HPKECiphertext, error) {
	seed, err := s.encapSeed(rand)
	if err != nil {
		return HPKECiphertext{}, err
	}
	return s.hpkeSeal(pub, s.encryptContext(label, context), plaintext, seed)
}

// decryptWithLabel is DecryptWithLabel of Section 5.1.3.
func (s *suite) decryptWithLabel(priv []byte, label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	return s.hpkeOpen(priv, nil, s.encryptContext(label, context), ct)
}

// encapSeed draws the seed of one encapsulation.
func (s *suite) encapSeed(rand io.Reader) ([]byte, error) {
	return randomBytes(rand, s.kem.seedSize())
}

// randomBytes reads n bytes from rand.
func randomBytes(rand io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("mls: reading randomness: %w", err)
	}
	return b, nil
}

// aeadSeal encrypts with the suite's AEAD.
func (s *suite) aeadSeal(key, nonce, aad, plaintext []byte) ([]byte, error) {
	if len(nonce) != s.nn {
		return nil, fmt.Errorf("%w: AEAD nonce of %d bytes", ErrKey, len(nonce))
	}
	a, err := s.newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("%w: AEAD key of %d bytes", ErrKey, len(key))
	}
	return a.Seal(nil, nonce, plaintext, aad), nil
}

// aeadOpen decrypts with the suite's AEAD.
func (s *suite) aeadOpen(key, nonce, aad, ciphertext []byte) ([]byte, error) {
	if len(nonce) != s.nn {
		return nil, fmt.Errorf("%w: AEAD nonce of %d bytes", ErrKey, len(nonce))
	}
	a, err := s.newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("%w: AEAD key of %d bytes", ErrKey, len(key))
	}
	pt, err := a.Open(nil, nonce, ciphertext, aad)
	if err != nil {
		return nil, ErrDecrypt
	}
	return pt, nil
}
