package mls_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dmlsd/dmls/internal/floor"
	"github.com/dmlsd/dmls/internal/synth"
	"github.com/dmlsd/dmls/mls"
)

// The benchmarks of the whole protocol, over the size of the group. From
// n=100000 the metric x-floor is the median divided by what the primitives
// alone would take, timed in the same process (BenchmarkFloor). Large groups
// are synthetic (internal/synth): made in seconds, kept in memory.

var floors = sync.OnceValue(floor.Measure)

var crowds = map[string]*synth.Crowd{}

// crowd gives a group of n. What a benchmark does to it is staged only, or
// leaves it equal in kind.
func crowd(b *testing.B, n int, schedule mls.KeySchedule) *synth.Crowd {
	b.Helper()
	key := fmt.Sprint(n, schedule)
	if crowds[key] == nil {
		c, err := synth.NewCrowd(n, schedule, true)
		if err != nil {
			b.Fatal(err)
		}
		crowds[key] = c
	}
	return crowds[key]
}

// sizes runs a benchmark on all sizes up to most.
func sizes(b *testing.B, most int, f func(b *testing.B, n int)) {
	for _, n := range []int{10, 100, 1000, 10_000, 100_000} {
		if n <= most {
			b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) { f(b, n) })
		}
	}
}

// measure reports the median of f and, given a floor, the multiple of it.
// Something may be done before each round, off the clock.
func measure(b *testing.B, least time.Duration, f func(), before ...func()) time.Duration {
	b.Helper()
	b.ReportAllocs()
	samples := make([]time.Duration, 0, b.N)
	runtime.GC()
	b.ResetTimer()
	for range b.N {
		for _, g := range before {
			b.StopTimer()
			g()
			b.StartTimer()
		}
		start := time.Now()
		f()
		samples = append(samples, time.Since(start))
	}
	b.StopTimer()
	slices.Sort(samples)
	median := samples[len(samples)/2]
	b.ReportMetric(float64(median), "median-ns")
	if least > 0 {
		b.ReportMetric(float64(median)/float64(least), "x-floor")
	}
	return median
}

// least gives a floor from the size on at which it is reported.
func least(size, n int, f func(floor.Primitives) time.Duration) time.Duration {
	if n < size {
		return 0
	}
	return f(floors())
}

const levels = 17 // of a path in a group of 100,000

// BenchmarkFloor reports the primitives and the floors in nanoseconds.
func BenchmarkFloor(b *testing.B) {
	p := floors()
	for b.Loop() {
		runtime.KeepAlive(p)
	}
	for name, d := range map[string]time.Duration{
		"x25519-public": p.X25519Public, "x25519-shared": p.X25519Shared, "extract": p.Extract, "expand": p.Expand,
		"hmac": p.HMAC, "sha256": p.SHA256, "sign": p.Sign, "verify": p.Verify, "hpke-seal": p.HPKESeal(), "hpke-open": p.HPKEOpen(),
		"commit": p.Commit(levels), "process": p.Process(levels, 1), "process-worst": p.Process(levels, levels),
		"join": p.Join(100_000, runtime.GOMAXPROCS(0)), "build-10000": p.Build(10_000), "protect": p.Protect(), "open": p.Open(), "eval": p.Eval(),
	} {
		b.ReportMetric(float64(d), name+"-ns")
	}
}

// BenchmarkCommit: leaf 0 makes an empty commit with a full path and applies
// it. One core.
func BenchmarkCommit(b *testing.B) {
	sizes(b, 100_000, func(b *testing.B, n int) {
		m := crowd(b, n, mls.RFC9420).First
		chain := newChain(b, m)
		measure(b, least(100_000, n, func(p floor.Primitives) time.Duration { return p.Commit(levels) }), func() {
			b.ReportMetric(float64(len(chain.commit())), "frame-B")
		})
	})
}

// chain is a member who goes from epoch to epoch, on one core, and leaves the
// crowd where it is.
type chain struct {
	b      *testing.B
	at     *mls.Epoch
	start  *mls.Epoch // the crowd's
	signer mls.Signer
	env    mls.Env
}

func newChain(b *testing.B, m *synth.Member) *chain {
	c := &chain{b: b, at: m.Epoch, start: m.Epoch, signer: m.Signer, env: m.Env}
	c.env.Parallel = nil
	return c
}

// commit commits and goes to the child.
func (c *chain) commit() []byte {
	staged, err := c.at.Commit(mls.CommitRequest{}, c.signer, c.env)
	if err != nil {
		c.b.Fatal(err)
	}
	c.follow(staged.Child, staged.Delta)
	return staged.Message
}

