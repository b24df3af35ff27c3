package group_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/group"
)

// TestRedacted prints a group, its batches and its identity in every way, and
// looks for the values of Secret records.
func TestRedacted(t *testing.T) {
	w := newWorld(t, "ada", "bob")
	w.create("ada")
	w.join("ada", "bob")
	d := w.devices["ada"]
	out := w.say("ada", "hello")
	secrets := map[string][]byte{}
	for key, op := range d.disk {
		if op.Class == group.Secret && len(op.Value) >= 16 {
			secrets[key] = op.Value
		}
	}
	if len(secrets) < 3 {
		t.Fatalf("%d secret records", len(secrets))
	}
	forms := []string{"%v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o"}
	shown := func(text string) string {
		for key, s := range secrets {
			for _, form := range forms {
				if strings.Contains(text, strings.Trim(strings.TrimPrefix(fmt.Sprintf(form, s), "[]byte"), `[]{}"`)) {
					return key
				}
			}
		}
		return ""
	}
	for _, verb := range append(forms, "%+v") {
		for _, v := range []any{d.g, out, out.Batch, d.id, struct{ G *group.Group }{d.g}} {
			if key := shown(fmt.Sprintf(verb, v)); key != "" {
				t.Errorf("%T with %s prints the record %s", v, verb, key)
			}
		}
	}
	for key, s := range secrets {
		if shown(fmt.Sprintf("%v", s)) == "" {
			t.Fatalf("the test does not see %s", key)
		}
	}
}
