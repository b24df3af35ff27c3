package nodetest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/dmlsd/dmls/group"
)

// Crashing is a store whose device can be made to die.
type Crashing interface {
	Store
	// Crash makes the device die at the n-th point of the next Commit, from 1 on,
	// if that has so many.
	Crash(n int)
	// Restart ends the store as the death of its device does, and returns what is
	// on the disk.
	Restart() Crashing
}

// TestCrash checks what a store owes when its device dies within a Commit, at
// every point: the call fails and so does every later one; after the restart
// the batch is there as a whole or not at all, all acknowledged ones are, and
// work goes on. Both outcomes must occur.
func TestCrash(t *testing.T, open func(t *testing.T) Crashing) {
	long := bytes.Repeat([]byte("long "), 100<<10) // two of them need the journal of the real store
	first := []group.Op{put("d/1", "old", group.Secret), put("d/2", "old", group.Public), put("d/3", "old", group.History)}
	for _, c := range []struct {
		name  string
		batch []group.Op
	}{
		{"new records", []group.Op{put("g/1", "x", group.Secret), put("g/2", "y", group.Public)}},
		{"overwritten and deleted", []group.Op{put("d/1", "new", group.Secret), {Key: "d/2"}, {Key: "d/3"}}},
		{"one op", []group.Op{{Key: "d/1"}}},
		{"large", []group.Op{put("d/1", string(long), group.Secret), put("d/2", string(long), group.Public), {Key: "d/3"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lost, kept := 0, 0
			for n := 1; ; n++ {
				s := open(t)
				commit(t, s, first...)
				s.Crash(n)
				err := s.Commit(t.Context(), c.batch)
				if err == nil { // no such point any more
					s = s.Restart()
					if err := holdsAfter(s, first, c.batch); err != nil {
						t.Fatalf("after a death behind the last point: %v", err)
					}
					if n < 3 || lost == 0 || kept == 0 {
						t.Fatalf("%d points; the batch was lost at %d of them and kept at %d", n-1, lost, kept)
					}
					t.Logf("lost at %d points, kept at %d", lost, kept)
					return
				}
				if err := s.Commit(t.Context(), first); err == nil {
					t.Fatalf("point %d: a dead device goes on writing", n)
				}
				if _, err := s.Get(t.Context(), "d/1"); err == nil {
					t.Fatalf("point %d: a dead device goes on reading", n)
				}
				s = s.Restart()
				before, after := holdsAfter(s, first, nil), holdsAfter(s, first, c.batch)
				switch {
				case before == nil:
					lost++
				case after == nil:
					kept++
				default:
					t.Fatalf("point %d: neither before (%v) nor after (%v)", n, before, after)
				}
				if kept > 0 && before == nil {
					t.Fatalf("point %d: the batch is gone, though it was there after a death at an earlier point", n)
				}
				commit(t, s, c.batch...)
				if err := holdsAfter(s.Restart(), first, c.batch); err != nil {
					t.Fatalf("point %d: after the restart: %v", n, err)
				}
			}
		})
	}
}

// holdsAfter compares s with what the batches leave.
func holdsAfter(s Store, batches ...[]group.Op) error {
	model := map[string]group.Op{}
	for _, b := range batches {
		for _, op := range b {
			if delete(model, op.Key); op.Value != nil {
				model[op.Key] = op
			}
		}
	}
	n := 0
	for op, err := range s.Load(context.Background(), "") {
		if err != nil {
			return err
		}
		want, ok := model[op.Key]
		if !ok || !bytes.Equal(op.Value, want.Value) || op.Class != want.Class {
			return fmt.Errorf("record %q differs", op.Key)
		}
		n++
	}
	if n != len(model) {
		return fmt.Errorf("%d records of %d", n, len(model))
	}
	return nil
}
