package store

import (
	"fmt"
	"log/slog"
	"time"
)

// Options of [Open]. A zero field takes its default.
type Options struct {
	// Dir is created with mode 0700 if absent; its parent must exist.
	Dir string
	// Logger hears badger at level debug and trouble that does not fail a call
	// at level warn. It never hears keys or values. Default: silence.
	Logger *slog.Logger
	// MinFreeBytes is the watermark: no batch is begun that would leave less
	// free space, and no store is opened where less than half of it is free.
	// Badger writes through memory maps, and a full disk kills the
	// process with SIGBUS; so the watermark must hold what badger may write on
	// its own: its memtables and one compaction. 0 is 64 MiB; 16 MiB at least.
	MinFreeBytes uint64
	// ReserveBytes is the size of the file that is given up when a batch meets
	// the watermark, so that deletions and a clean end remain possible.
	// 64 KiB to 8 MiB; 0 is 1 MiB.
	ReserveBytes int64
	// MemTableBytes is the size of one memtable of badger; there are up to 3.
	// A batch of more than an eighth of it takes the journal. 8 to 64 MiB; 0
	// is 8 MiB.
	MemTableBytes int64
	// VerifyBytes bounds the tables whose every block is verified when the store
	// opens, newest first, at about 1 GiB/s; of the rest only the index is. 0 is
	// 1 GiB.
	VerifyBytes int64
	// EraseInterval is the longest time between the acknowledgement of a batch
	// and the erasure of what it deleted or overwrote, in a store that is not
	// overloaded: erasures gather. They survive a crash, the next Open carries
	// them out. Negative: before the batch is acknowledged. 0 is 1 s; at most 1 h.
	EraseInterval time.Duration
	// Sealing of the root key.
	Sealing Sealing

	free func(dir string) (uint64, error) // of tests
	hook func(point string) error         // of tests: called at each step of a write
	draw func(what drawn, k *secret)      // of tests: in the place of crypto/rand
	work int                              // of tests: scrypt's work factor, log2
}

// EraseNow is the [Options].EraseInterval that erases before acknowledging.
const EraseNow time.Duration = -1

const (
	minFree         = 16 << 20
	defaultFree     = 64 << 20
	minReserve      = 64 << 10
	maxReserve      = 8 << 20
	defaultReserve  = 1 << 20
	minMemTable     = 8 << 20
	maxMemTable     = 64 << 20
	defaultMemTable = 8 << 20
	defaultVerify   = 1 << 30
	defaultErase    = time.Second
	maxErase        = time.Hour
)

// DefaultMinFree is the watermark of stores whose options name none.
const DefaultMinFree = defaultFree

// FreeSpace is what may still be written below dir, in bytes.
func FreeSpace(dir string) (uint64, error) { return freeBytes(dir) }

// Validate fills in defaults and checks bounds.
func (o *Options) Validate() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MinFreeBytes == 0 {
		o.MinFreeBytes = defaultFree
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = defaultReserve
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTable
	}
	if o.VerifyBytes == 0 {
		o.VerifyBytes = defaultVerify
	}
	if o.EraseInterval == 0 {
		o.EraseInterval = defaultErase
	}
	switch {
	case o.EraseInterval > maxErase:
		return fmt.Errorf("%w: EraseInterval is %v, at most %v", ErrOptions, o.EraseInterval, maxErase)
	case o.Sealing.KeyFile != "" && o.Sealing.Passphrase != nil:
		return fmt.Errorf("%w: Sealing is a passphrase or a key file, not both", ErrOptions)
	case o.Dir == "":
		return fmt.Errorf("%w: Dir is empty", ErrOptions)
	case o.MinFreeBytes < minFree:
		return fmt.Errorf("%w: MinFreeBytes is %d, at least %d", ErrOptions, o.MinFreeBytes, minFree)
	case o.ReserveBytes < minReserve || o.ReserveBytes > maxReserve:
		return fmt.Errorf("%w: ReserveBytes is %d, of %d to %d", ErrOptions, o.ReserveBytes, minReserve, maxReserve)
	case o.MemTableBytes < minMemTable || o.MemTableBytes > maxMemTable:
		return fmt.Errorf("%w: MemTableBytes is %d, of %d to %d", ErrOptions, o.MemTableBytes, minMemTable, maxMemTable)
	case o.VerifyBytes < 0:
		return fmt.Errorf("%w: VerifyBytes is negative", ErrOptions)
	}
	return nil
}
