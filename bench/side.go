package main

import (
	"time"

	"github.com/dmlsd/dmls/internal/synth"
	"github.com/dmlsd/dmls/mls"
)

// A side is one implementation in a group in which it has two members: the
// first, at leaf 0, and the far one, who has only the root in common with it.
type side interface {
	commit() (message []byte, err error) // the first member commits and applies it
	process(message []byte) error        // the far one follows
	protect(text []byte) ([]byte, error) // by the first member
	open(message []byte) error           // by the far one
	join() error                         // as the first member did, and forget it
	state() (int, error)                 // bytes of the stored state of a member
	retained() (int, error)              // bytes to keep one more epoch, after its first commit
}

// lifetime is what both sides give their KeyPackages.
const lifetime = 24 * time.Hour

// group is a synthetic group for the owners of three KeyPackages: leaf 0, its
// neighbour, and the first leaf of the right half.
func group(n int, packages [][]byte) (*synth.Group, error) {
	var ps []*mls.KeyPackage
	for _, b := range packages {
		p, err := mls.ParseKeyPackage(b)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	return synth.New(n, ps)
}
