package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// mark is a file with the number of the last acknowledged batch. It is written
// after the batch is synced and not synced itself: it may lag behind badger,
// never lead, so a badger behind the mark has lost something.
//
//	struct { opaque magic[8]; uint64 seq; opaque checksum[8]; } Mark; // 24 bytes
type mark struct{ f *os.File }

const (
	markFile  = "mark"
	markMagic = "dmlsmark"
	markSize  = 24
)

// openMark returns the noted number, 0 if there is none. A torn mark is none.
func openMark(dir string) (*mark, uint64, error) {
	f, err := os.OpenFile(filepath.Join(dir, markFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("store: %w", err)
	}
	var b [markSize]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &mark{f}, 0, nil
		}
		return nil, 0, errors.Join(fmt.Errorf("store: reading the mark: %w", err), f.Close())
	}
	if !markStands(b[:]) {
		return &mark{f}, 0, nil
	}
	return &mark{f}, binary.BigEndian.Uint64(b[8:]), nil
}

func markStands(b []byte) bool {
	if len(b) != markSize || string(b[:8]) != markMagic {
		return false
	}
	sum := sha256.Sum256(b[:16])
	return string(sum[:8]) == string(b[16:])
}

func (m *mark) set(seq uint64) error {
	b := binary.BigEndian.AppendUint64([]byte(markMagic), seq)
	sum := sha256.Sum256(b)
	if _, err := m.f.WriteAt(append(b, sum[:8]...), 0); err != nil {
		return fmt.Errorf("store: writing the mark: %w", err)
	}
	return nil
}

func (m *mark) close() error { return m.f.Close() }
