package mls

import (
	"bytes"
	"testing"
)

// eachVector runs f on the vectors of the suites we have and says how many
// there were.
func eachVector[T any](t *testing.T, name string, suiteOf func(*T) CipherSuite, f func(t *testing.T, s *suite, v *T)) {
	t.Helper()
	var count suiteCount
	for i, v := range loadVectors[T](t, name) {
		s, ok := count.take(suiteOf(&v))
		if !ok {
			continue
		}
		f(t, s, &v)
		if t.Failed() {
			t.Fatalf("%s: vector %d", name, i)
		}
	}
	count.report(t, name)
}

func wantBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %x, want %x", what, got, want)
	}
}

type secretTreeVector struct {
	CipherSuite      CipherSuite `json:"cipher_suite"`
	EncryptionSecret hexBytes    `json:"encryption_secret"`
	SenderData       struct {
		Secret     hexBytes `json:"sender_data_secret"`
		Ciphertext hexBytes `json:"ciphertext"`
		Key        hexBytes `json:"key"`
		Nonce      hexBytes `json:"nonce"`
	} `json:"sender_data"`
	Leaves [][]struct {
		Generation       uint32   `json:"generation"`
		ApplicationKey   hexBytes `json:"application_key"`
		ApplicationNonce hexBytes `json:"application_nonce"`
		HandshakeKey     hexBytes `json:"handshake_key"`
		HandshakeNonce   hexBytes `json:"handshake_nonce"`
	} `json:"leaves"`
}

func TestVectorsSecretTree(t *testing.T) {
	eachVector(t, "secret-tree.json", func(v *secretTreeVector) CipherSuite { return v.CipherSuite },
		func(t *testing.T, s *suite, v *secretTreeVector) {
			key, nonce := s.senderDataKey(v.SenderData.Secret, v.SenderData.Ciphertext)
			wantBytes(t, "sender data key", key, v.SenderData.Key)
			wantBytes(t, "sender data nonce", nonce, v.SenderData.Nonce)
			for _, schedule := range []KeySchedule{RFC9420, DMLS} {
				tree := newSecretTree(s, widthFor(uint32(len(v.Leaves))), bytes.Clone(v.EncryptionSecret), Window{Skipped: 32, Forward: 1000}, keepsFor(schedule, 0))
				for leaf, generations := range v.Leaves {
					for _, g := range generations {
						for _, id := range []ratchetID{{LeafIndex(leaf), true}, {LeafIndex(leaf), false}} {
							k, c, err := tree.stage(id, g.Generation)
							if err != nil {
								t.Fatal(err)
							}
							tree.apply(c)
							if id.application {
								wantBytes(t, "application key", k.key, g.ApplicationKey)
								wantBytes(t, "application nonce", k.nonce, g.ApplicationNonce)
							} else {
								wantBytes(t, "handshake key", k.key, g.HandshakeKey)
								wantBytes(t, "handshake nonce", k.nonce, g.HandshakeNonce)
							}
						}
					}
				}
			}
		})
}

type keyScheduleVector struct {
	CipherSuite CipherSuite `json:"cipher_suite"`
	GroupID     hexBytes    `json:"group_id"`
	InitSecret  hexBytes    `json:"initial_init_secret"`
	Epochs      []struct {
		TreeHash                hexBytes `json:"tree_hash"`
		CommitSecret            hexBytes `json:"commit_secret"`
		PSKSecret               hexBytes `json:"psk_secret"`
		ConfirmedTranscriptHash hexBytes `json:"confirmed_transcript_hash"`
		GroupContext            hexBytes `json:"group_context"`
		Joiner                  hexBytes `json:"joiner_secret"`
		Welcome                 hexBytes `json:"welcome_secret"`
		Init                    hexBytes `json:"init_secret"`
		SenderData              hexBytes `json:"sender_data_secret"`
		Encryption              hexBytes `json:"encryption_secret"`
		ExporterSecret          hexBytes `json:"exporter_secret"`
		Authenticator           hexBytes `json:"epoch_authenticator"`
		External                hexBytes `json:"external_secret"`
		Confirmation            hexBytes `json:"confirmation_key"`
		Membership              hexBytes `json:"membership_key"`
		Resumption              hexBytes `json:"resumption_psk"`
		ExternalPub             hexBytes `json:"external_pub"`
		Exporter                struct {
			Label   string   `json:"label"`
			Context hexBytes `json:"context"`
			Length  int      `json:"length"`
			Secret  hexBytes `json:"secret"`
		} `json:"exporter"`
	} `json:"epochs"`
}

