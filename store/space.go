package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const reserveFile = "reserve"

// space watches the free bytes below dir.
type space struct {
	dir     string
	floor   uint64 // watermark
	reserve int64
	free    func(dir string) (uint64, error)
}

func (sp *space) left() (uint64, error) {
	n, err := sp.free(sp.dir)
	if err != nil {
		return 0, fmt.Errorf("store: asking for the free space of %s: %w", sp.dir, err)
	}
	return n, nil
}

// forOpen refuses to start badger where its memory maps would fault. Half the
// watermark will do: a store that ran into it must open again to be shrunk.
func (sp *space) forOpen() error {
	n, err := sp.left()
	if err != nil {
		return err
	}
	if n >= sp.floor/2 {
		return nil
	}
	if err := sp.release(); err != nil {
		return err
	}
	if n, err = sp.left(); err != nil {
		return err
	}
	if n < sp.floor/2 {
		return sp.full("opening", n, sp.floor/2)
	}
	return nil
}

// forBatch lets a batch through that leaves the watermark free. Deletions go
// on below it, on the reserve, for they are what makes room again.
func (sp *space) forBatch(bytes uint64, deletesOnly bool) error {
	n, err := sp.left()
	if err != nil {
		return err
	}
	need := sp.floor + bytes
	if n >= need {
		return nil
	}
	if deletesOnly {
		if err := sp.release(); err != nil {
			return err
		}
		if n, err = sp.left(); err != nil {
			return err
		}
		if need = sp.floor/2 + bytes; n >= need {
			return nil
		}
	}
	return sp.full("writing", n, need)
}

func (sp *space) full(doing string, has, need uint64) error {
	return fmt.Errorf("%w for %s: %s has %d KiB free and %d KiB are needed, "+
		"so that a full disk cannot kill the process; nothing was written; free some space and try again",
		ErrDiskFull, doing, sp.dir, has>>10, need>>10)
}

func (sp *space) release() error {
	err := os.Remove(filepath.Join(sp.dir, reserveFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: giving up the reserve: %w", err)
	}
	return nil
}

// restock writes the reserve anew if there is room for it. Its bytes are
// written, not sparse.
func (sp *space) restock() error {
	path := filepath.Join(sp.dir, reserveFile)
	if fi, err := os.Stat(path); err == nil && fi.Size() == sp.reserve {
		return nil
	}
	if n, err := sp.left(); err != nil || n < sp.floor+2*uint64(sp.reserve) {
		return err
	}
	if err := os.WriteFile(path, make([]byte, sp.reserve), 0o600); err != nil {
		return fmt.Errorf("store: writing the reserve: %w", err)
	}
	return nil
}
