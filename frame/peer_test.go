package frame

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// A proof fits one group, one generation, one pair and one direction.
func TestProof(t *testing.T) {
	secret, other := bytes.Repeat([]byte{7}, SecretLen), bytes.Repeat([]byte{8}, SecretLen)
	g := NewGossip(secret, 1)
	p := g.PeerKey().Prove("ada", "ben")
	if !p.Equal(NewGossip(secret, 1).PeerKey().Prove("ada", "ben")) {
		t.Error("two members make different proofs")
	}
	for what, q := range map[string]Proof{
		"direction":  g.PeerKey().Prove("ben", "ada"),
		"boundary":   g.PeerKey().Prove("adab", "en"),
		"peer":       g.PeerKey().Prove("ada", "eve"),
		"generation": NewGossip(secret, 2).PeerKey().Prove("ada", "ben"),
		"secret":     NewGossip(other, 1).PeerKey().Prove("ada", "ben"),
		"nothing":    {},
	} {
		if p.Equal(q) {
			t.Errorf("the proof of another %s is accepted", what)
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if s := fmt.Sprintf(format, g.PeerKey()); !strings.Contains(s, "redacted") {
			t.Errorf("%s prints %q", format, s)
		}
	}
}
