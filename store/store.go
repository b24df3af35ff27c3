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
	"time"

	"github.com/dgraph-io/badger/v4"
)

const badgerDir = "db"

// Store is an open directory of records. Its methods may be called from any
// goroutine, Commit and Get also from the body of a Load loop.
type Store struct {
	dir      string
	log      *slog.Logger
	lock     *os.File
	space    space
	files    newFiles
	mark     *mark
	db       *badger.DB
	root     *root
	interval time.Duration // negative: erase before acknowledging
	work     int

	hook     func(point string) error // of tests
	drawHook func(what drawn, k *secret)

	// turn holds one token: batches are serial. The token's holder owns:
	turn    chan struct{}
	state   state // of the last batch
	pending pending
	places  map[string]place // of some records; what is not there is looked up
	next    secret           // root key of the next generation, in the root file already
	sealer  *sealer
	timer   *time.Timer

	// tree guards which nodes of the erasure tree are in memory.
	tree     sync.Mutex
	resident int

	// view is held to begin a transaction, and locked while a journal is
	// carried out, so that nobody sees a part of a large batch, and while the
	// root key changes, so that nobody reads with the keys of another moment.
	view sync.RWMutex

	mu     sync.Mutex
	idle   sync.Cond // users == 0
	users  int
	closed bool
	broken error
	failed chan struct{} // closed when broken is set

	trial sync.Mutex // of the disk

	current *generation
	retired []*generation // still read, oldest first
	erased  uint64        // records, since Open
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

		interval: o.EraseInterval,
		work:     o.work,
		hook:     o.hook,
		drawHook: o.draw,
		failed:   make(chan struct{}),
		current:  &generation{},
		sealer:   &sealer{},
		places:   map[string]place{},
		pending:  pending{young: map[uint64]struct{}{}},
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
	if s.root, err = openRoot(s.dir, os.O_RDWR, s.reach); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var noted uint64
	if s.mark, noted, err = openMark(s.dir); err != nil {
		return err
	}
	bo := badgerOptions(s.files.dir, listener{quiet{o.Logger}, s}, o)
	if mended, err := mend(s.files.dir, filepath.Join(s.dir, lostFile)); err != nil {
		return err
	} else if mended {
		s.log.Warn("store: took back a change of tables that a failing disk had cut off")
	}
	if err := verify(s.files.dir, bo, o.VerifyBytes); err != nil {
		return err
	}
	if err := writeLogsAgain(s.files.dir); err != nil {
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
	if err := guard("reading the state", func() error { return s.enter(o, noted) }); err != nil {
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
	if no := errnoIn(text); no != 0 {
		return fmt.Errorf("store: opening %s: %w", s.files.dir, no)
	}
	return fmt.Errorf("%w: badger cannot open %s: %s", ErrCorrupt, s.files.dir, firstLine(text))
}

// enter finishes an interrupted batch, reads what the store knows about itself,
// compares with the mark, finds the root key and passes on to a fresh one.
func (s *Store) enter(o *Options, noted uint64) error {
	format, err := s.readState() // a newer format's journal is not ours
	if err == nil && format > 0 {
		if err = s.finishJournal(); err == nil {
			format, err = s.readState()
		}
	}
	if err != nil {
		return err
	}
	if format == 0 {
		if noted > 0 {
			return fmt.Errorf("%w: %d acknowledged batches are gone from %s", ErrCorrupt, noted, s.files.dir)
		}
		return s.found(o)
	}
	if s.state.seq < noted {
		return fmt.Errorf("%w: the last %d acknowledged batches are gone from %s; "+
			"put back a copy of the whole directory, or begin a new home and join again",
			ErrCorrupt, noted-s.state.seq, s.files.dir)
	}
	if err := s.unlock(o.Sealing); err != nil {
		return err
	}
	if err := dropSealers(s.dir, s.sealer); err != nil {
		return err
	}
	if !s.state.tidy {
		if err := s.sweepKeys(); err != nil {
			return err
		}
	}
	return s.erase(nil)
}

func (s *Store) reach(point string) error {
	if s.hook == nil {
		return nil
	}
	return s.hook(point)
}

// unlock finds the root key of the state's generation and the top of its tree,
// and draws the next one anew: with the one that it finds in the other slot an
// interrupted batch may have sealed something.
func (s *Store) unlock(with Sealing) error {
	if s.root == nil {
		return fmt.Errorf("%w: %s is missing; put it back", ErrRootMismatch, filepath.Join(s.dir, rootFile))
	}
	sl, _, err := s.root.choose(s.state.gen)
	if err != nil {
		return err
	}
	defer clear(sl.key)
	if err := s.unseal(sl, with); err != nil {
		return err
	}
	return s.redraw()
}

func (s *Store) unseal(sl slot, with Sealing) error {
	e, err := sealerOf(s.dir, sl, with)
	if err != nil {
		return err
	}
	g := &generation{gen: s.state.gen, young: s.state.young, levels: s.state.levels}
	if g.root, err = e.open(sl); err != nil {
		return err
	}
	s.sealer = e
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	canary, err := get(txn, keyCanary)
	if err != nil {
		return fmt.Errorf("%w: reading the canary: %w", ErrCorrupt, err)
	}
	if !openCanary(&g.root, canary) {
		return fmt.Errorf("%w: %s is of another store", ErrRootMismatch, s.root.path)
	}
	if g.levels > 0 {
		k := g.root.topKey()
		defer k.wipe()
		if g.top, err = readNode(txn, &k, g.levels-1, 0); err != nil {
			return err
		}
	}
	s.current = g
	return nil
}

// readState returns the format of the store, 0 if it was not founded.
func (s *Store) readState() (format int, err error) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	b, err := get(txn, keyFormat)
	if errors.Is(err, badger.ErrKeyNotFound) {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		if it.Rewind(); it.Valid() {
			return 0, fmt.Errorf("%w: there are records, but no format version", ErrCorrupt)
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%w: reading the format version: %w", ErrCorrupt, err)
	}
	if len(b) != 2 {
		return 0, fmt.Errorf("%w: the format version has %d bytes, not 2", ErrCorrupt, len(b))
	}
	format = int(b[0])<<8 | int(b[1])
	switch {
	case format > formatVersion:
		return 0, fmt.Errorf("%w (format %d, this version knows %d)", ErrNewerFormat, format, formatVersion)
	case format == 0:
		return 0, fmt.Errorf("%w: the format version is 0", ErrCorrupt)
	}
	b, err = get(txn, keyState)
	if err != nil {
		return 0, fmt.Errorf("%w: reading the state: %w", ErrCorrupt, err)
	}
	s.state, err = parseState(format, b)
	return format, err
}

// found makes an empty store: first the root key, then the batch that depends
// on it. A crash in between leaves a root key that nothing depends on.
func (s *Store) found(o *Options) error {
	if s.root != nil {
		if err := s.root.close(); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	r, err := createRoot(s.dir, s.reach)
	if err != nil {
		return err
	}
	s.root = r
	if err := dropSealers(s.dir, s.sealer); err != nil {
		return err
	}
	e, err := newSealer(s.dir, o.Sealing, o.work)
	if err != nil {
		return err
	}
	s.sealer = e
	s.state.nextKey = 1
	if err := s.redraw(); err != nil {
		return err
	}
	return s.erase(nil)
}

// Close waits for the calls that are under way, refuses new ones, carries out
// pending erasures and frees the directory. It may be called again. Where the
// erasures fail, the next Open carries them out. On a disk that fails badger
// cannot always be ended; Close then says so, and the directory stays locked
// until the process ends.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	idle := s.waitIdle()
	broken := s.broken
	s.mu.Unlock()
	if !idle {
		return errStuck
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	if broken == nil && !s.state.tidy {
		if err := s.erase(nil); err != nil {
			s.log.Warn("store: erasures are left to the next start", "err", err)
		}
	}
	return s.shut()
}

// shut frees whatever Open has taken.
func (s *Store) shut() error {
	var errs []error
	if s.db != nil {
		if err := s.closeBadger(); errors.Is(err, errStuck) {
			return err // and keep the lock: badger may still write
		} else {
			errs = append(errs, err)
		}
		errs = append(errs, tighten(s.files.dir), syncDir(s.files.dir))
	}
	if s.mark != nil {
		errs = append(errs, s.mark.close())
	}
	if s.root != nil {
		errs = append(errs, s.root.close())
	}
	s.forget()
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("store: closing: %w", err)
	}
	return nil
}

// errStuck is what Close returns when badger does not end, as on a disk that
// fails. Nobody can open the directory before this process ends.
var errStuck = errors.New("store: closing: badger does not end; the directory stays locked until the process does")

const endTime = 3 * time.Second

// waitIdle waits for the calls that are under way, in a broken store for endTime
// only: badger may have stopped in the midst of one. The caller holds s.mu.
func (s *Store) waitIdle() bool {
	var late bool
	var limit *time.Timer
	for s.users > 0 && !late {
		if s.broken != nil && limit == nil {
			limit = time.AfterFunc(endTime, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				late = true
				s.idle.Broadcast()
			})
			defer limit.Stop()
		}
		s.idle.Wait()
	}
	return s.users == 0
}

// closeBadger waits for badger, on a disk that fails for endTime only.
func (s *Store) closeBadger() error {
	closed := make(chan error, 1)
	go func() { closed <- guard("closing", s.db.Close) }()
	for {
		select {
		case err := <-closed:
			return err
		case <-time.After(endTime):
			if s.broke() != nil {
				return errStuck
			}
		}
	}
}

// forget wipes all keys in memory.
func (s *Store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	var wipe func(n *node)
	wipe = func(n *node) {
		for _, k := range n.kids {
			if k != nil {
				wipe(k)
			}
		}
		n.wipe()
	}
	if s.current.top != nil {
		wipe(s.current.top)
	}
	s.current.root.wipe()
	s.next.wipe()
	s.sealer.key.wipe()
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

func (s *Store) broke() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

func (s *Store) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		s.idle.Broadcast()
	}
}

// Failed returns a channel that is closed when the store breaks: a daemon has
// no reason to go on then.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// breakOn makes the store refuse all calls: after a failed write nobody knows
// what the disk holds.
func (s *Store) breakOn(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = fmt.Errorf("%w (%w)", ErrBroken, err)
		close(s.failed)
		s.log.Warn("store: a write failed", "err", err)
		s.idle.Broadcast()
	}
	return s.broken
}
