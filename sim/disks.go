package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/dmlsd/dmls/group"
)

// reloads is how often in a run the disk of some device is loaded anew while the
// device goes on, beside once for each at the end.
const reloads = 2

// planReloads draws when. Nobody notices.
func (r *run) planReloads() {
	if r.looks < 0 || len(r.devices) > mostReloaded {
		return
	}
	r.reader = rand.New(stream(r.Seed, "reloads"))
	for range reloads {
		if long := r.ends.Sub(r.now); long > 0 {
			r.nextReload = append(r.nextReload, r.now.Add(time.Duration(r.reader.Int64N(int64(long)))))
		}
	}
	slices.SortFunc(r.nextReload, time.Time.Compare)
}

// reload compares the devices whose turn comes before something happens with
// their disks. It is no event itself.
func (w *world) reload(until time.Time) {
	for len(w.nextReload) > 0 && !w.nextReload[0].After(until) {
		w.nextReload = w.nextReload[1:]
		who := w.members()
		d := who[w.reader.IntN(len(who))]
		if d.driver == nil || d.attack != nil || d.disk != "" {
			continue
		}
		log, err := d.logged()
		if err != nil {
			continue // it is not in the group any more
		}
		if differs := d.reloaded(log); differs != "" {
			d.disk = fmt.Sprintf("at %.3f s: %s", w.now.Sub(epoch0).Seconds(), differs)
		}
	}
}

// reloaded loads the group from the disk once more and says how what comes out
// differs from what the device has in memory. What is parked is in memory only;
// group.Group.Lasting says what else a restart may lose.
func (d *device) reloaded(log []group.LogEntry) string {
	again, err := d.loaded()
	if err != nil {
		return err.Error()
	}
	was, errA := d.driver.Status(d.world.gid)
	is, errB := again.Status(d.world.gid)
	if err := cmp.Or(errA, errB); err != nil {
		return err.Error()
	}
	was.Parked, is.Parked = 0, 0
	if a, b, ok := same(was, is); !ok {
		return fmt.Sprintf("status %s, was %s", b, a)
	}
	entries, err := again.Log(d.world.gid)
	if err != nil || len(entries) != len(log) {
		return fmt.Sprintf("a log of %d frames (%v), was %d", len(entries), err, len(log))
	}
	for i := range log {
		if !sameEntry(log[i], entries[i]) {
			return fmt.Sprintf("frame %+v, was %+v", entries[i], log[i])
		}
	}
	ra, errA := d.driver.Records(d.world.gid)
	rb, errB := again.Records(d.world.gid)
	if errA != nil || errB != nil || len(ra) != len(rb) {
		return fmt.Sprintf("%d secrets and tree nodes (%v), was %d (%v)", len(rb), errB, len(ra), errA)
	}
	for i := range ra {
		if ra[i].Key != rb[i].Key || !bytes.Equal(ra[i].Value, rb[i].Value) {
			return fmt.Sprintf("record %s, was another %s", rb[i].Key, ra[i].Key)
		}
	}
	va, errA := d.driver.View(d.world.gid)
	vb, errB := again.View(d.world.gid)
	if a, b, ok := same(va, vb); errA != nil || errB != nil || !ok {
		return fmt.Sprintf("view %s, was %s", b, a)
	}
	la, errA := d.driver.Lasting(d.world.gid)
	lb, errB := again.Lasting(d.world.gid)
	if err := cmp.Or(errA, errB); err != nil {
		return err.Error()
	}
	la, lb = slices.DeleteFunc(la, d.world.unlike), slices.DeleteFunc(lb, d.world.unlike)
	return firstOther(la, lb)
}

// unlike tells what need not be the same after a restart: refused blocks, which are
// forgotten, are missed anew; and where blocks have expired, those that are held
// have other holes and ends.
func (w *world) unlike(line string) bool {
	kind, _, _ := strings.Cut(line, " ")
	switch kind {
	case "holes":
		return len(w.Adversaries) > 0 || w.Engine.BlockAge > 0
	case "tips", "chain", "unread":
		return w.Engine.BlockAge > 0
	}
	return false
}

// firstOther tells the first line that each of two sorted lists has alone.
func firstOther(was, is []string) string {
	if slices.Equal(was, is) {
		return ""
	}
	gone, more := without(was, is), without(is, was)
	first := func(lines []string) string { return slices.Concat(lines, []string{"nothing"})[0] }
	return fmt.Sprintf("%d things otherwise: %q, was %q", max(len(gone), len(more)), first(more), first(gone))
}

func without(lines, others []string) []string {
	has := map[string]bool{}
	for _, l := range others {
		has[l] = true
	}
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return has[l] })
}

// same compares two values as they print, and prints them only if they are not
// equal anyway.
func same(a, b any) (x, y string, ok bool) {
	if reflect.DeepEqual(a, b) {
		return "", "", true
	}
	x, y = fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b)
	return x, y, x == y
}
