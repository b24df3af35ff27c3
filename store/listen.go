package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// quiet hands badger's log to slog at level debug. Its messages name files and
// numbers; some name keys, which are not secret, none a value.
type quiet struct{ l *slog.Logger }

func (q quiet) log(format string, v ...any) {
	if q.l.Enabled(context.Background(), slog.LevelDebug) {
		q.l.Debug("badger: " + strings.TrimSpace(fmt.Sprintf(format, v...)))
	}
}

func (q quiet) Errorf(format string, v ...any)   { q.log(format, v...) }
func (q quiet) Warningf(format string, v ...any) { q.log(format, v...) }
func (q quiet) Infof(format string, v ...any)    { q.log(format, v...) }
func (q quiet) Debugf(format string, v ...any)   { q.log(format, v...) }

// listener hears in badger's log of the two things that its own goroutines do
// about a disk that fails, and that a store of keys must not live with.
//
// A memtable that cannot be flushed is tried again for ever, also in Close; the
// store breaks instead, and the log that is synced keeps the records.
//
// A compaction drops the error of a table that it could not write (badger
// v4.9.6, levelsController.subcompact) and goes on to delete the tables whose
// records should have been in it. So before it writes one the disk is tried,
// and on a disk that fails the compaction never goes on. Between the trial and
// the write a single failure could still do harm.
type listener struct {
	quiet
	s *Store
}

// Beginnings of badger's messages; TestFailingSync fails if they change.
const (
	saysFlushFailed   = "error flushing memtable to disk"
	saysWritesTable   = "[%d] LOG Compact. Added"
	saysCompactFailed = "[Compactor: %d] LOG Compact FAILED"
)

func (l listener) Errorf(format string, v ...any) {
	l.log(format, v...)
	if strings.HasPrefix(format, saysFlushFailed) {
		err := errors.New("store: badger cannot write a table: " + firstLine(fmt.Sprint(v...)))
		l.s.breakOn(errors.Join(err, noteLost(l.s.files.dir, filepath.Join(l.s.dir, lostFile))))
		runtime.Goexit() // out of the loop that would try again
	}
}

func (l listener) Warningf(format string, v ...any) {
	l.log(format, v...)
	if text := fmt.Sprintf(format, v...); strings.HasPrefix(format, saysCompactFailed) && errnoIn(text) != 0 {
		l.s.breakOn(errors.New("store: badger cannot compact: " + firstLine(text)))
	}
}

func (l listener) Debugf(format string, v ...any) {
	l.log(format, v...)
	if !strings.HasPrefix(format, saysWritesTable) {
		return
	}
	if err := l.s.tryDisk(); err != nil {
		l.s.breakOn(err)
		select {} // with the old tables in place, until the process ends
	}
}

const trialFile = "trial"

// tryDisk does with a small file what badger does with a table.
func (s *Store) tryDisk() error {
	s.trial.Lock()
	defer s.trial.Unlock()
	path := filepath.Join(s.files.dir, trialFile)
	err := mapAndSync(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("store: trying the disk: %w", err)
	}
	return nil
}

// errnoIn finds the system's error in one of badger's, which come as text.
func errnoIn(text string) syscall.Errno {
	for _, no := range []syscall.Errno{
		syscall.EACCES, syscall.EPERM, syscall.EMFILE, syscall.ENFILE,
		syscall.ENOMEM, syscall.EIO, syscall.ENOSPC, syscall.EROFS,
	} {
		if strings.Contains(text, no.Error()) {
			return no
		}
	}
	return 0
}
