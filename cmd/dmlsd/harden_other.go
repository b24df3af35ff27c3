//go:build !linux

package main

// noCoreDumps does nothing here; SECURITY.md says so.
func noCoreDumps() error { return nil }