// process opens a commit and goes to the child.
func (c *chain) process(frame []byte) {
	message, err := mls.ParsePrivateMessage(frame)
	if err != nil {
		c.b.Fatal(err)
	}
	opened, err := c.at.Open(message, mls.OpenOptions{Env: c.env})
	if err != nil {
		c.b.Fatal(err)
	}
	c.follow(opened.Commit.Child, opened.Delta)
}

// follow applies the delta. The crowd's own epoch is left as it is.
func (c *chain) follow(child *mls.Epoch, delta mls.Delta) {
	if c.at != c.start {
		if err := c.at.Apply(delta); err != nil {
			c.b.Fatal(err)
		}
		c.at.Wipe()
	} else {
		delta.Wipe()
	}
	c.at = child
}

// BenchmarkProcess: the commit is received, by the member whose lowest common
// ancestor with the author is the root and by its neighbour.
func BenchmarkProcess(b *testing.B) {
	b.Run("root", func(b *testing.B) {
		benchmarkProcess(b, mls.RFC9420, 0, func(c *synth.Crowd) *synth.Member { return c.Far }, 1)
	})
	b.Run("worst", func(b *testing.B) {
		benchmarkProcess(b, mls.RFC9420, 0, func(c *synth.Crowd) *synth.Member { return c.Second }, levels)
	})
}

// BenchmarkProcessDMLS adds one evaluation of the PPRF.
func BenchmarkProcessDMLS(b *testing.B) {
	benchmarkProcess(b, mls.DMLS, 1, func(c *synth.Crowd) *synth.Member { return c.Far }, 1)
}

func benchmarkProcess(b *testing.B, schedule mls.KeySchedule, evals int, who func(*synth.Crowd) *synth.Member, derived int) {
	sizes(b, 100_000, func(b *testing.B, n int) {
		c := crowd(b, n, schedule)
		author, reader := newChain(b, c.First), newChain(b, who(c))
		var frames [][]byte
		for range b.N {
			frames = append(frames, author.commit())
		}
		measure(b, least(100_000, n, func(p floor.Primitives) time.Duration {
			return p.Process(levels, derived) + time.Duration(evals)*p.Eval()
		}), func() {
			reader.process(frames[0])
			frames = frames[1:]
		})
	})
}

