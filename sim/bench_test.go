package sim

import "testing"

// BenchmarkSuite is the cost of one seed of the suite.
func BenchmarkSuite(b *testing.B) {
	for i := range b.N {
		if _, err := Run(Suite(uint64(i) + 1)); err != nil {
			b.Fatal(err)
		}
	}
}
