package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"
)

const badgerDir = "db"

// Store is an open directory of records. Its methods may be called from any
// goroutine, Commit and Get also from the body of a Load loop.
type Store struct {
	dir   string
	log   *slog.Logger
	lock  *os.File
	space space
	files newFiles
	mark  *mark
	db    *badger.DB
	keys  keys
	fault func() error // of tests: called before each transaction

	// turn holds one token: batches are serial.
	turn  chan struct{}
	state state // of the last batch; owned by the token's holder

	// view is held to begin a transaction, and locked while a journal is
	// carried out, so that nobody sees a part of a large batch.
	view sync.RWMutex

	mu     sync.Mutex
	idle   sync.Cond // users == 0
	users  int
	closed bool
	broken error
}

// Open opens the store in o.Dir or creates it. It fails with ErrLocked,
// ErrNewerFormat, ErrRootMismatch, ErrCorrupt, ErrDiskFull, ErrUnsafe or
// ErrOptions, or with the error of a system call, and then changes nothing that
// the next Open needs.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{
		dir:   dir,
		log:   o.Logger,
		turn:  make(chan struct{}, 1),
		space: space{dir: dir, floor: o.MinFreeBytes, reserve: o.ReserveBytes, free: freeBytes},
		files: newFiles{dir: filepath.Join(dir, badgerDir)},
	}
	s.idle.L = &s.mu
	if o.free != nil {
		s.space.free = o.free
	}
	if err := s.open(ctx, &o); err != nil {
		return nil, errors.Join(err, s.shut())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o *Options) (err error) {
	for _, d := range []string{s.dir, s.files.dir} {
		if err := prepareDir(d); err != nil {
			return err
		}
	}
	if s.lock, err = lockDir(s.dir); err != nil {
		return err
	}
	for _, d := range []string{s.dir, s.files.dir} {
		if err := tighten(d); err != nil {
			return err
		}
	}
	if err := s.space.forOpen(); err != nil {
		return err
	}
	slots, err := readRoot(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var noted uint64
	if s.mark, noted, err = openMark(s.dir); err != nil {
		return err
	}
	bo := badgerOptions(s.files.dir, o)
	if err := verify(s.files.dir, bo, o.VerifyBytes); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := guard("opening", func() (err error) {
		s.db, err = badger.Open(bo)
		return err
	}); err != nil {
		s.db = nil // badger returns a half-open one that must not be closed
		return s.openError(err)
	}
	if err := s.files.settle(); err != nil {
		return err
	}
	if err := guard("reading the state", func() error { return s.enter(slots, noted) }); err != nil {
		return err
	}
	return s.space.restock()
}

// openError sorts an error of badger's, which come as text: trouble of the
// system keeps its name, everything else is damage.
func (s *Store) openError(err error) error {
	if errors.Is(err, ErrCorrupt) {
		return err
	}
	text := err.Error()
	if strings.Contains(text, "Cannot acquire directory lock") {
		return fmt.Errorf("%w: %s", ErrLocked, s.files.dir)
	}
	for _, no := range []syscall.Errno{
		syscall.EACCES, syscall.EPERM, syscall.EMFILE, syscall.ENFILE,
		syscall.ENOMEM, syscall.EIO, syscall.ENOSPC, syscall.EROFS,
	} {
		if strings.Contains(text, no.Error()) {
			return fmt.Errorf("store: opening %s: %w", s.files.dir, no)
		}
	}
	return fmt.Errorf("%w: badger cannot open %s: %s", ErrCorrupt, s.files.dir, firstLine(text))
}

// enter reads what the store knows about itself, finishes an interrupted batch
// and compares with the mark.
func (s *Store) enter(slots map[int]slot, noted uint64) error {
	known, err := s.readState()
	if err != nil {
		return err
	}
	if !known {
		if noted > 0 {
			return fmt.Errorf("%w: %d acknowledged batches are gone from %s", ErrCorrupt, noted, s.files.dir)
		}
		return s.found()
	}
	root, err := chooseRoot(s.dir, slots, s.state.gen)
	if err != nil {
		return err
	}
	s.keys = keys{root: root.key}
	if err := s.checkCanary(); err != nil {
		return err
	}
	if err := s.finishJournal(); err != nil {
		return err
	}
	if s.state.seq < noted {
		return fmt.Errorf("%w: the last %d acknowledged batches are gone from %s; "+
			"put back a copy of the whole directory, or begin a new home and join again",
			ErrCorrupt, noted-s.state.seq, s.files.dir)
	}
	return s.mark.set(s.state.seq)
}

// readState reports whether the store was founded.
func (s *Store) readState() (bool, error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	format, err := get(txn, keyFormat)
	if errors.Is(err, badger.ErrKeyNotFound) {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		if it.Rewind(); it.Valid() {
			return false, fmt.Errorf("%w: there are records, but no format version", ErrCorrupt)
		}
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: reading the format version: %w", ErrCorrupt, err)
	}
	if len(format) != 2 {
		return false, fmt.Errorf("%w: the format version has %d bytes, not 2", ErrCorrupt, len(format))
	}
	if v := int(format[0])<<8 | int(format[1]); v > formatVersion {
		return false, fmt.Errorf("%w (format %d, this version knows %d)", ErrNewerFormat, v, formatVersion)
	}
	b, err := get(txn, keyState)
	if err != nil {
		return false, fmt.Errorf("%w: reading the state: %w", ErrCorrupt, err)
	}
	s.state, err = parseState(b)
	return true, err
}

// found makes an empty store: first the root key, then the batch that depends
// on it. A crash in between leaves a root key that nothing depends on.
func (s *Store) found() error {
	root, err := createRoot(s.dir)
	if err != nil {
		return err
	}
	s.keys = keys{root: root.key}
	canary, err := s.keys.seal(string(keyCanary), 0, 0, nil)
	if err != nil {
		return err
	}
	first := state{gen: root.gen, seq: 1, nextKey: 1}
	if err := s.write([]entry{
		{key: keyFormat, value: []byte{formatVersion >> 8, formatVersion & 0xff}},
		{key: keyCanary, value: canary},
		{key: keyState, value: first.marshal()},
	}); err != nil {
		return err
	}
	s.state = first
	if err := s.files.settle(); err != nil {
		return err
	}
	return s.mark.set(first.seq)
}

// checkCanary tells a root file of another store, which may well have the right
// generation.
func (s *Store) checkCanary() error {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	b, err := get(txn, keyCanary)
	if err != nil {
		return fmt.Errorf("%w: reading the canary: %w", ErrCorrupt, err)
	}
	if _, err := s.keys.open(string(keyCanary), 0, 0, b); err != nil {
		return fmt.Errorf("%w: %s is of another store", ErrRootMismatch, filepath.Join(s.dir, rootFile))
	}
	return nil
}

// Close waits for the calls that are under way, refuses new ones and frees the
// directory. It may be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for s.users > 0 {
		s.idle.Wait()
	}
	s.mu.Unlock()
	return s.shut()
}

// shut frees whatever Open has taken.
func (s *Store) shut() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, guard("closing", s.db.Close), tighten(s.files.dir), syncDir(s.files.dir))
	}
	if s.mark != nil {
		errs = append(errs, s.mark.close())
	}
	clear(s.keys.root)
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("store: closing: %w", err)
	}
	return nil
}

// use counts a call in, so that Close waits for it.
func (s *Store) use() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.broken != nil:
		return s.broken
	}
	s.users++
	return nil
}

func (s *Store) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		s.idle.Broadcast()
	}
}

// breakOn makes the store refuse all calls: after a failed write nobody knows
// what the disk holds.
func (s *Store) breakOn(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = fmt.Errorf("%w (%w)", ErrBroken, err)
	}
	s.log.Warn("store: a write failed", "err", err)
	return s.broken
}
