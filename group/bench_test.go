package group_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/internal/synth"
	"github.com/dmlsd/dmls/mls"
	"github.com/dmlsd/dmls/store"
)

// duo is two devices in a group of n in which all others are silent.
type duo struct {
	b          *testing.B
	first, far *group.Group
	env        group.Env
}

func newDuo(b *testing.B, n int, c group.Config) *duo {
	b.Helper()
	first, far, _, env, err := group.Crowd(n, c)
	if err != nil {
		b.Fatal(err)
	}
	p := &duo{b, first, far, env}
	// Who joined knows the path from the common ancestor with its adder up.
	p.receive(p.first, p.step(p.far, group.Change{Update: true}))
	p.receive(p.far, p.step(p.first, group.Change{Update: true}))
	return p
}

func (p *duo) step(g *group.Group, in group.Input) group.Output {
	p.b.Helper()
	out, err := g.Step(p.env, in)
	if err != nil {
		p.b.Fatal(err)
	}
	return out
}

func (p *duo) receive(g *group.Group, sent group.Output) group.Output {
	p.b.Helper()
	for _, block := range sent.Publish {
		out := p.step(g, group.Receive{Blocks: [][]byte{block.Data}})
		if out.Results[0].Verdict != group.Applied {
			p.b.Fatalf("%v: %v", out.Results[0].Verdict, out.Results[0].Reason)
		}
		if len(sent.Publish) == 1 {
			return out
		}
	}
	return group.Output{}
}

// report gives the median of what was measured.
func report(b *testing.B, samples []time.Duration, name string) {
	slices.Sort(samples)
	b.ReportMetric(float64(samples[len(samples)/2]), name)
}

// BenchmarkStepCommit: a commit with a full path is received, by the member
// whose lowest common ancestor with its author is the root. mls opens and
// applies it and no more; step does what the engine does beside that, with
// room for all epochs; capped with one epoch retired in every step, which is
// where a group with silent members ends. store is capped, with the batch made
// durable: step-ns is the engine's part, sync-ns what the disk takes to sync as
// many bytes in a file of their own, right after. memory is store on a file
// system that has no disk to wait for.
func BenchmarkStepCommit(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("n=%d/mls", n), func(b *testing.B) { benchmarkMLS(b, n) })
		b.Run(fmt.Sprintf("n=%d/step", n), func(b *testing.B) { benchmarkStep(b, n, 1<<20, "") })
		b.Run(fmt.Sprintf("n=%d/capped", n), func(b *testing.B) { benchmarkStep(b, n, 8, "") })
		b.Run(fmt.Sprintf("n=%d/memory", n), func(b *testing.B) {
			dir, err := os.MkdirTemp("/dev/shm", "dmls")
			if err != nil {
				b.Skip(err)
			}
			defer os.RemoveAll(dir)
			benchmarkStep(b, n, 8, dir)
		})
		b.Run(fmt.Sprintf("n=%d/store", n), func(b *testing.B) { benchmarkStep(b, n, 8, b.TempDir()) })
	}
}

func benchmarkMLS(b *testing.B, n int) {
	c, err := synth.NewCrowd(n, mls.DMLS, false)
	if err != nil {
		b.Fatal(err)
	}
	var frames [][]byte
	for range b.N {
		commit, err := c.First.Epoch.Commit(mls.CommitRequest{}, c.First.Signer, mls.Env{Now: synth.Now, Rand: c.First.Env.Rand})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.First.Epoch.Apply(commit.Delta); err != nil {
			b.Fatal(err)
		}
		c.First.Epoch = commit.Child
		frames = append(frames, commit.Message)
	}
	b.ReportAllocs()
	var samples []time.Duration
	b.ResetTimer()
	for _, f := range frames {
		begin := time.Now()
		m, err := mls.ParsePrivateMessage(f)
		if err != nil {
			b.Fatal(err)
		}
		o, err := c.Far.Epoch.Open(m, mls.OpenOptions{Env: mls.Env{Now: synth.Now}})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Far.Epoch.Apply(o.Delta); err != nil {
			b.Fatal(err)
		}
		c.Far.Epoch = o.Commit.Child
		samples = append(samples, time.Since(begin))
	}
	report(b, samples, "median-ns")
}

func benchmarkStep(b *testing.B, n, epochs int, dir string) {
	cfg := group.Sim()
	cfg.MaxEpochs = epochs
	p := newDuo(b, n, cfg)
	var disk *disk
	if dir != "" {
		disk = newDisk(b, dir)
	}
	for range epochs % (1 << 20) { // up to the cap
		p.receive(p.far, p.step(p.first, group.Change{Update: true}))
	}
	var sent []group.Output
	for range b.N {
		sent = append(sent, p.step(p.first, group.Change{Update: true}))
	}
	b.ReportAllocs()
	var steps, all, syncs []time.Duration
	bytes := 0
	b.ResetTimer()
	for _, c := range sent {
		begin := time.Now()
		out := p.receive(p.far, c)
		steps = append(steps, time.Since(begin))
		if disk != nil {
			disk.commit(out.Batch)
		}
		all = append(all, time.Since(begin))
		bytes = 0
		for _, op := range out.Batch {
			bytes += len(op.Key) + len(op.Value)
		}
		if disk != nil {
			syncs = append(syncs, disk.sync(bytes))
		}
	}
	report(b, all, "median-ns")
	if disk != nil {
		report(b, steps, "step-ns")
		report(b, syncs, "sync-ns")
	}
	b.ReportMetric(float64(bytes), "batch-B")
}

// disk is a store and, beside it, a file.
type disk struct {
	b     *testing.B
	store *store.Store
	file  *os.File
}

func newDisk(b *testing.B, dir string) *disk {
	s, err := store.Open(b.Context(), store.Options{Dir: filepath.Join(dir, "home"), EraseInterval: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "beside"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close(); f.Close() })
	return &disk{b, s, f}
}

func (d *disk) commit(ops []group.Op) {
	if err := d.store.Commit(d.b.Context(), ops); err != nil {
		d.b.Fatal(err)
	}
}

// sync times a write and its fsync.
func (d *disk) sync(bytes int) time.Duration {
	begin := time.Now()
	_, err := d.file.Write(make([]byte, bytes))
	if err := errors.Join(err, d.file.Sync()); err != nil {
		d.b.Fatal(err)
	}
	return time.Since(begin)
}
