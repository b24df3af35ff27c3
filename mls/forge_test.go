package mls

import (
	"testing"
)

// forgery is what an insider can do: it derives the author's ratchet keys and
// sender data keys itself, opens a frame and seals it again, changed.
type forgery struct {
	tag     func([]byte) // changes the confirmation tag in place
	resign  Signer       // signs the changed content anew
	change  func(*AuthenticatedContent)
	guard   *[4]byte // nil: as the schedule wants it
	padding int      // bytes beyond the bucket
	dirty   bool     // the last byte is not zero
	at      *uint32  // another generation
}

// forge applies f to a frame that insider can open. The insider's epoch stays
// as it is.
func forge(t testing.TB, insider *Epoch, msg []byte, f forgery) []byte {
	t.Helper()
	m, err := ParsePrivateMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	fr := insider.framer()
	d, err := m.openSenderData(insider.suite, fr.senderData)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := insider.secret.stage(m.ContentType.ratchet(d.leaf), d.generation)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := fr.open(m, d, k)
	if err != nil {
		t.Fatal(err)
	}
	if f.tag != nil {
		f.tag(a.Auth.ConfirmationTag)
	}
	if f.change != nil {
		f.change(a)
	}
	if f.resign != nil {
		if err := a.sign(insider.suite, insider.encoded, f.resign); err != nil {
			t.Fatal(err)
		}
	}
	if f.at != nil {
		if k, _, err = insider.secret.stage(m.ContentType.ratchet(d.leaf), *f.at); err != nil {
			t.Fatal(err)
		}
	}
	if f.guard != nil {
		d.guard = *f.guard
	} else if d.guard, err = fr.reuseGuard(a, nil); err != nil {
		t.Fatal(err)
	}
	plain := a.unpadded()
	plain = append(plain, make([]byte, padme(len(plain))-len(plain)+f.padding)...)
	if f.dirty {
		plain[len(plain)-1] |= 1
	}
	out := &PrivateMessage{GroupID: m.GroupID, Epoch: m.Epoch, ContentType: m.ContentType, AuthenticatedData: a.Content.AuthenticatedData}
	if out.Ciphertext, err = insider.suite.aeadSeal(k.key, guarded(k.nonce, d.guard), out.contentAAD(), plain); err != nil {
		t.Fatal(err)
	}
	d.generation = k.generation
	if err := out.sealSenderData(insider.suite, fr.senderData, d); err != nil {
		t.Fatal(err)
	}
	return out.Marshal()
}