func TestVectorsKeySchedule(t *testing.T) {
	eachVector(t, "key-schedule.json", func(v *keyScheduleVector) CipherSuite { return v.CipherSuite },
		func(t *testing.T, s *suite, v *keyScheduleVector) {
			init := []byte(v.InitSecret)
			for i, e := range v.Epochs {
				c := GroupContext{Version: mls10, CipherSuite: v.CipherSuite, GroupID: v.GroupID, Epoch: uint64(i),
					TreeHash: e.TreeHash, ConfirmedTranscriptHash: e.ConfirmedTranscriptHash}
				wantBytes(t, "group context", c.Marshal(), e.GroupContext)
				joiner := s.joinerSecret(init, e.CommitSecret, e.GroupContext)
				wantBytes(t, "joiner", joiner, e.Joiner)
				welcome, epoch := s.epochSecrets(joiner, e.PSKSecret, e.GroupContext)
				wantBytes(t, "welcome", welcome, e.Welcome)
				x := s.deriveSecrets(epoch, RFC9420)
				wantBytes(t, "init", x.init, e.Init)
				wantBytes(t, "sender data", x.senderData, e.SenderData)
				wantBytes(t, "encryption", x.encryption, e.Encryption)
				wantBytes(t, "exporter", x.exporter, e.ExporterSecret)
				wantBytes(t, "authenticator", x.authenticator, e.Authenticator)
				wantBytes(t, "external", x.external, e.External)
				wantBytes(t, "confirmation", x.confirmation, e.Confirmation)
				wantBytes(t, "membership", x.membership, e.Membership)
				wantBytes(t, "resumption", x.resumption, e.Resumption)
				wantBytes(t, "exported", s.export(x.exporter, e.Exporter.Label, e.Exporter.Context, e.Exporter.Length), e.Exporter.Secret)
				_, pub, err := s.deriveKeyPair(x.external)
				if err != nil {
					t.Fatal(err)
				}
				wantBytes(t, "external_pub", pub, e.ExternalPub)
				init = x.init
			}
		})
}

type pskVector struct {
	CipherSuite CipherSuite `json:"cipher_suite"`
	PSKs        []struct {
		ID    hexBytes `json:"psk_id"`
		PSK   hexBytes `json:"psk"`
		Nonce hexBytes `json:"psk_nonce"`
	} `json:"psks"`
	Secret hexBytes `json:"psk_secret"`
}

func TestVectorsPSKSecret(t *testing.T) {
	eachVector(t, "psk_secret.json", func(v *pskVector) CipherSuite { return v.CipherSuite },
		func(t *testing.T, s *suite, v *pskVector) {
			var psks []psk
			for _, p := range v.PSKs {
				psks = append(psks, psk{PreSharedKeyID{Type: PSKTypeExternal, ID: p.ID, Nonce: p.Nonce}, p.PSK})
			}
			wantBytes(t, "psk_secret", s.pskSecret(psks), v.Secret)
		})
}

type transcriptVector struct {
	CipherSuite          CipherSuite `json:"cipher_suite"`
	ConfirmationKey      hexBytes    `json:"confirmation_key"`
	AuthenticatedContent hexBytes    `json:"authenticated_content"`
	InterimBefore        hexBytes    `json:"interim_transcript_hash_before"`
	ConfirmedAfter       hexBytes    `json:"confirmed_transcript_hash_after"`
	InterimAfter         hexBytes    `json:"interim_transcript_hash_after"`
}

func TestVectorsTranscriptHashes(t *testing.T) {
	eachVector(t, "transcript-hashes.json", func(v *transcriptVector) CipherSuite { return v.CipherSuite },
		func(t *testing.T, s *suite, v *transcriptVector) {
			r := newReader(v.AuthenticatedContent)
			a := readAuthenticatedContent(r)
			if err := r.done(); err != nil {
				t.Fatal(err)
			}
			confirmed := a.confirmedTranscriptHash(s, v.InterimBefore)
			wantBytes(t, "confirmed", confirmed, v.ConfirmedAfter)
			if err := s.verifyConfirmation(v.ConfirmationKey, confirmed, a.Auth.ConfirmationTag); err != nil {
				t.Error(err)
			}
			wantBytes(t, "interim", s.interimTranscriptHash(confirmed, a.Auth.ConfirmationTag), v.InterimAfter)
		})
}

type protectionVector struct {
	CipherSuite             CipherSuite `json:"cipher_suite"`
	GroupID                 hexBytes    `json:"group_id"`
	Epoch                   uint64      `json:"epoch"`
	TreeHash                hexBytes    `json:"tree_hash"`
	ConfirmedTranscriptHash hexBytes    `json:"confirmed_transcript_hash"`
	SignaturePriv           hexBytes    `json:"signature_priv"`
	SignaturePub            hexBytes    `json:"signature_pub"`
	EncryptionSecret        hexBytes    `json:"encryption_secret"`
	SenderDataSecret        hexBytes    `json:"sender_data_secret"`
	MembershipKey           hexBytes    `json:"membership_key"`
	Proposal                hexBytes    `json:"proposal"`
	ProposalPriv            hexBytes    `json:"proposal_priv"`
	ProposalPub             hexBytes    `json:"proposal_pub"`
	Commit                  hexBytes    `json:"commit"`
	CommitPriv              hexBytes    `json:"commit_priv"`
	CommitPub               hexBytes    `json:"commit_pub"`
	Application             hexBytes    `json:"application"`
	ApplicationPriv         hexBytes    `json:"application_priv"`
}

