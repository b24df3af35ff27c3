package main

import (
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"time"

	"github.com/dmlsd/dmls/internal/floor"
)

// Time is one line of the first table: medians of one kind of work.
type Time struct {
	N       int           `json:"n"`
	Work    string        `json:"work"`
	Ours    time.Duration `json:"dmls_ns"`
	Theirs  time.Duration `json:"mls_go_ns"`
	Floor   time.Duration `json:"floor_ns"` // of the primitives; joining on all cores of the process
	Samples int           `json:"samples"`
}

// Size is one line of the second, in bytes.
type Size struct {
	N      int    `json:"n"`
	What   string `json:"what"`
	Ours   int    `json:"dmls"`
	Theirs int    `json:"mls_go"`
}

// work is one kind of work that both sides do.
type work struct {
	name         string
	ours, theirs func() error
	light        bool // takes microseconds, and leaves no garbage worth collecting
}

// A series has at least so many rounds, then as many as the budget allows.
const (
	least  = 3
	most   = 101
	budget = 8 * time.Second
)

// series runs rounds in which the sides take turns, work by work.
func series(n, least int, works ...work) ([]Time, error) {
	a, b := make([][]time.Duration, len(works)), make([][]time.Duration, len(works))
	begin := time.Now()
	rounds := 0
	for ; rounds < least || rounds < most && time.Since(begin) < budget; rounds++ {
		for i, w := range works {
			x, err := sample(w.ours, w.light)
			if err != nil {
				return nil, fmt.Errorf("bench: dmls, %s at %d: %w", w.name, n, err)
			}
			y, err := sample(w.theirs, w.light)
			if err != nil {
				return nil, fmt.Errorf("bench: mls-go, %s at %d: %w", w.name, n, err)
			}
			a[i], b[i] = append(a[i], x), append(b[i], y)
		}
	}
	var out []Time
	for i, w := range works {
		out = append(out, Time{N: n, Work: w.name, Ours: median(a[i]), Theirs: median(b[i]), Samples: rounds})
	}
	return out, nil
}

// sample times f alone, after the garbage of whoever was before.
func sample(f func() error, light bool) (time.Duration, error) {
	if !light {
		runtime.GC()
	}
	start := time.Now()
	err := f()
	return time.Since(start), err
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// levels of a path in a group of n.
func levels(n int) int { return bits.Len(uint(n - 1)) }

// least time that a kind of work takes by its primitives.
func lower(p floor.Primitives, work string, n int) time.Duration {
	switch work {
	case "commit":
		return p.Commit(levels(n))
	case "process":
		return p.Process(levels(n), 1)
	case "protect":
		return p.Protect()
	case "open":
		return p.Open()
	case "join":
		return p.Join(n, runtime.GOMAXPROCS(0))
	}
	return p.Build(n)
}
