// Package group is the engine: the state machine of one DMLS group on one
// device. Inputs go into [Group.Step] one at a time; what must be stored,
// sent and shown comes back as an [Output].
//
// The package is pure. It knows no clock, network, disk, goroutine or log;
// time and randomness are handed in with each Step, and the same inputs give
// the same outputs, byte for byte. It is not safe for concurrent use.
package group