// protection is the state that a message-protection vector describes: a group
// of two in which leaf 1 sends.
type protection struct {
	s       *suite
	context []byte
	tree    *secretTree
	framer  *framer
	v       *protectionVector
}

func newProtection(s *suite, v *protectionVector) *protection {
	c := GroupContext{Version: mls10, CipherSuite: v.CipherSuite, GroupID: v.GroupID, Epoch: v.Epoch, TreeHash: v.TreeHash,
		ConfirmedTranscriptHash: v.ConfirmedTranscriptHash}
	p := &protection{s: s, context: c.Marshal(), v: v}
	p.tree = newSecretTree(s, 2, bytes.Clone(v.EncryptionSecret), Window{Skipped: 32, Forward: 1000}, keepsFor(RFC9420, 0))
	p.framer = &framer{suite: s, schedule: RFC9420, context: p.context, senderData: v.SenderDataSecret}
	return p
}

// body is the content in the encoding of the vectors: application data is raw.
func body(c *FramedContent) []byte {
	if c.ContentType == ContentTypeApplication {
		return c.Data
	}
	w := &writer{}
	c.writeBody(w)
	return w.buf
}

func (p *protection) openPrivate(t *testing.T, b, want []byte) {
	t.Helper()
	m, err := ParsePrivateMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.openSenderData(p.s, p.v.SenderDataSecret)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := p.tree.stage(m.ContentType.ratchet(d.leaf), d.generation)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := p.framer.open(m, d, k)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.verify(p.s, Env{}, p.context, p.v.SignaturePub); err != nil {
		t.Error(err)
	}
	wantBytes(t, "content", body(&a.Content), want)
}

func (p *protection) openPublic(t *testing.T, b, want []byte) {
	t.Helper()
	m, err := ParseMLSMessage(b)
	if err != nil || m.Public == nil {
		t.Fatal(err)
	}
	a, err := m.Public.unprotectPublic(p.s, p.v.MembershipKey, p.context)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.verify(p.s, Env{}, p.context, p.v.SignaturePub); err != nil {
		t.Error(err)
	}
	wantBytes(t, "content", body(&a.Content), want)
}

// roundTrip signs, protects and opens content of our own.
func (p *protection) roundTrip(t *testing.T, c FramedContent, public bool) {
	t.Helper()
	signer, err := NewSigner(p.s.id, p.v.SignaturePriv)
	if err != nil {
		t.Fatal(err)
	}
	c.GroupID, c.Epoch, c.Sender = p.v.GroupID, p.v.Epoch, Sender{SenderTypeMember, 1}
	a := &AuthenticatedContent{WireFormat: WireFormatPrivateMessage, Content: c}
	if public {
		a.WireFormat = WireFormatPublicMessage
	}
	if err := a.sign(p.s, p.context, signer); err != nil {
		t.Fatal(err)
	}
	if c.ContentType == ContentTypeCommit {
		a.Auth.ConfirmationTag = make([]byte, p.s.nh)
	}
	if public {
		m, err := a.protectPublic(p.s, p.v.MembershipKey, p.context)
		if err != nil {
			t.Fatal(err)
		}
		p.openPublic(t, m.Marshal(), body(&c))
		return
	}
	k, _, err := p.tree.stage(c.ContentType.ratchet(1), 3)
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.framer.seal(a, k, testRand(1))
	if err != nil {
		t.Fatal(err)
	}
	p.openPrivate(t, m.Marshal(), body(&c))
}

func TestVectorsMessageProtection(t *testing.T) {
	eachVector(t, "message-protection.json", func(v *protectionVector) CipherSuite { return v.CipherSuite },
		func(t *testing.T, s *suite, v *protectionVector) {
			p := newProtection(s, v)
			proposal, err := ParseProposal(v.Proposal)
			if err != nil {
				t.Fatal(err)
			}
			commit, err := ParseCommit(v.Commit)
			if err != nil {
				t.Fatal(err)
			}
			p.openPrivate(t, v.ProposalPriv, v.Proposal)
			p.openPrivate(t, v.CommitPriv, v.Commit)
			p.openPrivate(t, v.ApplicationPriv, v.Application)
			p.openPublic(t, v.ProposalPub, v.Proposal)
			p.openPublic(t, v.CommitPub, v.Commit)
			for _, c := range []FramedContent{
				{ContentType: ContentTypeProposal, Proposal: proposal},
				{ContentType: ContentTypeCommit, Commit: commit},
			} {
				p.roundTrip(t, c, true)
				p.roundTrip(t, c, false)
			}
			p.roundTrip(t, FramedContent{ContentType: ContentTypeApplication, Data: v.Application}, false)
		})
}

