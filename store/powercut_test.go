package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
)

// A disk keeps what was synced. Of what was written since, a power cut leaves any
// sectors and any names of new files, which is what these tests make of copies of
// a directory at each step of a write. A sector of 512 bytes is written wholly or
// not at all, and a log is only appended to: what is durable is not touched.
const sector = 512

// disk is the files of a store at one step.
type disk struct {
	point string
	files map[string]file
	names []string // of badger's directory that are durable
}

type file struct {
	bytes []byte // without the zeros at its end
	size  int64
}

// diskOf reads the directory until nothing changes meanwhile.
func diskOf(t *testing.T, dir, point string, names []string) disk {
	t.Helper()
	read := func() map[string]file {
		files := map[string]file{}
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() == reserveFile || d.Name() == lockFile {
				return nil
			}
			fi, err := d.Info()
			if err != nil {
				return nil
			}
			if b, err := readSparse(path); err == nil {
				files[path[len(dir)+1:]] = file{b, fi.Size()}
			}
			return nil
		})
		return files
	}
	same := func(a, b file) bool { return a.size == b.size && bytes.Equal(a.bytes, b.bytes) }
	for files := read(); ; {
		again := read()
		if maps.EqualFunc(files, again, same) {
			return disk{point, files, slices.Clone(names)}
		}
		files = again
	}
}

// readSparse reads a file up to the zeros at its end, of a log only up to a
// stretch of zeros, for it is appended to.
func readSparse(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b []byte
	for piece := make([]byte, 256<<10); ; {
		n, err := io.ReadFull(f, piece)
		full := bytes.TrimRight(piece[:n], "\x00")
		if b = append(b, piece[:n]...); err != nil || len(full) == 0 && filepath.Ext(path) == ".mem" {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				err = nil
			}
			return bytes.TrimRight(b, "\x00"), err
		}
	}
}

// fresh tells whether a log has a name that may not be durable yet.
func (d disk) fresh() bool {
	for name := range d.files {
		if filepath.Ext(name) == ".mem" && !slices.Contains(d.names, filepath.Base(name)) {
			return true
		}
	}
	return false
}

