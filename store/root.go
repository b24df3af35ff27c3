package store

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The root file holds two slots on pages of their own, so that a torn write of
// one leaves the other alone; the one whose generation equals badger's counts.
//
//	struct {
//	  opaque magic[8];      // "dmlsroot"
//	  uint16 version;       // 1
//	  uint16 sealing;       // 0: key is the root key itself
//	  uint64 generation;    // from 1
//	  opaque key<0..458>;   // uint16 length; 32 bytes when not sealed
//	  opaque zero[...];
//	  opaque checksum[32];  // SHA-256 of the 480 bytes before it
//	} Slot;                 // 512 bytes, at offsets 0 and 4096; all zero: wiped
const (
	rootFile    = "root"
	rootMagic   = "dmlsroot"
	rootVersion = 1
	rootKeySize = 32
	slotSize    = 512
	slotBody    = slotSize - sha256.Size
	slotStride  = 4096
	slotCount   = 2
)

type slot struct {
	gen uint64
	key []byte
}

func (s slot) marshal() []byte {
	b := make([]byte, 0, slotSize)
	b = append(b, rootMagic...)
	b = binary.BigEndian.AppendUint16(b, rootVersion)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint64(b, s.gen)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.key)))
	b = append(b, s.key...)
	b = b[:slotBody]
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// errNoSlot marks a slot that is wiped, torn or damaged.
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
	if version > rootVersion || sealing != 0 {
		return slot{}, fmt.Errorf("%w (root file version %d, sealing %d)", ErrNewerFormat, version, sealing)
	}
	n := int(binary.BigEndian.Uint16(b[20:]))
	if n != rootKeySize {
		return slot{}, errNoSlot
	}
	for _, z := range b[22+n : slotBody] {
		if z != 0 {
			return slot{}, errNoSlot
		}
	}
	return slot{gen: binary.BigEndian.Uint64(b[12:]), key: bytes.Clone(b[22 : 22+n])}, nil
}

// readRoot returns the slots that stand, by position. The error is
// fs.ErrNotExist if there is no file.
func readRoot(dir string) (map[int]slot, error) {
	b, err := os.ReadFile(filepath.Join(dir, rootFile))
	if err != nil {
		return nil, fmt.Errorf("store: reading the root file: %w", err)
	}
	defer clear(b)
	found := make(map[int]slot)
	for i := range slotCount {
		at := i * slotStride
		if len(b) < at+slotSize {
			break
		}
		s, err := parseSlot(b[at : at+slotSize])
		if errors.Is(err, ErrNewerFormat) {
			return nil, err
		}
		if err == nil {
			found[i] = s
		}
	}
	return found, nil
}

// createRoot draws a root key and writes it as generation 1. It replaces a
// file, so the caller must know that no record depends on the old one.
func createRoot(dir string) (slot, error) {
	s := slot{gen: 1, key: make([]byte, rootKeySize)}
	rand.Read(s.key) // never fails (crypto/rand)
	b := make([]byte, slotCount*slotStride)
	m := s.marshal()
	copy(b, m)
	clear(m)
	defer clear(b)
	path := filepath.Join(dir, rootFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return slot{}, fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return slot{}, fmt.Errorf("store: creating the root file: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return slot{}, fmt.Errorf("store: writing the root file: %w", err)
	}
	return s, syncDir(dir)
}

// wipeSlot overwrites one slot in place.
func wipeSlot(dir string, i int) error {
	f, err := os.OpenFile(filepath.Join(dir, rootFile), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = f.WriteAt(make([]byte, slotSize), int64(i)*slotStride)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("store: wiping a slot of the root file: %w", err)
	}
	return nil
}

// chooseRoot takes the slot of generation gen and wipes the other one, which
// an interrupted erasure left.
func chooseRoot(dir string, slots map[int]slot, gen uint64) (slot, error) {
	for i := range slotCount {
		s, ok := slots[i]
		if !ok || s.gen != gen {
			continue
		}
		if other, ok := slots[1-i]; ok {
			clear(other.key)
			if err := wipeSlot(dir, 1-i); err != nil {
				return slot{}, err
			}
		}
		return s, nil
	}
	return slot{}, fmt.Errorf("%w: no slot of %s has generation %d; "+
		"put back the root file that was there when dmls last ran",
		ErrRootMismatch, filepath.Join(dir, rootFile), gen)
}
