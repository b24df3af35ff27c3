package group

import (
	"fmt"
	"io"
)

// What holds secrets prints without them, whatever the verb.

// Format prints the group's id and where this device stands.
func (g *Group) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "group.Group(%s, %s)", g.ID(), g.state)
}

// Format prints the key and the size of the value: whatever its class is, it is
// not for a log.
func (o Op) Format(f fmt.State, _ rune) {
	if o.Value == nil {
		_, _ = fmt.Fprintf(f, "group.Op(%s, deleted)", o.Key)
		return
	}
	_, _ = fmt.Fprintf(f, "group.Op(%s, %d bytes)", o.Key, len(o.Value))
}

// Format prints the name.
func (id Identity) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "group.Identity("+id.Name+")")
}

func (epoch) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "group.epoch(redacted)") }