func (d disk) write(t *testing.T, dir string) {
	t.Helper()
	for name, f := range d.files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, f.bytes, 0o600)
		}
		if err == nil {
			err = os.Truncate(path, f.size)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tails are what a power cut makes of the end of a log that was not synced.
var tails = []struct {
	name string
	cut  func(r *rand.Rand, tail []byte) []byte
}{
	{"lost", func(_ *rand.Rand, tail []byte) []byte { return nil }},
	{"there", func(_ *rand.Rand, tail []byte) []byte { return bytes.Clone(tail) }},
	{"cut off", func(r *rand.Rand, tail []byte) []byte { return bytes.Clone(tail[:r.IntN(len(tail)+1)/sector*sector]) }},
	{"cut in a sector", func(r *rand.Rand, tail []byte) []byte { return bytes.Clone(tail[:r.IntN(len(tail)+1)]) }},
	{"without its beginning", func(r *rand.Rand, tail []byte) []byte {
		return slices.Concat(make([]byte, min(sector, len(tail))), tail[min(sector, len(tail)):])
	}},
	{"with holes", func(r *rand.Rand, tail []byte) []byte {
		tail = bytes.Clone(tail)
		for at := 0; at < len(tail); at += sector {
			if r.IntN(2) == 0 {
				clear(tail[at:min(at+sector, len(tail))])
			}
		}
		return tail
	}},
	{"garbage", func(r *rand.Rand, tail []byte) []byte {
		tail = bytes.Clone(tail)
		for i := r.IntN(len(tail) + 1); i < len(tail); i++ {
			tail[i] = byte(r.Uint32())
		}
		return tail
	}},
}

// cut is what may be on the disk after a power cut on the way from one step to
// the next.
func cut(r *rand.Rand, from, to disk, tail func(*rand.Rand, []byte) []byte, names bool) disk {
	out := disk{to.point, maps.Clone(to.files), nil}
	for name, now := range to.files {
		was, there := from.files[name]
		if filepath.Ext(name) == ".mem" {
			// Sectors that hold something durable stay whole; the rest is the tail.
			// Where a file system has written nothing yet it reads zeros, so the head of
			// a new log, 20 bytes, may be lost but not be garbage.
			keep := min(len(was.bytes), len(now.bytes))
			lost := tail(r, now.bytes[keep:])
			if head := min(20, len(lost)); !there && r.IntN(2) == 0 {
				clear(lost[:head])
			} else if !there {
				copy(lost, now.bytes[:head])
			}
			now.bytes = append(bytes.Clone(now.bytes[:keep]), lost...)
			out.files[name] = now
		}
		if name == markFile && r.IntN(2) == 0 { // never synced
			if out.files[name] = was; !there || r.IntN(3) == 0 {
				delete(out.files, name)
			}
		}
	}
	// The root file is written in the step that ends with "root done" alone.
	if to.point == "root done" && names && r.IntN(2) == 0 {
		was, now := from.files[rootFile], to.files[rootFile]
		b := make([]byte, slotCount*slotStride)
		copy(b, now.bytes)
		for at := 0; at < len(b); at += sector {
			if r.IntN(2) == 0 {
				clear(b[at : at+sector])
				copy(b[at:at+sector], was.bytes[min(at, len(was.bytes)):])
			}
		}
		out.files[rootFile] = file{b, now.size}
	}
	// Names that nobody has synced may be gone: those of logs that were made
	// since. A table is synced before the manifest names it, and ext4, XFS and
	// btrfs keep the name of a new file that is synced.
	if !names {
		for name := range out.files {
			if filepath.Ext(name) == ".mem" && !slices.Contains(from.names, filepath.Base(name)) {
				delete(out.files, name)
			}
		}
	}
	return out
}

// TestPowerCut opens what a power cut leaves at each step of batches and
// erasures: the state is that before the batch or after it, after it if it was
// acknowledged, the root file opens it, and the store goes on.
func TestPowerCut(t *testing.T) {
	for _, c := range []struct {
		name     string
		interval time.Duration
	}{{"before acknowledging", EraseNow}, {"gathered", maxErase}} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 8))
			var s *Store
			var steps []disk
			o := Options{Dir: filepath.Join(swiftDir(t), "home"), EraseInterval: c.interval}
			s = openErase(t, o)
			record := func(point string) error {
				if point != "write" {
					steps = append(steps, diskOf(t, s.dir, point, s.files.names))
				}
				return nil
			}
			model, images, after, fresh, opening := map[string]string{}, 0, 0, 0, 0
			bulk := func(n int) group.Op {
				return group.Op{Key: "g/bulk", Value: bytes.Repeat([]byte{byte(n)}, 240<<10), Class: group.Secret}
			}
			for n := range 80 {
				if n%40 < 28 { // nearly fills a log
					b := []group.Op{bulk(n)}
					if model = applied(model, b); s.Commit(t.Context(), b) != nil {
						t.Fatal("no bulk")
					}
					continue
				}
				b := append(history(r, n), bulk(n))
				next := applied(model, b)
				steps = []disk{diskOf(t, s.dir, "before", s.files.names)}
				s.hook = record
				if err := s.Commit(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				steps = append(steps, diskOf(t, s.dir, "acknowledged", s.files.names))
				acked := len(steps) - 1
				if n%4 == 3 {
					if err := s.Erase(t.Context()); err != nil {
						t.Fatal(err)
					}
					steps = append(steps, diskOf(t, s.dir, "erased", s.files.names))
				}
				s.hook = nil
				for i := 1; i < len(steps); i++ {
					// One of four is enough, but where a log is new.
					news := steps[i].fresh()
					if news {
						fresh++
					} else if r.IntN(4) > 0 {
						continue
					}
					for _, names := range []bool{true, false} {
						if !names && !news {
							continue
						}
						kind := tails[r.IntN(len(tails))]
						left := cut(r, steps[i-1], steps[i], kind.cut, names)
						images++
						got, err := left.holds(t, o, model, next, i > acked)
						if err != nil {
							t.Fatalf("batch %d, between %q and %q, the tail of the log %s, names %v: %v", n, steps[i-1].point, steps[i].point, kind.name, names, err)
						}
						after += got
					}
				}
				model = next
				if n%40 < 38 {
					continue
				}
				// While the store is opened nothing is new but a generation.
				shutInside(t, s)
				steps = []disk{diskOf(t, o.Dir, "closed", nil)}
				again := o
				again.hook = func(point string) error {
					if point != "write" {
						steps = append(steps, diskOf(t, o.Dir, point, nil))
					}
					return nil
				}
				s = openErase(t, again)
				s.hook = nil
				for i := 1; i < len(steps); i++ {
					kind := tails[r.IntN(len(tails))]
					images++
					if _, err := cut(r, steps[i-1], steps[i], kind.cut, true).holds(t, o, model, model, true); err != nil {
						t.Fatalf("batch %d, opening, between %q and %q, the tail of the log %s: %v", n, steps[i-1].point, steps[i].point, kind.name, err)
					}
					opening++
				}
			}
			t.Logf("%d images of the disk, %d with the batch, %d with a log of no durable name, %d while it was opened", images, after, fresh, opening)
			if fresh < 2 || opening < 8 || after < 8 || images-opening-after < 4 {
				t.Error("too few states were tried")
			}
		})
	}
}

