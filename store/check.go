package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// Report is what [Check] found.
type Report struct {
	Status
	Records  int      `json:"records"`
	Keys     int      `json:"keys"`     // in the erasure tree
	Nodes    int      `json:"nodes"`    // of it
	Findings []string `json:"findings"` // faults; empty: all is well
	Notes    []string `json:"notes"`    // what the next Open will do
}

// Check looks at every file, key and record of the store in o.Dir and changes
// nothing: it works on a copy of badger's directory in the system's temporary
// directory, where tables are links if they can be. A fault is a finding, not
// an error; an error says why it could not look: ErrLocked, ErrSealed,
// ErrWrongKey, ErrNewerFormat or a system call's.
func Check(ctx context.Context, o Options) (r Report, err error) {
	if err := o.Validate(); err != nil {
		return r, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return r, fmt.Errorf("store: %w", err)
	}
	lock, err := lockToRead(dir)
	if err != nil {
		return r, err
	}
	defer lock.Close()
	r.checkModes(dir)
	temp, err := os.MkdirTemp("", "dmls-check-")
	if err != nil {
		return r, fmt.Errorf("store: %w", err)
	}
	defer os.RemoveAll(temp)
	if err := copyBadger(filepath.Join(dir, badgerDir), temp); err != nil {
		return r, err
	}
	s := &Store{dir: dir, failed: make(chan struct{}), log: o.Logger, files: newFiles{dir: temp}, current: &generation{}, sealer: &sealer{}}
	s.pending.young = map[uint64]struct{}{}
	s.idle.L = &s.mu
	err = r.check(ctx, s, &o)
	if db := s.db; db != nil {
		err = errors.Join(err, guard("closing the copy", db.Close))
	}
	if s.root != nil {
		err = errors.Join(err, s.root.close())
	}
	s.forget()
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrRootMismatch) || errors.Is(err, ErrUnsafe) {
		r.find("%s", err)
		err = nil
	}
	return r, err
}

func (r *Report) find(format string, v ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, v...))
}

func (r *Report) note(format string, v ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, v...))
}

// check stops with an error at what hides everything behind it.
func (r *Report) check(ctx context.Context, s *Store, o *Options) error {
	bo := badgerOptions(s.files.dir, quiet{o.Logger}, o)
	lost := filepath.Join(s.files.dir, lostFile) // a copy, for the original stays
	if err := copyFile(filepath.Join(s.dir, lostFile), lost); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	if mended, err := mend(s.files.dir, lost); err != nil {
		return err
	} else if mended {
		r.note("a change of tables was cut off by a failing disk; the next start takes it back")
	}
	if err := verify(s.files.dir, bo, 1<<62); err != nil {
		return err
	}
	err := guard("opening the copy", func() (err error) {
		s.db, err = badger.Open(bo)
		return err
	})
	if err != nil {
		s.db = nil
		return s.openError(err)
	}
	return guard("checking", func() error {
		if err := r.checkState(s, o); err != nil {
			return err
		}
		return r.checkRecords(ctx, s)
	})
}

func (r *Report) checkState(s *Store, o *Options) (err error) {
	format, err := s.readState()
	if err != nil {
		return err
	}
	if format == 0 {
		return fmt.Errorf("%w: the store was never founded", ErrCorrupt)
	}
	if pieces, seal, err := s.readJournal(); err != nil {
		return err
	} else if len(pieces) > 0 {
		r.note("a large batch was interrupted (carried out in part: %v); the next start ends it", seal != nil)
		if err := s.finishJournal(); err != nil {
			return err
		}
		if format, err = s.readState(); err != nil {
			return err
		}
	}
	if format < formatVersion {
		r.note("format %d; the next start upgrades it to %d", format, formatVersion)
	}
	if noted := readMark(s.dir); s.state.seq < noted {
		r.find("the last %d acknowledged batches are gone", noted-s.state.seq)
	}
	if s.root, err = openRoot(s.dir, os.O_RDONLY, s.reach); err != nil {
		return fmt.Errorf("%w: %w", ErrRootMismatch, err)
	}
	sl, stale, err := s.root.choose(s.state.gen)
	if err != nil {
		return err
	}
	defer clear(sl.key)
	if stale {
		r.note("an erasure was interrupted; the next start overwrites the former root key")
	}
	if err := s.unseal(sl, o.Sealing); err != nil {
		return err
	}
	r.Status = Status{Format: format, Generation: s.current.gen, Batch: s.state.seq, Sealing: sealingNames[sl.sealing]}
	return nil
}

// checkRecords opens every record and compares them with the tree.
func (r *Report) checkRecords(ctx context.Context, s *Store) error {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	live, parts := map[uint64]string{}, 0
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{spaceRecord}})
	defer it.Close()
	rd := &reader{s: s, txn: txn, g: s.current}
	for it.Rewind(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		r.Records++
		key, h, _, err := stored(txn, it.Item())
		if err == nil {
			parts += h.parts()
			_, err = rd.unpack(it.Item())
		}
		if err != nil {
			r.find("record %q: %s", key, err)
			continue
		}
		if h.wrap != wrapByID {
			continue
		}
		if other, ok := live[h.keyID]; ok || h.keyID >= s.state.nextKey {
			r.find("record %q: its key %d is not its own (%q)", key, h.keyID, other)
		}
		live[h.keyID] = key
	}
	if n := count(txn, spacePart); n != parts {
		r.find("%d parts of long records are there, %d belong to one", n, parts)
	}
	orphans := 0
	if err := s.eachLeaf(txn, s.current, func(id uint64) error {
		if r.Keys++; live[id] == "" {
			orphans++
		}
		return nil
	}); err != nil {
		return err
	}
	r.Nodes = count(txn, spaceNode)
	switch {
	case orphans > 0 && s.state.tidy:
		r.find("%d keys in the erasure tree belong to no record, although it was said to be tidy", orphans)
	case !s.state.tidy:
		r.Pending = orphans
		r.note("the store was not closed; the next start erases what it deleted (%d keys in the tree)", orphans)
	}
	return nil
}

func count(txn *badger.Txn, space byte) (n int) {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{space}})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	return n
}

func (r *Report) checkModes(dir string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		switch {
		case err != nil:
			return err
		case fi.Mode()&fs.ModeSymlink != 0:
			r.find("%s is a symbolic link", path)
		case fi.Mode().Perm()&0o077 != 0:
			r.find("%s is open to others (mode %04o)", path, fi.Mode().Perm())
		case !owned(fi):
			r.find("%s belongs to another user", path)
		}
		return nil
	})
	if err != nil {
		r.find("%s", err)
	}
}

// copyBadger copies a closed badger. Tables never change, so they are linked
// where links reach.
func copyBadger(from, to string) error {
	names, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, n := range names {
		src, dst := filepath.Join(from, n.Name()), filepath.Join(to, n.Name())
		if n.Name() == "LOCK" || filepath.Ext(n.Name()) == ".sst" && os.Link(src, dst) == nil {
			continue
		}
		if err := copyFile(src, dst); err != nil {
			return fmt.Errorf("store: copying to %s: %w", to, err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// readMark is 0 if there is no mark.
func readMark(dir string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, markFile))
	if err != nil || !markStands(b) {
		return 0
	}
	return binary.BigEndian.Uint64(b[8:])
}
