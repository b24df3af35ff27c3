package store_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dmlsd/dmls/group"
)

// TestGolden opens stores that earlier versions wrote, with 12 goldenBatches in
// three runs. A file is made once, when a format is new, and never again:
//
//	DMLS_STORE_GOLDEN=DIR go test -run TestGolden ./store    makes a store in DIR
//	tar --exclude=./reserve --exclude=./lock --sort=name --mtime=@0 --owner=0 \
//	    --group=0 -C DIR -czf store/testdata/formatN.tar.gz .
func TestGolden(t *testing.T) {
	if dir := os.Getenv("DMLS_STORE_GOLDEN"); dir != "" {
		makeGolden(t, dir)
		return
	}
	archives, err := filepath.Glob("testdata/format*.tar.gz")
	if err != nil || len(archives) < 2 {
		t.Fatalf("%d golden files, %v", len(archives), err)
	}
	for _, archive := range archives {
		t.Run(filepath.Base(archive), func(t *testing.T) {
			dir := home(t)
			extract(t, archive, dir)
			model := map[string]group.Op{}
			for n := 1; n <= 12; n++ {
				for _, op := range goldenBatch(n) {
					if delete(model, op.Key); op.Value != nil {
						model[op.Key] = op
					}
				}
			}
			for range 2 { // as it is, and as this version writes it
				s := open(t, dir)
				if err := same(s, model); err != nil {
					t.Fatal(err)
				}
				op := group.Op{Key: "g/new", Value: []byte("new"), Class: group.Secret}
				if err := s.Commit(t.Context(), []group.Op{op}); err != nil {
					t.Fatal(err)
				}
				model[op.Key] = op
				if st := s.Status(); st.Format != 2 {
					t.Errorf("format %d", st.Format)
				}
				shut(t, s)
			}
		})
	}
}

func makeGolden(t *testing.T, dir string) {
	for run := range 3 {
		s := open(t, dir)
		for n := range 4 {
			if err := s.Commit(t.Context(), goldenBatch(run*4+n+1)); err != nil {
				t.Fatal(err)
			}
		}
		shut(t, s)
	}
}

func extract(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil && h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(filepath.Join(dir, h.Name), 0o700)
		} else if err == nil {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(filepath.Join(dir, h.Name), b, 0o600)
			}
		}
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", archive, err))
		}
	}
}
