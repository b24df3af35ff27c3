package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// verify looks at the files before badger does. Badger starts anew without a
// manifest and deletes every table, leaves out tables whose index is damaged,
// and ends the process in other cases; none of that may happen to keys.
func verify(dir string, bo badger.Options, budget int64) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := dropEmptyLogs(dir, names); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		for _, n := range names {
			switch filepath.Ext(n.Name()) {
			case ".sst", ".mem", ".vlog":
				return fmt.Errorf("%w: %s is missing, but %s is there", ErrCorrupt, badger.ManifestFilename, n.Name())
			}
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, bo)
	if err != nil {
		return fmt.Errorf("%w: %s: %s", ErrCorrupt, badger.ManifestFilename, firstLine(err.Error()))
	}
	// Newest first: what a crash or a bad disk hits is what was written last.
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(m.Tables))) {
		path := table.NewFilename(id, dir)
		n, err := verifyTable(path, id, budget > 0)
		if err != nil {
			return fmt.Errorf("%w: table %s: %s", ErrCorrupt, filepath.Base(path), firstLine(err.Error()))
		}
		budget -= n
	}
	return nil
}

// dropEmptyLogs removes logs without a byte. Badger makes a log in two steps
// and removes it in two, and refuses to open what a crash leaves in between.
func dropEmptyLogs(dir string, names []fs.DirEntry) error {
	for _, n := range names {
		if ext := filepath.Ext(n.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		fi, err := n.Info()
		if err == nil && fi.Size() == 0 {
			err = os.Remove(filepath.Join(dir, n.Name()))
		}
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}

// verifyTable checks the index of a table and, if all is set, every block. It
// returns the size of the table.
func verifyTable(path string, id uint64, all bool) (size int64, err error) {
	if size, err = verifyIndex(path); err != nil || !all {
		return size, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, errors.Unwrap(err)
	}
	return size, guard("reading a table", func() error {
		t, err := table.OpenInMemoryTable(data, id, &table.Options{})
		if err != nil {
			return err
		}
		return t.VerifyChecksum()
	})
}

// verifyIndex checks the end of a table,
//
//	blocks || index || uint32 index length || checksum || uint32 checksum length
//
// with whose lengths badger would otherwise reach outside of the file. The
// checksum is the protobuf message { 2: CRC-32C of the index }.
func verifyIndex(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, errors.Unwrap(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := fi.Size()
	checksum, at, err := lastField(f, size)
	if err != nil {
		return 0, err
	}
	index, _, err := lastField(f, at)
	if err != nil {
		return 0, err
	}
	var want []byte
	if sum := crc32.Checksum(index, crc32.MakeTable(crc32.Castagnoli)); sum != 0 {
		want = binary.AppendUvarint([]byte{2 << 3}, uint64(sum))
	}
	if !bytes.Equal(checksum, want) {
		return 0, errors.New("its index does not fit its checksum")
	}
	return size, nil
}

// lastField reads data || uint32 length that ends at end, and tells where it
// begins.
func lastField(f *os.File, end int64) (data []byte, at int64, err error) {
	var b [4]byte
	if at = end - 4; at < 0 {
		return nil, 0, errors.New("it is too short")
	}
	if _, err := f.ReadAt(b[:], at); err != nil {
		return nil, 0, err
	}
	n := int64(binary.BigEndian.Uint32(b[:]))
	if at -= n; at < 0 {
		return nil, 0, errors.New("a length at its end does not fit its size")
	}
	data = make([]byte, n)
	_, err = f.ReadAt(data, at)
	return data, at, err
}

// writeLogsAgain writes what a process that did not close its store has left in
// badger's logs and manifest once more, byte for byte, and syncs it. For after a
// failed sync the system takes for written what it has in memory only: a batch
// would be seen now, and built upon, that the next power cut takes away.
func writeLogsAgain(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil || len(paths) == 0 {
		return err
	}
	for _, path := range append(paths, filepath.Join(dir, badger.ManifestFilename)) {
		if err := writeAgain(path); err != nil {
			return fmt.Errorf("store: syncing %s again: %w", filepath.Base(path), err)
		}
	}
	return nil
}

func writeAgain(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(bytes.TrimRight(b, "\x00"), 0) // logs are sparse
	return errors.Join(err, f.Sync(), f.Close())
}