func applied(model map[string]string, ops []group.Op) map[string]string {
	next := maps.Clone(model)
	for _, op := range ops {
		if delete(next, op.Key); op.Value != nil {
			next[op.Key] = string(op.Value)
		}
	}
	return next
}

// swiftDir is a directory in memory, if there is room: what is opened there is
// on no disk that could lose it.
func swiftDir(t *testing.T) string {
	t.Helper()
	const shm = "/dev/shm"
	if free, err := freeBytes(shm); err == nil && free > 512<<20 {
		if dir, err := os.MkdirTemp(shm, "dmls-test-"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

// holds opens a store on a disk and tells whether it is in the state after.
func (d disk) holds(t *testing.T, o Options, before, after map[string]string, mustAfter bool) (int, error) {
	t.Helper()
	dir := swiftDir(t)
	defer os.RemoveAll(dir)
	o.Dir = filepath.Join(dir, "home")
	d.write(t, o.Dir)
	s, err := Open(t.Context(), o)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	is, state := 1, after
	if err := holdsModel(s, after); err != nil {
		if mustAfter {
			return 0, fmt.Errorf("the batch was acknowledged: %w", err)
		}
		is, state = 0, before
		if old := holdsModel(s, before); old != nil {
			return 0, fmt.Errorf("neither before (%w) nor after (%w)", old, err)
		}
	}
	// It goes on, and what it writes now stays.
	more := []group.Op{{Key: "g/more", Value: []byte("more"), Class: group.Secret}, {Key: "g/ratchet", Value: []byte("next"), Class: group.Secret}}
	if err := s.Commit(t.Context(), more); err != nil {
		return 0, err
	}
	if err := s.Close(); err != nil {
		return 0, err
	}
	if s, err = Open(t.Context(), o); err != nil {
		return 0, err
	}
	defer s.Close()
	return is, holdsModel(s, applied(state, more))
}

// TestLyingDisk loses what was synced: the ends of logs with acknowledged
// batches, at times together with the mark. The store refuses, or where nothing
// tells, is in a state that it once was in.
func TestLyingDisk(t *testing.T) {
	for _, c := range []struct {
		name     string
		interval time.Duration
	}{{"before acknowledging", EraseNow}, {"gathered", maxErase}} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			o := Options{Dir: filepath.Join(swiftDir(t), "home"), EraseInterval: c.interval}
			s := openErase(t, o)
			var disks []disk
			var models []map[string]string
			model := map[string]string{}
			for n := range 12 {
				b := history(r, n%4) // no journal
				model = applied(model, b)
				if err := s.Commit(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				disks, models = append(disks, diskOf(t, s.dir, "acknowledged", s.files.names)), append(models, model)
			}
			refused, earlier := 0, 0
			for lost := 1; lost < len(disks); lost++ {
				for _, withMark := range []bool{true, false} {
					now, was := disks[len(disks)-1], disks[len(disks)-1-lost]
					d := disk{files: maps.Clone(now.files)}
					for name := range now.files {
						if filepath.Ext(name) == ".mem" {
							d.files[name] = was.files[name]
						}
					}
					if !withMark {
						delete(d.files, markFile)
					}
					at := o
					at.Dir = filepath.Join(swiftDir(t), "home")
					d.write(t, at.Dir)
					s, err := Open(t.Context(), at)
					switch {
					case errors.Is(err, ErrCorrupt) || errors.Is(err, ErrRootMismatch):
						refused++
						continue
					case err != nil:
						t.Fatalf("%d batches lost: %v", lost, err)
					case withMark:
						t.Fatalf("%d batches lost, and nothing said", lost)
					}
					if err := holdsModel(s, models[len(models)-1-lost]); err != nil {
						t.Fatalf("%d batches lost: %v", lost, err)
					}
					earlier++
					shutInside(t, s)
				}
			}
			t.Logf("%d refused, %d in an earlier state", refused, earlier)
			if refused < len(disks)-1 || c.interval == EraseNow && earlier > 0 {
				t.Error("a loss was overlooked")
			}
		})
	}
}
