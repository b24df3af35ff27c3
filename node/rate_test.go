package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/dmlsd/dmls/frame"
	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
	"github.com/dmlsd/dmls/store"
)

// desert is a network without anybody in it.
type desert struct{ published int }

func (*desert) Join(string, frame.PeerKey) error  { return nil }
func (*desert) Leave(string) error                { return nil }
func (d *desert) Publish(string, []byte) error    { d.published++; return nil }
func (*desert) Send(string, string, []byte) error { return nil }
func (*desert) Peers(string) []string             { return nil }
func (*desert) Self() string                      { return "b" }
func (*desert) Addrs() []string                   { return nil }
func (*desert) Events(string, []group.Event)      {}
func (*desert) Joined(Ticket, string, error)      {}
func realEnv() group.Env                          { return group.Env{Now: time.Now(), Rand: rand.Reader} }
func fatal(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func realIdentity(tb testing.TB, name string) group.Identity {
	seed := make([]byte, 32)
	rand.Read(seed)
	s, err := mls.NewEd25519Signer(seed)
	fatal(tb, err)
	return group.Identity{Name: name, Signer: s}
}

// arrivals are messages on their way to one device, from groups in which it is,
// in turn. They are all of one epoch of each group.
type arrivals struct {
	id      group.Identity
	records []group.Op // of the receiver
	blocks  []Deliver
}

// talkers founds groups of a talker and the receiver, and lets each talker say
// its part of n messages.
func talkers(tb testing.TB, groups, n int) *arrivals {
	tb.Helper()
	a := &arrivals{id: realIdentity(tb, "b")}
	var from []*group.Group
	for i := range groups {
		g, _, err := group.Create(realEnv(), group.LAN(), realIdentity(tb, fmt.Sprint("a", i)), "ops", group.PolicyOpen)
		fatal(tb, err)
		kp, err := group.NewKeyPackage(realEnv(), a.id)
		fatal(tb, err)
		out, err := g.Step(realEnv(), group.Change{Add: [][]byte{kp.KeyPackage.Marshal()}})
		fatal(tb, err)
		_, joined, err := group.Join(realEnv(), group.LAN(), a.id, out.Welcomes[0].Bundle, kp, nil)
		fatal(tb, err)
		a.records = append(append(a.records, GroupRecord(g.ID())), joined.Batch...)
		from = append(from, g)
	}
	for i := range n {
		g := from[i%groups]
		out, err := g.Step(realEnv(), group.Send{Text: bytes.Repeat([]byte{'a' + byte(i%26)}, 100)})
		fatal(tb, err)
		a.blocks = append(a.blocks, Deliver{Topic: g.Topic(), From: "a", Block: out.Publish[0].Data})
	}
	return a
}

// receiver is a Driver on a real store.
type receiver struct {
	tb     testing.TB
	store  *measured
	driver *Driver
}

// measured counts what is committed.
type measured struct {
	*store.Store
	bytes int
}

func (m *measured) Commit(ctx context.Context, ops []group.Op) error {
	for _, op := range ops {
		m.bytes += len(op.Key) + len(op.Value)
	}
	return m.Store.Commit(ctx, ops)
}

func (a *arrivals) open(tb testing.TB, interval time.Duration) *receiver {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Options{Dir: filepath.Join(tb.TempDir(), "store"), EraseInterval: interval})
	fatal(tb, err)
	fatal(tb, s.Commit(tb.Context(), a.records))
	nobody, m := &desert{}, &measured{Store: s}
	d, err := NewDriver(tb.Context(), DriverConfig{Identity: a.id, Group: group.LAN(), Store: m, Network: nobody, Sink: nobody})
	fatal(tb, err)
	fatal(tb, d.Start(realEnv()))
	return &receiver{tb, m, d}
}

// take is what the loop of a Node does with what has arrived, and with ticks.
func (r *receiver) take(blocks []Deliver) {
	inputs := make([]Input, 0, len(blocks)+1)
	for _, b := range blocks {
		inputs = append(inputs, b)
	}
	if at := r.driver.Wake(); !at.IsZero() && !at.After(time.Now()) {
		inputs = append(inputs, Tick{})
	}
	for i, o := range r.driver.Do(context.Background(), realEnv(), inputs...) {
		if o.Err != nil || i < len(blocks) && o.Results[0].Verdict != group.Applied {
			r.tb.Fatalf("message: %+v", o)
		}
	}
}

