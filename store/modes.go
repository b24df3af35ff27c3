package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// prepareDir creates dir or makes sure that it is ours alone.
func prepareDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err == nil {
		return syncDir(filepath.Dir(dir))
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("store: %w", err)
	}
	fi, err := os.Lstat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("store: %w", err)
	case !fi.IsDir():
		return fmt.Errorf("%w: %s is not a directory", ErrUnsafe, dir)
	case !owned(fi):
		return fmt.Errorf("%w: %s belongs to another user", ErrUnsafe, dir)
	}
	if fi.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

// tighten makes all files in dir 0600 and refuses what a stranger could have
// put there. Badger may delete files meanwhile.
func tighten(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		fi, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && fi.IsDir():
			continue
		case err != nil:
			return fmt.Errorf("store: %w", err)
		case fi.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%w: %s is a symbolic link", ErrUnsafe, path)
		case !fi.Mode().IsRegular() || fi.Mode().Perm() == 0o600:
			continue
		case !owned(fi):
			return fmt.Errorf("%w: %s belongs to another user", ErrUnsafe, path)
		}
		if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("store: syncing %s: %w", dir, err)
	}
	return nil
}

// newFiles notices when badger has made files: it neither closes them to others
// nor syncs the directory that names a new log, so that a batch in one could
// vanish with the power although its bytes were synced.
type newFiles struct {
	dir   string
	seen  time.Time // when the directory changed last; zero if that may not have been the last time
	names []string  // what is in it and was taken care of
}

// settle is called after a batch is synced and before it is acknowledged.
func (n *newFiles) settle() error {
	fi, err := os.Stat(n.dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	changed := fi.ModTime()
	if changed.Equal(n.seen) {
		return nil
	}
	names, err := fileNames(n.dir)
	if err != nil {
		return err
	}
	if !slices.Equal(names, n.names) {
		if err := tighten(n.dir); err != nil {
			return err
		}
		if err := syncDir(n.dir); err != nil {
			return err
		}
		n.names = names
	}
	// Time stamps have a grain of some milliseconds. A change right now could be
	// followed by another one with the same stamp, so it is looked at again.
	n.seen = time.Time{}
	if time.Since(changed) > 100*time.Millisecond {
		n.seen = changed
	}
	return nil
}

func fileNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("store: reading %s: %w", dir, err)
	}
	slices.Sort(names)
	return names, nil
}
