package store

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// badgerOptions are those of many small stores in one process: no caches (the
// tables are mapped and not compressed), small memtables, as few goroutines as
// badger allows.
func badgerOptions(dir string, l badger.Logger, o *Options) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithLogger(l).
		WithMetricsEnabled(false).
		WithDetectConflicts(false). // commits are serial
		WithNumVersionsToKeep(1).
		WithCompression(options.None). // most values are ciphertext
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithMemTableSize(o.MemTableBytes).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(8).
		WithNumCompactors(2).
		WithNumGoroutines(1).
		WithValueThreshold(1 << 20). // its maximum; pieces are smaller
		WithValueLogFileSize(1 << 20).
		WithChecksumVerificationMode(options.OnBlockRead)
}

// guard turns a panic of badger, or a fault in one of its memory maps, into
// ErrCorrupt. It reaches only what runs in the calling goroutine; files are
// therefore verified before badger's own goroutines see them.
func guard(doing string, f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: badger gave up while %s: %s", ErrCorrupt, doing, firstLine(fmt.Sprint(r)))
		}
	}()
	return f()
}

func firstLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i]
	}
	return s[:min(len(s), 200)]
}
