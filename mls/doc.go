// Package mls implements Messaging Layer Security (RFC 9420) and the DMLS key
// schedule (draft-kohbrok-mls-dmls) as values: an epoch never changes under
// its reader and may have many children.
//
// The files are chapters of the RFC: codec.go (2.1), suite.go and crypto.go
// (5), hpke.go (RFC 9180), credential.go (5.3), treemath.go (Appendix C),
// tree.go and treepath.go (7), treehash.go (7.8, 7.9), keypackage.go (10).
//
// The package is pure: it has no clock, network, disk, log or goroutine.
// Randomness comes only from a reader handed in, so equal input gives equal
// output. It is not a group engine: which of several commits is followed, what
// is kept and when it is erased is decided above.
package mls
