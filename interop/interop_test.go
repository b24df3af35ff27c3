package interop

import (
	"flag"
	"fmt"
	"testing"

	"github.com/dmlsd/dmls/interop/pb"
)

var all = flag.Bool("all", false, "run all variants of each scenario")

// variants are, of one scenario, all suites with both kinds of handshake
// messages. Trees apart and forced paths alternate so that over suites and
// scenarios each meets each; -all runs every one.
func variants(scenario int) []variant {
	var out []variant
	for suite := uint32(1); suite <= 7; suite++ {
		for i := range 8 {
			v := variant{suite: suite, encrypt: i&1 != 0, apart: i&2 != 0, path: i&4 != 0}
			turn := (int(suite) + scenario + i&1) % 4
			if *all || i>>1 == turn {
				out = append(out, v)
			}
		}
	}
	return out
}

// TestScenarios drives two and three clients through the scenarios.
func TestScenarios(t *testing.T) {
	pools := [][]pb.MLSClientClient{serveClients(t, 2), serveClients(t, 3)}
	ran := 0
	for i, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			for j, v := range variants(i) {
				for k, clients := range pools {
					if !*all && (i+j)%2 != k {
						continue
					}
					t.Run(fmt.Sprintf("%d clients, %v", len(clients), v), func(t *testing.T) {
						d := newDriver(t, clients, v)
						s.run(d)
						d.free()
					})
					ran++
				}
			}
		})
	}
	t.Logf("%d scenarios, %d runs", len(scenarios), ran)
}
