package mls

import (
	"encoding/binary"
)

// This file is HPKE (RFC 9180) in base mode, single shot, as far as MLS uses
// it. The key schedule is our own for two reasons: the encapsulation takes its
// seed from the caller, and the hash of the info can be shared by recipients.

// kem is a key encapsulation mechanism of RFC 9180, Section 4, with a seeded
// encapsulation.
type kem interface {
	id() uint16
	seedSize() int // bytes of an encapsulation's seed
	checkPublic(pub []byte) error
	deriveKeyPair(ikm []byte) (priv, pub []byte, err error)
	public(priv []byte) ([]byte, error)
	encap(pub, seed []byte) (shared, enc []byte, err error)
	// decap takes the public key of priv to spare its computation.
	decap(priv, pub, enc []byte) (shared []byte, err error)
}

// hpkeKDF is LabeledExtract and LabeledExpand of RFC 9180, Section 4, for one
// suite_id.
type hpkeKDF struct {
	alg     hashAlgorithm
	suiteID []byte
}

const hpkeVersion = "HPKE-v1"

func (k hpkeKDF) extract(salt []byte, label string, ikm []byte) []byte {
	b := make([]byte, 0, 128) // on the stack, but for a long info
	b = append(b, hpkeVersion...)
	b = append(b, k.suiteID...)
	b = append(b, label...)
	b = append(b, ikm...)
	out := k.alg.extract(salt, b)
	clear(b)
	return out
}

func (k hpkeKDF) expand(prk []byte, label string, info []byte, n int) []byte {
	b := make([]byte, 0, 192)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, hpkeVersion...)
	b = append(b, k.suiteID...)
	b = append(b, label...)
	b = append(b, info...)
	return k.alg.expand(prk, b, n)
}

// hpkeContext is key_schedule_context of RFC 9180, Section 5.1: it depends
// on the info alone.
type hpkeContext []byte

func (s *suite) hpkeKDF() hpkeKDF {
	id := make([]byte, 0, 10)
	id = append(id, "HPKE"...)
	id = binary.BigEndian.AppendUint16(id, s.kem.id())
	id = binary.BigEndian.AppendUint16(id, s.kdfID)
	id = binary.BigEndian.AppendUint16(id, s.aeadID)
	return hpkeKDF{s.alg, id}
}

func (s *suite) hpkeContext(info []byte) hpkeContext {
	k := s.hpkeKDF()
	c := make([]byte, 0, 1+2*s.nh)
	c = append(c, 0) // mode_base
	c = append(c, k.extract(nil, "psk_id_hash", nil)...)
	return append(c, k.extract(nil, "info_hash", info)...)
}

// hpkeKeys runs KeySchedule for sequence number 0, the only one MLS uses.
func (s *suite) hpkeKeys(shared []byte, c hpkeContext) (key, nonce []byte) {
	k := s.hpkeKDF()
	secret := k.extract(shared, "secret", nil)
	key = k.expand(secret, "key", c, s.nk)
	nonce = k.expand(secret, "base_nonce", c, s.nn)
	clear(secret)
	return key, nonce
}

// hpkeSeal is SealBase with an empty aad. The seed must never be used twice.
func (s *suite) hpkeSeal(pub []byte, c hpkeContext, plaintext, seed []byte) (HPKECiphertext, error) {
	shared, enc, err := s.kem.encap(pub, seed)
	if err != nil {
		return HPKECiphertext{}, err
	}
	key, nonce := s.hpkeKeys(shared, c)
	ct, err := s.aeadSeal(key, nonce, nil, plaintext)
	clear(shared)
	clear(key)
	return HPKECiphertext{KEMOutput: enc, Ciphertext: ct}, err
}

// hpkeOpen is OpenBase with an empty aad; pub may be nil.
func (s *suite) hpkeOpen(priv, pub []byte, c hpkeContext, ct HPKECiphertext) ([]byte, error) {
	shared, err := s.decap(priv, pub, ct.KEMOutput)
	if err != nil {
		return nil, err
	}
	key, nonce := s.hpkeKeys(shared, c)
	pt, err := s.aeadOpen(key, nonce, nil, ct.Ciphertext)
	clear(shared)
	clear(key)
	return pt, err
}

func (s *suite) decap(priv, pub, enc []byte) ([]byte, error) {
	if pub == nil {
		var err error
		if pub, err = s.kem.public(priv); err != nil {
			return nil, err
		}
	}
	return s.kem.decap(priv, pub, enc)
}

// hpkeSendExport is SendExportBase (RFC 9180, Section 6.2), which external
// commits use (RFC 9420, Section 8.3).
func (s *suite) hpkeSendExport(pub, info, exporterContext []byte, n int, seed []byte) (enc, secret []byte, err error) {
	shared, enc, err := s.kem.encap(pub, seed)
	if err != nil {
		return nil, nil, err
	}
	return enc, s.hpkeExport(shared, info, exporterContext, n), nil
}

// hpkeReceiveExport is ReceiveExportBase.
func (s *suite) hpkeReceiveExport(priv, enc, info, exporterContext []byte, n int) ([]byte, error) {
	shared, err := s.decap(priv, nil, enc)
	if err != nil {
		return nil, err
	}
	return s.hpkeExport(shared, info, exporterContext, n), nil
}

func (s *suite) hpkeExport(shared, info, exporterContext []byte, n int) []byte {
	k := s.hpkeKDF()
	secret := k.extract(shared, "secret", nil)
	exporter := k.expand(secret, "exp", s.hpkeContext(info), s.nh)
	out := k.expand(exporter, "sec", exporterContext, n)
	clear(shared)
	clear(secret)
	clear(exporter)
	return out
}
