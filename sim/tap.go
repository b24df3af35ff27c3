package sim

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// capture is a sealed block that somebody who hears everything has kept.
type capture struct {
	at     time.Time
	data   []byte
	by     *device // who published it
	forged bool    // by an adversary
}

// tap keeps a block, once. Everything that is ever opened was published by its
// author first, so nothing else need be listened to.
func (w *world) tap(block []byte, by *device, forged bool) {
	c := frame.CIDOf(block).String()
	if _, ok := w.captured[c]; ok {
		return
	}
	w.captured[c] = capture{w.now, block, by, forged}
	if !forged {
		w.last = w.now
	}
	w.heard = append(w.heard, c)
	for _, f := range w.ears {
		if !forged {
			f()
		}
	}
}

// The Welcomes travel on streams in messages of package node; their bundles
// are the same as in the records of who gives them.
const welcomeRecord = "d/welcome/"

// witness sees what a device has written to its disk:
// bundles of Welcomes, by the KeyPackageRef they are for; what each epoch's sender
// data is sealed with; and what the device found commits to do.
func (d *device) witness(op group.Op) {
	w := d.world
	if rest, ok := strings.CutPrefix(op.Key, welcomeRecord); ok {
		w.welcomes[rest] = bytes.Clone(op.Value)
		return
	}
	_, rest, ok := strings.Cut(strings.TrimPrefix(op.Key, "g/"), "/")
	if !ok {
		return
	}
	switch kind, name, _ := strings.Cut(rest, "/"); kind {
	case "answer":
		w.welcomes[name] = bytes.Clone(second(op.Value))
	case "c":
		d.commits[name], _, _ = d.store.disk.get(op.Key)
	case "e":
		if at, isSecrets := strings.CutSuffix(name, "/sec"); isSecrets && w.senderData[at] == nil {
			w.senderData[at] = bytes.Clone(first(op.Value))
		}
	}
}

// first is the first secret of an epoch's record: a vector as RFC 9420, section
// 2.1.2, encodes it, of less than 64 bytes.
func first(b []byte) []byte {
	if len(b) == 0 || b[0] >= 64 || len(b) <= int(b[0]) {
		return nil
	}
	return b[1 : 1+int(b[0])]
}

// second is the second of the byte strings of a record, each behind a length
// of four bytes.
func second(b []byte) []byte {
	for range 2 {
		if len(b) < 4 {
			return nil
		}
		n := binary.BigEndian.Uint32(b)
		if uint32(len(b)-4) < n {
			return nil
		}
		if b = b[4:]; uint32(len(b)) == n {
			return b
		}
		b = b[n:]
	}
	return nil
}
