package pprf

import (
	"bytes"
	"slices"
	"sort"
)

// shelf holds nodes from left to right, packed: what a [Node] is for the caller
// would take twice the memory, and a tree is kept for every retained epoch.
type shelf struct {
	path, size int // bytes of a prefix and of a secret
	depths     []uint16
	cells      []byte // of each node the prefix, then the secret
}

// shelve copies nodes, which are sorted, out of a tree of so many bits.
func shelve(nodes []Node, bits, size int) shelf {
	s := shelf{path: bits / 8, size: size, depths: make([]uint16, len(nodes))}
	s.cells = make([]byte, 0, len(nodes)*s.stride())
	for i := range nodes {
		s.depths[i] = nodes[i].ID.Depth
		s.cells = append(append(s.cells, nodes[i].ID.Prefix[:s.path]...), nodes[i].Secret...)
	}
	return s
}

func (s *shelf) stride() int { return s.path + s.size }

func (s *shelf) len() int { return len(s.depths) }

func (s *shelf) prefix(i int) []byte { return s.cells[i*s.stride():][:s.path:s.path] }

// secret is the shelf's own.
func (s *shelf) secret(i int) []byte { return s.cells[i*s.stride()+s.path:][:s.size:s.size] }

func (s *shelf) id(i int) (id NodeID) {
	id.Depth = s.depths[i]
	copy(id.Prefix[:], s.prefix(i))
	return id
}

// cover finds the node above input.
func (s *shelf) cover(input []byte) (i int, ok bool) {
	after := sort.Search(s.len(), func(i int) bool { return bytes.Compare(s.prefix(i), input) > 0 })
	if after == 0 {
		return 0, false
	}
	id := s.id(after - 1)
	return after - 1, id.covers(input)
}

func (s *shelf) search(want *NodeID) (i int, held bool) {
	i = sort.Search(s.len(), func(i int) bool {
		id := s.id(i)
		return id.compare(want) >= 0
	})
	return i, i < s.len() && s.id(i) == *want
}

// nodes copies all, their secrets into one array.
func (s *shelf) nodes() []Node {
	out := make([]Node, s.len())
	secrets := make([]byte, s.len()*s.size)
	for i := range out {
		secret := secrets[i*s.size : (i+1)*s.size : (i+1)*s.size]
		copy(secret, s.secret(i))
		out[i] = Node{ID: s.id(i), Secret: secret}
	}
	return out
}

// drop takes a node out. What moves up leaves no copy behind.
func (s *shelf) drop(i int) {
	clear(s.secret(i))
	s.depths = slices.Delete(s.depths, i, i+1)
	s.cells = slices.Delete(s.cells, i*s.stride(), (i+1)*s.stride())
}

func (s *shelf) wipe() { clear(s.cells) }
