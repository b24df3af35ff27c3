package store_test

import (
	"path/filepath"
	"testing"

	"github.com/dmlsd/dmls/node/nodetest"
	"github.com/dmlsd/dmls/store"
)

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func home(t *testing.T) string { return filepath.Join(t.TempDir(), "home") }

func shut(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func TestContract(t *testing.T) {
	nodetest.TestStore(t, func(t *testing.T) (nodetest.Store, func() nodetest.Store) {
		dir := home(t)
		s := open(t, dir)
		return s, func() nodetest.Store {
			shut(t, s)
			s = open(t, dir)
			return s
		}
	})
}
