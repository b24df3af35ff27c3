package sim

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
)

// capture is a sealed block that somebody who hears everything has kept.
type capture struct {
	at   time.Time
	data []byte
}

// tap keeps a block, once. Everything that is ever opened was published by its
// author first, so nothing else need be listened to.
func (w *world) tap(block []byte) {
	c := frame.CIDOf(block).String()
	if _, ok := w.captured[c]; ok {
		return
	}
	w.captured[c] = capture{w.now, block}
	w.heard = append(w.heard, c)
}

// The Welcomes travel on streams in messages of package node; their bundles
// are the same as in the records of who gives them.
const (
	welcomeRecord = "d/welcome/"
	answerRecord  = "/answer/"
)

// tapWelcome keeps the bundle of a Welcome by the KeyPackageRef it is for.
func (w *world) tapWelcome(op group.Op) {
	switch i := strings.Index(op.Key, answerRecord); {
	case strings.HasPrefix(op.Key, welcomeRecord):
		w.welcomes[op.Key[len(welcomeRecord):]] = op.Value
	case i >= 0:
		w.welcomes[op.Key[i+len(answerRecord):]] = second(op.Value)
	}
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
