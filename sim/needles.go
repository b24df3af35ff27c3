package sim

import (
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strings"

	"github.com/dmlsd/dmls/group"
)

// needles are the values of secret records, and of those that hold texts, that a
// device erased or overwrote. Whoever copies the device later must not find one
// again: neither on its disk, in records of any class, nor in the memory of its
// engine. What was written under two keys is no needle before it is gone from
// both.
type needles struct {
	now   map[string]sum // of what the disk holds, by key
	lives map[sum]int    // under how many keys
	gone  map[sum]string // and of what it does not any more: its last key
	sizes map[int]bool   // of those
	short map[string]string
	again []string // keys of secrets that were written once more
}

// sum is a hash of a value: with 64 bits two of a run are hardly ever the same.
type sum uint64

var sumSeed = maphash.MakeSeed()

func sumOf(value string) sum { return sum(maphash.String(sumSeed, value)) }

// leastNeedle is how long a value is that does not come up again by chance, and
// keyLen that of a key which is also looked for within other values.
const (
	leastNeedle = 16
	keyLen      = 32
)

// watch begins with what is on a disk.
func watch(d *disk) *needles {
	n := &needles{now: map[string]sum{}, lives: map[sum]int{}, gone: map[sum]string{}, sizes: map[int]bool{}, short: map[string]string{}}
	for i, h := range d.other {
		if op := (group.Op{Key: d.shelf.keys[i], Value: []byte(d.shelf.whole(i, h)), Class: h.class}); sought(op) {
			n.write(op)
		}
	}
	return n
}

// sought tells what is worth looking for. Event logs are not erased here.
func sought(op group.Op) bool {
	return op.Class != group.Public && len(op.Value) >= leastNeedle && !strings.Contains(op.Key, "/v/")
}

// see takes note of an operation on the disk, which has the value before it.
func (n *needles) see(d *disk, op group.Op) {
	was, had := n.now[op.Key]
	wants := op.Value != nil && sought(op)
	if wants && had && was == sumOf(string(op.Value)) {
		return
	}
	if had {
		delete(n.now, op.Key)
		if n.lives[was]--; n.lives[was] == 0 {
			delete(n.lives, was)
			n.erased(d, op.Key, was)
		}
	}
	if wants {
		n.write(op)
	}
}

func (n *needles) erased(d *disk, key string, was sum) {
	value, class, ok := d.get(key)
	if !ok {
		return
	}
	n.gone[was], n.sizes[len(value)] = key, true
	if len(value) == keyLen && class == group.Secret {
		n.short[value] = key
	}
}

func (n *needles) write(op group.Op) {
	s := sumOf(string(op.Value))
	if _, was := n.gone[s]; was {
		if op.Class == group.Secret {
			n.again = append(n.again, op.Key)
		}
		delete(n.gone, s) // a text is sent again under another key
		delete(n.short, string(op.Value))
	}
	n.now[op.Key] = s
	n.lives[s]++
}

// find names the records that hold what was erased. Sealed blocks hold nothing
// that is not known to everybody.
func (n *needles) find(where string, records iter.Seq2[string, string]) []string {
	var out []string
	starts := n.starts()
	for key, value := range records {
		if strings.Contains(key, "/b/") {
			continue
		}
		if n.sizes[len(value)] {
			if was, ok := n.gone[sumOf(value)]; ok {
				out = append(out, fmt.Sprintf("%s: %s holds what was erased as %s", where, key, was))
				continue
			}
		}
		if was := n.within(value, starts); was != "" {
			out = append(out, fmt.Sprintf("%s: in %s is the key that was erased as %s", where, key, was))
		}
	}
	slices.Sort(out)
	return out
}

// starts has a bit for the first two bytes of each key.
func (n *needles) starts() *[1 << 10]uint64 {
	starts := &[1 << 10]uint64{}
	for k := range n.short {
		at := uint16(k[0])<<8 | uint16(k[1])
		starts[at/64] |= 1 << (at % 64)
	}
	return starts
}

// within looks for erased keys in a value.
func (n *needles) within(value string, starts *[1 << 10]uint64) string {
	if len(n.short) == 0 {
		return ""
	}
	for i := 0; i+keyLen <= len(value); i++ {
		at := uint16(value[i])<<8 | uint16(value[i+1])
		if starts[at/64]>>(at%64)&1 == 1 {
			if was, ok := n.short[value[i:i+keyLen]]; ok {
				return was
			}
		}
	}
	return ""
}

// watchErasures begins to watch the disks of a group that is formed. In a large
// group there are too many.
func (r *run) watchErasures() {
	if r.meter != nil || len(r.devices) > mostReloaded {
		return
	}
	for _, d := range r.devices {
		d.store.needles = watch(d.store.disk)
	}
}

// relics names what an honest device erased and a thief finds all the same, on
// its disk and in memory.
func (d *device) relics() []string {
	n := d.store.needles
	if n == nil || d.attack != nil {
		return nil
	}
	var out []string
	for _, key := range n.again {
		out = append(out, fmt.Sprintf("%s is written once more after it was erased", key))
	}
	out = append(out, n.find("disk", d.store.disk.values)...)
	out = append(out, n.find("disk", valuesOf(sortedOps(d.store.kept)))...)
	if d.driver != nil {
		if memory, err := d.driver.Records(d.world.gid); err == nil {
			out = append(out, n.find("memory", valuesOf(memory))...)
		}
	}
	return out
}

func valuesOf(ops []group.Op) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for _, op := range ops {
			if !yield(op.Key, string(op.Value)) {
				return
			}
		}
	}
}
