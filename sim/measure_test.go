package sim

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// What the meter says of a fork whose course is known: both sides commit twice
// and remove somebody, one merge does the losing side's removal again, and who
// was removed does not hold up the others.
func TestMeter(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 3; seed++ {
		r, err := metered(halves(8, 2, "", seed))
		if err != nil {
			t.Fatal(err)
		}
		m := r.meter
		one, quiet := m.oneAt.Sub(m.healAt), m.lastAt.Sub(m.healAt)
		if !r.settled || one < roundTrip || one > quiet || quiet > 2*time.Second {
			t.Errorf("seed %d: settled %v, one head after %v, quiet after %v", seed, r.settled, one, quiet)
		}
		if len(m.merges) != 1 || m.after < 1 || len(m.heads) != 6 {
			t.Errorf("seed %d: %d merges, %d commits, %d members", seed, len(m.merges), m.after, len(m.heads))
		}
		if commits, deeds, messages := m.losses(); commits != 3 || deeds != 1 || messages > 3 {
			t.Errorf("seed %d: off the head are %d commits, %d of them removals, and %d messages", seed, commits, deeds, messages)
		}
		if got := m.caughtUp(); got < 10_000 || got > 1_000_000 {
			t.Errorf("seed %d: %d bytes to catch up", seed, got)
		}
		if at := r.trace.samples[len(r.trace.samples)-1]; at.heads != 1 || at.forks != 0 || at.secrets == 0 {
			t.Errorf("seed %d: the last sample is %+v", seed, at)
		}
	}
}

// Dropping the loser takes longer than carrying it over, and keeps less.
func TestHealings(t *testing.T) {
	t.Parallel()
	var of [4]healed
	for i, way := range healings {
		s := halves(4, 2, way.rule, 1)
		s.Engine.MaxEpochs = way.engine.MaxEpochs
		r, err := metered(s)
		if err != nil {
			t.Fatal(err)
		}
		if of[i].add(r); len(of[i].one) != 1 {
			t.Fatalf("%s did not settle", way.name)
		}
	}
	if kept, drop := of[0], of[3]; drop.one[0] < 10*kept.one[0] || drop.secrets[0] >= kept.secrets[0] || drop.bytes[0] <= kept.bytes[0] {
		t.Errorf("drop %+v, support %+v", drop, kept)
	}
}

// A row has as many cells as its head, also where nothing settles.
func TestRows(t *testing.T) {
	t.Parallel()
	width := strings.Count(strings.SplitN(healHead, "\n", 2)[0], "|")
	var b bytes.Buffer
	if err := healRow(&b, 4, 1, healings[0]); err != nil {
		t.Fatal(err)
	}
	if err := healRow(&b, 4, 0, healings[3]); err != nil {
		t.Fatal(err)
	}
	if err := catchUpRow(&b, 2, healings[0]); err != nil {
		t.Fatal(err)
	}
	if err := retainedRow(&b, 4, 1, healings[0]); err != nil {
		t.Fatal(err)
	}
	if err := childrenRows(&b, 4); err != nil {
		t.Fatal(err)
	}
	if err := ackRow(&b, 4, Engine{AckMin: Span(time.Second / 5), AckMax: Span(time.Second), AckRate: 50}); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(b.String()), "\n")
	want := []int{width, width, 6, 10, 6, 6, 6, 8}
	for i, row := range rows {
		if i < len(want) && strings.Count(row, "|") != want[i] {
			t.Errorf("%d bars in %s, want %d", strings.Count(row, "|"), row, want[i])
		}
	}
	if len(rows) != len(want) || strings.Contains(b.String(), "more than") || !strings.Contains(rows[1], "not run") {
		t.Errorf("%d rows: %s", len(rows), b.String())
	}
}

// A section takes the place of the one that is there, or stands at the end.
func TestInto(t *testing.T) {
	m := Measurement{"heal", "Healing", func(w io.Writer) error { _, err := io.WriteString(w, "new\n"); return err }}
	section := "<!-- begin heal -->\n## Healing\n\nnew\n<!-- end heal -->\n"
	for page, want := range map[string]string{
		"a\n": "a\n\n" + section,
		"a\n<!-- begin heal -->\nold\n<!-- end heal -->\nb\n": "a\n" + section + "b\n",
		"<!-- begin heal -->\nold\n":                          "<!-- begin heal -->\nold\n\n" + section,
	} {
		got, err := m.Into([]byte(page))
		if err != nil || string(got) != want {
			t.Errorf("%q became %q, %v", page, got, err)
		}
	}
	broken := errors.New("no luck")
	if _, err := (Measurement{"x", "X", func(io.Writer) error { return broken }}).Into(nil); !errors.Is(err, broken) {
		t.Error(err)
	}
}
