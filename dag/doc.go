// Package dag holds the commit DAG of one group: which commits exist, who
// stands where, which head is followed, what is final and what may be erased.
// Every answer is a function of the set of frames that were added, never of
// the order in which they came.
//
// The package implements fork choice (design, section 5.4) and the two rounds
// of finality (5.6). It knows no cryptography and judges no validity: callers
// add only frames that they have opened. Identifiers are opaque strings,
// compared byte by byte. Vertices carry deltas of the membership, never lists.
//
// An epoch has the id of the commit that created it, so "vertex", "commit" and
// "epoch" name one thing here. "Below" means later: a child lies below its
// parent.
//
// A Graph is not safe for concurrent use.
package dag
