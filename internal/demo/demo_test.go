package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A play that stops before the islands meet ends with faults, so the demo can
// fail.
func TestAnotherEndingIsAFault(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	p := &play{story: newStory(&out, true), rng: rand.New(rand.NewPCG(1, 1)), dir: t.TempDir()}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, act := range []func(context.Context) error{p.start, p.found, p.chat, p.cut, p.apart} {
		if err := act(ctx); err != nil {
			t.Fatal(err)
		}
	}
	g, err := p.cast["Ada"].graph()
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(p.faults(g, p.rows()), "\n")
	for _, want := range []string{"has not got", "never saw the fork", "Finn was not stranded", "0 merge commits"} {
		if !strings.Contains(all, want) {
			t.Errorf("no fault %q in:\n%s", want, all)
		}
	}
	if err := p.curtain(ctx); err == nil {
		t.Error("the curtain falls without an error")
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var last entry
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Result == nil || last.Result.OK {
		t.Errorf("the last line is %s", lines[len(lines)-1])
	}
}
