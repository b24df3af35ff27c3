package group_test

import (
	"bytes"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dmlsd/dmls/group"
	"github.com/dmlsd/dmls/mls"
	"github.com/dmlsd/dmls/store"
)

// BenchmarkLoadStored is the start of a device from a real store: the store is
// opened and each group loaded, as a member that has just joined has it.
func BenchmarkLoadStored(b *testing.B) {
	for _, c := range []struct{ groups, members int }{{10, 1000}, {1, 100_000}} {
		b.Run(fmt.Sprintf("%dx%d", c.groups, c.members), func(b *testing.B) {
			_, far, stored, _, err := group.Crowd(c.members, group.LAN())
			if err != nil {
				b.Fatal(err)
			}
			signer, err := mls.NewEd25519Signer(bytes.Repeat([]byte{3}, 32))
			if err != nil {
				b.Fatal(err)
			}
			id, prefix := group.Identity{Name: "member 2", Signer: signer}, group.Prefix(far.ID())
			o := store.Options{Dir: filepath.Join(b.TempDir(), "home"), EraseInterval: time.Second}
			s, err := store.Open(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			size := 0
			for i := range c.groups { // the same group under other names
				var ops []group.Op
				for _, op := range stored {
					op.Key = fmt.Sprint(i, "/", strings.TrimPrefix(op.Key, prefix))
					ops, size = append(ops, op), size+len(op.Key)+len(op.Value)
				}
				if err := s.Commit(b.Context(), ops); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				begin := time.Now()
				s, err := store.Open(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				opened := time.Now()
				for i := range c.groups {
					g, err := group.Load(group.LAN(), id, far.ID(), renamed(s.Load(b.Context(), fmt.Sprint(i, "/")), prefix))
					if err != nil {
						b.Fatal(err)
					}
					if m := g.Status(); len(m.Members) != c.members {
						b.Fatalf("%d members", len(m.Members))
					}
				}
				b.ReportMetric(opened.Sub(begin).Seconds()*1000, "ms-open")
				b.ReportMetric(time.Since(opened).Seconds()*1000, "ms-load")
				b.ReportMetric(float64(size)/(1<<20), "MiB-records")
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// renamed gives records back the prefix under which the group made them.
func renamed(records iter.Seq2[group.Op, error], prefix string) iter.Seq2[group.Op, error] {
	return func(yield func(group.Op, error) bool) {
		for op, err := range records {
			_, rest, _ := strings.Cut(op.Key, "/")
			if op.Key = prefix + rest; !yield(op, err) {
				return
			}
		}
	}
}
