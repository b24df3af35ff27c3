// Package synth makes large MLS groups for measurements: a ratchet tree in
// which every parent node is filled, with valid parent hashes and signatures,
// and a Welcome by which a few real members join it. It works on the wire
// format of RFC 9420 alone, so that other implementations can be given the same
// group. Suite 1 only.
//
// Nothing here is secret and nothing is for production: all keys follow from a
// seed.
package synth