// BenchmarkJoin: Welcome and ratchet tree, every signature and parent hash
// verified, on all cores. The floor is timed before each round: x-floor is the
// multiple of n times the median verification on one core, divided by the cores;
// x-busy that of n verifications as all cores together do 10,000 of them. heap-B
// is what the group then occupies.
func BenchmarkJoin(b *testing.B) {
	sizes(b, 100_000, func(b *testing.B, n int) {
		c := crowd(b, n, mls.RFC9420)
		// Joining leaves the bundle as it is, so it can be done again.
		join := func() *mls.Epoch {
			e, _, err := mls.Join(c.Group.Welcome, c.Group.Tree, c.First.Bundle,
				mls.JoinOptions{KeySchedule: c.Schedule, Signer: c.First.Signer}, c.First.Env)
			if err != nil {
				b.Fatal(err)
			}
			return e
		}
		cores := runtime.GOMAXPROCS(0)
		if n < 100_000 {
			measure(b, 0, func() { join().Wipe() })
		} else {
			var alone, busy []time.Duration
			median := measure(b, 0, func() { join().Wipe() }, func() {
				alone, busy = append(alone, floor.Verify()), append(busy, floor.VerifyOn(cores, 10_000))
			})
			slices.Sort(alone)
			slices.Sort(busy)
			each := float64(median) / float64(n)
			b.ReportMetric(each*float64(cores)/float64(alone[len(alone)/2]), "x-floor")
			b.ReportMetric(each/float64(busy[len(busy)/2]), "x-busy")
		}
		before := heap()
		e := join()
		b.ReportMetric(float64(heap()-before), "heap-B")
		runtime.KeepAlive(e)
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkBuildGroup: one commit that adds n-1 members, with its Welcome.
func BenchmarkBuildGroup(b *testing.B) {
	sizes(b, 10_000, func(b *testing.B, n int) {
		var adds []mls.Proposal
		var founder *synth.Member
		for i := range n {
			m, err := synth.NewMember(n, i)
			if err != nil {
				b.Fatal(err)
			}
			if i == 0 {
				founder = m
				continue
			}
			adds = append(adds, &mls.Add{KeyPackage: *m.Bundle.KeyPackage})
		}
		measure(b, least(10_000, n, func(p floor.Primitives) time.Duration { return p.Build(n) }), func() {
			e, err := mls.Create(mls.GroupConfig{Suite: testSuite, GroupID: []byte("built"), KeySchedule: mls.DMLS,
				Leaf: mls.KeyPackageOptions{Credential: mls.BasicCredential([]byte("founder")),
					Lifetime: mls.Lifetime{NotAfter: 1 << 40}}}, founder.Signer, founder.Env)
			if err != nil {
				b.Fatal(err)
			}
			c, err := e.Commit(mls.CommitRequest{Proposals: adds}, founder.Signer, founder.Env)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.Welcome(nil, true, founder.Signer, founder.Env); err != nil {
				b.Fatal(err)
			}
			if got := c.Child.Tree().MemberCount(); int(got) != n {
				b.Fatalf("%d members", got)
			}
			c.Wipe()
		})
	})
}

const testSuite = mls.MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519

// BenchmarkProtect: an application message of 1 KiB.
func BenchmarkProtect(b *testing.B) {
	text := make([]byte, 1024)
	sizes(b, 100_000, func(b *testing.B, n int) {
		m := crowd(b, n, mls.RFC9420).First
		measure(b, least(100_000, n, floor.Primitives.Protect), func() {
			message, delta, err := m.Epoch.Protect(text, nil, m.Signer, m.Env)
			if err != nil {
				b.Fatal(err)
			}
			if err := m.Epoch.Apply(delta); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(len(message)), "frame-B")
		})
	})
}

// BenchmarkOpen: the same, received in order.
func BenchmarkOpen(b *testing.B) {
	text := make([]byte, 1024)
	sizes(b, 100_000, func(b *testing.B, n int) {
		c := crowd(b, n, mls.RFC9420)
		from, to := c.Second, c.Far // nobody else sends as Second
		var sent [][]byte
		for range b.N {
			message, delta, err := from.Epoch.Protect(text, nil, from.Signer, from.Env)
			if err != nil {
				b.Fatal(err)
			}
			if err := from.Epoch.Apply(delta); err != nil {
				b.Fatal(err)
			}
			sent = append(sent, message)
		}
		measure(b, least(100_000, n, floor.Primitives.Open), func() {
			message, err := mls.ParsePrivateMessage(sent[0])
			if err != nil {
				b.Fatal(err)
			}
			opened, err := to.Epoch.Open(message, mls.OpenOptions{Env: to.Env})
			if err != nil {
				b.Fatal(err)
			}
			if err := to.Epoch.Apply(opened.Delta); err != nil {
				b.Fatal(err)
			}
			sent = sent[1:]
		})
	})
}

// BenchmarkRetainEpoch: what one more retained epoch costs on disk (records
// and new tree nodes) and in memory, after one fork was evaluated in it.
func BenchmarkRetainEpoch(b *testing.B) {
	sizes(b, 100_000, func(b *testing.B, n int) {
		c := crowd(b, n, mls.DMLS)
		m := c.Far
		var disk int
		known := map[string]bool{}
		know := func(hash []byte) bool { return known[string(hash)] }
		m.Epoch.Tree().WalkNew(know, func(hash, _ []byte) { known[string(hash)] = true })
		before := heap()
		old := []*mls.Epoch{m.Epoch}
		const epochs = 20
		for range epochs {
			commit, err := m.Epoch.Commit(mls.CommitRequest{}, m.Signer, m.Env)
			if err != nil {
				b.Fatal(err)
			}
			if err := m.Epoch.Apply(commit.Delta); err != nil {
				b.Fatal(err)
			}
			m.Epoch = commit.Child
			commit.Wipe()
			old = append(old, m.Epoch)
		}
		memory := (heap() - before) / epochs
		for b.Loop() {
			disk = 0
			last := old[len(old)-2]
			for _, r := range last.Records() {
				disk += len(r.Key) + len(r.Value)
			}
			last.Tree().WalkNew(know, func(hash, record []byte) { disk += len(hash) + len(record) })
		}
		runtime.KeepAlive(old)
		b.ReportMetric(float64(disk), "B/epoch")
		b.ReportMetric(float64(memory), "heap-B/epoch")
		m.Epoch = old[0]
		delete(crowds, fmt.Sprint(n, mls.DMLS)) // the others did not follow
	})
}