// overdue watches how long erasures are pending until stop, and returns the
// longest time.
func (r *receiver) overdue() (stop func() time.Duration) {
	end, worst := make(chan struct{}), make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			if s := r.store.Status(); s.Pending > 0 {
				most = max(most, time.Since(s.PendingSince))
			}
			select {
			case <-end:
				worst <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() time.Duration { close(end); return <-worst }
}

// diskBytes is what this process has had written to disks; 0 where the system
// does not tell.
func diskBytes() int {
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

var intervals = []struct {
	name string
	d    time.Duration
}{{"interval1s", time.Second}, {"eraseNow", store.EraseNow}}

const rateGroups, rateMessages = 10, 10_000

// BenchmarkReceive is how fast a device takes messages that all wait: 10,000 in
// 10 groups, each of which advances a ratchet, in rounds of MaxInputs.
func BenchmarkReceive(b *testing.B) {
	a := talkers(b, rateGroups, rateMessages)
	for _, interval := range intervals {
		b.Run(interval.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				r := a.open(b, interval.d)
				written := diskBytes()
				b.StartTimer()
				begin := time.Now()
				for piece := range slices.Chunk(a.blocks, MaxInputs) {
					r.take(piece)
				}
				took := time.Since(begin)
				b.StopTimer()
				b.ReportMetric(rateMessages/took.Seconds(), "messages/s")
				b.ReportMetric(float64(diskBytes()-written)/rateMessages/1024, "KiB/message")
				fatal(b, r.store.Close())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPaced lets 1,000 messages arrive in each second, evenly, and measures
// how long they take until they are acknowledged, how long what they erase is
// still there, and what is written.
func BenchmarkPaced(b *testing.B) {
	a := talkers(b, rateGroups, rateMessages)
	for _, interval := range intervals {
		b.Run(interval.name, func(b *testing.B) {
			for b.Loop() {
				a.paced(b, interval.d, 1000)
			}
		})
	}
}

func (a *arrivals) paced(b *testing.B, interval time.Duration, rate int) {
	b.StopTimer()
	r := a.open(b, interval)
	written, stop := diskBytes(), r.overdue()
	b.StartTimer()
	begin := time.Now()
	due := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second / time.Duration(rate)) }
	var late []time.Duration
	rounds := 0
	for done := 0; done < len(a.blocks); rounds++ {
		time.Sleep(time.Until(due(done)))
		n := min(int(time.Since(begin)*time.Duration(rate)/time.Second)+1, len(a.blocks), done+MaxInputs)
		r.take(a.blocks[done:n])
		for ; done < n; done++ {
			late = append(late, time.Since(due(done)))
		}
	}
	took := time.Since(begin)
	if interval > 0 { // the last erasures too
		time.Sleep(interval)
	}
	b.StopTimer()
	slices.Sort(late)
	b.ReportMetric(float64(len(a.blocks))/took.Seconds(), "messages/s")
	b.ReportMetric(float64(len(a.blocks))/float64(rounds), "messages/round")
	b.ReportMetric(float64(late[len(late)/2].Microseconds())/1000, "ms-median")
	b.ReportMetric(float64(late[len(late)*99/100].Microseconds())/1000, "ms-p99")
	b.ReportMetric(float64(stop().Microseconds())/1000, "ms-to-erase")
	b.ReportMetric(float64(diskBytes()-written)/float64(len(a.blocks))/1024, "KiB/message")
	b.ReportMetric(float64(r.store.bytes)/float64(len(a.blocks))/1024, "KiB-records/message")
	if s := r.store.Status(); s.Pending > 0 {
		b.Errorf("%d erasures are pending after %v", s.Pending, interval)
	}
	fatal(b, r.store.Close())
	b.StartTimer()
}

// TestMemoryOfMessages: what engine, Driver and store hold in memory grows by
// less than 1.5 KiB with each message. Badger's buffers come and go and are not
// counted: they go with the end of badger.
func TestMemoryOfMessages(t *testing.T) {
	const few, many = 1000, 5000
	a := talkers(t, 20, many)
	held := func(n int) int {
		before := heap()
		r := a.open(t, time.Second)
		for piece := range slices.Chunk(a.blocks[:n], MaxInputs) {
			r.take(piece)
		}
		running := heap()
		fatal(t, r.store.Close())
		closed := heap()
		t.Logf("%d messages: %d KiB, with badger %d KiB", n, (closed-before)>>10, (running-before)>>10)
		runtime.KeepAlive(r)
		return closed - before
	}
	small := held(few)
	per := (held(many) - small) / (many - few)
	t.Logf("%d bytes a message", per)
	if per > 1536 {
		t.Errorf("%d bytes a message", per)
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
