package mls

import (
	"crypto/ed25519"
	"testing"
)

// TestOnce: a good signature is verified once, and what is not the very same
// signature of the same bytes by the same key is verified for itself.
func TestOnce(t *testing.T) {
	good, checks := map[[32]byte]bool{}, 0
	env := Env{Once: func(sum [32]byte, check func() bool) bool {
		if !good[sum] {
			checks++
			good[sum] = check()
		}
		return good[sum]
	}}
	s, err := suiteByID(0x0001)
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public, message := []byte(key.Public().(ed25519.PublicKey)), []byte("message")
	signature := ed25519.Sign(key, message)
	other := append([]byte{signature[0] ^ 1}, signature[1:]...)
	for _, c := range []struct {
		name                       string
		public, message, signature []byte
		want                       bool
		checks                     int // so far
	}{
		{"good", public, message, signature, true, 1},
		{"good again", public, message, signature, true, 1},
		{"another message", public, []byte("massage"), signature, false, 2},
		{"another signature", public, message, other, false, 3},
		{"another key", signature[:32], message, signature, false, 4},
		{"a byte on the other side", public, message[1:], append(signature[:len(signature):len(signature)], message[0]), false, 5},
		{"bad again", public, message, other, false, 6},
		{"good after all", public, message, signature, true, 6},
	} {
		if got := env.verify(s, c.public, c.message, c.signature); got != c.want || checks != c.checks {
			t.Errorf("%s: %v after %d checks, want %v after %d", c.name, got, checks, c.want, c.checks)
		}
	}
}
