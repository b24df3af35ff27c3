package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const lockFile = "lock"

// lockDir takes the directory for this process. The kernel frees the lock when
// the process dies, however it dies.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := take(f, dir); err != nil {
		f.Close()
		return nil, err
	}
	// The number serves the message above only, so a failure to write it is none.
	if f.Truncate(0) == nil {
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// lockToRead takes the directory without leaving a trace in it.
func lockToRead(dir string) (*os.File, error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(dir) // nobody can hold it
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := take(f, dir); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func take(f *os.File, dir string) error {
	busy, err := tryLock(f)
	if err != nil {
		return fmt.Errorf("store: locking %s: %w", f.Name(), err)
	}
	if !busy {
		return nil
	}
	who := ""
	if b, err := io.ReadAll(io.LimitReader(f, 20)); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			who = fmt.Sprintf(" (process %d)", pid)
		}
	}
	return fmt.Errorf("%w%s: %s; stop it or choose another home", ErrLocked, who, dir)
}
