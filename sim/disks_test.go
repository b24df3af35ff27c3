package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// Disks that fail to delete a kind of record: the device that is loaded from one
// is another.
func TestForgetfulDisks(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"word/", "offer/", "answer/", "former", "entered", "seeds/", "gap/", "u/"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 12; seed++ {
				s := classes[8].Scenario(seed)
				s.Events = nil
				r := finished(t, s, func(r *run) {
					for _, d := range r.devices {
						d.store.stuck = func(key string) bool { return strings.HasPrefix(key, group.Prefix(r.gid)+kind) }
					}
				})
				for _, w := range r.evidence().witnesses {
					if w.disk != "" {
						t.Logf("seed %d: %s loaded anew has %s", seed, w.name, w.disk)
						return
					}
				}
			}
			t.Error("nobody noticed")
		})
	}
}

// A disk that is wrong for a while and right at the end is found out.
func TestDiskAmidTheRun(t *testing.T) {
	t.Parallel()
	s := Default(2)
	s.Events = nil
	r := finished(t, s, func(r *run) {
		at := func(after time.Duration, do func(d *device, key string)) {
			r.after(after, func() {
				for _, d := range r.devices {
					do(d, group.Prefix(r.gid)+"entered")
				}
			})
		}
		at(time.Second, func(d *device, key string) {
			d.store.disk.put(group.Op{Key: key, Value: []byte{1}, Class: group.Public})
		})
		at(90*time.Second, func(d *device, key string) { d.store.disk.drop(key) })
	})
	for _, w := range r.evidence().witnesses {
		if strings.HasPrefix(w.disk, "at ") {
			return
		}
	}
	t.Error("nobody noticed")
}
