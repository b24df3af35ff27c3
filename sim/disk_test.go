package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dmlsd/dmls/group"
)

// Disks that share a shelf hold what each of them was given, as if they did not.
func TestDisk(t *testing.T) {
	t.Parallel()
	chance := rand.New(stream(1, "disks"))
	s := newShelf()
	disks := []*disk{newDisk(s), newDisk(s), newDisk(s)}
	want := []map[string]group.Op{{}, {}, {}}
	same, patched := 0, 0
	for range 5000 {
		i, key := chance.IntN(len(disks)), fmt.Sprintf("k%d", chance.IntN(20))
		op := group.Op{Key: key, Value: make([]byte, []int{0, 300, 300, 2000}[chance.IntN(4)]), Class: max(group.Public, group.Class(chance.IntN(4)))}
		for range chance.IntN(4) {
			if n := len(op.Value); n > 0 {
				op.Value[chance.IntN(n)] = byte(chance.IntN(3))
			}
		}
		if chance.IntN(8) == 0 {
			disks[i].drop(key)
			delete(want[i], key)
			continue
		}
		disks[i].put(op)
		want[i][key] = op
		n := s.numbers[key]
		if disks[i].has(n) {
			same++
		} else if disks[i].other[n].patch {
			patched++
		}
		old := disks[i].clone()
		disks[i] = old // a copy is as good
	}
	if same < 50 || patched < 50 {
		t.Errorf("%d records were as on the shelf, %d nearly", same, patched)
	}
	for i, d := range disks {
		last := ""
		for op := range d.all(everything) {
			w, ok := want[i][op.Key]
			if !ok || string(w.Value) != string(op.Value) || w.Class != op.Class || op.Key <= last {
				t.Fatalf("disk %d has %s of class %d as %x, want %x of class %d (%v)", i, op.Key, op.Class, op.Value, w.Value, w.Class, ok)
			}
			if v, class, ok := d.get(op.Key); !ok || v != string(op.Value) || class != op.Class {
				t.Fatalf("disk %d gives %x for %s", i, v, op.Key)
			}
			last = op.Key
			delete(want[i], op.Key)
		}
		if len(want[i]) > 0 {
			t.Errorf("disk %d lacks %d records", i, len(want[i]))
		}
	}
}
