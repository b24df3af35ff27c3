package group_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// heap is what is in use after a collection.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// What an engine holds in memory of what is final is a few hundred bytes a
// message; block and text are on the disk alone.
func TestMemoryOfHistory(t *testing.T) {
	w := six(t, "ada", "ben")
	talk := func(n int) {
		for i := range n {
			w.say([]string{"ada", "ben"}[i%2], fmt.Sprintf("message %d of a long history", i))
			if i%100 == 99 {
				w.update("ada")
				w.run(10 * time.Second)
			}
			for _, d := range w.devices { // the disk is not what is measured
				d.events = nil
				clear(d.disk)
			}
		}
		w.run(30 * time.Second)
		for _, d := range w.devices {
			d.events = nil
			clear(d.disk)
			d.last.Batch, d.last.Publish, d.last.Events = nil, nil, nil
		}
	}
	talk(300)
	before := heap()
	const n = 2000
	talk(n)
	per := (heap() - before) / n / len(w.devices)
	runtime.KeepAlive(w)
	t.Logf("%d bytes a message and device", per)
	if per > 1500 {
		t.Errorf("%d bytes a message and device", per)
	}
}
