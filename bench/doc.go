// Command bench lets dmls and github.com/thomas-vilte/mls-go do the same work
// in one process and prints medians side by side, a second table with sizes,
// and what the primitives alone would take (internal/floor).
//
//	go run . [--n 10,100,1000] [--full] [--work commit,join] [--json]
//	go run ./chart results.json > chart.svg
//
// Both sides get a group of the same size and shape: cipher suite 1, every
// parent filled, no unmerged leaves (internal/synth). Two members join each by
// a Welcome with the tree in it, made from KeyPackages of their own library, and
// then renew their paths, so that they know all private keys on them. Every
// commit is an empty one with a full path, framed as PublicMessage under the key
// schedule of RFC 9420; creating includes applying it and serialising it,
// processing begins with the bytes.
//
// The sides take turns sample by sample, and the garbage of one is collected
// before the clock of the other starts. A module of its own, so that dmls does
// not depend on its peers.
package main
