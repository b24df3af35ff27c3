// Command chart draws the cost of commits, of processing them and of joining
// against the size of the group, from the reports of bench.
//
//	go run ./chart ../docs/performance.json > ../docs/performance.svg
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// point is a line of bench's first table; the chart needs no more of it.
type point struct {
	N      int     `json:"n"`
	Work   string  `json:"work"`
	Ours   float64 `json:"dmls_ns"`
	Theirs float64 `json:"mls_go_ns"`
	Floor  float64 `json:"floor_ns"`
}

func main() {
	points, err := read(os.Args[1:])
	if err == nil {
		_, err = os.Stdout.WriteString(draw(points))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// read gathers the reports of several runs.
func read(files []string) (all []point, err error) {
	if len(files) == 0 {
		return nil, errors.New("name the JSON that bench --json printed")
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var r struct {
			Times []point `json:"times"`
		}
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		all = append(all, r.Times...)
	}
	if len(all) == 0 {
		return nil, errors.New("no times in the reports")
	}
	return all, nil
}
