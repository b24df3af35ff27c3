package group_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/dmlsd/dmls/group"
)

// What a frame follows does not depend on the order in which frames came: a
// device that fetched what lies between late finds what others find.
func TestFollows(t *testing.T) {
	after := map[string][]string{"b": {"a"}, "c": {"b"}, "d": {"c", "x"}}
	for _, order := range []string{"a b c d x", "d c b a x", "c a b x d", "x a d c b"} {
		if names := strings.Fields(order); !group.Follows(names, after, "d", "a") || group.Follows(names, after, "d", "e") ||
			group.Follows(names, after, "a", "d") || group.Follows(names, after, "x", "a") {
			t.Errorf("settled as %s: what d follows is not what it follows", order)
		}
	}
}

// Lasting tells nothing that was said, and no key.
func TestLastingIsNoSecret(t *testing.T) {
	w := newWorld(t, "ada", "ben")
	w.create("ada")
	w.join("ada", "ben")
	ada := w.devices["ada"]
	w.step(ada, group.Send{Text: []byte("a secret of ada")})
	all := strings.Join(ada.g.Lasting(), "\n")
	if !slices.ContainsFunc(ada.g.Lasting(), func(l string) bool { return strings.HasPrefix(l, "unsent ") }) {
		t.Error("the outbox is not told")
	}
	for op := range records(ada) {
		if op.Class != group.Public && len(op.Value) >= 16 && strings.Contains(all, string(op.Value)) {
			t.Errorf("record %s is told", op.Key)
		}
	}
	if strings.Contains(all, "a secret of ada") {
		t.Error("what was said is told")
	}
}

// A frame that expires and comes again, over and over, is not remembered once for
// each time.
func TestOrderIsBounded(t *testing.T) {
	if n := group.Order(1000); n > 100 {
		t.Errorf("%d entries for one frame", n)
	}
}
