package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dmlsd/dmls/internal/api"
	"github.com/dmlsd/dmls/internal/headline"
)

// headlines are the tables of bench.
type headlines struct {
	Large []headline.Update `json:"update_large"` // of which the ciphertexts are shown
	Small []headline.Update `json:"update_small"` // of which the bytes are shown
}

func (a *app) benchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure what renewing one member's keys costs a group", Args: cobra.NoArgs,
		Long: `Measure what renewing one member's keys costs a group: the HPKE ciphertexts that
the member makes in a large group, and the bytes that travel in a small one,
beside one message for each of the others. No daemon is needed, and nothing is
sent. docs/performance.md has the times, and another implementation beside ours.`,
	}
	members := cmd.Flags().Int("members", 100_000, "size of the large group; the default takes half a minute on one core")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if *members < headline.Least {
			return &api.Error{What: "no such group", Why: fmt.Sprintf("it would have %d members", *members),
				Fix: fmt.Sprintf("take at least %d", headline.Least), Code: api.Usage}
		}
		h, err := measureHeadlines(*members)
		if err != nil {
			return api.Explain("cannot measure", err)
		}
		if *asJSON {
			return a.printJSON(h)
		}
		a.headlines(h)
		return nil
	}
	return cmd
}

const smallGroup = 1000

func measureHeadlines(members int) (h headlines, err error) {
	for _, t := range []struct {
		n    int
		into *[]headline.Update
	}{{members, &h.Large}, {smallGroup, &h.Small}} {
		tree, fanOut, err := headline.Measure(t.n)
		if err != nil {
			return h, err
		}
		*t.into = []headline.Update{tree, fanOut}
	}
	return h, nil
}

// headlines prints the tables for people.
func (a *app) headlines(h headlines) {
	fmt.Fprintf(a.out, "One of %s members renews its keys     HPKE ciphertexts\n", grouped(h.Large[0].Members))
	for _, u := range h.Large {
		fmt.Fprintf(a.out, "  %-32s %18s\n", u.Way, grouped(u.Ciphertexts))
	}
	fmt.Fprintf(a.out, "\nOne of %s members renews its keys           upload           download\n", grouped(h.Small[0].Members))
	fmt.Fprintf(a.out, "  %-32s %18s %18s\n", "bytes", "by the member", "by all others")
	row := func(way, keys, up, down string) {
		fmt.Fprintf(a.out, "  %-18s %-13s %18s %18s\n", way, keys, up, down)
	}
	for _, u := range h.Small {
		row(u.Way, "X25519", grouped(u.Upload), grouped(u.Download))
		row(u.Way, "ML-KEM-768", "-", "-") // with the post-quantum suites
	}
	fmt.Fprintln(a.out, "\nCipher suite 1; ML-KEM comes with the post-quantum suites. Without the tree the\nmember shares a group of two with each of the others.")
}

// grouped writes a number with commas.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
