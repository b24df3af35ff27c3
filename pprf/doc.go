// Package pprf is the puncturable pseudorandom function of
// draft-kohbrok-mls-dmls: a GGM tree that is derived downwards like the secret
// tree of RFC 9420, section 9, and that gives each output once.
//
// A [Tree] starts as one secret, the root. [Tree.Eval] finds the one held node
// that is a prefix of the input, walks down to the input's leaf and returns
// the output together with a [Puncture]: the node to drop and the siblings of
// the path to keep. Evaluating changes nothing; [Tree.Apply] carries the
// puncture out and cannot be undone. Afterwards the same input fails with
// [ErrPunctured] and every other input still gives what it would have given.
//
// The held nodes lie in numbered deltas: delta 0 is the root, each puncture
// adds one delta (its Keep) and takes one node out of an older one (its Drop).
// A delta is the record of a store: a puncture writes one new record and
// rewrites one old one, whatever the tree's size.
//
// The package does not know MLS: labels and hash come in through [KDF]. Inputs
// are bit strings of fixed length; the most significant bit of byte 0 is the
// first step down, 0 is left.
//
// It is pure and not safe for concurrent use. testdata holds vectors for other
// implementers.
package pprf
