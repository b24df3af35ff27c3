package sim

import (
	"errors"
	"testing"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/node/nodetest"
)

func TestStore(t *testing.T) {
	nodetest.TestStore(t, func(*testing.T) (nodetest.Store, func() nodetest.Store) {
		s := NewStore()
		return s, func() nodetest.Store {
			s = s.reopen()
			return s
		}
	})
}

// A device that dies in a commit finds all of it after its restart, or
// nothing; until then its disk is out of reach.
func TestStoreCrash(t *testing.T) {
	for _, durable := range []bool{true, false} {
		s := NewStore()
		ops := []group.Op{{Key: "d/1", Value: []byte("x"), Class: group.Public}, {Key: "d/2", Value: []byte("y"), Class: group.Secret}}
		s.crash = func() bool { return durable }
		if err := s.Commit(t.Context(), ops); !errors.Is(err, errClosed) {
			t.Fatalf("the commit ended with %v", err)
		}
		if _, err := s.Get(t.Context(), "d/1"); !errors.Is(err, errClosed) {
			t.Errorf("a dead device reads its disk: %v", err)
		}
		s = s.reopen()
		n := 0
		for _, err := range s.Load(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if want := map[bool]int{true: 2, false: 0}[durable]; n != want {
			t.Errorf("%d records after the crash, want %d", n, want)
		}
		if err := s.Commit(t.Context(), ops); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	}
}
