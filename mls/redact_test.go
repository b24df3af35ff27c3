package mls

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// leak formats v in every way and returns a text that shows one of the secrets.
func leak(v any, secrets [][]byte) string {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b"} {
		text := fmt.Sprintf(verb, v)
		for _, s := range secrets {
			for _, form := range []string{"%v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b"} {
				shown := strings.Trim(strings.TrimPrefix(fmt.Sprintf(form, s), "[]byte"), `[]{}"`)
				if len(shown) >= 16 && strings.Contains(text, shown) {
					return verb + " prints " + form + " of a secret"
				}
			}
		}
	}
	return ""
}

// TestRedacted prints everything that holds secrets, of both key schedules.
func TestRedacted(t *testing.T) {
	for _, k := range []KeySchedule{RFC9420, DMLS} {
		rand := testRand(77)
		d := newDevice(t, 0, rand)
		d.create(k)
		bundle := newDevice(t, 1, rand).keyPackage()
		staged, err := d.e.Commit(CommitRequest{ForcePath: true, Proposals: []Proposal{&Add{KeyPackage: *bundle.KeyPackage}}}, d.signer, d.env)
		if err != nil {
			t.Fatal(err)
		}
		secrets := [][]byte{bundle.initPriv, bundle.leafPriv, staged.next.joiner, staged.next.welcome}
		secrets = append(secrets, staged.path.pathSecrets...)
		var records []Record
		for _, e := range []*Epoch{d.e, staged.Child} {
			for _, r := range e.Records() {
				records = append(records, r)
				if r.Secret && len(r.Value) >= 16 {
					secrets = append(secrets, r.Value)
				}
			}
			for _, p := range e.privs {
				secrets = append(secrets, p)
			}
			secrets = append(secrets, e.secrets.senderData, e.secrets.exporter)
		}
		seed := bytes.Repeat([]byte{0xa7, 0x3c, 0x91, 0x5e}, 8)
		signer, err := NewEd25519Signer(seed)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, seed)
		if leak(secrets, secrets) == "" || leak(struct{ s []byte }{secrets[0]}, secrets) == "" {
			t.Fatal("the test sees nothing")
		}
		for _, v := range []any{
			d.e, *d.e, staged, *staged, staged.Delta, staged.next, staged.path, bundle, *bundle, records, records[0],
			d.e.secrets, d.e.secret, d.e.pprf, signer, struct{ Signer Signer }{signer}, []any{d.e, bundle},
		} {
			if what := leak(v, secrets); what != "" {
				t.Errorf("%T: %s", v, what)
			}
		}
	}
}
