package mls

import (
	"crypto/hmac"
	"fmt"
)

// KeySchedule is the one switch between RFC 9420 and DMLS.
type KeySchedule uint8

const (
	// RFC9420 is section 8 of RFC 9420: one init secret per epoch, one child.
	RFC9420 KeySchedule = 1
	// DMLS is draft-kohbrok-mls-dmls: the init secret of each child is an
	// output of a puncturable PRF, so that an epoch can have many children.
	DMLS KeySchedule = 2
)

// String names the schedule.
func (k KeySchedule) String() string {
	switch k {
	case RFC9420:
		return "RFC 9420"
	case DMLS:
		return "DMLS"
	}
	return fmt.Sprintf("KeySchedule(%d)", uint8(k))
}

func (k KeySchedule) check() error {
	if k != RFC9420 && k != DMLS {
		return fmt.Errorf("%w: %v", ErrConfig, k)
	}
	return nil
}

// joinerSecret is the upper half of the key schedule (RFC 9420, section 8).
func (s *suite) joinerSecret(initSecret, commitSecret, context []byte) []byte {
	extracted := s.extract(initSecret, commitSecret)
	defer wipe(extracted)
	return s.expandWithLabel(extracted, "joiner", context, s.nh)
}

// epochSecrets is the lower half: joiner_secret and psk_secret (nil: none) to
// welcome_secret and epoch_secret.
func (s *suite) epochSecrets(joiner, pskSecret, context []byte) (welcome, epoch []byte) {
	if pskSecret == nil {
		pskSecret = make([]byte, s.nh)
	}
	member := s.extract(joiner, pskSecret)
	defer wipe(member)
	return s.deriveSecret(member, "welcome"), s.expandWithLabel(member, "epoch", context, s.nh)
}

// welcomeKey derives key and nonce of the encrypted GroupInfo (section 12.4.3.1).
func (s *suite) welcomeKey(welcomeSecret []byte) (key, nonce []byte) {
	return s.expandWithLabel(welcomeSecret, "key", nil, s.nk), s.expandWithLabel(welcomeSecret, "nonce", nil, s.nn)
}

// secrets is what an epoch derives from its epoch_secret (RFC 9420, section 8,
// table 4; DMLS replaces init by epochID and parentInit). Each is Nh bytes or,
// where this schedule has no use for it or it was dropped, nil.
type secrets struct {
	senderData    []byte
	encryption    []byte // root of the secret tree; moves there
	exporter      []byte
	external      []byte // RFC 9420
	confirmation  []byte // dropped once the tag is verified
	membership    []byte // RFC 9420
	resumption    []byte // RFC 9420
	authenticator []byte
	init          []byte // RFC 9420
	epochID       []byte // DMLS: dmls_epoch
	parentInit    []byte // DMLS: root of the PPRF; moves there
}

// deriveSecrets derives all of them and leaves epoch to the caller to wipe.
func (s *suite) deriveSecrets(epoch []byte, k KeySchedule) *secrets {
	x := &secrets{
		senderData:    s.deriveSecret(epoch, "sender data"),
		encryption:    s.deriveSecret(epoch, "encryption"),
		exporter:      s.deriveSecret(epoch, "exporter"),
		confirmation:  s.deriveSecret(epoch, "confirm"),
		authenticator: s.deriveSecret(epoch, "authentication"),
	}
	if k == DMLS {
		x.epochID = s.deriveSecret(epoch, "epoch")
		x.parentInit = s.deriveSecret(epoch, "parent_init")
		return x
	}
	x.external = s.deriveSecret(epoch, "external")
	x.membership = s.deriveSecret(epoch, "membership")
	x.resumption = s.deriveSecret(epoch, "resumption")
	x.init = s.deriveSecret(epoch, "init")
	return x
}

func (x *secrets) wipe() {
	wipe(x.senderData, x.encryption, x.exporter, x.external, x.confirmation, x.membership,
		x.resumption, x.authenticator, x.init, x.parentInit)
	*x = secrets{epochID: x.epochID}
}

// confirmationTag is the MAC over the confirmed transcript hash (section 6.1).
func (s *suite) confirmationTag(key, confirmedTranscriptHash []byte) []byte {
	return s.hmac(key, confirmedTranscriptHash)
}

// verifyConfirmation compares in constant time.
func (s *suite) verifyConfirmation(key, confirmedTranscriptHash, tag []byte) error {
	if !hmac.Equal(tag, s.confirmationTag(key, confirmedTranscriptHash)) {
		return ErrConfirmation
	}
	return nil
}

// export is MLS-Exporter (section 8.5).
func (s *suite) export(exporter []byte, label string, context []byte, n int) []byte {
	derived := s.deriveSecret(exporter, label)
	defer wipe(derived)
	return s.expandWithLabel(derived, "exported", s.hash(context), n)
}