type messagesVector struct {
	Welcome     hexBytes `json:"mls_welcome"`
	GroupInfo   hexBytes `json:"mls_group_info"`
	KeyPackage  hexBytes `json:"mls_key_package"`
	RatchetTree hexBytes `json:"ratchet_tree"`
	Secrets     hexBytes `json:"group_secrets"`

	Add    hexBytes `json:"add_proposal"`
	Update hexBytes `json:"update_proposal"`
	Remove hexBytes `json:"remove_proposal"`
	PSK    hexBytes `json:"pre_shared_key_proposal"`
	ReInit hexBytes `json:"re_init_proposal"`
	Init   hexBytes `json:"external_init_proposal"`
	GCE    hexBytes `json:"group_context_extensions_proposal"`
	Commit hexBytes `json:"commit"`

	PublicApplication hexBytes `json:"public_message_application"`
	PublicProposal    hexBytes `json:"public_message_proposal"`
	PublicCommit      hexBytes `json:"public_message_commit"`
	Private           hexBytes `json:"private_message"`
}

func (v *messagesVector) suite() CipherSuite {
	m, err := ParseMLSMessage(v.KeyPackage)
	if err != nil || m.KeyPackage == nil {
		return 0
	}
	return m.KeyPackage.CipherSuite
}

// The messages vectors are of the suite that their KeyPackage names; parsing
// depends on it only in the ratchet tree, which is hashed.
func TestVectorsMessages(t *testing.T) {
	eachVector(t, "messages.json", (*messagesVector).suite,
		func(t *testing.T, s *suite, v *messagesVector) {
			for i, b := range [][]byte{v.Welcome, v.GroupInfo, v.KeyPackage, v.PublicApplication, v.PublicProposal, v.PublicCommit, v.Private} {
				m, err := ParseMLSMessage(b)
				if err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
				wantBytes(t, "message", m.Marshal(), b)
			}
			for i, b := range [][]byte{v.Add, v.Update, v.Remove, v.PSK, v.ReInit, v.Init, v.GCE} {
				r := newReader(b)
				p := readProposalOf(ProposalType(i+1), r)
				if err := r.done(); err != nil {
					t.Fatalf("proposal %d: %v", i, err)
				}
				w := &writer{}
				p.write(w)
				wantBytes(t, "proposal", w.buf, b)
			}
			c, err := ParseCommit(v.Commit)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "commit", c.Marshal(), v.Commit)
			r := newReader(v.Secrets)
			g := readGroupSecrets(r)
			if err := r.done(); err != nil {
				t.Fatal(err)
			}
			w := &writer{}
			g.write(w)
			wantBytes(t, "group secrets", w.buf, v.Secrets)
			tree, err := ParseRatchetTree(s.id, v.RatchetTree)
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, "ratchet tree", tree.Marshal(), v.RatchetTree)
		})
}

type welcomeVector struct {
	CipherSuite CipherSuite `json:"cipher_suite"`
	InitPriv    hexBytes    `json:"init_priv"`
	KeyPackage  hexBytes    `json:"key_package"`
	SignerPub   hexBytes    `json:"signer_pub"`
	Welcome     hexBytes    `json:"welcome"`
}

func TestVectorsWelcome(t *testing.T) {
	eachVector(t, "welcome.json", func(v *welcomeVector) CipherSuite { return v.CipherSuite },
		func(t *testing.T, s *suite, v *welcomeVector) {
			kp, err := ParseMLSMessage(v.KeyPackage)
			if err != nil {
				t.Fatal(err)
			}
			m, err := ParseMLSMessage(v.Welcome)
			if err != nil {
				t.Fatal(err)
			}
			j := &joining{kp: &KeyPackageBundle{KeyPackage: kp.KeyPackage, initPriv: v.InitPriv}, options: JoinOptions{KeySchedule: RFC9420}}
			if err := j.open(m.Welcome); err != nil {
				t.Fatal(err)
			}
			if err := j.info.verify(s, v.SignerPub); err != nil {
				t.Error(err)
			}
			c := j.info.GroupContext
			_, epoch := s.epochSecrets(j.secrets.joiner, j.pskSecret, c.Marshal())
			key := s.deriveSecrets(epoch, RFC9420).confirmation
			if err := s.verifyConfirmation(key, c.ConfirmedTranscriptHash, j.info.ConfirmationTag); err != nil {
				t.Error(err)
			}
		})
}
