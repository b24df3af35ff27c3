package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// Sealing says what protects the root key on the disk. The zero value is
// nothing but the file's mode, 0600. For a new store it is the choice, for an
// existing one it is what opens it; what is not needed is not asked for.
type Sealing struct {
	// Passphrase is asked at most once in an Open or Reseal. Its result is wiped.
	Passphrase func() ([]byte, error)
	// KeyFile is a file outside of the store, at best on another medium, with one
	// line that [CreateKeyFile] made.
	KeyFile string
}

// Kinds of sealing in a slot of the root file.
const (
	sealedNone       = 0
	sealedPassphrase = 1
	sealedKeyFile    = 2
)

var sealingNames = [...]string{"none", "passphrase", "key file"}

const (
	sealerIDSize = 8
	// sealFile || hex of the sealer's id holds the sealing key, encrypted with
	// the passphrase by age (scrypt): the slow derivation is done once for each
	// Open, not for each root key.
	sealFile   = "seal-"
	keyFileTag = "dmls-key-1 "
)

// sealer seals root keys.
//
//	struct { opaque id[8]; opaque nonce[24]; opaque sealed[48]; } SealedKey;
type sealer struct {
	kind uint16
	id   [sealerIDSize]byte
	key  secret
}

func sealedSize(kind uint16) int {
	if kind == sealedNone {
		return len(secret{})
	}
	return sealerIDSize + 24 + len(secret{}) + 16
}

func (e *sealer) aad(gen uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte("dmls store root "), gen)
	return append(binary.BigEndian.AppendUint16(b, e.kind), e.id[:]...)
}

// slot puts a root key into a slot.
func (e *sealer) slot(gen uint64, k *secret) slot {
	s := slot{gen: gen, sealing: e.kind}
	if e.kind == sealedNone {
		s.key = bytes.Clone(k[:])
		return s
	}
	a := aead(&e.key)
	s.key = make([]byte, sealerIDSize+a.NonceSize(), sealedSize(e.kind))
	copy(s.key, e.id[:])
	nonce := s.key[sealerIDSize:]
	rand.Read(nonce) // never fails (crypto/rand)
	s.key = a.Seal(s.key, nonce, k[:], e.aad(gen))
	return s
}

func (e *sealer) open(s slot) (secret, error) {
	if e.kind == sealedNone {
		return secret(s.key), nil
	}
	a := aead(&e.key)
	b := s.key[sealerIDSize:]
	k, err := a.Open(nil, b[:a.NonceSize()], b[a.NonceSize():], e.aad(s.gen))
	if err != nil {
		return secret{}, fmt.Errorf("%w: the sealed root key does not open", ErrCorrupt)
	}
	defer clear(k)
	return secret(k), nil
}

// newSealer makes what with asks for and writes its file into dir.
func newSealer(dir string, with Sealing, work int) (*sealer, error) {
	e := &sealer{}
	switch {
	case with.KeyFile != "":
		return keyFileSealer(with.KeyFile)
	case with.Passphrase != nil:
		e.kind = sealedPassphrase
		rand.Read(e.id[:])
		rand.Read(e.key[:])
		return e, e.save(dir, with.Passphrase, work)
	}
	return e, nil
}

// sealerOf finds what opens a slot.
func sealerOf(dir string, s slot, with Sealing) (*sealer, error) {
	if s.sealing == sealedNone {
		return &sealer{}, nil
	}
	id := [sealerIDSize]byte(s.key)
	if s.sealing == sealedKeyFile {
		if with.KeyFile == "" {
			return nil, fmt.Errorf("%w with a key file", ErrSealed)
		}
		e, err := keyFileSealer(with.KeyFile)
		if err == nil && e.id != id {
			err = fmt.Errorf("%w: %s does not belong to this store", ErrWrongKey, with.KeyFile)
		}
		return e, err
	}
	if with.Passphrase == nil {
		return nil, fmt.Errorf("%w with a passphrase", ErrSealed)
	}
	return loadSealer(dir, id, with.Passphrase)
}

func (e *sealer) path(dir string) string {
	return filepath.Join(dir, sealFile+hex.EncodeToString(e.id[:]))
}

func (e *sealer) save(dir string, ask func() ([]byte, error), work int) error {
	pass, err := ask()
	defer clear(pass)
	if err != nil {
		return fmt.Errorf("store: asking for the passphrase: %w", err)
	}
	r, err := age.NewScryptRecipient(string(pass))
	if err != nil {
		return fmt.Errorf("%w: the passphrase is empty", ErrWrongKey)
	}
	if work > 0 {
		r.SetWorkFactor(work)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, r)
	if err == nil {
		_, err = w.Write(e.key[:])
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return fmt.Errorf("store: sealing with the passphrase: %w", err)
	}
	return writeNew(e.path(dir), sealed.Bytes())
}

func loadSealer(dir string, id [sealerIDSize]byte, ask func() ([]byte, error)) (*sealer, error) {
	e := &sealer{kind: sealedPassphrase, id: id}
	sealed, err := os.ReadFile(e.path(dir))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRootMismatch, err)
	}
	pass, err := ask()
	defer clear(pass)
	if err != nil {
		return nil, fmt.Errorf("store: asking for the passphrase: %w", err)
	}
	identity, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		return nil, fmt.Errorf("%w: the passphrase is empty", ErrWrongKey)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identity)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("%w: the passphrase is not the right one", ErrWrongKey)
	}
	if err == nil {
		_, err = io.ReadFull(r, e.key[:])
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrCorrupt, filepath.Base(e.path(dir)), firstLine(err.Error()))
	}
	return e, nil
}

// dropSealers removes the files of sealers other than keep, which a change of
// sealing has left.
func dropSealers(dir string, keep *sealer) error {
	paths, err := filepath.Glob(filepath.Join(dir, sealFile+"*"))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	for _, p := range paths {
		if keep.kind == sealedPassphrase && p == keep.path(dir) {
			continue
		}
		if err := shred(p); err != nil {
			return err
		}
	}
	return nil
}

// CreateKeyFile writes a new key for [Sealing].KeyFile, mode 0600. It refuses
// to replace a file.
func CreateKeyFile(path string) error {
	var k secret
	rand.Read(k[:])
	defer k.wipe()
	line := append(hex.AppendEncode([]byte(keyFileTag), k[:]), '\n')
	defer clear(line)
	return writeNew(path, line)
}

func keyFileSealer(path string) (*sealer, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w with a key file: %s is not there", ErrSealed, path)
	}
	if err != nil {
		return nil, fmt.Errorf("store: reading the key file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1024))
	defer clear(b)
	if err != nil {
		return nil, fmt.Errorf("store: reading the key file: %w", err)
	}
	line, ok := strings.CutPrefix(strings.TrimSpace(string(b)), keyFileTag)
	var k secret
	if n, err := hex.Decode(k[:], []byte(line[:min(len(line), 64)])); !ok || err != nil || n != len(k) || len(line) != 64 {
		return nil, fmt.Errorf("%w: %s is not a key file of dmls", ErrWrongKey, path)
	}
	defer k.wipe()
	id := k.derive("dmls store key file id ", 0)
	return &sealer{kind: sealedKeyFile, id: [sealerIDSize]byte(id[:]), key: k.derive("dmls store key file ", 0)}, nil
}

// writeNew writes a small file and makes it durable, or leaves none.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("store: writing %s: %w", path, err), os.Remove(path))
	}
	return syncDir(filepath.Dir(path))
}

// shred overwrites a file in place and removes it.
func shred(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	fi, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, fi.Size()), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("store: destroying %s: %w", path, err)
	}
	return nil
}
