package mls

import (
	"fmt"
	"io"
)

// What holds secrets prints without them, whatever the verb. fmt does not call
// the methods of unexported fields, so each type that has some says so itself.

func redact(f fmt.State, name string) { _, _ = io.WriteString(f, "mls."+name+"(redacted)") }

// Format prints the type alone, as for all types below.
func (Epoch) Format(f fmt.State, _ rune)            { redact(f, "Epoch") }
func (KeyPackageBundle) Format(f fmt.State, _ rune) { redact(f, "KeyPackageBundle") }
func (StagedCommit) Format(f fmt.State, _ rune)     { redact(f, "StagedCommit") }
func (Delta) Format(f fmt.State, _ rune)            { redact(f, "Delta") }
func (secrets) Format(f fmt.State, _ rune)          { redact(f, "secrets") }
func (secretTree) Format(f fmt.State, _ rune)       { redact(f, "secretTree") }
func (ratchet) Format(f fmt.State, _ rune)          { redact(f, "ratchet") }
func (ratchetKey) Format(f fmt.State, _ rune)       { redact(f, "ratchetKey") }
func (groupSecrets) Format(f fmt.State, _ rune)     { redact(f, "groupSecrets") }
func (freshPath) Format(f fmt.State, _ rune)        { redact(f, "freshPath") }
func (next) Format(f fmt.State, _ rune)             { redact(f, "next") }
func (change) Format(f fmt.State, _ rune)           { redact(f, "change") }
func (ed25519Signer) Format(f fmt.State, _ rune)    { redact(f, "ed25519Signer") }
func (ed448Signer) Format(f fmt.State, _ rune)      { redact(f, "ed448Signer") }
func (ecdsaSigner) Format(f fmt.State, _ rune)      { redact(f, "ecdsaSigner") }

// Format prints key and size of a record.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "mls.Record(%s, %d bytes)", r.Key, len(r.Value))
}
