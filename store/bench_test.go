package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/store"
)

// docs/storage.md tells what these measure. Each price of forgetting stands
// beside badger alone: same options, same records, synced, nothing encrypted
// and nothing erased, in the same run.

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// bench is what both sides of a comparison can do.
type bench interface {
	Commit(ctx context.Context, ops []group.Op) error
	Close() error
}

type plain struct{ db *badger.DB }

func (p plain) Commit(_ context.Context, ops []group.Op) error {
	for len(ops) > 0 {
		n := min(len(ops), 1000)
		txn := p.db.NewTransaction(true)
		for _, op := range ops[:n] {
			err := txn.Set([]byte(op.Key), op.Value)
			if op.Value == nil {
				err = txn.Delete([]byte(op.Key))
			}
			if err != nil {
				return err
			}
		}
		if err := txn.Commit(); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}

func (p plain) Close() error { return p.db.Close() }

func openPlain(b *testing.B, dir string) bench {
	b.Helper()
	db, err := badger.Open(badger.DefaultOptions(dir).WithSyncWrites(true).WithLogger(nil).WithMetricsEnabled(false).
		WithDetectConflicts(false).WithCompression(options.None).WithBlockCacheSize(0).WithMemTableSize(8 << 20).
		WithNumMemtables(2).WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(8).WithNumCompactors(2).
		WithNumGoroutines(1).WithValueThreshold(1 << 20).WithValueLogFileSize(1 << 20))
	must(b, err)
	return plain{db}
}

func openBench(b *testing.B, dir string, interval time.Duration) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), store.Options{Dir: dir, EraseInterval: interval})
	must(b, err)
	return s
}

// sides are what is compared.
var sides = []struct {
	name string
	open func(b *testing.B, dir string) bench
}{
	{"badger", openPlain},
	{"interval1s", func(b *testing.B, dir string) bench { return openBench(b, dir, time.Second) }},
	{"eraseNow", func(b *testing.B, dir string) bench { return openBench(b, dir, store.EraseNow) }},
}

// records are n values of 512 bytes from number first on.
func records(first, n int) []group.Op {
	ops := make([]group.Op, n)
	for i := range ops {
		ops[i] = group.Op{Key: fmt.Sprintf("g/%07d", first+i), Value: make([]byte, 512), Class: group.Secret}
		rand.Read(ops[i].Value)
	}
	return ops
}

// written is what this process has had written to disks, in bytes; 0 where the
// system does not tell.
func written() int {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			n, _ := strconv.Atoi(string(bytes.TrimSpace(v)))
			return n
		}
	}
	return 0
}

// measure adds bytes written per round to a benchmark.
func measure(b *testing.B, erased int, f func()) {
	before := written()
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(written()-before)/float64(b.N)/1024, "KiB/op")
	if erased > 0 {
		b.ReportMetric(float64(erased)*float64(b.N)/b.Elapsed().Seconds(), "erased/s")
	}
}

// BenchmarkRatchet is one received message: a ratchet is overwritten, a line of
// the log added.
func BenchmarkRatchet(b *testing.B) {
	for _, side := range sides {
		b.Run(side.name, func(b *testing.B) {
			s := side.open(b, filepath.Join(b.TempDir(), "home"))
			must(b, s.Commit(b.Context(), records(0, 10_000)))
			n := 0
			measure(b, 1, func() {
				n++
				ops := records(0, 1)
				must(b, s.Commit(b.Context(), append(ops, group.Op{Key: fmt.Sprintf("h/%d", n), Value: make([]byte, 200), Class: group.History})))
			})
			must(b, s.Close())
		})
	}
}

// BenchmarkErase overwrites n records in one batch, of 10,000 that are there,
// scattered.
func BenchmarkErase(b *testing.B) {
	const all = 10_000
	for _, n := range []int{1, 16, 256} {
		for _, side := range sides {
			b.Run(fmt.Sprintf("%d/%s", n, side.name), func(b *testing.B) {
				s := side.open(b, filepath.Join(b.TempDir(), "home"))
				must(b, s.Commit(b.Context(), records(0, all)))
				at := 0
				measure(b, n, func() {
					ops := records(0, n)
					for i := range ops {
						ops[i].Key = fmt.Sprintf("g/%07d", (at+i*(all/n))%all)
					}
					at += 37
					must(b, s.Commit(b.Context(), ops))
				})
				must(b, s.Close())
			})
		}
	}
}

// BenchmarkLoad loads what 10 groups of 1,000 members, and one of 100,000, may
// have: three records a member.
func BenchmarkLoad(b *testing.B) {
	for _, c := range []struct{ groups, members int }{{10, 1000}, {1, 100_000}} {
		b.Run(fmt.Sprintf("%dx%d", c.groups, c.members), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "home")
			s := openBench(b, dir, time.Second)
			ops := make([]group.Op, 0, 3*c.groups*c.members)
			for g := range c.groups {
				for m := range c.members {
					for i := range 3 {
						ops = append(ops, group.Op{Key: fmt.Sprintf("g/%02d/%06d/%d", g, m, i), Value: make([]byte, 150), Class: group.Class(1 + i)})
					}
				}
			}
			must(b, s.Commit(b.Context(), ops))
			must(b, s.Close())
			for b.Loop() {
				s := openBench(b, dir, time.Second)
				n := 0
				for _, err := range s.Load(b.Context(), "g/") {
					must(b, err)
					n++
				}
				if n != len(ops) {
					b.Fatal(n)
				}
				must(b, s.Close())
			}
		})
	}
}

// BenchmarkDisk is the size on the disk during and after 10,000 batches, each of
// which adds 4 records, overwrites a ratchet and deletes 4 records that are 400
// batches old, while badger compacts. No value reaches its value log, so there is
// nothing for the garbage collection of that to do; the benchmark looks.
func BenchmarkDisk(b *testing.B) {
	for _, side := range sides {
		b.Run(side.name, func(b *testing.B) {
			for b.Loop() {
				dir := filepath.Join(b.TempDir(), "home")
				s := side.open(b, dir)
				peak := 0
				for n := range 10_000 {
					ops := records(4*n, 4)
					ops = append(ops, group.Op{Key: "g/ratchet", Value: ops[0].Value[:100], Class: group.Secret})
					if n >= 400 {
						for i := range 4 {
							ops = append(ops, group.Op{Key: fmt.Sprintf("g/%07d", 4*(n-400)+i)})
						}
					}
					must(b, s.Commit(b.Context(), ops))
					if n%100 == 99 {
						all, _ := sizes(b, dir)
						peak = max(peak, all)
					}
				}
				must(b, s.Close())
				all, vlog := sizes(b, dir)
				b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
				b.ReportMetric(float64(all)/(1<<20), "MiB")
				if vlog > 4096 {
					b.Errorf("the value log has %d bytes", vlog)
				}
			}
		})
	}
}

// sizes are the bytes of all files, without what is set aside for later.
func sizes(b *testing.B, dir string) (all, vlog int) {
	must(b, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "reserve" || d.Name() == "DISCARD" {
			return nil // or deleted meanwhile
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		size := int(fi.Size())
		if filepath.Ext(path) == ".mem" {
			whole, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			size = len(bytes.TrimRight(whole, "\x00"))
		}
		if all += size; filepath.Ext(path) == ".vlog" {
			vlog += size
		}
		return nil
	}))
	return all, vlog
}
