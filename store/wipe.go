package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Wipe destroys the store in dir: first the root key, then what may seal it,
// then the files. Once the root key is overwritten no record can be opened;
// if Wipe fails afterwards, the next one ends it. It fails with ErrLocked while
// the store is in use.
func Wipe(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := shred(filepath.Join(dir, rootFile)); err != nil {
		return err
	}
	if err := dropSealers(dir, &sealer{}); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	for _, name := range []string{badgerDir, markFile, reserveFile, lostFile, lockFile} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("store: removing what the root key had opened: %w", err)
		}
	}
	// What is left, if anything, is not ours.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: the keys are destroyed; %s holds other files: %w", dir, err)
	}
	return syncDir(filepath.Dir(dir))
}
