package mls

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"
)

type passiveVector struct {
	CipherSuite  CipherSuite `json:"cipher_suite"`
	ExternalPSKs []struct {
		ID  hexBytes `json:"psk_id"`
		PSK hexBytes `json:"psk"`
	} `json:"external_psks"`
	KeyPackage     hexBytes `json:"key_package"`
	SignaturePriv  hexBytes `json:"signature_priv"`
	EncryptionPriv hexBytes `json:"encryption_priv"`
	InitPriv       hexBytes `json:"init_priv"`
	Welcome        hexBytes `json:"welcome"`
	RatchetTree    hexBytes `json:"ratchet_tree"`
	Authenticator  hexBytes `json:"initial_epoch_authenticator"`
	Epochs         []struct {
		Proposals     []hexBytes `json:"proposals"`
		Commit        hexBytes   `json:"commit"`
		Authenticator hexBytes   `json:"epoch_authenticator"`
	} `json:"epochs"`
}

// psk looks up the vector's external PSKs.
func (v *passiveVector) psk(id PreSharedKeyID) []byte {
	for _, p := range v.ExternalPSKs {
		if id.Type == PSKTypeExternal && bytes.Equal(id.ID, p.ID) {
			return p.PSK
		}
	}
	return nil
}

func (v *passiveVector) join(t testing.TB) *Epoch {
	t.Helper()
	m, err := ParseMLSMessage(v.KeyPackage)
	if err != nil {
		t.Fatal(err)
	}
	kp := &KeyPackageBundle{KeyPackage: m.KeyPackage, initPriv: v.InitPriv, leafPriv: v.EncryptionPriv}
	signer, err := NewSigner(v.CipherSuite, v.SignaturePriv)
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := Join(v.Welcome, v.RatchetTree, kp, JoinOptions{KeySchedule: RFC9420, PSK: v.psk, Signer: signer}, Env{Now: time.Unix(int64(kp.KeyPackage.LeafNode.Lifetime.NotBefore), 0)})
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "initial epoch authenticator", e.EpochAuthenticator(), v.Authenticator)
	return e
}

// open opens a message of whichever wire format.
func open(t *testing.T, e *Epoch, b []byte, o OpenOptions) *Opened {
	t.Helper()
	m, err := ParseMLSMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	var out *Opened
	if m.Private != nil {
		out, err = e.Open(m.Private, o)
	} else {
		out, err = e.OpenPublic(m.Public, o)
	}
	if err != nil {
		t.Fatalf("epoch %d, wire format %d: %v", e.Number(), m.WireFormat, err)
	}
	return out
}

func testPassive(t *testing.T, name string) {
	commits, proposals := 0, 0
	eachVector(t, name, func(v *passiveVector) CipherSuite { return v.CipherSuite },
		func(t *testing.T, _ *suite, v *passiveVector) {
			e := v.join(t)
			resumption := map[uint64][]byte{e.Number(): e.ResumptionPSK()}
			psk := func(id PreSharedKeyID) []byte {
				if id.Type == PSKTypeResumption && bytes.Equal(id.GroupID, e.GroupID()) {
					return resumption[id.Epoch]
				}
				return v.psk(id)
			}
			for _, step := range v.Epochs {
				for _, p := range step.Proposals {
					if err := e.Apply(open(t, e, p, OpenOptions{}).Delta); err != nil {
						t.Fatal(err)
					}
					proposals++
				}
				out := open(t, e, step.Commit, OpenOptions{PSK: psk})
				if err := e.Apply(out.Delta); err != nil {
					t.Fatal(err)
				}
				e.Wipe()
				e = out.Commit.Child
				wantBytes(t, "epoch authenticator", e.EpochAuthenticator(), step.Authenticator)
				resumption[e.Number()] = e.ResumptionPSK()
				commits++
			}
		})
	t.Logf("%s: %d commits, %d proposals by reference", name, commits, proposals)
}

// TestVectorsPassive runs every passive-client-*.json that is in the folder.
func TestVectorsPassive(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectorDir(t), "passive-client-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		vectorFile(t, "passive-client-welcome.json") // says how to get them
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) { testPassive(t, filepath.Base(f)) })
	}
}
