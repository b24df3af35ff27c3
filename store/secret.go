package store

import (
	"fmt"
	"log/slog"
)

// secret is a key. It prints as its type, never as its bytes, and is wiped by
// its owner; the runtime may have copied it before (SECURITY.md).
type secret [32]byte

const redacted = "store.secret(redacted)"

func (secret) String() string               { return redacted }
func (secret) GoString() string             { return redacted }
func (secret) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (k *secret) wipe() { clear(k[:]) }

// fmt does not call the methods of unexported fields, so what holds keys has a
// method of its own.

func (generation) Format(f fmt.State, _ rune) { fmt.Fprint(f, "store.generation(redacted)") }
func (node) Format(f fmt.State, _ rune)       { fmt.Fprint(f, "store.node(redacted)") }
func (change) Format(f fmt.State, _ rune)     { fmt.Fprint(f, "store.change(redacted)") }
func (sealer) Format(f fmt.State, _ rune)     { fmt.Fprint(f, "store.sealer(redacted)") }
func (slot) Format(f fmt.State, _ rune)       { fmt.Fprint(f, "store.slot(redacted)") }
