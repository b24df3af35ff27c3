package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The root file holds two slots on pages of their own, so that a torn write of
// one leaves the other alone. The one whose generation equals badger's counts;
// the other holds the key of the next generation, with which nothing is sealed
// yet. In that place was the former generation's key.
//
//	struct {
//	  opaque magic[8];      // "dmlsroot"
//	  uint16 version;       // 1
//	  uint16 sealing;       // 0: none, 1: passphrase, 2: key file (file sealing.go)
//	  uint64 generation;    // from 1
//	  opaque key<0..458>;   // uint16 length; 32 bytes when not sealed, else 80
//	  opaque zero[...];
//	  opaque checksum[32];  // SHA-256 of the 480 bytes before it
//	} Slot;                 // 512 bytes, at offsets 0 and 4096; all zero: empty
const (
	rootFile    = "root"
	rootMagic   = "dmlsroot"
	rootVersion = 1
	slotSize    = 512
	slotBody    = slotSize - sha256.Size
	slotStride  = 4096
	slotCount   = 2
)

// slot is one slot as it stands in the file.
type slot struct {
	gen     uint64
	sealing uint16
	key     []byte
}

func (s slot) marshal() []byte {
	b := make([]byte, 0, slotSize)
	b = append(b, rootMagic...)
	b = binary.BigEndian.AppendUint16(b, rootVersion)
	b = binary.BigEndian.AppendUint16(b, s.sealing)
	b = binary.BigEndian.AppendUint64(b, s.gen)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.key)))
	b = append(b, s.key...)
	b = b[:slotBody]
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// errNoSlot marks a slot that is empty, torn or damaged.
var errNoSlot = errors.New("no slot")

func parseSlot(b []byte) (slot, error) {
	if len(b) != slotSize || string(b[:8]) != rootMagic {
		return slot{}, errNoSlot
	}
	// The checksum's place is the same in every version, so a slot of a newer
	// one is told from a damaged one.
	if sum := sha256.Sum256(b[:slotBody]); !bytes.Equal(sum[:], b[slotBody:]) {
		return slot{}, errNoSlot
	}
	version, sealing := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:])
	if version > rootVersion || sealing > sealedKeyFile {
		return slot{}, fmt.Errorf("%w (root file version %d, sealing %d)", ErrNewerFormat, version, sealing)
	}
	n := int(binary.BigEndian.Uint16(b[20:]))
	if n != sealedSize(sealing) {
		return slot{}, errNoSlot
	}
	for _, z := range b[22+n : slotBody] {
		if z != 0 {
			return slot{}, errNoSlot
		}
	}
	return slot{gen: binary.BigEndian.Uint64(b[12:]), sealing: sealing, key: bytes.Clone(b[22 : 22+n])}, nil
}

// root is the open root file.
type root struct {
	f    *os.File
	path string
	at   int // the slot that counts; the other is of the next generation
	hook func(point string) error
}

// openRoot opens the file with flags; the error is fs.ErrNotExist if there is
// none.
func openRoot(dir string, flags int, hook func(point string) error) (*root, error) {
	path := filepath.Join(dir, rootFile)
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: opening the root file: %w", err)
	}
	return &root{f: f, path: path, hook: hook}, nil
}

// createRoot makes a file with two empty slots. It replaces a file, so the
// caller must know that no record depends on the old one.
func createRoot(dir string, hook func(point string) error) (*root, error) {
	path := filepath.Join(dir, rootFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: %w", err)
	}
	r, err := openRoot(dir, os.O_CREATE|os.O_EXCL|os.O_RDWR, hook)
	if err != nil {
		return nil, err
	}
	_, err = r.f.WriteAt(make([]byte, slotCount*slotStride), 0)
	if err == nil {
		err = r.f.Sync()
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: creating the root file: %w", err), r.f.Close())
	}
	return r, nil
}

// choose takes the slot of generation gen. stale reports whether the other one
// holds anything but a key of the generation after it: what an interrupted
// erasure has left.
func (r *root) choose(gen uint64) (counts slot, stale bool, err error) {
	b := make([]byte, slotCount*slotStride)
	defer clear(b)
	n, err := r.f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return slot{}, false, fmt.Errorf("store: reading the root file: %w", err)
	}
	stands := false
	for i := range slotCount {
		at := b[min(i*slotStride, n):min(i*slotStride+slotSize, n)]
		s, err := parseSlot(at)
		switch {
		case errors.Is(err, ErrNewerFormat):
			return slot{}, false, err
		case err == nil && s.gen == gen:
			r.at, counts, stands = i, s, true
			continue
		case err != nil:
			stale = stale || !bytes.Equal(at, make([]byte, len(at)))
		default:
			stale = stale || s.gen != gen+1
		}
		clear(s.key)
	}
	if !stands {
		return slot{}, false, fmt.Errorf("%w: no slot of %s has generation %d; "+
			"put back the root file that was there when dmls last ran", ErrRootMismatch, r.path, gen)
	}
	return counts, stale, nil
}

// overwrite puts s in the place of the slot that does not count. When it
// returns nil, what was there is gone.
func (r *root) overwrite(s slot) error {
	m := s.marshal()
	defer clear(m)
	if err := r.write(m, 1-r.at); err != nil {
		return fmt.Errorf("store: writing a slot of the root file: %w", err)
	}
	return nil
}

func (r *root) write(b []byte, i int) error {
	if err := r.hook("root"); err != nil {
		return err
	}
	if _, err := r.f.WriteAt(b, int64(i)*slotStride); err != nil {
		return err
	}
	if err := r.f.Sync(); err != nil {
		return err
	}
	return r.hook("root done")
}

func (r *root) close() error { return r.f.Close() }
