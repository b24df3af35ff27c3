// Package bend lets the simulator's adversaries and the tests of this module
// bend a commit between encrypting its path and signing it, which one call does.
// Nobody outside the module can make anything but the zero value.
package bend

// Path is how to bend an update path of type P. The zero value leaves it.
type Path[P any] struct {
	bend func(path *P, sealed [][]uint32)
}

// With makes a Path of f. sealed names, for each node of the path, the nodes of
// the tree that its ciphertexts are for, in their order (2i is leaf i).
func With[P any](f func(path *P, sealed [][]uint32)) Path[P] { return Path[P]{f} }

// Apply bends a path.
func (p Path[P]) Apply(path *P, sealed func() [][]uint32) {
	if p.bend != nil {
		p.bend(path, sealed())
	}
}
