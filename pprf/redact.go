package pprf

import (
	"fmt"
	"io"
)

// What holds secrets prints without them, whatever the verb. fmt does not call
// the methods of unexported fields, so each type that has some says so itself.

// Format prints the node's id.
func (n Node) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, n.ID.String()) }

// Format prints the type alone.
func (Tree) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "pprf.Tree(redacted)") }

// Format prints which node goes and how many come.
func (p Puncture) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "pprf.Puncture(drop %s, keep %d)", p.Drop, len(p.Keep))
}
