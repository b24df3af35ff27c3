package group_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

func (d *device) blocks() (n int) {
	for k := range d.disk {
		if strings.Contains(k, "/b/") {
			n++
		}
	}
	return n
}

// Blocks of epochs that are gone go after BlockAge, or beyond MaxBlocks bytes,
// with all that is remembered of them; the group goes on, and so does whoever
// was silent all that time.
func TestBlocksExpire(t *testing.T) {
	for _, by := range []string{"age", "size"} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t, "ada", "ben", "cleo")
			if by == "size" {
				w.cfg.MaxBlocks = 1 << 16
			}
			w.create("ada")
			w.join("ada", "ben")
			w.join("ada", "cleo")
			const n = 300
			for i := range n {
				w.say([]string{"ada", "ben"}[i%2], fmt.Sprint("message ", i))
			}
			w.update("ada")
			w.run(time.Minute)
			ada := w.devices["ada"]
			if before := ada.blocks(); by == "age" && before < n {
				t.Fatalf("%d blocks", before)
			}
			if by == "age" {
				w.now = w.now.Add(w.cfg.BlockAge + time.Hour)
			}
			for range 3 {
				w.update("ben")
				w.run(2 * time.Minute)
			}
			for _, name := range w.names() {
				d := w.devices[name]
				held := d.g.Status().Blocks
				if limit := n / 2; d.blocks() > limit || held > limit || len(d.g.Log()) > limit {
					t.Errorf("%s keeps %d blocks, remembers %d", name, d.blocks(), held)
				}
				w.reload(name)
				if now := d.g.Status().Blocks; now > held || now != d.blocks() {
					t.Errorf("%s loaded anew remembers %d frames, not %d, and has %d blocks", name, now, held, d.blocks())
				}
			}
			w.say("cleo", "first word of the silent") // follows frames that are long gone
			w.sync()
			w.run(20 * time.Second)
			st := w.agree("ada", "ben", "cleo")
			if st.Parked != 0 || st.RetainedEpochs > 2 {
				t.Errorf("%d parked, %d epochs", st.Parked, st.RetainedEpochs)
			}
			if got := ada.texts(); len(got) != n+1 || got[n] != "cleo: first word of the silent" {
				t.Errorf("%d texts, the last %q", len(got), got[len(got)-1])
			}
			w.add("dan")
			w.join("ben", "dan")
			w.run(20 * time.Second)
			w.agree("ada", "ben", "cleo", "dan")
		})
	}
}

// Frames of old epochs that somebody makes up with the gossip secret alone are
// bounded as all others are, though each is a tip.
func TestForgedBlocksExpire(t *testing.T) {
	w := newWorld(t, "ada", "ben")
	w.cfg.MaxBlocks = 1 << 16
	w.create("ada")
	w.join("ada", "ben")
	w.update("ada")
	w.run(time.Minute)
	ada := w.devices["ada"]
	for i := range 300 {
		l := frame.Links{Leaf: uint32(i), Joined: someCID("joined"), Seq: 7, Prev: someCID(fmt.Sprint("prev ", i)), Parent: someCID("parent")}
		w.try(ada, group.Receive{Blocks: [][]byte{forgeHeader(t, ada, 0, l, 1024)}, From: "mal"})
		w.now = w.now.Add(time.Second)
	}
	w.queue = nil
	w.run(2 * time.Minute)
	if n := ada.blocks(); n > 80 {
		t.Errorf("ada keeps %d blocks", n)
	}
	w.say("ada", "on we go")
	w.agree("ada", "ben")
	if got := w.devices["ben"].texts(); len(got) != 1 {
		t.Errorf("ben read %q", got)
	}
}
