package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// When badger cannot sync its manifest, it deletes the table that it has just
// written, but the manifest names the table already. The records are where they
// were: a flushed memtable's in its log, those of a compaction in the tables
// that were to go. So what is to be done is to take the change back.
//
// That a compaction failed shows: tables that it deleted are there, and none that
// it made. A flush that failed looks like one whose table was lost since, so
// which tables these are is noted in the file lost when it happens.
const lostFile = "lost"

// changeSet is one change of the manifest: tables made and deleted at once.
type changeSet struct {
	raw           []byte
	made, deleted []uint64
}

// parseManifest reads
//
//	opaque magic[8];
//	struct { uint32 length; uint32 crc32c; ManifestChangeSet; } changes[...];
//
// up to what a crash has cut off.
func parseManifest(b []byte) (head []byte, sets []changeSet, err error) {
	damaged := fmt.Errorf("%w: %s does not parse", ErrCorrupt, badger.ManifestFilename)
	if len(b) < 8 {
		return nil, nil, damaged
	}
	head, b = b[:8], b[8:]
	for len(b) >= 8 {
		n := uint64(binary.BigEndian.Uint32(b))
		if n > uint64(len(b)-8) {
			break
		}
		set := changeSet{raw: b[:8+n]}
		body := b[8 : 8+n]
		if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[4:]) {
			return nil, nil, damaged
		}
		// message ManifestChangeSet { repeated ManifestChange changes = 1; }
		// message ManifestChange { uint64 Id = 1; Operation Op = 2; ... }, Op 0 makes
		for _, change := range protoFields(body, 1) {
			id := protoNumber(change, 1)
			if protoNumber(change, 2) == 0 {
				set.made = append(set.made, id)
			} else {
				set.deleted = append(set.deleted, id)
			}
		}
		sets = append(sets, set)
		b = b[8+n:]
	}
	return head, sets, nil
}

// eachField walks through a protobuf message, as far as it is one.
func eachField(b []byte, f func(field uint64, number uint64, data []byte)) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return
		}
		v, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return
		}
		b = b[n+m:]
		switch tag & 7 {
		case 0:
			f(tag>>3, v, nil)
		case 2:
			if v > uint64(len(b)) {
				return
			}
			f(tag>>3, 0, b[:v])
			b = b[v:]
		default:
			return
		}
	}
}

func protoFields(b []byte, field uint64) (found [][]byte) {
	eachField(b, func(f, _ uint64, data []byte) {
		if f == field && data != nil {
			found = append(found, data)
		}
	})
	return found
}

func protoNumber(b []byte, field uint64) (v uint64) {
	eachField(b, func(f, number uint64, data []byte) {
		if f == field && data == nil {
			v = number
		}
	})
	return v
}

// missingTables finds those that the manifest names and that are not there, each
// with the number of the change that made it.
func missingTables(dir string, sets []changeSet) (map[uint64]int, error) {
	live := map[uint64]int{}
	for i, s := range sets {
		for _, id := range s.made {
			live[id] = i
		}
		for _, id := range s.deleted {
			delete(live, id)
		}
	}
	for id := range live {
		_, err := os.Stat(table.NewFilename(id, dir))
		if err == nil {
			delete(live, id)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	return live, nil
}

// noteLost writes down which tables a flush that failed has deleted.
func noteLost(dir, lost string) error {
	b, err := os.ReadFile(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return err
	}
	_, sets, err := parseManifest(b)
	if err != nil {
		return err
	}
	missing, err := missingTables(dir, sets)
	if err != nil || len(missing) == 0 {
		return err
	}
	var text []byte
	for id := range missing {
		text = append(strconv.AppendUint(text, id, 10), '\n')
	}
	return os.WriteFile(lost, text, 0o600) // the disk cannot sync
}

// mend takes back changes of the manifest that came to nothing. What it cannot
// explain it leaves to verify.
func mend(dir, lost string) (mended bool, err error) {
	path := filepath.Join(dir, badger.ManifestFilename)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	head, sets, err := parseManifest(b)
	if err != nil {
		return false, err
	}
	missing, err := missingTables(dir, sets)
	if err != nil {
		return false, err
	}
	noted := map[uint64]bool{}
	if b, err := os.ReadFile(lost); err == nil {
		for _, line := range strings.Fields(string(b)) {
			if id, err := strconv.ParseUint(line, 10, 64); err == nil {
				noted[id] = true
			}
		}
	}
	void := map[int]bool{}
	for id, i := range missing {
		if !cameToNothing(dir, sets[i], missing, noted) {
			return false, fmt.Errorf("%w: table %s is missing", ErrCorrupt, filepath.Base(table.NewFilename(id, dir)))
		}
		void[i] = true
	}
	if len(void) > 0 {
		kept := append([]byte{}, head...)
		for i, s := range sets {
			if !void[i] {
				kept = append(kept, s.raw...)
			}
		}
		if err := replaceFile(path, kept); err != nil {
			return false, err
		}
	}
	if err := os.Remove(lost); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("store: %w", err)
	}
	return len(void) > 0, nil
}

func cameToNothing(dir string, s changeSet, missing map[uint64]int, noted map[uint64]bool) bool {
	for _, id := range s.made {
		if _, ok := missing[id]; !ok || len(s.deleted) == 0 && !noted[id] {
			return false
		}
	}
	for _, id := range s.deleted {
		if _, err := os.Stat(table.NewFilename(id, dir)); err != nil {
			return false
		}
	}
	return true
}

// replaceFile puts b in the place of a file, durably and at once.
func replaceFile(path string, b []byte) error {
	temp := path + "-MEND"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	if err := writeNew(temp, b); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return syncDir(filepath.Dir(path))
}
