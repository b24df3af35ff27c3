package sim

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/dmlsd/dmls/group"
)

// disk holds the records of one device. The devices of a large group have nearly
// all their public records in common, and all their keys: these are on a shelf
// that the disks share.
type disk struct {
	shelf *shelf
	same  []uint64       // a bit for each record that is as the shelf has it, by number
	other map[int32]held // and those that are not
}

// shelf numbers keys, and has of each public record what some disk had first.
type shelf struct {
	numbers map[string]int32
	keys    []string
	first   []held
	long    map[string]string // values that are longer than a few, once each
}

// held is a value on a disk, or what is other than in the shelf's.
type held struct {
	bytes string
	class group.Class
	patch bool
}

func newShelf() *shelf { return &shelf{numbers: map[string]int32{}, long: map[string]string{}} }

func newDisk(s *shelf) *disk { return &disk{shelf: s, other: map[int32]held{}} }

func (d *disk) clone() *disk { return &disk{d.shelf, slices.Clone(d.same), maps.Clone(d.other)} }

// has reports whether a record is as the shelf has it.
func (d *disk) has(n int32) bool {
	return int(n/64) < len(d.same) && d.same[n/64]>>(n%64)&1 == 1
}

func (d *disk) put(op group.Op) {
	n, known := d.shelf.numbers[op.Key]
	if !known {
		n = d.shelf.add(op)
	}
	first := d.shelf.first[n]
	if op.Class == group.Public && first.class == group.Public {
		diff, ok := patch(first.bytes, op.Value)
		switch {
		case ok && diff == "":
			d.mark(n)
			return
		case ok:
			d.unmark(n)
			d.other[n] = held{diff, op.Class, true}
			return
		}
	}
	d.unmark(n)
	d.other[n] = held{d.shelf.text(op.Value), op.Class, false}
}

func (s *shelf) add(op group.Op) int32 {
	n := int32(len(s.keys))
	s.numbers[op.Key], s.keys, s.first = n, append(s.keys, op.Key), append(s.first, held{})
	if op.Class == group.Public {
		s.first[n] = held{s.text(op.Value), op.Class, false}
	}
	return n
}

// aFew is how long a value is that is not worth looking for.
const aFew = 1 << 10

// text is a value that does not change.
func (s *shelf) text(value []byte) string {
	if len(value) <= aFew {
		return string(value)
	}
	if t, ok := s.long[string(value)]; ok {
		return t
	}
	t := string(value)
	s.long[t] = t
	return t
}

func (d *disk) mark(n int32) {
	if missing := int(n/64) + 1 - len(d.same); missing > 0 {
		d.same = append(d.same, make([]uint64, missing)...)
	}
	d.same[n/64] |= 1 << (n % 64)
	delete(d.other, n)
}

func (d *disk) unmark(n int32) {
	if d.has(n) {
		d.same[n/64] &^= 1 << (n % 64)
	}
}

func (d *disk) drop(key string) {
	if n, ok := d.shelf.numbers[key]; ok {
		d.unmark(n)
		delete(d.other, n)
	}
}

// get returns a value and its class.
func (d *disk) get(key string) (string, group.Class, bool) {
	n, ok := d.shelf.numbers[key]
	if !ok {
		return "", 0, false
	}
	return d.at(n)
}

func (d *disk) at(n int32) (string, group.Class, bool) {
	if d.has(n) {
		return d.shelf.first[n].bytes, group.Public, true
	}
	h, ok := d.other[n]
	return d.shelf.whole(n, h), h.class, ok
}

// whole is the value that h stands for.
func (s *shelf) whole(n int32, h held) string {
	if h.patch {
		return patched(s.first[n].bytes, h.bytes)
	}
	return h.bytes
}

// all lists the records as they are now, in the order of their keys.
func (d *disk) all(pass func(key string) bool) iter.Seq[group.Op] {
	type record struct {
		key string
		n   int32
		held
	}
	var list []record
	for n, key := range d.shelf.keys {
		h, ok := d.other[int32(n)]
		if d.has(int32(n)) {
			h, ok = d.shelf.first[n], true
		}
		if ok && pass(key) {
			list = append(list, record{key, int32(n), h})
		}
	}
	slices.SortFunc(list, func(a, b record) int { return strings.Compare(a.key, b.key) })
	return func(yield func(group.Op) bool) {
		for _, r := range list {
			if !yield(group.Op{Key: r.key, Value: []byte(d.shelf.whole(r.n, r.held)), Class: r.class}) {
				return
			}
		}
	}
}

// values lists keys and values in no order that means anything.
func (d *disk) values(yield func(key, value string) bool) {
	for n, key := range d.shelf.keys {
		if value, _, ok := d.at(int32(n)); ok && !yield(key, value) {
			return
		}
	}
}

// patch says what stands in b instead of a, if they are of one length and differ
// little: each byte that differs, behind how many are the same before it.
func patch(a string, b []byte) (string, bool) {
	if len(a) != len(b) {
		return "", false
	}
	if a == string(b) {
		return "", true
	}
	var out []byte
	same := 0
	for i := range b {
		if a[i] == b[i] {
			same++
			continue
		}
		out = append(binary.AppendUvarint(out, uint64(same)), b[i])
		if same = 0; len(out) > len(b)/4 {
			return "", false
		}
	}
	return string(out), true
}

func patched(a, patch string) string {
	b := []byte(a)
	for i, rest := 0, []byte(patch); len(rest) > 0; i++ {
		same, n := binary.Uvarint(rest)
		i += int(same)
		b[i], rest = rest[n], rest[n+1:]
	}
	return string(b)
}
