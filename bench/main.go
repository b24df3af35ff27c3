package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	sizes := flag.String("n", "10,100,1000", "sizes of groups, at least 10, separated by commas")
	full := flag.Bool("full", false, "10 to 100,000 members, building up to 10,000: some minutes and 4 GB")
	works := flag.String("work", strings.Join(allWorks, ","), "what to measure; commit includes process, protect includes open")
	asJSON := flag.Bool("json", false, "print JSON and no tables")
	flag.Parse()
	if *full {
		*sizes = "10,100,1000,10000,100000"
	}
	p := plan{works: strings.Split(*works, ","), mostOf: 10_000, progress: os.Stderr}
	for _, s := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 10 {
			fail(fmt.Errorf("bench: --n: %q is no number from 10 on", s))
		}
		p.sizes = append(p.sizes, n)
	}
	r, err := run(p)
	if err != nil {
		fail(err)
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.print(os.Stdout)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// cpu is the model name where the system tells.
func cpu() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

// print writes the tables.
func (r *Report) print(w io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s, %s, %d core(s), medians; beside %s\n\n", r.Go, r.CPU, r.Cores, r.Peer)
	fmt.Fprintf(b, "%8s  %-8s %12s %12s %8s %12s %8s %8s\n", "n", "work", "dmls ms", "mls-go ms", "times", "floor ms", "x floor", "rounds")
	for _, t := range r.Times {
		fmt.Fprintf(b, "%8d  %-8s %12.3f %12.3f %8.1f %12.3f %8.2f %8d\n", t.N, t.Work, float64(t.Ours)/1e6, float64(t.Theirs)/1e6,
			float64(t.Theirs)/float64(t.Ours), float64(t.Floor)/1e6, float64(t.Ours)/float64(t.Floor), t.Samples)
	}
	fmt.Fprintf(b, "\n%8s  %-20s %14s %14s %8s\n", "n", "bytes", "dmls", "mls-go", "times")
	for _, s := range r.Sizes {
		fmt.Fprintf(b, "%8d  %-20s %14d %14d %8.1f\n", s.N, s.What, s.Ours, s.Theirs, float64(s.Theirs)/float64(s.Ours))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
