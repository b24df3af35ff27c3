package pprf

import (
	"fmt"
	"strings"
	"testing"
)

// TestRedacted prints nodes, trees and punctures in every way.
func TestRedacted(t *testing.T) {
	secret := []byte{0xa7, 0x3c, 0x91, 0x5e, 0x22, 0x6d, 0xe0, 0x4b}
	node := Node{Secret: secret}
	tree := Tree{deltas: []delta{{shelf: shelve([]Node{node}, 8, len(secret))}}}
	p := Puncture{Keep: []Node{node}}
	seen := func(text string) bool {
		for _, form := range []string{"%v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o"} {
			if strings.Contains(text, strings.Trim(strings.TrimPrefix(fmt.Sprintf(form, secret), "[]byte"), `[]{}"`)) {
				return true
			}
		}
		return false
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o"} {
		if !seen(fmt.Sprintf(verb, secret)) {
			t.Fatalf("the test does not see a secret printed with %s", verb)
		}
		for _, v := range []any{node, &node, []Node{node}, tree, &tree, p, &p, struct{ P *Puncture }{&p}} {
			if text := fmt.Sprintf(verb, v); seen(text) {
				t.Errorf("%T with %s prints the secret: %s", v, verb, text)
			}
		}
	}
}
